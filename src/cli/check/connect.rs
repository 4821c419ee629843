//! `check --connect`: a look at the brokers of a valid plan. Nothing is made or altered there.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::{self, stream};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::types::RDKafkaRespErr;
use serde::Serialize;

use crate::broker::kafka::{Admin, Connection, OwnTopic, refusal};
use crate::broker::nats::{Reachability, TierStream, try_connect};
use crate::domain::{SourceId, SubjectPattern, Tier};
use crate::plan::{
    Broker, DeadLetters, Examined, JetStream, Kafka, Nats, NatsMode, Plan, Source, Start, Topic,
};
use crate::source::nats::Durable;
use crate::store::nats::letter_stream::{Found, find};

/// A broker may take so long to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// One thing that was found at a broker.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(in crate::cli) struct Finding {
    /// The source whose broker it is.
    pub(super) source: String,
    /// Whether it has to be mended.
    pub(super) fault: bool,
    /// What it is, with the remedy.
    pub(super) says: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Finding { source, fault, says } = self;
        write!(f, "sources.{source}: {}{says}", if *fault { "fault: " } else { "" })
    }
}

/// What is found so far of one source.
struct Findings<'a> {
    source: &'a str,
    found: Vec<Finding>,
}

impl Findings<'_> {
    fn add(&mut self, fault: bool, says: String) {
        self.found.push(Finding { source: self.source.to_owned(), fault, says });
    }

    fn fine(&mut self, says: String) {
        self.add(false, says);
    }

    fn fault(&mut self, says: String) {
        self.add(true, says);
    }
}

/// Looks at the brokers of all sources, one after the other. What may not be shown is masked.
pub(super) fn look(examined: &Examined) -> Vec<Finding> {
    let Examined { plan, concealed, .. } = examined;
    let look = |(source, id): (&Source, SourceId)| {
        let mut findings = Findings { source: &source.name, found: Vec::new() };
        let keeps = plan.sources.iter().any(|other| other.store == id);
        let letters = keeps.then_some(&plan.dead_letters);
        match &source.broker {
            Broker::Kafka(kafka) => look_at_kafka(plan, source, kafka, letters, &mut findings),
            Broker::Nats(nats) => {
                let targets =
                    plan.ordered_targets(id).filter_map(|target| plan.targets.get(target.0 as usize));
                let ordered: Vec<&str> = targets.map(|target| &*target.name).collect();
                look_at_nats(nats, &ordered, keeps.then_some(plan), &mut findings);
            }
        }
        findings.found.iter_mut().for_each(|finding| finding.says = concealed.mask(&finding.says));
        findings.found
    };
    plan.sources.iter().zip((0..).map(SourceId)).flat_map(look).collect()
}

