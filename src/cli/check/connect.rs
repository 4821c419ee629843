//! `check --connect`: a look at the brokers and targets of a valid plan. Nothing is made or altered there, and
//! no webhook is sent.

mod nats;
mod targets;

use std::fmt;
use std::time::Duration;

use rdkafka::TopicPartitionList;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::RDKafkaErrorCode;
use serde::Serialize;

use crate::broker::kafka::{Admin, Connection, Listener, OwnTopic, allow, ask, is_missing, refusal};
use crate::domain::{SourceId, Tier};
use crate::plan::{Broker, DeadLetters, Examined, Kafka, Plan, Reads, Source, Topic};

/// A broker may take so long to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// One thing that was found at a broker or a target.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(in crate::cli) struct Finding {
    /// The source whose broker it is (`sources.NAME`), or the target (`targets.NAME`).
    pub(super) at: String,
    /// Whether it has to be mended.
    pub(super) fault: bool,
    /// What it is, with the remedy.
    pub(super) says: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Finding { at, fault, says } = self;
        write!(f, "{at}: {}{says}", if *fault { "fault: " } else { "" })
    }
}

/// What is found so far of one source.
struct Findings<'a> {
    source: &'a str,
    found: Vec<Finding>,
}

impl Findings<'_> {
    fn add(&mut self, fault: bool, says: String) {
        self.found.push(Finding { at: format!("sources.{}", self.source), fault, says });
    }

    fn fine(&mut self, says: String) {
        self.add(false, says);
    }

    fn fault(&mut self, says: String) {
        self.add(true, says);
    }
}

/// Looks at the brokers of all sources, one after the other, and then at all targets. What may not be
/// shown is masked.
pub(super) fn look(examined: &Examined) -> Vec<Finding> {
    let Examined { plan, concealed, .. } = examined;
    let look = |(source, id): (&Source, SourceId)| {
        let mut findings = Findings { source: &source.name, found: Vec::new() };
        let keeps = plan.sources.iter().any(|other| other.store == id);
        let letters = keeps.then_some(&plan.dead_letters);
        match &source.broker {
            Broker::Kafka(kafka) => {
                let ours = plan.consumers.iter().filter(|consumer| consumer.source == id);
                let reads: Vec<Reads> = ours.map(|consumer| consumer.reads).collect();
                look_at_kafka(plan, source, kafka, letters, &reads, &mut findings);
            }
            Broker::Nats(nats) => {
                let ordered =
                    plan.ordered_targets(id).filter_map(|target| plan.targets.get(target.0 as usize));
                let ordered: Vec<&str> = ordered.map(|target| &*target.name).collect();
                nats::look(nats, plan.limits.max_event, &ordered, keeps.then_some(plan), &mut findings);
            }
        }
        findings.found
    };
    let mut found: Vec<Finding> = plan.sources.iter().zip((0..).map(SourceId)).flat_map(look).collect();
    found.extend(targets::look(plan));
    found.iter_mut().for_each(|finding| finding.says = concealed.mask(&finding.says));
    found
}

fn look_at_kafka(
    plan: &Plan,
    source: &Source,
    kafka: &Kafka,
    letters: Option<&DeadLetters>,
    reads: &[Reads],
    findings: &mut Findings<'_>,
) {
    let brokers = &kafka.brokers;
    let config = Connection::new(plan, source, kafka).observer();
    let observer: BaseConsumer<Listener> = match config.create_with_context(Listener::default()) {
        Ok(observer) => observer,
        Err(error) => return findings.fault(format!("the Kafka client can't be made: {}", refusal(&error))),
    };
    let metadata = match ask(&observer, |observer| observer.fetch_metadata(None, PATIENCE)) {
        Ok(metadata) => metadata,
        Err(why) => return findings.fault(format!("the Kafka brokers {brokers} do not answer: {why}")),
    };
    for reads in reads {
        if let Err(fault) = look_at_group(&Connection::new(plan, source, kafka).reading(*reads)) {
            findings.fault(fault);
        }
    }
    for topic in &kafka.topics {
        match topic {
            Topic::Name(name) => match partitions(&observer, name, "READ") {
                Ok(Some(count)) => {
                    findings.fine(format!("the topic {name} is there, with {count} partitions"));
                }
                Ok(None) => findings.fault(format!(
                    "the topic {name} does not exist; create it, for example with: kafka-topics.sh \
                     --bootstrap-server {brokers} --create --topic {name} --partitions 12"
                )),
                Err(reason) => findings.fault(reason),
            },
            Topic::Regex(pattern) => {
                // The plan has compiled it before.
                let Ok(compiled) = regex::Regex::new(pattern) else { continue };
                let count = metadata.topics().iter().filter(|topic| compiled.is_match(topic.name())).count();
                findings.fine(format!("{count} topics match {pattern}"));
            }
        }
    }
    if letters.is_none() {
        return;
    }
    let tiers = Tier::all().map(|tier| OwnTopic::tier(plan, tier));
    let mut admin = None;
    for (topic, is_tier) in
        [(OwnTopic::dead_letters(plan), false)].into_iter().chain(tiers.map(|own| (own, true)))
    {
        let OwnTopic { name, holds, .. } = &topic;
        match partitions(&observer, name, OwnTopic::RIGHTS) {
            Ok(Some(_)) if is_tier => {
                let admin = admin.get_or_insert_with(|| Admin::new(&config));
                look_at_tier(admin.as_ref().map_err(refusal), name, findings);
            }
            Ok(Some(_)) => findings.fine(format!("the topic {name} for {holds} is there")),
            Ok(None) => findings.fine(format!(
                "the topic {name} for {holds} will be created, if that is allowed; else create it with: {}",
                topic.command(brokers)
            )),
            Err(reason) => findings.fault(reason),
        }
    }
}

