use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::KafkaError;
use secrecy::ExposeSecret;

use super::OwnTopic;
use crate::plan::{Budget, Kafka, Plan, Reads, Source};

/// A group member that is not heard of for so long is given up by its broker, in milliseconds.
const SESSION_TIMEOUT_MS: u64 = 10_000;
/// One setting by its two names, of which a user may set either.
const PARTITION_FETCH: &str = "max.partition.fetch.bytes";
const PARTITION_FETCH_ALIAS: &str = "fetch.message.max.bytes";
/// What a record needs beside its value: key, headers and the batch around it.
const RECORD_ROOM: usize = 256 * 1024;

/// How the clients of one source reach its brokers. First our defaults, over them the user's
/// properties, over those what is ours alone (DESIGN.md §5); the plan has refused the latter.
#[derive(Debug, Clone, Copy)]
pub struct Connection<'a> {
    plan: &'a Plan,
    source: &'a Source,
    kafka: &'a Kafka,
    reads: Reads,
}

impl<'a> Connection<'a> {
    /// The connection of one of the plan's sources, which has these settings.
    pub fn new(plan: &'a Plan, source: &'a Source, kafka: &'a Kafka) -> Connection<'a> {
        Connection { plan, source, kafka, reads: Reads::Shared }
    }

    /// As the consumer of the source, or of the tiers on its broker, that reads this.
    pub fn reading(self, reads: Reads) -> Connection<'a> {
        Connection { reads, ..self }
    }

    /// The consumer's group. That of the tiers is one for all sources of this name.
    pub fn group(&self) -> String {
        let Connection { plan, kafka, .. } = self;
        match self.reads {
            Reads::Shared => kafka.group.clone(),
            Reads::Ordered(target) => plan.ordered_group(&kafka.group, target),
            Reads::Tiers => plan.tier_group(),
        }
    }

    /// For a client that only looks: metadata, offsets. It is in the group's name, so that it can
    /// read and set the group's offsets, but never joins it.
    pub fn observer(&self) -> ClientConfig {
        let mut config = self.with_defaults(&[("topic.metadata.refresh.interval.ms", "30000")]);
        self.own_group(&mut config);
        config
    }

    /// For the group's member.
    pub fn member(&self) -> ClientConfig {
        // Of the tiers little is read ahead, from many topics, which may appear one after the other.
        let (fetch, partition_fetch, refresh_ms) = match self.reads {
            Reads::Shared | Reads::Ordered(_) => ("2097152", "262144", "30000"),
            Reads::Tiers => ("1048576", "65536", "10000"),
        };
        let queue_kib = (Budget::of(self.plan).read_ahead(self.reads) >> 10).to_string();
        let mut config = self.with_defaults(&[
            // A small queue with the default back-off of 1 s stalls every partition a second at a time.
            ("queued.max.messages.kbytes", &queue_kib),
            ("fetch.queue.backoff.ms", "20"),
            // What is fetched ahead is memory. A larger message still comes: alone (KIP-74).
            ("fetch.max.bytes", fetch),
            (PARTITION_FETCH, partition_fetch),
            ("topic.metadata.refresh.interval.ms", refresh_ms),
        ]);
        if config.get(PARTITION_FETCH_ALIAS).is_some() {
            config.remove(PARTITION_FETCH);
        }
        let session_timeout_ms = session_timeout_ms(&config);
        config.set("session.timeout.ms", session_timeout_ms.to_string());
        if config.get("heartbeat.interval.ms").is_none() {
            config.set("heartbeat.interval.ms", heartbeat_interval_ms(session_timeout_ms).to_string());
        }
        self.own_group(&mut config);
        config.set("group.protocol", "classic").set("partition.assignment.strategy", "cooperative-sticky");
        if self.reads != Reads::Tiers {
            config.set("topic.blacklist", self.own_topics());
        }
        config
    }

    /// For a producer whose writes count only once every in-sync replica has them.
    pub fn producer(&self) -> ClientConfig {
        let message_bytes =
            self.plan.limits.max_event.saturating_add(RECORD_ROOM).clamp(1_000_000, 1_000_000_000);
        let mut config = self.with_defaults(&[
            ("queue.buffering.max.kbytes", &(Budget::of(self.plan).unwritten() >> 10).to_string()),
            ("linger.ms", "5"),
            ("message.timeout.ms", "10000"),
            ("request.timeout.ms", "8000"),
            ("message.max.bytes", &message_bytes.to_string()),
        ]);
        // A broker refuses a whole batch for its size; so only small records share one.
        config.set("enable.idempotence", "true").set("acks", "all").set("batch.size", "16384");
        config
    }

