//! `success`, `retry` and `disable_on` of a target.

use std::time::Duration;

use crate::domain::{Backoff, Exhausted, HonourRetryAfter, Jitter, RetryOn, RetryPolicy, StatusSet};

use super::merge::EXPONENTIAL;
use super::tree::{Map, Node, Value};
use super::walk::{Item, Keys};

/// The least delay before a retry that is not zero by jitter.
const LEAST_WAIT: Duration = Duration::from_millis(1);

/// Reports `schedule` beside the keys that it excludes, in a layer as the user wrote it.
pub(super) fn one_form(target: &Item<'_>) {
    let Some(retry) = target.node.as_map().and_then(|map| map.get("retry")) else { return };
    let Some(map) = retry.as_map() else { return };
    let other = EXPONENTIAL.iter().find(|key| map.get(key).is_some_and(|node| !node.is_null()));
    if let (Some(schedule), Some(other)) = (map.entry("schedule"), other) {
        let path = format!("{}.retry.schedule", target.path);
        let message = format!("`schedule` and `{other}` exclude each other; remove one of them");
        target.findings().fault(&schedule.origin, path, message);
    }
}

/// The program's own `retry` as it is laid under another one, whose form it has: a schedule of one's
/// own has no jitter unless it sets one, and `exponential` is under exponential waits.
pub(super) fn program_layer(program: &Map, exponential: Map, retry: Option<&Node>) -> Map {
    let mut layer = program.clone();
    let sets = |key: &str| retry.and_then(Node::as_map).is_some_and(|map| map.get(key).is_some());
    if sets("schedule") {
        layer.set("jitter", Node::program("none"));
    } else if EXPONENTIAL.iter().any(|key| sets(key)) {
        drop(layer.remove("schedule"));
        exponential.0.into_iter().for_each(|entry| layer.set(&entry.key, entry.node));
    }
    layer
}

/// Reads `retry` of a target whose layers are all laid.
pub(super) fn policy(retry: &Item<'_>, on_exhausted: Exhausted) -> RetryPolicy {
    let mut keys = retry.keys();
    let backoff = backoff(&mut keys);
    let policy = RetryPolicy {
        backoff,
        retry_on: keys.get("retry_on").map(|item| retry_on(&item)).unwrap_or(RetryOn {
            statuses: StatusSet::default(),
            network: false,
            timeout: false,
        }),
        retry_after: retry_after(&mut keys),
        max_age: keys.get("max_age").and_then(Item::unless_off).map(|item| item.duration(LEAST_WAIT)),
        hold: keys.get("hold").map_or(Duration::ZERO, |item| item.duration(Duration::ZERO)),
        on_exhausted,
    };
    keys.done();
    policy
}

fn backoff(keys: &mut Keys<'_>) -> Backoff {
    let jitter = keys.get("jitter").map_or(Jitter::None, |item| jitter(&item));
    let attempts = keys.get("attempts").filter(|item| !item.is("unlimited"));
    let attempts = attempts.map(|item| item.number(1..=1_000_000));
    let mut wait = |key| keys.get(key).map(|item| item.duration(LEAST_WAIT));
    let (initial, max_delay) = (wait("initial"), wait("max_delay"));
    let factor = keys.get("factor").map_or(1.0, |item| item.number(1.0..=1_000.0));
    match keys.get("schedule") {
        Some(waits) => {
            let waits = waits.elements().iter().map(|item| item.duration(Duration::ZERO)).collect();
            Backoff::Schedule { waits, jitter }
        }
        None => {
            let initial = initial.unwrap_or(LEAST_WAIT);
            Backoff::Exponential {
                attempts,
                initial,
                factor,
                max_delay: max_delay.unwrap_or(initial),
                jitter,
            }
        }
    }
}

fn jitter(item: &Item<'_>) -> Jitter {
    let quoted = item.quoted();
    item.parse(Jitter::None, |text| match (text, text.parse()) {
        ("none", _) => Ok(Jitter::None),
        ("full", _) => Ok(Jitter::Full),
        (_, Ok(fraction)) if (0.0..=1.0).contains(&fraction) => Ok(Jitter::Fraction(fraction)),
        _ => Err(format!("{quoted} is not possible here; write `full`, `none` or a fraction from 0 to 1")),
    })
}

fn retry_after(keys: &mut Keys<'_>) -> HonourRetryAfter {
    let max = keys.get("retry_after_max").map_or(LEAST_WAIT, |item| item.duration(LEAST_WAIT));
    let choices = [("honour", HonourRetryAfter::Honour { max }), ("ignore", HonourRetryAfter::Ignore)];
    keys.get("retry_after").map_or(HonourRetryAfter::Ignore, |item| item.choice(&choices))
}

fn retry_on(item: &Item<'_>) -> RetryOn {
    let mut on = RetryOn { statuses: StatusSet::default(), network: false, timeout: false };
    for element in item.elements() {
        match &element {
            any if any.is("any") => {
                on = RetryOn { statuses: StatusSet::range(100, 599), network: true, timeout: true };
            }
            network if network.is("network") => on.network = true,
            timeout if timeout.is("timeout") => on.timeout = true,
            status => {
                let also = ", `any`, `network` or `timeout`";
                on.statuses = on.statuses.union(statuses(status, also));
            }
        }
    }
    on
}

/// Reads `success`.
pub(super) fn success(item: &Item<'_>) -> StatusSet {
    let elements = item.elements();
    if elements.is_empty() && matches!(item.node.value, Value::List(_)) {
        item.fault("an empty list would never let a delivery succeed; write for example `[2xx]`");
    }
    elements.iter().fold(StatusSet::default(), |all, element| all.union(statuses(element, "")))
}

/// Reads `disable_on`.
pub(super) fn disable_on(item: &Item<'_>) -> StatusSet {
    item.elements().iter().fold(StatusSet::default(), |all, element| all.union(statuses(element, "")))
}

/// Reads `408` or `4xx`.
fn statuses(item: &Item<'_>, also: &str) -> StatusSet {
    let quoted = item.quoted();
    item.parse(StatusSet::default(), |text| {
        let class = text.strip_suffix("xx").and_then(|class| class.parse().ok());
        match (class, text.parse()) {
            (Some(class @ 1..=5), _) => Ok(StatusSet::range(class * 100, class * 100 + 99)),
            (None, Ok(status @ 100..=599)) => Ok(StatusSet::range(status, status)),
            _ => Err(format!("{quoted} is no status; write a number from 100 to 599, or `4xx`{also}")),
        }
    })
}