/// Whether this user may at least see a group (DESCRIBE, which READ implies). That is judged before it is looked
/// which topic is asked for.
fn look_at_group(connection: &Connection<'_>) -> Result<(), String> {
    let group = connection.group();
    let fault = |why: String| format!("the group {group} can't be used: {why}");
    let observer: BaseConsumer<Listener> = (connection.observer())
        .create_with_context(Listener::default())
        .map_err(|error| fault(refusal(&error)))?;
    let mut any = TopicPartitionList::new();
    any.add_partition("any", 0);
    ask(&observer, |observer| observer.committed_offsets(any, PATIENCE)).map(drop).map_err(fault)
}

/// What waits in a tier must not be deleted by the broker.
fn look_at_tier(admin: Result<&Admin, String>, topic: &str, findings: &mut Findings<'_>) {
    let settings = match admin.and_then(|admin| admin.settings(topic).map_err(|error| error.to_string())) {
        Ok(settings) => settings,
        Err(reason) => {
            return findings.fine(format!(
                "the topic {topic} is there; its settings can't be looked at ({reason}): see that its `retention.ms` is \
                 -1 and its `cleanup.policy` is delete"
            ));
        }
    };
    let value = |name: &str| settings.get(name).and_then(|entry| entry.value.clone()).unwrap_or_default();
    match tier_fault(topic, &value) {
        Some(fault) => findings.fault(fault),
        None => findings.fine(format!("the topic {topic} for retries is there")),
    }
}

/// What is wrong with the settings of a tier's topic.
fn tier_fault(topic: &str, value: &dyn Fn(&str) -> String) -> Option<String> {
    let alter = |setting: &str| {
        format!("kafka-configs.sh --alter --entity-type topics --entity-name {topic} --add-config {setting}")
    };
    let policy = value("cleanup.policy");
    if policy.contains("compact") {
        return Some(format!(
            "the topic {topic} for retries is compacted (`cleanup.policy` is {policy}), which deletes deliveries that \
             wait; mend it with: {}",
            alter("cleanup.policy=delete")
        ));
    }
    let finite = ["retention.ms", "retention.bytes"].into_iter().find(|name| value(name) != "-1")?;
    Some(format!(
        "the topic {topic} for retries deletes deliveries that wait (`{finite}` is {}); mend it with: {}",
        value(finite),
        alter(&format!("{finite}=-1"))
    ))
}

/// How many partitions a topic has. It is asked for by its name: a list of all topics leaves out those
/// that we may not see.
fn partitions(observer: &BaseConsumer<Listener>, name: &str, rights: &str) -> Result<Option<usize>, String> {
    let metadata = ask(observer, |observer| observer.fetch_metadata(Some(name), PATIENCE))
        .map_err(|why| format!("the brokers do not answer for the topic {name}: {why}"))?;
    let Some(topic) = metadata.topics().iter().find(|topic| topic.name() == name) else { return Ok(None) };
    match topic.error() {
        None => Ok(Some(topic.partitions().len())),
        Some(error) if is_missing(error) => Ok(None),
        Some(error) => {
            let code = RDKafkaErrorCode::from(error);
            Err(format!("the topic {name} can't be used: {code}{}", allow(code, rights)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tier_whose_deliveries_would_be_deleted_is_a_fault() {
        let judged = |policy: &'static str, ms: &'static str, bytes: &'static str| {
            tier_fault("hookferry.retry.1m", &move |name| {
                match name {
                    "cleanup.policy" => policy,
                    "retention.ms" => ms,
                    _ => bytes,
                }
                .to_owned()
            })
        };
        assert_eq!(judged("delete", "-1", "-1"), None);
        let compacted = judged("compact", "-1", "-1").expect("a fault");
        assert!(compacted.contains("--add-config cleanup.policy=delete"), "{compacted}");
        let finite = judged("delete", "604800000", "-1").expect("a fault");
        assert!(finite.contains("`retention.ms` is 604800000"), "{finite}");
        assert!(judged("delete", "-1", "1000").is_some_and(|fault| fault.contains("retention.bytes=-1")));
    }
}
