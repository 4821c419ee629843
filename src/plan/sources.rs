//! `sources`.

use std::time::Duration;

use jiff::Timestamp;
use regex::Regex;

use super::places::event_parts;
use super::properties::properties;
use super::types::{EventParts, Kafka, Source, Start, Tombstones, Topic};
use super::units;
use super::walk::{Item, Keys};

/// Reads one source whose layers are all laid.
pub(super) fn source(item: &Item<'_>, name: &str) -> Source {
    let mut keys = item.keys();
    keys.later(&["nats", "store"]);
    let kafka = keys.require("kafka", "write `kafka: { brokers: …, topics: […] }`").map(|item| kafka(&item));
    let choices = [
        ("ignore", Tombstones::Ignore),
        ("deliver", Tombstones::Deliver),
        ("dead_letter", Tombstones::DeadLetter),
    ];
    let source = Source {
        name: name.to_owned(),
        kafka: kafka.unwrap_or_else(|| Kafka {
            brokers: String::new(),
            topics: Vec::new(),
            group: String::new(),
            start: Start::Latest,
            properties: Vec::new(),
        }),
        tombstones: keys.get("tombstones").map_or(Tombstones::Ignore, |item| item.choice(&choices)),
        event: keys.get("event").map_or_else(EventParts::default, |item| event_parts(&item)),
    };
    keys.done();
    source
}

fn kafka(item: &Item<'_>) -> Kafka {
    let mut keys = item.keys();
    let kafka = Kafka {
        brokers: brokers(&mut keys),
        topics: topics(&mut keys),
        group: keys.get("group").map_or_else(String::new, |item| item.nonempty()),
        start: keys.get("start").map_or(Start::Latest, |item| start(&item)),
        properties: keys.get("properties").map(|item| properties(&item)).unwrap_or_default(),
    };
    keys.done();
    kafka
}

/// `brokers`: a text or a list, as `bootstrap.servers` wants it.
fn brokers(keys: &mut Keys<'_>) -> String {
    let Some(item) = keys.require("brokers", "write for example `brokers: localhost:9092`") else {
        return String::new();
    };
    let broker = |item: &Item<'_>| {
        item.parse(String::new(), |text| {
            let parts: Vec<&str> = text.split(',').map(str::trim).collect();
            let wrong = |part: &&str| part.is_empty() || part.contains(char::is_whitespace);
            match parts.iter().any(wrong) {
                true => Err("a broker is written `host:port`, several with commas or as a list".to_owned()),
                false => Ok(parts.join(",")),
            }
        })
    };
    let elements = item.elements();
    if elements.is_empty() {
        item.fault("at least one broker is needed; write for example `localhost:9092`");
    }
    elements.iter().map(broker).collect::<Vec<_>>().join(",")
}

fn topics(keys: &mut Keys<'_>) -> Vec<Topic> {
    let Some(item) = keys.require("topics", "write for example `topics: [events]`") else {
        return Vec::new();
    };
    let elements = item.elements();
    if elements.is_empty() {
        item.fault("at least one topic is needed; write for example `topics: [events]`");
    }
    elements.iter().map(|item| item.parse(Topic::Name(String::new()), topic)).collect()
}

/// A name, or a regular expression that starts with `^`.
fn topic(text: &str) -> Result<Topic, String> {
    match text.starts_with('^') {
        true => match Regex::new(text) {
            Ok(_) => Ok(Topic::Regex(text.to_owned())),
            Err(_) => Err("the regular expression can't be compiled".to_owned()),
        },
        false => units::topic(text).map(Topic::Name),
    }
}

fn start(item: &Item<'_>) -> Start {
    let quoted = item.quoted();
    item.parse(Start::Latest, |text| match (text, units::duration(text), text.parse::<Timestamp>()) {
        ("latest", ..) => Ok(Start::Latest),
        ("earliest", ..) => Ok(Start::Earliest),
        (_, Some(Duration::ZERO), _) => Ok(Start::Latest),
        (_, Some(ago), _) => Ok(Start::Ago(ago)),
        (_, _, Ok(time)) => Ok(Start::At(time.as_millisecond())),
        _ => Err(format!(
            "{quoted} is not possible here; write `latest`, `earliest`, a duration such as `2h`, or a time such \
             as `2026-01-31T12:00:00Z`"
        )),
    })
}
