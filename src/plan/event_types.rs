//! `event_types`: which types there are (DIALECTS.md §3).

use std::collections::BTreeSet;

use crate::domain::TypePattern;

use super::presets::Presets;
use super::tree::{Map, Node, Value};
use super::types::{EventTypes, UnknownTypes};
use super::walk::{Item, Keys, did_you_mean};

/// Reads `event_types`.
pub(super) fn event_types(keys: &mut Keys<'_>, presets: &Presets) -> EventTypes {
    const UNKNOWN: [(&str, UnknownTypes); 3] = [
        ("allow", UnknownTypes::Allow),
        ("warn", UnknownTypes::Warn),
        ("dead_letter", UnknownTypes::DeadLetter),
    ];
    let Some(item) = keys.get("event_types") else { return EventTypes::default() };
    let mut keys = item.keys();
    let mut declared = BTreeSet::new();
    for catalogue in keys.get("catalogues").map(|item| item.elements()).unwrap_or_default() {
        declared.extend(presets.catalogue(&catalogue));
    }
    for named in keys.get("declare").map(|item| item.entries()).unwrap_or_default() {
        match named.name.parse::<TypePattern>() {
            Ok(TypePattern::Exact(event_type)) => drop(declared.insert(event_type)),
            _ => named.item.fault("a whole type is declared here, such as `invoice.paid`, without `*`"),
        }
        describe(&named.item);
    }
    let unknown = keys.get("unknown");
    let judged = unknown.as_ref().map_or(UnknownTypes::Allow, |item| item.choice(&UNKNOWN));
    if let (Some(item), true, UnknownTypes::Warn | UnknownTypes::DeadLetter) =
        (&unknown, declared.is_empty(), judged)
    {
        item.fault(
            "no type is declared, so every type would be unknown; name `catalogues`, or `declare` types",
        );
    }
    keys.done();
    EventTypes { declared, unknown: judged }
}

/// A type of which nothing is said is declared all the same: `declare: { invoice.paid: }`.
pub(super) fn keep_bare(event_types: &mut Node) {
    let Value::Map(keys) = &mut event_types.value else { return };
    for declare in keys.0.iter_mut().filter(|entry| entry.key == "declare") {
        let Value::Map(types) = &mut declare.node.value else { continue };
        for bare in types.0.iter_mut().filter(|entry| entry.node.is_null()) {
            bare.node.value = Value::Map(Map::default());
        }
    }
}

/// What may be said of a declared type, for people.
fn describe(item: &Item<'_>) {
    let mut keys = item.keys();
    keys.skip("category");
    keys.skip("description");
    keys.done();
}

/// Refuses a pattern that no declared type fits: it is mistyped.
pub(super) fn judge(item: &Item<'_>, pattern: &TypePattern, types: &EventTypes) {
    let fits = |declared: &str| pattern.matches(declared);
    if types.declared.is_empty() || types.declared.iter().any(|declared| fits(declared)) {
        return;
    }
    let hint = did_you_mean(&pattern.to_string(), types.declared.iter().map(|declared| &**declared));
    item.names_nothing(format!(
        "no declared event type (`event_types`) fits {}{hint}{}",
        item.quoted(),
        if hint.is_empty() { "; declare it, or correct it" } else { "" }
    ));
}
