//! `routes`.

use std::ops::RangeInclusive;
use std::sync::Arc;

use crate::domain::{
    Condition, HIGHEST_PRIORITY, RouteId, SourceId, TargetId, TypePattern, TypePatternFault, TypeSet,
};

use super::conditions::{Fields, conditions};
use super::event_types::{self, EventTypes};
use super::origin::Origin;
use super::read::join;
use super::route_tests::{RouteTest, route_tests};
use super::tree::{Node, Taint};
use super::units;
use super::walk::{Item, did_you_mean};

/// One of `routes`.
#[derive(Debug, Clone)]
pub struct Route {
    /// Its name; `route-N` (from 1) without one.
    pub name: Arc<str>,
    /// The sources that it takes from; empty is every source.
    pub from: Vec<SourceId>,
    /// `types`.
    pub types: TypeSet,
    /// `where`; all must hold.
    pub conditions: Vec<Condition>,
    /// `to`, only those that are enabled.
    pub to: Vec<TargetId>,
    /// `priority`; 0 without one.
    pub priority: i16,
    /// `tests`.
    pub tests: Vec<RouteTest>,
}

impl Route {
    /// Whether it takes from this source.
    pub fn takes_from(&self, source: SourceId) -> bool {
        self.from.is_empty() || self.from.contains(&source)
    }
}

/// What routes refer to.
pub(super) struct Surroundings<'a> {
    /// The names of all sources; the index is the id.
    pub sources: &'a [String],
    /// The names of all targets, and whether each is switched on; the index is the id.
    pub targets: &'a [(String, Switch)],
    /// The types that are declared.
    pub types: &'a EventTypes,
    /// How many files the configuration has; with several, a route needs a name.
    pub files: usize,
}

/// What `priority` may be.
const PRIORITIES: RangeInclusive<i16> = -HIGHEST_PRIORITY..=HIGHEST_PRIORITY;

/// `enabled` of a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Switch {
    /// It receives.
    On,
    /// It receives nothing.
    Off,
}

/// Reads `routes`.
pub(super) fn routes(item: &Item<'_>, around: &Surroundings<'_>, fields: &mut Fields) -> Vec<Route> {
    let mut routes: Vec<Route> = Vec::new();
    let mut named: Vec<(Arc<str>, Origin)> = Vec::new();
    for (index, mut item) in item.elements().into_iter().enumerate() {
        let id = RouteId(index as u32);
        item.path = join("routes", shown_name(item.node, index));
        let route = route(&item, id, around, fields);
        if let Some((_, first)) = named.iter().find(|(name, _)| *name == route.name) {
            let name = Item::new(item.node.nearest(["name"]), "", item.findings()).quoted();
            item.fault(format!("a second route with the name {name}; the first is at {first}"));
        }
        named.push((route.name.clone(), item.node.origin.clone()));
        routes.push(route);
    }
    routes
}

/// What a route is called in faults and settings: its name, unless that may be secret.
pub(super) fn shown_name(route: &Node, index: usize) -> String {
    let name = route.as_map().and_then(|map| map.get("name")).and_then(Node::as_scalar);
    let name = name.filter(|name| name.taint != Taint::File);
    name.map_or_else(|| format!("route-{}", index + 1), |name| name.text.to_string())
}

fn route(item: &Item<'_>, id: RouteId, around: &Surroundings<'_>, fields: &mut Fields) -> Route {
    let mut keys = item.keys();
    let unnamed = format!("route-{}", id.0 + 1);
    let name = match keys.get("name") {
        Some(item) => item.parse(unnamed, units::name),
        None => {
            if around.files > 1 {
                keys.missing("name", "with several files every route needs a name");
            }
            unnamed
        }
    };
    let from = keys.get("from").map(|item| item.elements()).unwrap_or_default();
    let types = keys.get("types").map(|item| item.elements()).unwrap_or_default();
    let to = keys.require("to", "write for example `to: [NAME]`");
    let mut route = Route {
        from: from.iter().filter_map(|item| source(item, around)).collect(),
        types: type_set(&types, around.types),
        conditions: keys.get("where").map(|item| conditions(&item, fields)).unwrap_or_default(),
        to: to.map(|item| targets(&item, around)).unwrap_or_default(),
        priority: keys.get("priority").map_or(0, |item| item.number(PRIORITIES)),
        name: name.into(),
        tests: Vec::new(),
    };
    route.tests = route_tests(&mut keys, &route, around);
    keys.done();
    route
}

/// The source that a value names.
pub(super) fn source(item: &Item<'_>, around: &Surroundings<'_>) -> Option<SourceId> {
    let name = item.text();
    let index = around.sources.iter().position(|source| *source == name);
    if index.is_none() {
        let hint = did_you_mean(&name, around.sources.iter().map(String::as_str));
        item.names_nothing(format!("there is no source {}{hint}", item.quoted()));
    }
    index.map(|index| SourceId(index as u16))
}

/// The targets that are switched on, each once.
fn targets(item: &Item<'_>, around: &Surroundings<'_>) -> Vec<TargetId> {
    let mut to = Vec::new();
    let elements = item.elements();
    if elements.is_empty() {
        item.fault("a route needs at least one target; write for example `to: [NAME]`");
    }
    for element in elements {
        let name = element.text();
        let found = around.targets.iter().position(|(target, _)| *target == name);
        match found.and_then(|index| Some((TargetId(index as u32), around.targets.get(index)?.1))) {
            Some((id, Switch::On)) if !to.contains(&id) => to.push(id),
            Some((_, Switch::On)) => {}
            Some((_, Switch::Off)) => element.findings().notice(format!(
                "{}: {}: the target {name} is switched off (`enabled: false`) and receives nothing",
                element.node.origin, element.path
            )),
            None => {
                let hint = did_you_mean(&name, around.targets.iter().map(|(target, _)| target.as_str()));
                element.names_nothing(format!("there is no target {}{hint}", element.quoted()));
            }
        }
    }
    to
}

fn type_set(items: &[Item<'_>], declared: &EventTypes) -> TypeSet {
    let mut set = TypeSet::default();
    for item in items {
        let parsed = item.parse(None, |text| {
            let (patterns, text) = match text.strip_prefix('!') {
                Some(text) => (&mut set.exclude, text),
                None => (&mut set.include, text),
            };
            match text.parse::<TypePattern>() {
                Ok(pattern) => Ok(Some((patterns, pattern))),
                // The pattern itself may not be shown.
                Err(TypePatternFault::MixedSegment(_)) => Err(format!(
                    "{} mixes `*` with text in one segment; `*` stands for whole segments",
                    item.quoted()
                )),
                Err(fault @ TypePatternFault::EmptySegment) => Err(fault.to_string()),
            }
        });
        if let Some((patterns, pattern)) = parsed {
            event_types::judge(item, &pattern, declared);
            patterns.push(pattern);
        }
    }
    set
}
