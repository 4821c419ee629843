//! `sources.NAME.kafka`.

use regex::Regex;
use secrecy::SecretString;

use super::properties::properties;
use super::sources::{Start, start};
use super::units;
use super::walk::{Item, Keys};

/// `sources.NAME.kafka`.
#[derive(Debug, Clone)]
pub struct Kafka {
    /// Comma-separated `bootstrap.servers`.
    pub brokers: String,
    /// What is read.
    pub topics: Vec<Topic>,
    /// The consumer group.
    pub group: String,
    /// Where a group without any commit starts.
    pub start: Start,
    /// librdkafka properties; values may be secrets.
    pub properties: Vec<(String, SecretString)>,
}

/// One entry of `topics`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Topic {
    /// By its exact name.
    Name(String),
    /// A regular expression; starts with `^`.
    Regex(String),
}

/// Reads `kafka`.
pub(super) fn kafka(item: &Item<'_>) -> Kafka {
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
        true => {
            posix(text)?;
            Regex::new(text).map(|_| Topic::Regex(text.to_owned())).map_err(|error| {
                // The last line is the reason; those above it show the expression.
                let text = error.to_string();
                let reason = text.lines().last().unwrap_or_default().trim_start_matches("error: ");
                format!("the regular expression can't be compiled: {reason}")
            })
        }
        false => units::topic(text).map(Topic::Name),
    }
}

/// Refuses what librdkafka would read otherwise: it matches topics by POSIX extended regular
/// expressions, which know no classes such as `\d` and no groups such as `(?:…)`.
fn posix(expression: &str) -> Result<(), String> {
    let mut characters = expression.chars().peekable();
    while let Some(character) = characters.next() {
        match (character, characters.peek()) {
            ('\\', Some('d')) => return Err("`\\d` is not possible here; write `[0-9]`".to_owned()),
            ('\\', Some('D')) => return Err("`\\D` is not possible here; write `[^0-9]`".to_owned()),
            ('\\', Some('w')) => return Err("`\\w` is not possible here; write `[a-zA-Z0-9_]`".to_owned()),
            ('\\', Some('W')) => return Err("`\\W` is not possible here; write `[^a-zA-Z0-9_]`".to_owned()),
            ('\\', Some(next)) if next.is_ascii_alphanumeric() => {
                return Err(
                    "a `\\` before a letter or digit is not possible here; write the characters that \
                            are meant, such as `[0-9]` or `[a-z]`"
                        .to_owned(),
                );
            }
            ('\\', Some(_)) => drop(characters.next()),
            ('(', Some('?')) => {
                return Err("`(?` is not possible here; write a plain group, `(a|b)`".to_owned());
            }
            _ => {}
        }
    }
    Ok(())
}
