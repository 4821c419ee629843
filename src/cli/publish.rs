use std::io::Read;
use std::path::Path;
use std::time::Duration;

use regex::Regex;
use serde_json::value::RawValue;

use super::arguments::{Format, Order};
use super::{Exit, answer, complain};
use crate::plan::{Broker, Plan, Source, Topic};

mod kafka;
mod nats;

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
    Creation(String),
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

/// The topic or subject that is meant: the named one, else the only one that is no pattern.
fn chosen_topic<'a>(source: &'a Source, name: Option<&'a str>) -> Result<&'a str, InputFault> {
    let (what, literal) = match &source.broker {
        Broker::Kafka(kafka) => ("topic", kafka::literal_topics(kafka)),
        Broker::Nats(nats) => ("subject", nats::literal_subjects(nats)),
    };
    match (name, &*literal) {
        (Some(name), _) => Ok(name),
        (None, [topic]) => Ok(topic),
        (None, []) => Err(InputFault::Choice(format!(
            "source {} reads {what}s by a pattern only; say with --{what} which one is meant",
            source.name
        ))),
        (None, several) => Err(InputFault::Choice(format!(
            "source {} reads several {what}s; say with --{what} which one is meant: {}",
            source.name,
            several.join(", ")
        ))),
    }
}

/// Whether a source reads a topic or subject.
fn reads(source: &Source, topic: &str) -> bool {
    match &source.broker {
        Broker::Kafka(kafka) => kafka.topics.iter().any(|known| match known {
            Topic::Name(name) => name == topic,
            // The plan has compiled it before.
            Topic::Regex(pattern) => Regex::new(pattern).is_ok_and(|pattern| pattern.is_match(topic)),
        }),
        Broker::Nats(nats) => nats.subjects.iter().any(|pattern| pattern.takes(topic)),
    }
}

fn produce(
    source: &Source,
    topic: &str,
    order: &Order,
    events: &[Box<RawValue>],
) -> Result<Tally, ProducerFault> {
    match &source.broker {
        Broker::Kafka(kafka) => kafka::produce(kafka, topic, order, events),
        Broker::Nats(nats) => nats::produce(nats, topic, order, events),
    }
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
}

impl Tally {
    fn fail(&mut self, cause: &impl ToString) {
        self.failed += 1;
        self.first_failure.get_or_insert_with(|| cause.to_string());
    }
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

    fn topics(source: &mut Source) -> &mut Vec<Topic> {
        match &mut source.broker {
            Broker::Kafka(kafka) => &mut kafka.topics,
            Broker::Nats(_) => panic!("a source of Kafka"),
        }
    }

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
        topics(&mut source).push(Topic::Regex("^billing".to_owned()));
        assert_eq!(chosen_topic(&source, None), Ok("events"));
        topics(&mut source).push(Topic::Name("more".to_owned()));
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
        topics(&mut source).push(Topic::Regex("^bill".to_owned()));
        assert!(reads(&source, "events") && reads(&source, "billing"));
        assert!(!reads(&source, "event") && !reads(&source, "a.bill"));
    }

    #[test]
    fn the_source_is_the_only_one_or_named() {
        let plan = crate::observe::testing::plan();
        assert!(chosen_source(&plan, None).is_ok());
        let unknown = chosen_source(&plan, Some("order")).expect_err("no such source");
        assert_eq!(unknown, "--source order: there is no such source; there are: orders");
    }
}
