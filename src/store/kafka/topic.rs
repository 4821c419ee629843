use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::types::RDKafkaRespErr;

/// Dead letters are kept so long, unless the topic is the user's own.
const RETENTION_MS: &str = "1209600000";
const PATIENCE: Duration = Duration::from_secs(8);

/// Sees to it that a topic of ours exists; creates it where that is allowed.
///
/// # Errors
/// What is in the way, as a sentence with the remedy.
pub(super) fn ensure<C: ConsumerContext>(
    inspector: &BaseConsumer<C>,
    config: &ClientConfig,
    topic: &str,
    largest: usize,
) -> Result<(), String> {
    // Metadata first: it says whether there is a broker at all, and an embedded one answers nothing
    // else. A consumer asks, because a producer's question could create the topic with the broker's
    // own settings.
    let metadata = inspector
        .fetch_metadata(Some(topic), PATIENCE)
        .map_err(|error| format!("the brokers do not answer: {}", reason(&error)))?;
    let found = metadata.topics().iter().find(|found| found.name() == topic);
    match found.map(|found| found.error()) {
        Some(None) => Ok(()),
        Some(Some(
            RDKafkaRespErr::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART
            | RDKafkaRespErr::RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC,
        ))
        | None => create(config, topic, largest),
        Some(Some(error)) => {
            Err(format!("the topic {topic} can't be used: {}", RDKafkaErrorCode::from(error)))
        }
    }
}

fn create(config: &ClientConfig, topic: &str, largest: usize) -> Result<(), String> {
    let largest = largest.to_string();
    let settings = [("retention.ms", RETENTION_MS), ("max.message.bytes", &*largest)];
    let new = settings.iter().fold(
        // -1: as many partitions and replicas as the broker's own defaults say.
        NewTopic::new(topic, -1, TopicReplication::Fixed(-1)),
        |new, (name, value)| new.set(name, value),
    );
    match request(config, &new) {
        Ok(()) => {
            tracing::info!("created the topic {topic} for dead letters (retention 14 days)");
            Ok(())
        }
        Err(RDKafkaErrorCode::TopicAlreadyExists) => Ok(()),
        Err(error) => Err(format!(
            "the topic {topic} does not exist and can't be created ({error}); create it, for example with: \
             kafka-topics.sh --bootstrap-server {} --create --topic {topic} --config retention.ms={RETENTION_MS} \
             --config max.message.bytes={largest}",
            config.get("bootstrap.servers").unwrap_or_default(),
        )),
    }
}

pub(super) fn request(config: &ClientConfig, new: &NewTopic<'_>) -> Result<(), RDKafkaErrorCode> {
    let code = |error: KafkaError| error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Fail);
    let admin: AdminClient<DefaultClientContext> = config.create().map_err(code)?;
    let options = AdminOptions::new().request_timeout(Some(PATIENCE)).operation_timeout(Some(PATIENCE));
    let runtime =
        tokio::runtime::Builder::new_current_thread().build().map_err(|_| RDKafkaErrorCode::Fail)?;
    let results = runtime.block_on(admin.create_topics([new], &options)).map_err(code)?;
    match results.into_iter().next() {
        Some(Err((_, code))) => Err(code),
        Some(Ok(_)) => Ok(()),
        None => Err(RDKafkaErrorCode::Fail),
    }
}

fn reason(error: &KafkaError) -> String {
    error.rdkafka_error_code().map_or_else(|| error.to_string(), |code| code.to_string())
}
