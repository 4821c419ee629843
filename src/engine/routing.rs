use std::collections::HashMap;

use crate::domain::{Content, Event, Kind, Place, RouteId, TargetId, TypePattern};
use crate::plan::{Plan, Route};

/// The routes of a plan, ready to be asked which of them take an event. A route that names only
/// exact types is looked at only for events of those types.
#[derive(Debug)]
pub struct Routing {
    by_type: HashMap<Box<str>, Vec<RouteId>>,
    /// Routes that have to be asked about every event.
    always: Vec<RouteId>,
}

/// What one route says of one event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It takes it.
    Takes,
    /// It does not take from this source.
    OtherSource,
    /// The event's type is not among its types.
    OtherType,
    /// The condition with this index (in `where`) does not hold.
    Refuses(usize),
    /// The event has no type, and the route needs one.
    NeedsType,
    /// The body is not JSON, and the condition with this index needs it to be.
    NeedsJson(usize),
}

/// What all routes say of one event.
#[derive(Debug, Default)]
pub struct Matches {
    /// Each target once, with the first route in file order that named it, and the highest priority of
    /// all that did.
    pub deliveries: Vec<(TargetId, RouteId, i32)>,
    /// The routes that could not judge the event.
    pub poisoned: Vec<RouteId>,
    /// Whether at least one route takes it (its targets may all be switched off).
    pub taken: bool,
    candidates: Vec<RouteId>,
}

impl Routing {
    /// Indexes the routes of a plan.
    pub fn new(plan: &Plan) -> Routing {
        let mut routing = Routing { by_type: HashMap::new(), always: Vec::new() };
        for (index, route) in plan.routes.iter().enumerate() {
            let id = RouteId(index as u32);
            match exact_types(route) {
                // Untyped events must still reach it, to be poisoned: see `route`.
                Some(types) => {
                    for event_type in types {
                        let routes = routing.by_type.entry(event_type.into()).or_default();
                        if routes.last() != Some(&id) {
                            routes.push(id);
                        }
                    }
                }
                None => routing.always.push(id),
            }
        }
        routing
    }

    /// Asks every route that may take the event; the answer replaces what `matches` held.
    pub fn route(&self, plan: &Plan, event: &Event, matches: &mut Matches) {
        matches.deliveries.clear();
        matches.poisoned.clear();
        matches.taken = false;
        let mut candidates = std::mem::take(&mut matches.candidates);
        self.candidates(plan, event, &mut candidates);
        for id in &candidates {
            match judge(plan, *id, event) {
                Verdict::Takes => {
                    matches.taken = true;
                    let route = &plan.routes[id.0 as usize];
                    for target in &route.to {
                        match matches.deliveries.iter_mut().find(|(named, ..)| named == target) {
                            Some((.., priority)) => *priority = route.priority.max(*priority),
                            None => matches.deliveries.push((*target, *id, route.priority)),
                        }
                    }
                }
                Verdict::NeedsType | Verdict::NeedsJson(_) => matches.poisoned.push(*id),
                Verdict::OtherSource | Verdict::OtherType | Verdict::Refuses(_) => {}
            }
        }
        matches.candidates = candidates;
    }

    /// In file order: both lists are, so they are merged.
    fn candidates(&self, plan: &Plan, event: &Event, candidates: &mut Vec<RouteId>) {
        candidates.clear();
        let Some(event_type) = &event.event_type else {
            candidates.extend((0..plan.routes.len()).map(|index| RouteId(index as u32)));
            return;
        };
        candidates.extend_from_slice(&self.always);
        if let Some(exact) = self.by_type.get(&**event_type) {
            candidates.extend_from_slice(exact);
            candidates.sort_unstable();
        }
    }
}

fn exact_types(route: &Route) -> Option<Vec<&str>> {
    if route.types.include.is_empty() {
        return None;
    }
    (route.types.include.iter())
        .map(|pattern| match pattern {
            TypePattern::Exact(text) => Some(&**text),
            _ => None,
        })
        .collect()
}

/// What one route says of one event. A refusal that is certain wins over a doubt.
pub fn judge(plan: &Plan, route: RouteId, event: &Event) -> Verdict {
    let route = &plan.routes[route.0 as usize];
    if !route.takes_from(event.source) {
        return Verdict::OtherSource;
    }
    let mut doubt = None;
    match &event.event_type {
        Some(event_type) if !route.types.matches(event_type) => return Verdict::OtherType,
        None if !route.types.takes_untyped() => doubt = Some(Verdict::NeedsType),
        _ => {}
    }
    for (index, condition) in route.conditions.iter().enumerate() {
        if needs_json(&plan.fields[condition.field]) && is_not_json(event) {
            doubt = doubt.or(Some(Verdict::NeedsJson(index)));
        } else if !condition.holds(event.fields.get(condition.field).and_then(Option::as_ref)) {
            return Verdict::Refuses(index);
        }
    }
    doubt.unwrap_or(Verdict::Takes)
}

fn needs_json(place: &Place) -> bool {
    matches!(place, Place::Body(_) | Place::Data(_))
}

fn is_not_json(event: &Event) -> bool {
    event.kind == Kind::Regular && event.content != Content::Json
}
