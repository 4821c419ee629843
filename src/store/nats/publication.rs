use std::str::FromStr;

use async_nats::header::{HeaderName, HeaderValue, NATS_MESSAGE_ID};
use async_nats::{HeaderMap, Subject};
use bytes::Bytes;
use sha2::{Digest, Sha256};

use crate::broker::tier_record::{HEADER, TierRecord};
use crate::domain::{DeadLetter, Event, Kind, Move};
use crate::plan::Plan;
use crate::store::Write;
use crate::store::record::Record;

/// Ends the subject of an event's own dead letter. No target can have this name.
pub(super) const OF_THE_EVENT: &str = "_event";
/// Headers that mean something to the server: those of the original are not repeated.
pub(super) const SERVERS_OWN: &str = "nats-";

/// A dead letter, or a delivery that is moved to a retry tier, as it is published.
#[derive(Debug)]
pub(super) struct Publication {
    pub(super) subject: Subject,
    pub(super) headers: HeaderMap,
    pub(super) payload: Bytes,
}

impl Publication {
    pub(super) fn new(plan: &Plan, write: &Write) -> Publication {
        match write {
            Write::Letter(letter) => Publication::letter(plan, letter),
            Write::Move(moved) => Publication::moved(plan, moved),
        }
    }

    fn letter(plan: &Plan, letter: &DeadLetter) -> Publication {
        let unknown = letter.unknown.as_ref().and_then(|waiting| waiting.target.as_deref());
        let target = letter.target_name.as_deref().or(unknown.filter(|name| is_token(name)));
        let target = target.unwrap_or(OF_THE_EVENT);
        let Record { key, value, headers: said } = Record::new(plan, letter);
        let mut headers = HeaderMap::new();
        let mut dropped = false;
        for (name, value) in &said {
            dropped |= !append(&mut headers, name, value);
        }
        if let Some(key) = key {
            // A Kafka record's key has no other place here.
            dropped |= !append(&mut headers, "hookferry-key", &key);
        }
        if dropped {
            headers.insert("hookferry-headers", "partial");
        }
        headers.insert(NATS_MESSAGE_ID, letter_id(target, letter));
        Publication {
            subject: format!("{}.{target}", plan.dead_letters.subject).into(),
            headers,
            payload: value.unwrap_or_default(),
        }
    }

    fn moved(plan: &Plan, moved: &Move) -> Publication {
        let event = &moved.event;
        let source = plan.sources.get(usize::from(event.source.0)).map_or("", |source| &source.name);
        let mut headers = HeaderMap::new();
        // JSON on one line is always a header's value.
        append(&mut headers, HEADER, TierRecord::new(source, moved).encode().as_bytes());
        headers.insert(NATS_MESSAGE_ID, move_id(moved));
        Publication {
            subject: plan.tier_subject(moved.waiting.tier).into(),
            headers,
            payload: if event.kind == Kind::Tombstone { Bytes::new() } else { event.body.clone() },
        }
    }
}

/// Whether a name that stood in a record can be part of a subject.
fn is_token(name: &str) -> bool {
    name.len() <= 63 && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte))
}

/// Adds a header, if NATS can hold it.
fn append(headers: &mut HeaderMap, name: &str, value: &[u8]) -> bool {
    if name.get(..SERVERS_OWN.len()).is_some_and(|start| start.eq_ignore_ascii_case(SERVERS_OWN)) {
        return true;
    }
    let name = HeaderName::from_str(name);
    let value = std::str::from_utf8(value).ok().and_then(|value| HeaderValue::from_str(value).ok());
    match (name, value) {
        (Ok(name), Some(value)) => {
            headers.append(name, value);
            true
        }
        _ => false,
    }
}

/// What tells a dead letter from others while the stream looks for duplicates: the event's id alone
/// would swallow a second target's.
fn letter_id(target: &str, letter: &DeadLetter) -> String {
    let attempts = letter.attempts.to_string();
    let shape = format!("{}{}", letter.omit_value, letter.omit_headers);
    // A redriven delivery that fails again must not pass for its earlier letter, which is gone by then.
    let resumed = letter.resumed_ms.map_or_else(String::new, |time_ms| time_ms.to_string());
    message_id(&letter.event, &[target, letter.reason.as_str(), &attempts, &shape, &resumed])
}

/// What tells a move from others: an event may be moved for several targets, and each delivery often.
fn move_id(moved: &Move) -> String {
    let waiting = &moved.waiting;
    let target = waiting.target.as_deref().unwrap_or(OF_THE_EVENT);
    // When the delivery began tells a redriven one from what it was before.
    let [attempts, moves, first] =
        [waiting.attempts.to_string(), waiting.moves.to_string(), waiting.first_ms.to_string()];
    message_id(&moved.event, &["move", target, &attempts, &moves, &first])
}

fn message_id(event: &Event, parts: &[&str]) -> String {
    let mut sha = Sha256::new();
    // Two messages may have the same id of their own.
    let origin = format!("{} {}", event.origin, event.origin.stored_ms);
    for part in [&*event.id, &origin].iter().chain(parts) {
        sha.update((part.len() as u64).to_be_bytes());
        sha.update(part.as_bytes());
    }
    sha.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_holds_the_record_of_a_move() {
        let mut headers = HeaderMap::new();
        let record = r#"{"v":1,"event":{"headers":[["a","b\r\n\u0000"],["ü","ö"]]}}"#;
        assert!(append(&mut headers, HEADER, record.as_bytes()));
        assert_eq!(headers.get(HEADER).map(HeaderValue::as_str), Some(record));
    }
}
