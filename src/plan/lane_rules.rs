//! `rate`, `breaker`, `disable_after`, `ordering` and `key` of a target: when its lane makes attempts.

use std::time::Duration;

use crate::domain::{BreakerPolicy, Ordering, Place, Rate};

use super::conditions::Fields;
use super::origin::Origin;
use super::places::place;
use super::units;
use super::walk::{Item, Keys};

/// More often than this a target that is down need not be asked.
const LEAST_PROBE: Duration = Duration::from_millis(10);
/// A shorter run of failures says nothing of a target.
const LEAST_DISABLE_AFTER: Duration = Duration::from_secs(1);

/// Reads `rate`, and takes this process's part of it.
pub(super) fn rate(keys: &mut Keys<'_>, replicas: u32) -> Option<Rate> {
    let item = keys.get("rate").and_then(Item::unless_off)?;
    if item.node.as_map().is_none() {
        item.fault("write `off`, or for example `{ limit: 100/m, burst: 20 }`");
        return None;
    }
    let mut keys = item.keys();
    let limit = keys.require("limit", "write for example `limit: 100/m`").map(|item| limit(&item));
    let burst: Option<u32> = keys.get("burst").map(|item| item.number(1..=1_000_000));
    keys.done();
    let limit = limit?;
    let per_replica = |all: f64| all / f64::from(replicas.max(1));
    // What the limit allows in one second, unless it is said.
    let burst = per_replica(burst.map_or(limit, f64::from)).max(1.0);
    Some(Rate { per_second: per_replica(limit), burst })
}

fn limit(item: &Item<'_>) -> f64 {
    let quoted = item.quoted();
    let no_rate = || format!("{quoted} is no rate; write for example `10/s`, `100/m` or `5/h`");
    item.parse(1.0, |text| units::rate(text).ok_or_else(no_rate))
}

/// Reads `breaker`.
pub(super) fn breaker(keys: &mut Keys<'_>) -> Option<BreakerPolicy> {
    let item = keys.get("breaker").and_then(Item::unless_off)?;
    if item.node.as_map().is_none() {
        item.fault("write `off`, or for example `{ failures: 10, probe: 10s }`");
        return None;
    }
    let mut keys = item.keys();
    let failures = keys.require("failures", "write for example `failures: 10`");
    let probe = keys.require("probe", "write for example `probe: 10s`");
    keys.done();
    Some(BreakerPolicy { failures: failures?.number(1..=1_000_000), probe: probe?.duration(LEAST_PROBE) })
}

/// Reads `disable_after`.
pub(super) fn disable_after(keys: &mut Keys<'_>) -> Option<Duration> {
    let item = keys.get("disable_after").and_then(Item::unless_off)?;
    Some(item.duration(LEAST_DISABLE_AFTER))
}

/// Reads `ordering`.
pub(super) fn ordering(keys: &mut Keys<'_>) -> Ordering {
    let choices = [("none", Ordering::None), ("by_key", Ordering::ByKey), ("strict", Ordering::Strict)];
    keys.get("ordering").map_or(Ordering::None, |item| item.choice(&choices))
}

/// Reads `key`, and makes it one of the fields that are read from every event.
pub(super) fn key(keys: &mut Keys<'_>, ordering: Ordering, fields: &mut Fields) -> Option<usize> {
    let item = keys.get("key")?;
    let read = item.parse(Place::Key, place);
    if ordering == Ordering::ByKey {
        return Some(fields.index(read));
    }
    // What lies under all targets is used where it can be.
    if !matches!(item.node.origin, Origin::Defaults(_)) {
        item.fault("only `ordering: by_key` goes by a key; set that, or remove this");
    }
    None
}
