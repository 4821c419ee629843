//! `check --connect`: a look at the brokers of a valid plan. Nothing is made or altered there.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::{self, stream};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::types::RDKafkaRespErr;
use serde::Serialize;

use crate::broker::kafka::{Connection, refusal};
use crate::broker::nats::{Reachability, try_connect};
use crate::domain::SubjectPattern;
use crate::plan::{Broker, JetStream, Kafka, Nats, NatsMode, Plan, Source, Start, Topic};
use crate::source::nats::{Durable, Trouble};

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

/// Looks at the brokers of all sources, one after the other.
pub(super) fn look(plan: &Plan) -> Vec<Finding> {
    let look = |source: &Source| {
        let mut findings = Findings { source: &source.name, found: Vec::new() };
        match &source.broker {
            Broker::Kafka(kafka) => look_at_kafka(plan, source, kafka, &mut findings),
            Broker::Nats(nats) => look_at_nats(nats, &mut findings),
        }
        findings.found
    };
    plan.sources.iter().flat_map(look).collect()
}

fn look_at_kafka(plan: &Plan, source: &Source, kafka: &Kafka, findings: &mut Findings<'_>) {
    let brokers = &kafka.brokers;
    let observer: BaseConsumer = match Connection::new(plan, source, kafka).observer().create() {
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
    let partitions = |name: &str| {
        let found = metadata.topics().iter().find(|topic| topic.name() == name);
        found.filter(|topic| topic.error() != Some(UNKNOWN)).map(|topic| topic.partitions().len())
    };
    for topic in &kafka.topics {
        match topic {
            Topic::Name(name) => match partitions(name) {
                Some(count) => findings.fine(format!("the topic {name} is there, with {count} partitions")),
                None => findings.fault(format!(
                    "the topic {name} does not exist; create it, for example with: kafka-topics.sh \
                     --bootstrap-server {brokers} --create --topic {name} --partitions 12"
                )),
            },
            Topic::Regex(pattern) => {
                // The plan has compiled it before.
                let Ok(compiled) = regex::Regex::new(pattern) else { continue };
                let count = metadata.topics().iter().filter(|topic| compiled.is_match(topic.name())).count();
                findings.fine(format!("{count} topics match {pattern}"));
            }
        }
    }
    let letters = &plan.dead_letters.topic;
    findings.fine(match partitions(letters) {
        Some(_) => format!("the topic {letters} for dead letters is there"),
        None => format!("the topic {letters} for dead letters will be created"),
    });
}

const UNKNOWN: RDKafkaRespErr = RDKafkaRespErr::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART;

fn look_at_nats(nats: &Nats, findings: &mut Findings<'_>) {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(fault) => return findings.fault(format!("no connection can be made: {fault}")),
    };
    runtime.block_on(async {
        let reachability = Arc::new(Reachability::new(findings.source, &nats.servers));
        let connecting = try_connect("hookferry-check", nats, &reachability);
        let servers = nats.servers.join(", ");
        let client = match tokio::time::timeout(PATIENCE, connecting).await {
            Ok(Ok(client)) => client,
            Ok(Err(reason)) => {
                return findings.fault(format!("the NATS servers {servers} can't be used: {reason}"));
            }
            Err(_) => return findings.fault(format!("the NATS servers {servers} do not answer")),
        };
        let version = client.server_info().version;
        findings.fine(format!("the NATS servers {servers} answer, version {version}"));
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
                look_at_stream(&jetstream::new(client), settings, &nats.subjects, findings).await;
            }
        }
    });
}

async fn look_at_stream(
    context: &jetstream::Context,
    settings: &JetStream,
    subjects: &[SubjectPattern],
    findings: &mut Findings<'_>,
) {
    let durable = Durable::new(settings, subjects);
    let trouble = |trouble: Trouble| trouble.text().to_owned();
    let stream = match durable.stream(context).await {
        Ok(stream) => stream,
        Err(refused) => return findings.fault(trouble(refused)),
    };
    let info = stream.cached_info();
    judge_stream(&info.config, settings, subjects, findings);
    match durable.found(&stream).await {
        Err(refused) => findings.fault(trouble(refused)),
        Ok(Some(found)) => match durable.judge(&found.config) {
            Err(refused) => findings.fault(trouble(refused)),
            Ok(()) => findings.fine(format!(
                "the durable {} is there; {} messages wait, {} are open",
                settings.durable, found.num_pending, found.num_ack_pending
            )),
        },
        Ok(None) => {
            let all = info.state.messages;
            findings.fine(match settings.start {
                Start::Latest => {
                    format!("the first start makes the durable {} and sends none of the {all} messages that are there \
                             (`start: earliest` would)", settings.durable)
                }
                Start::Earliest => {
                    format!("the first start makes the durable {} and sends up to {all} messages", settings.durable)
                }
                Start::Ago(_) | Start::At(_) => format!(
                    "the first start makes the durable {} and sends those of the {all} messages that are not older than \
                     `start`",
                    settings.durable
                ),
            });
        }
    }
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
        // A mirror, and a stream made of sources, has subjects that it does not list.
        let listed = config.mirror.is_none() && config.sources.as_ref().is_none_or(Vec::is_empty);
        if listed && !theirs().any(|own| own.overlaps(subject)) {
            findings.fault(format!(
                "the stream {name} takes no {subject}; it takes {}",
                config.subjects.join(" ")
            ));
        }
    }
    if config.mirror.is_some() {
        findings.fine(format!("the stream {name} is a mirror: messages come when it has them"));
    }
    match config.retention {
        stream::RetentionPolicy::WorkQueue if settings.start != Start::Earliest => findings.fault(format!(
            "the stream {name} is a work queue, which has no messages to skip; write `start: earliest`"
        )),
        stream::RetentionPolicy::WorkQueue => findings.fine(format!(
            "the stream {name} is a work queue: a message is deleted when all of its deliveries have ended"
        )),
        stream::RetentionPolicy::Interest => findings.fine(format!(
            "the stream {name} keeps messages only while a consumer wants them: those from before the first start are \
             gone"
        )),
        stream::RetentionPolicy::Limits => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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

        look_at_nats(&nats, &mut findings);

        let [found] = &findings.found[..] else { panic!("{:?}", findings.found) };
        assert!(found.fault && found.says.contains(&address), "{found}");
    }
}