fn look_at_kafka(
    plan: &Plan,
    source: &Source,
    kafka: &Kafka,
    letters: Option<&DeadLetters>,
    findings: &mut Findings<'_>,
) {
    let brokers = &kafka.brokers;
    let config = Connection::new(plan, source, kafka).observer();
    let observer: BaseConsumer = match config.create() {
        Ok(observer) => observer,
        Err(error) => return findings.fault(format!("the Kafka client can't be made: {}", refusal(&error))),
    };
    let metadata = match observer.fetch_metadata(None, PATIENCE) {
        Ok(metadata) => metadata,
        Err(error) => {
            return findings.fault(format!(
                "the Kafka brokers {brokers} do not answer ({error}); check `brokers`, the network and \
                 `security.protocol`"
            ));
        }
    };
    for topic in &kafka.topics {
        match topic {
            Topic::Name(name) => match partitions(&observer, name) {
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
        match partitions(&observer, name) {
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
fn partitions(observer: &BaseConsumer, name: &str) -> Result<Option<usize>, String> {
    use RDKafkaRespErr::{RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC, RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART};
    let metadata = observer
        .fetch_metadata(Some(name), PATIENCE)
        .map_err(|error| format!("the brokers do not answer for the topic {name}: {error}"))?;
    let Some(topic) = metadata.topics().iter().find(|topic| topic.name() == name) else { return Ok(None) };
    match topic.error() {
        None => Ok(Some(topic.partitions().len())),
        Some(RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART | RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC) => Ok(None),
        Some(error) => {
            let reason = RDKafkaErrorCode::from(error);
            Err(format!("the topic {name} can't be used: {reason}; check its name and what we are permitted"))
        }
    }
}

fn look_at_nats(nats: &Nats, ordered: &[&str], kept: Option<&Plan>, findings: &mut Findings<'_>) {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(fault) => return findings.fault(format!("no connection can be made: {fault}")),
    };
    runtime.block_on(async {
        let reachability = Arc::new(Reachability::new(findings.source, &nats.servers));
        let connecting = try_connect("hookferry-check", nats, &reachability);
        let servers = nats.servers.join(", ");
        let client = match tokio::time::timeout(PATIENCE, connecting).await {
            Ok(Ok(link)) => link.client,
            Ok(Err(reason)) => {
                return findings.fault(format!("the NATS servers {servers} can't be used: {reason}"));
            }
            Err(_) => return findings.fault(format!("the NATS servers {servers} do not answer")),
        };
        let version = client.server_info().version;
        findings.fine(format!("the NATS servers {servers} answer, version {version}"));
        let jetstream = jetstream::new(client.clone());
        match &nats.mode {
            NatsMode::Core { .. } => {
                findings.fine("core NATS: each message is delivered at most once".to_owned());
            }
            NatsMode::JetStream(settings) => {
                if nats.subjects.len() > 1 && !client.is_server_compatible(2, 10, 0) {
                    findings.fault(format!(
                        "version {version} knows one subject for a durable only; use 2.10 or later, or one subject"
                    ));
                }
                look_at_stream(&jetstream, settings, &nats.subjects, ordered, findings).await;
            }
        }
        if let Some(plan) = kept {
            look_at_letters(&jetstream, &plan.dead_letters, findings).await;
            look_at_tiers(&jetstream, &TierStream::new(plan), findings).await;
        }
    });
}

async fn look_at_letters(context: &jetstream::Context, letters: &DeadLetters, findings: &mut Findings<'_>) {
    let DeadLetters { stream, subject, .. } = letters;
    match find(context, letters).await {
        Err(reason) => findings.fault(reason),
        Ok(Found::There) => findings.fine(format!("the stream {stream} for dead letters is there")),
        // Two streams can't take the same subjects, so that ours could not be made.
        Ok(Found::Missing) => match context.stream_by_subject(format!("{subject}.>")).await {
            Ok(other) => findings.fault(format!(
                "the stream {stream} for dead letters can't be made: the stream {other} takes {subject}.> or a part of \
                 it; choose another `dead_letters.subject`"
            )),
            Err(_) => findings
                .fine(format!("the stream {stream} for dead letters will be created, if that is allowed")),
        },
    }
}

async fn look_at_tiers(context: &jetstream::Context, tiers: &TierStream, findings: &mut Findings<'_>) {
    let name = tiers.name();
    match tiers.find(context).await {
        Err(reason) => findings.fault(reason),
        Ok(Some(_)) => findings.fine(format!("the stream {name} of the retry tiers is there")),
        Ok(None) => findings.fine(format!(
            "the stream {name} of the retry tiers will be created, if that is allowed; else with: {}",
            tiers.command()
        )),
    }
}

async fn look_at_stream(
    context: &jetstream::Context,
    settings: &JetStream,
    subjects: &[SubjectPattern],
    ordered: &[&str],
    findings: &mut Findings<'_>,
) {
    let durable = Durable::new(settings, subjects);
    let stream = match durable.stream(context).await {
        Ok(stream) => stream,
        Err(trouble) => return findings.fault(trouble.text().to_owned()),
    };
    let info = stream.cached_info();
    judge_stream(&info.config, settings, subjects, findings);
    judge_order(&info.config, ordered, findings);
    match durable.found(&stream).await {
        Err(trouble) => findings.fault(trouble.text().to_owned()),
        Ok(Some(found)) => match durable.judge(&found.config) {
            Err(trouble) => findings.fault(trouble.text().to_owned()),
            Ok(()) => findings.fine(format!(
                "the durable {} is there; {} messages wait, {} are open",
                settings.durable, found.num_pending, found.num_ack_pending
            )),
        },
        Ok(None) => {
            let sends = first_sent(&info.config, info.state.messages, settings.start, subjects);
            findings
                .fine(format!("the first start makes the durable {} and sends {sends}", settings.durable));
            if info.config.retention == stream::RetentionPolicy::Interest {
                findings.fine(format!(
                    "the stream {} keeps messages only while a consumer wants them: what is published before the \
                     durable exists is not kept for it",
                    info.config.name
                ));
            }
        }
    }
}

/// Which of a stream's messages a durable gets that has to be made.
fn first_sent(config: &stream::Config, messages: u64, start: Start, subjects: &[SubjectPattern]) -> String {
    let ours = |subject: &String| subjects.iter().any(|own| own.as_str() == subject);
    let takes_all = subjects.iter().any(|own| own.as_str() == ">")
        || (lists_all(config) && config.subjects.iter().all(ours));
    let up_to = if takes_all { "" } else { "up to " };
    match start {
        Start::Latest => {
            format!("none of the {messages} messages that are there (`start: earliest` would)")
        }
        Start::Earliest => format!("{up_to}{messages} messages"),
        Start::Ago(_) | Start::At(_) => {
            format!("{up_to}{messages} messages, less those that are older than `start`")
        }
    }
}

/// Whether a stream takes only the subjects that it lists: a mirror, and one made of sources, do not.
fn lists_all(config: &stream::Config) -> bool {
    config.mirror.is_none() && config.sources.as_ref().is_none_or(Vec::is_empty)
}

/// What the kind of a stream means for its reader.
fn judge_stream(
    config: &stream::Config,
    settings: &JetStream,
    subjects: &[SubjectPattern],
    findings: &mut Findings<'_>,
) {
    let name = &config.name;
    let theirs = || config.subjects.iter().filter_map(|subject| subject.parse::<SubjectPattern>().ok());
    for subject in subjects {
        if lists_all(config) && !theirs().any(|own| own.overlaps(subject)) {
            findings.fault(format!(
                "the stream {name} takes no {subject}; it takes {}",
                config.subjects.join(" ")
            ));
        }
    }
    if !lists_all(config) {
        let what = if config.mirror.is_some() { "is a mirror" } else { "has sources" };
        findings.fine(format!(
            "the stream {name} {what}: messages come when it has them, later than to the origin"
        ));
    }
    match config.retention {
        stream::RetentionPolicy::WorkQueue if settings.start != Start::Earliest => findings.fault(format!(
            "the stream {name} is a work queue, which has no messages to skip; write `start: earliest`"
        )),
        stream::RetentionPolicy::WorkQueue => findings.fine(format!(
            "the stream {name} is a work queue: a message is deleted when all of its deliveries have ended"
        )),
        stream::RetentionPolicy::Interest | stream::RetentionPolicy::Limits => {}
    }
}

/// A work queue has no room for the durables that ordered targets need beside the shared one.
fn judge_order(config: &stream::Config, ordered: &[&str], findings: &mut Findings<'_>) {
    if config.retention != stream::RetentionPolicy::WorkQueue {
        return;
    }
    for target in ordered {
        findings.fault(format!(
            "the target {target} is ordered and needs a durable of its own, and the stream {} is a work queue, \
             which gives each message to one durable only: take `ordering` out, or read a stream with another \
             retention",
            config.name
        ));
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

    fn judged(change: impl FnOnce(&mut stream::Config, &mut JetStream)) -> Vec<String> {
        let mut config = stream::Config {
            name: "S".to_owned(),
            subjects: vec!["a.>".to_owned()],
            ..stream::Config::default()
        };
        let mut settings = JetStream {
            stream: "S".to_owned(),
            durable: "d".to_owned(),
            start: Start::Latest,
            ack_wait: Duration::from_secs(60),
            max_ack_pending: 10,
        };
        change(&mut config, &mut settings);
        let mut findings = Findings { source: "s", found: Vec::new() };
        judge_stream(&config, &settings, &["a.b".parse().expect("a subject")], &mut findings);
        findings.found.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_stream_that_can_not_be_read_so_is_a_fault() {
        assert!(judged(|_, _| {}).is_empty());
        assert_eq!(
            judged(|config, _| config.subjects = vec!["b.>".to_owned()]),
            ["sources.s: fault: the stream S takes no a.b; it takes b.>"]
        );
        let queue = |config: &mut stream::Config| config.retention = stream::RetentionPolicy::WorkQueue;
        assert!(judged(|config, _| queue(config))[0].contains("write `start: earliest`"));
        let earliest = judged(|config, settings| {
            queue(config);
            settings.start = Start::Earliest;
        });
        assert!(!earliest[0].contains("fault"), "{earliest:?}");
    }

    #[test]
    fn a_stream_that_gets_its_messages_from_others_lists_no_subjects() {
        let origin = || stream::Source { name: "O".to_owned(), ..stream::Source::default() };

        let mirror = judged(|config, _| {
            (config.subjects, config.mirror) = (Vec::new(), Some(origin()));
        });
        let sourced = judged(|config, _| {
            (config.subjects, config.sources) = (vec!["b".to_owned()], Some(vec![origin()]));
        });

        assert!(
            matches!(&mirror[..], [only] if only.starts_with("sources.s: the stream S is a mirror")),
            "{mirror:?}"
        );
        assert!(
            matches!(&sourced[..], [only] if only.starts_with("sources.s: the stream S has sources")),
            "{sourced:?}"
        );
    }

    #[test]
    fn a_first_start_sends_at_most_what_the_stream_holds() {
        let config = stream::Config { subjects: vec!["a.>".to_owned()], ..stream::Config::default() };
        let sent =
            |start, subject: &str| first_sent(&config, 7, start, &[subject.parse().expect("a subject")]);

        assert_eq!(sent(Start::Earliest, "a.>"), "7 messages");
        assert_eq!(sent(Start::Earliest, ">"), "7 messages");
        assert_eq!(sent(Start::Earliest, "a.b"), "up to 7 messages");
        assert!(sent(Start::Latest, "a.>").starts_with("none of the 7 messages"));
        assert!(sent(Start::At(0), "a.>").starts_with("7 messages, less those that are older"));
    }

    #[test]
    fn a_broker_that_is_not_there_is_a_fault_with_its_address() {
        let free = std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        let address = free.expect("a free port").to_string();
        let nats = Nats {
            servers: vec![address.clone()],
            subjects: Vec::new(),
            mode: NatsMode::Core { queue: "q".to_owned() },
            tls: None,
            login: crate::plan::NatsLogin::Anonymous,
        };
        let mut findings = Findings { source: "s", found: Vec::new() };

        look_at_nats(&nats, &[], None, &mut findings);

        let [found] = &findings.found[..] else { panic!("{:?}", findings.found) };
        assert!(found.fault && found.says.contains(&address), "{found}");
    }
}
