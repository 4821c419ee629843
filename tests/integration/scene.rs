//! One test's stage: fresh names on the shared broker, a topic of events, and the configuration
//! that most tests have in common.

use serde_json::json;

use crate::kafka::{Cluster, Record};
use crate::process::fresh;

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
    /// On the shared broker, with a topic of so many partitions.
    pub fn new(stem: &str, partitions: i32) -> Scene {
        Scene::on(Cluster::shared(), stem, partitions)
    }

    /// On a given broker.
    pub fn on(cluster: Cluster, stem: &str, partitions: i32) -> Scene {
        let scene = Scene::without_topic(cluster, stem);
        scene.cluster.create_topic(&scene.topic, partitions);
        scene
    }

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

    /// Name and source, which starts at the beginning, then `rest`.
    pub fn config(&self, rest: &str) -> String {
        self.config_with("", "", rest)
    }

    /// Also with more keys of the source and more librdkafka properties.
    pub fn config_with(&self, source: &str, properties: &str, rest: &str) -> String {
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

    /// [`Scene::config`] with one target, `sink`, that takes everything; `keys` are more of its keys.
    pub fn one_target(&self, url: &str, keys: &str, rest: &str) -> String {
        self.config(&one_target(url, keys, rest))
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
