use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::message::Message as _;
use rdkafka::metadata::MetadataTopic;
use rdkafka::{Offset, TopicPartitionList};
use regex::Regex;

use super::record::message;
use crate::broker::kafka::{Connection, Listener, OwnTopic, ask, refusal};
use crate::plan::{Kafka, Plan, Source, Topic};
use crate::source::last::{LastMessage, PATIENCE};

const POLL: Duration = Duration::from_millis(100);

/// The last `count` messages of each partition of a source. No group is joined, and nothing is committed.
pub(in crate::source) fn last_messages(
    plan: &Plan,
    source: &Source,
    kafka: &Kafka,
    count: usize,
) -> Result<Vec<LastMessage>, String> {
    let mut config = Connection::new(plan, source, kafka).member();
    config.set("enable.partition.eof", "true");
    let reader: BaseConsumer<Listener> =
        config.create_with_context(Listener::default()).map_err(|error| refusal(&error))?;
    let metadata = ask(&reader, |reader| reader.fetch_metadata(None, PATIENCE));
    let metadata = metadata.map_err(|why| silent(kafka, &why))?;
    let own = OwnTopic::names(plan);
    let mut messages = Vec::new();
    for topic in metadata.topics().iter().filter(|topic| is_read(kafka, topic.name(), &own)) {
        read_end(&reader, kafka, topic, count, &mut messages)?;
    }
    Ok(messages)
}

/// Reads the end of every partition of a topic.
fn read_end(
    reader: &BaseConsumer<Listener>,
    kafka: &Kafka,
    topic: &MetadataTopic,
    count: usize,
    messages: &mut Vec<LastMessage>,
) -> Result<(), String> {
    let name: Arc<str> = topic.name().into();
    let mut ends: BTreeMap<i32, i64> = BTreeMap::new();
    let mut assignment = TopicPartitionList::new();
    for partition in topic.partitions() {
        let marks = ask(reader, |reader| reader.fetch_watermarks(&name, partition.id(), PATIENCE));
        let (low, high) = marks.map_err(|why| silent(kafka, &why))?;
        let first = low.max(high.saturating_sub(i64::try_from(count).unwrap_or(i64::MAX)));
        if first < high {
            let added = assignment.add_partition_offset(&name, partition.id(), Offset::Offset(first));
            added.map_err(|error| error.to_string())?;
            ends.insert(partition.id(), high);
        }
    }
    reader.assign(&assignment).map_err(|error| format!("the topic {name} can't be read: {error}"))?;
    let mut heard = Instant::now();
    while !ends.is_empty() {
        match reader.poll(POLL) {
            Some(Ok(record)) => {
                heard = Instant::now();
                let Some(end) = ends.get(&record.partition()).copied() else { continue };
                if record.offset() < end {
                    messages.push(LastMessage::of(message(&record, name.clone())));
                }
                if record.offset() + 1 >= end {
                    ends.remove(&record.partition());
                }
            }
            Some(Err(KafkaError::PartitionEOF(partition))) => {
                heard = Instant::now();
                ends.remove(&partition);
            }
            Some(Err(error)) if heard.elapsed() >= PATIENCE => {
                return Err(silent(kafka, &error.to_string()));
            }
            None if heard.elapsed() >= PATIENCE => {
                return Err(format!("the brokers of {} stopped answering", kafka.brokers));
            }
            Some(Err(_)) | None => {}
        }
    }
    Ok(())
}

fn silent(kafka: &Kafka, why: &str) -> String {
    format!("the brokers of {} do not answer: {why}", kafka.brokers)
}

fn is_read(kafka: &Kafka, topic: &str, own: &[String]) -> bool {
    let named = kafka.topics.iter().any(|known| match known {
        Topic::Name(name) => name == topic,
        // The plan has compiled it before.
        Topic::Regex(pattern) => Regex::new(pattern).is_ok_and(|pattern| pattern.is_match(topic)),
    });
    named && !own.iter().any(|own| own == topic)
}
