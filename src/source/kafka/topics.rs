use std::sync::Arc;
use std::time::Instant;

use rdkafka::consumer::Consumer;
use rdkafka::error::{KafkaResult, RDKafkaErrorCode};
use rdkafka::metadata::MetadataTopic;
use rdkafka::types::RDKafkaRespErr;

use super::consumer;
use super::partition::PartitionName;
use super::probe::{PATIENCE, Probe};
use crate::broker::kafka::{OwnTopic, is_missing};
use crate::domain::Tier;
use crate::plan::{Reads, Topic};

/// Which of a source's topics are there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Topics {
    /// When the broker was asked; `None` if it was not yet.
    pub(super) asked: Option<Instant>,
    /// Topics that exist, by name or by pattern.
    pub(super) found: Vec<(Arc<str>, i32)>,
    /// Topics that may exist and can't be read now.
    pub(super) unclear: Vec<Arc<str>>,
    /// One sentence for each named topic that can't be read, with the remedy.
    pub(super) faults: Vec<String>,
}

impl Topics {
    fn add(&mut self, topic: &MetadataTopic) {
        let partitions = i32::try_from(topic.partitions().len()).unwrap_or(i32::MAX);
        if !self.found.iter().any(|(name, _)| **name == *topic.name()) {
            self.found.push((topic.name().into(), partitions));
        }
    }

    /// Notes what the broker says of a topic. `false`: it is not there, or can't be read now.
    fn note(&mut self, name: &str, found: Option<&MetadataTopic>) -> bool {
        match (found, found.and_then(MetadataTopic::error)) {
            (Some(found), None) => {
                self.add(found);
                return true;
            }
            (_, Some(error)) if !is_missing(error) => self.unclear.push(name.into()),
            _ => {}
        }
        false
    }

    /// The topics that are not surely missing.
    pub(super) fn known(&self) -> impl Iterator<Item = &Arc<str>> {
        self.found.iter().map(|(found, _)| found).chain(&self.unclear)
    }

    /// Whether a topic is there, and can be read.
    pub(super) fn has(&self, topic: &str) -> bool {
        self.found.iter().any(|(found, _)| **found == *topic)
    }

    /// Whether a topic is not surely missing.
    pub(super) fn may_have(&self, topic: &str) -> bool {
        self.known().any(|known| **known == *topic)
    }

    pub(super) fn partitions(&self) -> Vec<PartitionName> {
        let all = |(topic, count): &(Arc<str>, i32)| {
            let topic = topic.clone();
            (0..*count).map(move |number| PartitionName { topic: topic.clone(), number })
        };
        self.found.iter().flat_map(all).collect()
    }
}

/// Looking which of them are there.
impl Probe {
    pub(super) fn topics(&mut self) -> KafkaResult<Topics> {
        let mut topics = Topics { asked: Some(Instant::now()), ..Topics::default() };
        for topic in &consumer::topics(&self.plan, self.reader) {
            match topic {
                Topic::Name(name) => self.look_for(name, &mut topics)?,
                Topic::Regex(pattern) => self.look_for_matching(pattern, &mut topics)?,
            }
        }
        self.answered();
        tracing::debug!(
            source = self.kafka_name(),
            "{} topics are there, {} can't be read now",
            topics.found.len(),
            topics.unclear.len(),
        );
        self.last.clone_from(&topics);
        Ok(topics)
    }

    fn look_for(&self, name: &str, topics: &mut Topics) -> KafkaResult<()> {
        let metadata = self.client.fetch_metadata(Some(name), PATIENCE)?;
        let found = metadata.topics().first();
        if !topics.note(name, found) {
            topics.faults.push(self.topic_fault(name, found));
        }
        Ok(())
    }

    fn look_for_matching(&self, pattern: &str, topics: &mut Topics) -> KafkaResult<()> {
        // The plan has compiled it before.
        let Ok(pattern) = regex::Regex::new(pattern) else { return Ok(()) };
        let ours = OwnTopic::names(&self.plan);
        let is_wanted = |topic: &str| pattern.is_match(topic) && ours.iter().all(|own| own != topic);
        let metadata = self.client.fetch_metadata(None, PATIENCE)?;
        metadata.topics().iter().filter(|topic| is_wanted(topic.name())).for_each(|topic| topics.add(topic));
        // The list leaves out what this user may not see: only by its name is it known whether one is gone.
        for name in self.last.known().filter(|name| is_wanted(name)) {
            if topics.may_have(name) {
                continue;
            }
            let metadata = self.client.fetch_metadata(Some(name), PATIENCE)?;
            let found = metadata.topics().first();
            if !topics.note(name, found) && topics.may_have(name) && !self.last.unclear.contains(name) {
                tracing::warn!(source = self.kafka_name(), "{}", self.topic_fault(name, found));
            }
        }
        Ok(())
    }

    /// One warning for each topic that can't be read, until it can be.
    pub(super) fn tell_topics(&mut self, topics: &Topics) {
        for fault in topics.faults.iter().filter(|fault| !self.told.contains(fault)) {
            tracing::warn!(source = self.kafka_name(), "{fault}");
        }
        self.told.clone_from(&topics.faults);
    }

    fn topic_fault(&self, name: &str, found: Option<&MetadataTopic>) -> String {
        let brokers = self.brokers();
        let tier = Tier::all().find(|tier| self.plan.tier_topic(*tier) == name);
        let tier = tier.filter(|_| self.reader.reads == Reads::Tiers);
        match found.and_then(MetadataTopic::error) {
            Some(RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED) => format!(
                "the broker does not allow this user to read the topic {name}; allow it READ and DESCRIBE"
            ),
            Some(error) if !is_missing(error) => {
                format!("the topic {name} can't be read now: {}", RDKafkaErrorCode::from(error))
            }
            _ if tier.is_some() => format!(
                "the topic {name} for retries does not exist; create it, for example with: {}",
                tier.map(|tier| OwnTopic::tier(&self.plan, tier).command(&brokers)).unwrap_or_default(),
            ),
            _ => format!(
                "the topic {name} does not exist; it is read from its beginning once it does. Create it, for \
                 example with: kafka-topics.sh --bootstrap-server {brokers} --create --topic {name} --partitions 12"
            ),
        }
    }
}
