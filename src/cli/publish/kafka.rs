use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rdkafka::ClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer, ProducerContext};
use serde_json::value::RawValue;

use super::{CONTACT, DEADLINE, ProducerFault, Tally};
use crate::broker::kafka::{Listener, allow, properties, refusal};
use crate::cli::arguments::Order;
use crate::plan::{Kafka, Topic};

/// The topics that are named, not matched.
pub(super) fn literal_topics(kafka: &Kafka) -> Vec<&str> {
    let topics = kafka.topics.iter().filter_map(|topic| match topic {
        Topic::Name(name) => Some(&**name),
        Topic::Regex(_) => None,
    });
    topics.collect()
}

/// Collects confirmations.
#[derive(Default)]
struct Confirmations {
    tally: Mutex<Tally>,
    listener: Listener,
}

impl Confirmations {
    fn tally(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ClientContext for Confirmations {
    fn error(&self, error: KafkaError, reason: &str) {
        self.listener.note(&error, reason);
    }
}

impl ProducerContext for Confirmations {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        match result {
            Ok(_) => self.tally().confirmed += 1,
            Err((cause, _)) => {
                let allow = cause.rdkafka_error_code().map(|code| allow(code, "WRITE")).unwrap_or_default();
                self.tally().fail(&format!("{cause}{allow}"));
            }
        }
    }
}

/// Writes the events to a topic, and waits until the brokers have confirmed them.
pub(super) fn produce(
    kafka: &Kafka,
    topic: &str,
    order: &Order,
    events: &[Box<RawValue>],
) -> Result<Tally, ProducerFault> {
    let producer: BaseProducer<Confirmations> = producer_config(kafka)
        .create_with_context(Confirmations::default())
        .map_err(|fault| ProducerFault::Creation(refusal(&fault)))?;
    contact(&producer, topic, &kafka.brokers)?;
    let headers = order.headers.iter().fold(OwnedHeaders::new(), |headers, (key, value)| {
        headers.insert(Header { key, value: Some(value) })
    });
    for event in events {
        let mut record = BaseRecord::to(topic).payload(event.get()).headers(headers.clone());
        record.key = order.key.as_deref();
        send(&producer, record);
    }
    // What is not confirmed by now has failed, and the callback has said so or `report` will.
    let _ = producer.flush(DEADLINE + Duration::from_secs(1));
    Ok(std::mem::take(&mut *producer.context().tally()))
}

/// Asks for the topic, so that a broker that can't be reached is named soon.
fn contact(producer: &BaseProducer<Confirmations>, topic: &str, brokers: &str) -> Result<(), ProducerFault> {
    let Err(fault) = producer.client().fetch_metadata(Some(topic), CONTACT) else { return Ok(()) };
    // What went wrong with the connections waits in the client's queue.
    producer.poll(Duration::from_millis(100));
    let cause = producer.context().listener.why().unwrap_or_else(|| fault.to_string());
    Err(ProducerFault::Unreachable { brokers: brokers.to_owned(), cause })
}

fn producer_config(kafka: &Kafka) -> ClientConfig {
    let mut config = properties(kafka, &[]);
    config
        .set("client.id", "hookferry-publish")
        .set("acks", "all")
        .set("enable.idempotence", "true")
        .set("message.timeout.ms", DEADLINE.as_millis().to_string());
    config
}

fn send(producer: &BaseProducer<Confirmations>, mut record: BaseRecord<'_, str, str>) {
    loop {
        match producer.send(record) {
            Ok(()) => break,
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), unsent)) => {
                record = unsent;
                producer.poll(Duration::from_millis(50));
            }
            Err((cause, _)) => {
                producer.context().tally().fail(&cause);
                break;
            }
        }
    }
    producer.poll(Duration::ZERO);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broker_that_is_not_there_is_named_with_the_reason() {
        let mut plan = crate::source::test_plan::offline(Vec::new());
        // Nobody listens on a port that was given out and taken back.
        let free = std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        let kafka = crate::source::test_plan::kafka(&mut plan);
        kafka.brokers = free.expect("a free port").to_string();
        let order = Order { files: Vec::new(), source: None, topic: None, key: None, headers: Vec::new() };
        let fault = produce(kafka, "events", &order, &[]).expect_err("no broker").to_string();
        assert!(fault.starts_with(&format!("no broker of {} answered", kafka.brokers)), "{fault}");
        assert!(fault.contains("Connection refused"), "{fault}");
        assert!(fault.ends_with("; nothing was published"), "{fault}");
    }
}
