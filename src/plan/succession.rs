//! How a running process goes over to another configuration: what it may change, and how places keep
//! their numbers.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use super::Examined;
use super::change::{Change, Subject, changes, subjects, summary};
use super::consumers::{Consumer, Reads};
use super::settings::Setting;
use super::top::Plan;
use crate::domain::TargetId;

/// A plan that a process can go over to from the one that it has.
///
/// Targets and fields keep the numbers that they have in the old plan, so that whatever is under way
/// means the same in both: new ones stand behind, and removed ones stay where they were. An event that
/// was read by the old plan has fewer fields, and those that it has are the right ones.
#[derive(Debug)]
pub struct Succession {
    /// The plan.
    pub plan: Plan,
    /// All effective values, masked.
    pub settings: Vec<Setting>,
    /// What differs from the old one.
    pub changes: Vec<Change>,
    /// The same in short: keys, and names of what is new (`+`) or gone (`-`).
    pub summary: Vec<String>,
}

/// What a running process can't change. One key each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NeedsRestart(pub Vec<String>);

impl fmt::Display for NeedsRestart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "needs a restart: {}", self.0.join(", "))
    }
}

impl std::error::Error for NeedsRestart {}

/// Lets `next` follow `old`, whose values are `settings`.
///
/// # Errors
/// Something differs that only a new process can have.
pub fn succeed(old: &Plan, settings: &[Setting], next: Examined) -> Result<Succession, NeedsRestart> {
    let Examined { mut plan, settings: next, .. } = next;
    let changes = changes(settings, &next);
    number_fields(old, &mut plan);
    number_targets(old, &mut plan, &changes);
    let mut fixed: Vec<String> = Vec::new();
    let keys = changes.iter().filter(|change| is_fixed(&change.path)).map(|change| &*change.path);
    for key in keys.map(|key| shortened(key, settings, &next)).chain(other_consumers(old, &plan)) {
        if !fixed.contains(&key) {
            fixed.push(key);
        }
    }
    if !fixed.is_empty() {
        return Err(NeedsRestart(fixed));
    }
    // The first may have been chosen by the command line, the other follows the system's limit.
    (plan.log.format, plan.limits.memory) = (old.log.format, old.limits.memory);
    let summary = summary(settings, &next, &changes);
    Ok(Succession { plan, settings: next, changes, summary })
}

/// What is decided once, when a process starts.
fn is_fixed(path: &str) -> bool {
    let segments: Vec<&str> = path.split('.').collect();
    match segments.as_slice() {
        ["sources", _, "event" | "tombstones", ..] => false,
        ["name"]
        | ["admin", "listen"]
        | ["log", "format"]
        | ["limits", "memory" | "max_event" | "window", ..]
        | ["sources" | "dead_letters" | "store", ..] => true,
        _ => false,
    }
}

/// Of a source that is new or gone not every key is told.
fn shortened(key: &str, old: &[Setting], new: &[Setting]) -> String {
    let subject = Subject::of(key);
    let is_in = |settings| subjects(settings).contains(&subject);
    match subject {
        Subject::Source(_) if !(is_in(old) && is_in(new)) => subject.to_string(),
        _ => key.to_owned(),
    }
}

/// Ordered targets whose consumers are not the same: each has one on every source that feeds it.
fn other_consumers(old: &Plan, new: &Plan) -> Vec<String> {
    let only_in = |one: &Plan, other: &Plan| {
        let others: Vec<Consumer> = other.consumers.clone();
        let only = one.consumers.iter().filter(move |consumer| !others.contains(consumer));
        let ordered = only.filter_map(|consumer| match consumer.reads {
            Reads::Ordered(target) => one.targets.get(target.0 as usize),
            Reads::Shared | Reads::Tiers => None,
        });
        let told = |name: &str| format!("targets.{name} (the consumers of an ordered target)");
        ordered.map(|target| told(&target.name)).collect::<Vec<_>>()
    };
    let mut all = only_in(old, new);
    all.extend(only_in(new, old));
    all
}

fn number_fields(old: &Plan, plan: &mut Plan) {
    let mut fields = old.fields.clone();
    let mut numbers = Vec::with_capacity(plan.fields.len());
    for place in std::mem::take(&mut plan.fields) {
        numbers.push(fields.iter().position(|known| *known == place).unwrap_or_else(|| {
            fields.push(place);
            fields.len() - 1
        }));
    }
    let renumber = |field: &mut usize| *field = numbers.get(*field).copied().unwrap_or(*field);
    for route in &mut plan.routes {
        route.conditions.iter_mut().for_each(|condition| renumber(&mut condition.field));
    }
    // Nobody else has them yet.
    for target in plan.targets.iter_mut().filter_map(Arc::get_mut) {
        target.key.iter_mut().for_each(renumber);
    }
    plan.fields = fields;
}

fn number_targets(old: &Plan, plan: &mut Plan, changes: &[Change]) {
    let subjects: BTreeSet<Subject<'_>> = changes.iter().map(|change| Subject::of(&change.path)).collect();
    let mut targets = old.targets.clone();
    let mut removed: BTreeSet<TargetId> = (0..targets.len() as u32).map(TargetId).collect();
    let mut numbers = Vec::with_capacity(plan.targets.len());
    for target in std::mem::take(&mut plan.targets) {
        let known = targets.iter().position(|known| known.name == target.name);
        let place = known.unwrap_or(targets.len());
        // A rate is divided by the replicas.
        let differs = subjects.contains(&Subject::Target(&target.name))
            || (target.rate.is_some() && old.replicas != plan.replicas);
        match targets.get_mut(place) {
            Some(known) if differs => *known = target,
            Some(_) => {}
            None => targets.push(target),
        }
        removed.remove(&TargetId(place as u32));
        numbers.push(TargetId(place as u32));
    }
    let renumber = |id: &mut TargetId| *id = numbers.get(id.0 as usize).copied().unwrap_or(*id);
    for route in &mut plan.routes {
        route.to.iter_mut().for_each(renumber);
        route.tests.iter_mut().flat_map(|test| &mut test.to).for_each(renumber);
    }
    for consumer in &mut plan.consumers {
        if let Reads::Ordered(target) = &mut consumer.reads {
            renumber(target);
        }
    }
    (plan.targets, plan.removed) = (targets, removed);
}