    fn with_defaults(&self, defaults: &[(&str, &str)]) -> ClientConfig {
        let mut config = properties(self.kafka, defaults);
        config.set_log_level(RDKafkaLogLevel::Info);
        config.set("client.id", format!("{}-{}", self.plan.name, self.source.name));
        config
    }

    fn own_group(&self, config: &mut ClientConfig) {
        config
            .set("group.id", self.group())
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("auto.offset.reset", "earliest")
            .set("isolation.level", "read_committed")
            .set("enable.partition.eof", "false")
            .set("allow.auto.create.topics", "false");
    }

    /// Our own topics by their exact names, so that a source's `^.*` never reads what we write.
    fn own_topics(&self) -> String {
        let exactly = |name: &String| format!("^{}$", regex::escape(name));
        OwnTopic::names(self.plan).iter().map(exactly).collect::<Vec<_>>().join(",")
    }
}

/// The brokers, and the user's properties over these defaults.
pub(crate) fn properties(kafka: &Kafka, defaults: &[(&str, &str)]) -> ClientConfig {
    let mut config = ClientConfig::new();
    // The TLS library is built in, and does not know where this machine keeps its authorities.
    for (name, value) in [("ssl.ca.location", "probe")].iter().chain(defaults) {
        config.set(*name, *value);
    }
    for (name, value) in &kafka.properties {
        config.set(name, value.expose_secret());
    }
    config.set("bootstrap.servers", &kafka.brokers);
    config
}

/// How long after its last sign of life a group member with this configuration surely has its
/// partitions. Its broker counts the session timeout from the last heartbeat, which may be older by
/// the time between two.
pub fn sure_tenure(config: &ClientConfig) -> Duration {
    let session_ms = session_timeout_ms(config);
    let heartbeat_ms = config.get("heartbeat.interval.ms").and_then(|text| text.trim().parse().ok());
    let sure_ms =
        session_ms.saturating_sub(heartbeat_ms.unwrap_or_else(|| heartbeat_interval_ms(session_ms)));
    // Heartbeats as rare as the session is long would leave no time at all.
    Duration::from_millis(sure_ms.max(session_ms / 4))
}

fn heartbeat_interval_ms(session_timeout_ms: u64) -> u64 {
    (session_timeout_ms / 4).clamp(1, 3000)
}

fn session_timeout_ms(config: &ClientConfig) -> u64 {
    config.get("session.timeout.ms").and_then(|text| text.trim().parse().ok()).unwrap_or(SESSION_TIMEOUT_MS)
}

/// Why librdkafka refused a configuration, without the value, which may be a secret.
pub fn refusal(error: &KafkaError) -> String {
    match error {
        KafkaError::ClientConfig(_, reason, name, value) if !value.is_empty() => {
            format!("property `{name}`: {}", reason.replace(value.as_str(), "…"))
        }
        KafkaError::ClientConfig(_, reason, name, _) => format!("property `{name}`: {reason}"),
        KafkaError::ClientCreation(reason) => reason.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::test_plan;

    fn member(properties: &[(&str, &str)]) -> ClientConfig {
        let mut plan = test_plan::offline(Vec::new());
        let set = properties.iter().map(|(name, value)| (name.to_string(), value.to_string().into()));
        test_plan::kafka(&mut plan).properties.extend(set);
        test_plan::connection(&plan).member()
    }

    #[test]
    fn the_broker_counts_from_the_last_heartbeat() {
        assert_eq!(sure_tenure(&member(&[])), Duration::from_millis(7500));
        let slow = [("session.timeout.ms", "30000"), ("heartbeat.interval.ms", "9000")];
        assert_eq!(sure_tenure(&member(&slow)), Duration::from_secs(21));
        let never = [("session.timeout.ms", "6000"), ("heartbeat.interval.ms", "6000")];
        assert_eq!(sure_tenure(&member(&never)), Duration::from_millis(1500));
    }

    #[test]
    fn properties_go_over_our_defaults_by_either_name() {
        let raised = member(&[("fetch.max.bytes", "50000000"), (PARTITION_FETCH_ALIAS, "2000000")]);
        assert_eq!(raised.get("fetch.max.bytes"), Some("50000000"));
        assert_eq!((raised.get(PARTITION_FETCH), raised.get(PARTITION_FETCH_ALIAS)), (None, Some("2000000")));
        assert_eq!(member(&[]).get(PARTITION_FETCH), Some("262144"));
    }
}
