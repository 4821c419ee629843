use std::io::Read;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rdkafka::ClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer, ProducerContext};
use regex::Regex;
use secrecy::ExposeSecret;
use serde_json::value::RawValue;

use super::arguments::{Format, Order};
use super::{Exit, answer, complain};
use crate::plan::{Plan, Source, Topic};

/// How long a broker may take to answer at all.
const CONTACT: Duration = Duration::from_secs(10);

/// How long the broker may take to confirm everything.
const DEADLINE: Duration = Duration::from_secs(30);

/// Why nothing can be published.
#[derive(Debug, PartialEq, thiserror::Error)]
enum InputFault {
    #[error("{0}")]
    Choice(String),
    #[error("{file}: can't be read: {cause}")]
    Unreadable { file: String, cause: String },
    #[error("{file}:{line}: not JSON: {reason}; nothing was published")]
    NotJson { file: String, line: usize, reason: String },
    #[error("{file}: holds no event; nothing was published")]
    Empty { file: String },
}

/// Why nothing was published.
#[derive(Debug, thiserror::Error)]
enum ProducerFault {
    #[error("no producer can be made: {0}")]
    Creation(#[from] KafkaError),
    #[error("no broker of {brokers} answered within {} s: {cause}; nothing was published", CONTACT.as_secs())]
    Unreachable { brokers: String, cause: String },
}

/// Puts the documents of all files into a topic of a source. Everything is read and judged before
/// the first event is sent.
pub(super) fn publish(plan: &Plan, order: &Order, format: Format) -> Exit {
    let prepared = prepare(plan, order);
    let (source, topic, events) = match prepared {
        Ok(prepared) => prepared,
        Err(fault) => {
            complain(&fault);
            return Exit::BadInput;
        }
    };
    if !reads(source, topic) {
        complain(&format!("warning: the source {} does not read the topic {topic}", source.name));
    }
    match produce(source, topic, order, &events) {
        Ok(tally) => report(&tally, events.len(), topic, format),
        Err(fault) => {
            complain(&format!("sources.{}: {fault}", source.name));
            Exit::Failed
        }
    }
}

type Prepared<'a> = (&'a Source, &'a str, Vec<Box<RawValue>>);

fn prepare<'a>(plan: &'a Plan, order: &'a Order) -> Result<Prepared<'a>, InputFault> {
    let source = chosen_source(plan, order.source.as_deref()).map_err(InputFault::Choice)?;
    let topic = chosen_topic(source, order.topic.as_deref())?;
    let mut events = Vec::new();
    for file in &order.files {
        events.extend(read(file)?);
    }
    Ok((source, topic, events))
}

/// The source that is meant: the named one, else the only one.
pub(super) fn chosen_source<'a>(plan: &'a Plan, name: Option<&str>) -> Result<&'a Source, String> {
    let names = || plan.sources.iter().map(|source| &*source.name).collect::<Vec<_>>().join(", ");
    match (name, &*plan.sources) {
        (Some(name), sources) => sources
            .iter()
            .find(|source| source.name == name)
            .ok_or_else(|| format!("--source {name}: there is no such source; there are: {}", names())),
        (None, [source]) => Ok(source),
        (None, _) => Err(format!("say with --source which one is meant; there are: {}", names())),
    }
}

fn chosen_topic<'a>(source: &'a Source, name: Option<&'a str>) -> Result<&'a str, InputFault> {
    let literal: Vec<&str> = (source.kafka.topics.iter())
        .filter_map(|topic| match topic {
            Topic::Name(name) => Some(&**name),
            Topic::Regex(_) => None,
        })
        .collect();
    match (name, &*literal) {
        (Some(name), _) => Ok(name),
        (None, [topic]) => Ok(topic),
        (None, []) => Err(InputFault::Choice(format!(
            "source {} reads topics by a pattern only; say with --topic which one is meant",
            source.name
        ))),
        (None, several) => Err(InputFault::Choice(format!(
            "source {} reads several topics; say with --topic which one is meant: {}",
            source.name,
            several.join(", ")
        ))),
    }
}

/// Whether a source reads a topic.
fn reads(source: &Source, topic: &str) -> bool {
    source.kafka.topics.iter().any(|known| match known {
        Topic::Name(name) => name == topic,
        // The plan has compiled it before.
        Topic::Regex(pattern) => Regex::new(pattern).is_ok_and(|pattern| pattern.is_match(topic)),
    })
}

