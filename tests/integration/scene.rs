//! One test's stage: fresh names on the shared broker, a topic of events, and the configuration
//! that most tests have in common.

use serde_json::json;

use crate::kafka::{Cluster, PrivateBroker};
use crate::process::fresh;
use crate::record::Record;
use crate::stage::{Private, Stage};

/// Names that no other test uses, on one broker.
pub struct Scene {
    pub cluster: Cluster,
    /// `name:` of the configuration.
    pub name: String,
    /// The source's topic.
    pub topic: String,
    /// The source's group.
    pub group: String,
}

impl Scene {
    /// With names only.
    pub fn without_topic(cluster: Cluster, stem: &str) -> Scene {
        let name = fresh(stem);
        let (topic, group) = (format!("{name}.events"), format!("{name}-events"));
        Scene { cluster, name, topic, group }
    }

    /// Where this configuration's dead letters are.
    pub fn dead_letters(&self) -> String {
        format!("{}.dlq", self.name)
    }

    /// Name and source, with more keys of the source and more librdkafka properties, then `rest`.
    pub fn kafka_config(&self, source: &str, properties: &str, rest: &str) -> String {
        let (name, topic, group, brokers) = (&self.name, &self.topic, &self.group, self.cluster.brokers());
        format!(
            "name: {name}
log: {{ level: debug }}
sources:
  events:
    kafka:
      brokers: '{brokers}'
      topics: ['{topic}']
      group: {group}
      start: earliest
      properties: {{ {properties} }}
    {source}
{rest}
"
        )
    }
}

impl Stage for Scene {
    type Private = PrivateBroker;

    const KEYS: bool = true;

    fn new(stem: &str, partitions: i32) -> Scene {
        let scene = Scene::without_topic(Cluster::shared(), stem);
        scene.create(partitions);
        scene
    }

    fn names_on(private: &PrivateBroker, stem: &str) -> Scene {
        Scene::without_topic(private.access(), stem)
    }

    fn create(&self, partitions: i32) {
        self.cluster.create_topic(&self.topic, partitions);
    }

    fn place(&self) -> &str {
        &self.topic
    }

    fn publish(&self, records: impl IntoIterator<Item = Record>) {
        self.cluster.produce(&self.topic, records);
    }

    fn config_with(&self, source: &str, rest: &str) -> String {
        self.kafka_config(source, "", rest)
    }

    fn hasty_config(&self, rest: &str) -> String {
        let properties = "session.timeout.ms: 6000, heartbeat.interval.ms: 1000, \
                          reconnect.backoff.max.ms: 500, topic.metadata.refresh.interval.ms: 1000";
        self.kafka_config("", properties, rest)
    }

    #[track_caller]
    fn wait_settled(&self) {
        self.cluster.wait_committed_to_end(&self.group, &self.topic);
    }

    fn is_untouched(&self) -> bool {
        self.cluster.committed(&self.group, &self.topic).values().all(|offset| *offset == 0)
    }

    #[track_caller]
    fn wait_replicas(&self, count: usize) {
        self.cluster.wait_members(&self.group, count);
    }

    fn letters(&self) -> Vec<Record> {
        self.cluster.read_all(&self.dead_letters())
    }

    #[track_caller]
    fn wait_letters(&self, count: usize) -> Vec<Record> {
        self.cluster.wait_records(&self.dead_letters(), count)
    }

    fn count_waiting(&self, tier: &str) -> usize {
        let marks = self.cluster.ends(&format!("{}.retry.{tier}", self.name));
        marks.values().map(|(low, high)| (high - low) as usize).sum()
    }

    fn waiting(&self, tier: &str) -> Vec<Record> {
        self.cluster.read_all(&format!("{}.retry.{tier}", self.name))
    }
}

impl Private for PrivateBroker {
    fn reserve() -> PrivateBroker {
        PrivateBroker::new()
    }

    fn address(&self) -> String {
        PrivateBroker::address(self)
    }

    fn start(&mut self) {
        PrivateBroker::start(self);
    }

    fn stop(&mut self) {
        PrivateBroker::stop(self);
    }

    fn freeze(&self) {
        PrivateBroker::freeze(self);
    }

    fn kill(&mut self) {
        PrivateBroker::kill(self);
    }
}

/// One target, `sink`, that takes everything.
pub fn one_target(url: &str, keys: &str, rest: &str) -> String {
    format!(
        "{rest}
targets:
  sink: {{ url: '{url}', egress: private, {keys} }}
routes:
  - {{ name: all, types: ['*'], to: [sink] }}"
    )
}

/// The event number `n`, named `e-<n>`, of type `test.made`.
pub fn event(n: usize) -> Record {
    Record::json(&json!({ "event_id": format!("e-{n}"), "type": "test.made", "n": n }))
}

/// Events by their numbers, dealt to the partitions in turn.
pub fn events(numbers: std::ops::Range<usize>, partitions: usize) -> impl Iterator<Item = Record> {
    numbers.map(move |n| event(n).in_partition((n % partitions) as i32))
}

/// The key that delivers the body under a signature; a test secret.
pub const SECRET: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
