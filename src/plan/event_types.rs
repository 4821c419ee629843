//! `event_types`: which types there are (DIALECTS.md §3).

use std::collections::BTreeMap;

use crate::domain::{Event, Kind, TypePattern};

use super::presets::Presets;
use super::schema::{Schema, schema};
use super::walk::{Item, Keys, did_you_mean};

/// `event_types`: which types of events there are.
#[derive(Debug, Default)]
pub struct EventTypes {
    /// Those of `catalogues` and `declare`; without any, every type is as good as another.
    pub declared: BTreeMap<Box<str>, EventType>,
    /// `unknown`: what becomes of an event that fits none of them.
    pub unknown: UnknownTypes,
}

/// A type that is declared.
#[derive(Debug, Default)]
pub struct EventType {
    /// What it belongs to, for people.
    pub category: Option<String>,
    /// What it says, for people.
    pub description: Option<String>,
    /// What the data of its events has to be.
    pub schema: Option<Schema>,
}

/// `event_types.unknown`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum UnknownTypes {
    /// It is an event as any other.
    #[default]
    Allow,
    /// A warning, once for each type.
    Warn,
    /// It goes to the dead letters, with the reason `schema`.
    DeadLetter,
}

impl EventTypes {
    /// Why an event is none of those that are declared: its type is not, or its data breaks the type's
    /// schema. One without a type is not judged.
    pub fn misfit(&self, event: &Event) -> Option<String> {
        let event_type = event.event_type.as_deref().filter(|_| !self.declared.is_empty())?;
        let Some(declared) = self.declared.get(event_type) else {
            return Some(format!("no event type `{event_type}` is declared (`event_types`)"));
        };
        // A message without a value has no data to be judged.
        let schema = declared.schema.as_ref().filter(|_| event.kind == Kind::Regular)?;
        let why = schema.broken_by(event)?;
        Some(format!("its data breaks the schema of `{event_type}` (`event_types`): {why}"))
    }
}

/// Reads `event_types`.
pub(super) fn event_types(keys: &mut Keys<'_>, presets: &Presets) -> EventTypes {
    const UNKNOWN: [(&str, UnknownTypes); 3] = [
        ("allow", UnknownTypes::Allow),
        ("warn", UnknownTypes::Warn),
        ("dead_letter", UnknownTypes::DeadLetter),
    ];
    let Some(item) = keys.get("event_types") else { return EventTypes::default() };
    let mut keys = item.keys();
    let mut declared = BTreeMap::new();
    for catalogue in keys.get("catalogues").map(|item| item.elements()).unwrap_or_default() {
        for (category, name) in presets.catalogue(&catalogue) {
            declared
                .entry(name.into_boxed_str())
                .or_insert(EventType { category: Some(category), ..EventType::default() });
        }
    }
    for named in keys.get("declare").map(|item| item.entries()).unwrap_or_default() {
        let read = event_type(&named.item);
        match named.name.parse::<TypePattern>() {
            Ok(TypePattern::Exact(name)) => drop(declared.insert(name, read)),
            _ => named.item.fault("a whole type is declared here, such as `invoice.paid`, without `*`"),
        }
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

fn event_type(item: &Item<'_>) -> EventType {
    if item.node.is_null() {
        return EventType::default();
    }
    let mut keys = item.keys();
    let declared = EventType {
        category: keys.get("category").map(|item| item.text()),
        description: keys.get("description").map(|item| item.text()),
        schema: schema(&mut keys),
    };
    keys.done();
    declared
}

/// Refuses a pattern that no declared type fits: it is mistyped.
pub(super) fn judge(item: &Item<'_>, pattern: &TypePattern, types: &EventTypes) {
    if types.declared.is_empty() || types.declared.keys().any(|declared| pattern.matches(declared)) {
        return;
    }
    let hint = did_you_mean(&pattern.to_string(), types.declared.keys().map(|declared| &**declared));
    item.names_nothing(format!(
        "no declared event type (`event_types`) fits {}{hint}{}",
        item.quoted(),
        if hint.is_empty() { "; declare it, or correct it" } else { "" }
    ));
}