fn read(file: &Path) -> Result<Vec<Box<RawValue>>, InputFault> {
    let name = if file == Path::new("-") { "standard input".to_owned() } else { file.display().to_string() };
    let bytes = read_bytes(file).map_err(|cause| InputFault::Unreadable { file: name.clone(), cause })?;
    documents(&name, &bytes)
}

/// A whole file, or standard input for `-`.
pub(super) fn read_bytes(file: &Path) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let read = match file == Path::new("-") {
        true => std::io::stdin().lock().read_to_end(&mut bytes).map(drop),
        false => std::fs::read(file).map(|read| bytes = read),
    };
    read.map(|()| bytes).map_err(|cause| cause.to_string())
}

/// The JSON documents of a text, one after the other, each exactly as it is written.
fn documents(file: &str, bytes: &[u8]) -> Result<Vec<Box<RawValue>>, InputFault> {
    let not_json = |line, reason| InputFault::NotJson { file: file.to_owned(), line, reason };
    let text = std::str::from_utf8(bytes).map_err(|fault| {
        let before = bytes.get(..fault.valid_up_to()).unwrap_or_default();
        let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
        not_json(line, "the text is not UTF-8".to_owned())
    })?;
    let documents = serde_json::Deserializer::from_str(text)
        .into_iter::<Box<RawValue>>()
        .collect::<Result<Vec<_>, _>>()
        .map_err(|fault| not_json(fault.line(), fault.to_string()))?;
    if documents.is_empty() {
        return Err(InputFault::Empty { file: file.to_owned() });
    }
    Ok(documents)
}

/// What the broker said of the events so far.
#[derive(Debug, Default)]
struct Tally {
    confirmed: usize,
    failed: usize,
    first_failure: Option<String>,
    /// What the client said last about its connections.
    last_error: Option<String>,
}

impl Tally {
    fn fail(&mut self, cause: &KafkaError) {
        self.failed += 1;
        self.first_failure.get_or_insert_with(|| cause.to_string());
    }
}

/// Collects confirmations.
#[derive(Default)]
struct Confirmations(Mutex<Tally>);

impl Confirmations {
    fn update(&self, change: impl FnOnce(&mut Tally)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

impl ClientContext for Confirmations {
    /// The reason names broker and cause, for example a refused connection. That all brokers are
    /// down says less than what came before it.
    fn error(&self, error: KafkaError, reason: &str) {
        self.update(|tally| {
            let general = error.rdkafka_error_code() == Some(RDKafkaErrorCode::AllBrokersDown);
            if !general || tally.last_error.is_none() {
                tally.last_error = Some(reason.to_owned());
            }
        });
    }
}

impl ProducerContext for Confirmations {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        self.update(|tally| match result {
            Ok(_) => tally.confirmed += 1,
            Err((cause, _)) => tally.fail(cause),
        });
    }
}

fn produce(
    source: &Source,
    topic: &str,
    order: &Order,
    events: &[Box<RawValue>],
) -> Result<Tally, ProducerFault> {
    let producer: BaseProducer<Confirmations> =
        producer_config(source).create_with_context(Confirmations::default())?;
    contact(&producer, topic, &source.kafka.brokers)?;
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
    let mut tally = Tally::default();
    producer.context().update(|collected| tally = std::mem::take(collected));
    Ok(tally)
}

/// Asks for the topic, so that a broker that can't be reached is named soon.
fn contact(producer: &BaseProducer<Confirmations>, topic: &str, brokers: &str) -> Result<(), ProducerFault> {
    let Err(fault) = producer.client().fetch_metadata(Some(topic), CONTACT) else { return Ok(()) };
    // What went wrong with the connections waits in the client's queue.
    producer.poll(Duration::from_millis(100));
    let mut cause = None;
    producer.context().update(|tally| cause = tally.last_error.take());
    let cause = cause.unwrap_or_else(|| fault.to_string());
    Err(ProducerFault::Unreachable { brokers: brokers.to_owned(), cause })
}

fn producer_config(source: &Source) -> ClientConfig {
    let mut config = ClientConfig::new();
    for (name, value) in &source.kafka.properties {
        config.set(name, value.expose_secret());
    }
    config
        .set("bootstrap.servers", &source.kafka.brokers)
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
                producer.context().update(|tally| tally.fail(&cause));
                break;
            }
        }
    }
    producer.poll(Duration::ZERO);
}

