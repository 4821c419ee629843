use std::str::FromStr;

use async_nats::header::{HeaderName, HeaderValue, NATS_MESSAGE_ID};
use async_nats::{HeaderMap, Subject};
use bytes::Bytes;
use sha2::{Digest, Sha256};

use crate::domain::DeadLetter;
use crate::plan::Plan;
use crate::store::record::Record;

/// Ends the subject of an event's own dead letter. No target can have this name.
pub(super) const OF_THE_EVENT: &str = "_event";
/// Headers that mean something to the server: those of the original are not repeated.
pub(super) const SERVERS_OWN: &str = "nats-";

/// A dead letter as it is published.
#[derive(Debug)]
pub(super) struct Letter {
    pub(super) subject: Subject,
    pub(super) headers: HeaderMap,
    pub(super) payload: Bytes,
}

impl Letter {
    pub(super) fn new(plan: &Plan, letter: &DeadLetter) -> Letter {
        let target = letter.target.and_then(|target| plan.targets.get(usize::try_from(target.0).ok()?));
        let unknown = letter.unknown.as_ref().and_then(|waiting| waiting.target.as_deref());
        let target = target.map(|target| &*target.name).or(unknown.filter(|name| is_token(name)));
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
        headers.insert(NATS_MESSAGE_ID, message_id(target, letter));
        Letter {
            subject: format!("{}.{target}", plan.dead_letters.subject).into(),
            headers,
            payload: value.unwrap_or_default(),
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
fn message_id(target: &str, letter: &DeadLetter) -> String {
    let mut sha = Sha256::new();
    let attempts = letter.attempts.to_string();
    let shape = format!("{}{}", letter.omit_value, letter.omit_headers);
    // Two messages may have the same id of their own.
    let origin = format!("{} {}", letter.event.origin, letter.event.origin.stored_ms);
    for part in [&*letter.event.id, &origin, target, letter.reason.as_str(), &attempts, &shape] {
        sha.update((part.len() as u64).to_be_bytes());
        sha.update(part.as_bytes());
    }
    sha.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}
