use std::time::Duration;

use rdkafka::config::ClientConfig;
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseProducer, BaseRecord, DefaultProducerContext, Producer};

use super::sample::Sample;
use crate::domain::Tier;

/// What the source of demo.yaml reads.
const TOPIC: &str = "shop-events";
/// The default of `dead_letters.topic` for `name: demo`.
const DEAD_LETTERS: &str = "demo.dlq";

/// librdkafka's own Kafka-compatible broker inside this process, and a producer for it.
pub(super) struct Broker {
    producer: BaseProducer,
    cluster: MockCluster<'static, DefaultProducerContext>,
}

impl Broker {
    /// Starts it with every topic that is needed: it can't create any on request.
    pub(super) fn start() -> KafkaResult<Broker> {
        let cluster = MockCluster::new(1)?;
        cluster.create_topic(TOPIC, 4, 1)?;
        cluster.create_topic(DEAD_LETTERS, 1, 1)?;
        for tier in Tier::all() {
            cluster.create_topic(&format!("demo.retry.{tier}"), 1, 1)?;
        }
        let producer = ClientConfig::new()
            .set("bootstrap.servers", cluster.bootstrap_servers())
            .set("client.id", "demo-publisher")
            .set("acks", "all")
            .create()?;
        Ok(Broker { producer, cluster })
    }

    /// Its address, for `brokers`.
    pub(super) fn address(&self) -> String {
        self.cluster.bootstrap_servers()
    }

    /// Publishes one message; [`flush`](Broker::flush) waits for what was published.
    pub(super) fn publish(&self, sample: Sample) -> KafkaResult<()> {
        let (key, value) = (sample.id(), sample.value());
        let mut record = BaseRecord::<str, str>::to(TOPIC).key(&key);
        if let Some(value) = &value {
            record = record.payload(value);
        }
        self.producer.send(record).map_err(|(fault, _): (KafkaError, _)| fault)?;
        self.producer.poll(Duration::ZERO);
        Ok(())
    }

    /// Waits until the broker has everything.
    pub(super) fn flush(&self) -> KafkaResult<()> {
        self.producer.flush(Duration::from_secs(10))
    }
}