fn report(tally: &Tally, events: usize, topic: &str, format: Format) -> Exit {
    let text = match format {
        Format::Text => format!("published {} of {events} events to {topic}\n", tally.confirmed),
        Format::Json => {
            let failed = events - tally.confirmed;
            format!(
                "{}\n",
                serde_json::json!({ "topic": topic, "published": tally.confirmed, "failed": failed })
            )
        }
    };
    let written = answer(&text);
    if tally.confirmed == events {
        return written;
    }
    let cause = tally.first_failure.as_deref().unwrap_or("the broker did not confirm them in time");
    complain(&format!("{} of {events} events were not confirmed: {cause}", events - tally.confirmed));
    Exit::Failed
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(input: &str) -> Result<Vec<String>, InputFault> {
        let documents = documents("events.jsonl", input.as_bytes())?;
        Ok(documents.iter().map(|document| document.get().to_owned()).collect())
    }

    fn fault(input: &[u8]) -> String {
        documents("events.jsonl", input).expect_err("bad input").to_string()
    }

    #[test]
    fn json_lines_are_one_event_each() {
        let events = texts("{\"a\":1}\n\n{\"a\": 2.50}\r\n[3]").expect("valid");
        assert_eq!(events, ["{\"a\":1}", "{\"a\": 2.50}", "[3]"]);
    }

    #[test]
    fn a_pretty_printed_document_is_one_event_with_its_bytes() {
        let pretty = "{\n  \"a\": {\n    \"b\": 1e2\n  }\n}";
        assert_eq!(texts(&format!("\n{pretty}\n")).expect("valid"), [pretty]);
    }

    #[test]
    fn bad_input_names_file_and_line() {
        let second_line = fault(b"{\"a\":1}\n{\"a\":}\n{\"a\":3}");
        assert!(second_line.starts_with("events.jsonl:2: not JSON: expected value"), "{second_line}");
        assert!(second_line.ends_with("nothing was published"), "{second_line}");
        assert!(!second_line.contains('\n'), "{second_line}");
        assert!(fault(b"{}\n{\"a\":").starts_with("events.jsonl:2: not JSON: EOF"));
        assert!(fault(b"{}\n{}\n\"\xff\"").starts_with("events.jsonl:3: not JSON: the text is not UTF-8"));
        assert_eq!(fault(b" \n"), "events.jsonl: holds no event; nothing was published");
    }

    #[test]
    fn the_topic_is_the_only_literal_one() {
        let mut source = crate::observe::testing::plan().sources.remove(0);
        assert_eq!(chosen_topic(&source, None), Ok("events"));
        source.kafka.topics.push(Topic::Regex("^billing".to_owned()));
        assert_eq!(chosen_topic(&source, None), Ok("events"));
        source.kafka.topics.push(Topic::Name("more".to_owned()));
        assert_eq!(chosen_topic(&source, Some("more")), Ok("more"));
        let several = chosen_topic(&source, None).expect_err("two topics").to_string();
        assert_eq!(
            several,
            "source orders reads several topics; say with --topic which one is meant: events, more"
        );
    }

    #[test]
    fn a_topic_is_read_by_its_name_or_by_a_pattern() {
        let mut source = crate::observe::testing::plan().sources.remove(0);
        source.kafka.topics.push(Topic::Regex("^bill".to_owned()));
        assert!(reads(&source, "events") && reads(&source, "billing"));
        assert!(!reads(&source, "event") && !reads(&source, "a.bill"));
    }

    #[test]
    fn a_broker_that_is_not_there_is_named_with_the_reason() {
        let mut source = crate::observe::testing::plan().sources.remove(0);
        // Nobody listens on a port that was given out and taken back.
        let free = std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        source.kafka.brokers = free.expect("a free port").to_string();
        let order = Order { files: Vec::new(), source: None, topic: None, key: None, headers: Vec::new() };
        let fault = produce(&source, "events", &order, &[]).expect_err("no broker").to_string();
        assert!(fault.starts_with(&format!("no broker of {} answered", source.kafka.brokers)), "{fault}");
        assert!(fault.contains("Connection refused"), "{fault}");
        assert!(fault.ends_with("; nothing was published"), "{fault}");
    }

    #[test]
    fn the_source_is_the_only_one_or_named() {
        let plan = crate::observe::testing::plan();
        assert!(chosen_source(&plan, None).is_ok());
        let unknown = chosen_source(&plan, Some("order")).expect_err("no such source");
        assert_eq!(unknown, "--source order: there is no such source; there are: orders");
    }
}
