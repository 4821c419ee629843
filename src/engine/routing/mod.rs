//! Which routes take an event: `index` finds those that may, and each is then asked.

mod index;

use crate::domain::{Content, Data, Event, Kind, Place, RouteId, SourceId, TargetId, Tenant};
use crate::plan::{Plan, Route};
use index::Index;

#[cfg(test)]
mod tests;

/// The routes of a plan, ready to be asked which of them take an event.
#[derive(Debug)]
pub struct Routing {
    /// One for each source.
    by_source: Vec<Index>,
}

/// What one route says of one event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It takes it.
    Takes,
    /// It does not take from this source.
    OtherSource,
    /// The event belongs to a tenant that none of its targets serves.
    OtherTenant,
    /// The event's type is not among its types.
    OtherType,
    /// The condition with this index (in `where`) does not hold.
    Refuses(usize),
    /// The event has no type, and the route needs one.
    NeedsType,
    /// The body is not JSON, and the condition with this index needs it to be.
    NeedsJson(usize),
    /// The body is not JSON, and whose the event is stands in it.
    NeedsTenant,
}

/// What all routes say of one event.
#[derive(Debug, Default)]
pub struct Matches {
    /// Each target once, with the first route in file order that named it, and the highest priority of
    /// all that did.
    pub deliveries: Vec<(TargetId, RouteId, i16)>,
    /// The routes that could not judge the event.
    pub poisoned: Vec<RouteId>,
    /// Whether at least one route takes it (its targets may all be switched off).
    pub taken: bool,
    candidates: Vec<RouteId>,
}

impl Routing {
    /// Indexes the routes of a plan.
    pub fn new(plan: &Plan) -> Routing {
        let sources = (0..plan.sources.len() as u16).map(SourceId);
        Routing { by_source: sources.map(|source| Index::new(plan, source)).collect() }
    }

    /// Asks every route that may take the event; the answer replaces what `matches` held.
    pub fn route(&self, plan: &Plan, event: &Event, matches: &mut Matches) {
        self.route_among(plan, event, |_| true, matches);
    }

    /// As [`Routing::route`], as if there were no routes but those that `counts` names.
    pub fn route_among(
        &self,
        plan: &Plan,
        event: &Event,
        counts: impl Fn(RouteId) -> bool,
        matches: &mut Matches,
    ) {
        matches.deliveries.clear();
        matches.poisoned.clear();
        matches.taken = false;
        let mut candidates = std::mem::take(&mut matches.candidates);
        candidates.clear();
        if let Some(index) = self.by_source.get(usize::from(event.source.0)) {
            index.candidates(plan, event, &mut candidates);
        }
        for id in candidates.iter().filter(|id| counts(**id)) {
            match judge(plan, *id, event) {
                Verdict::Takes => {
                    matches.taken = true;
                    let route = &plan.routes[id.0 as usize];
                    for target in route.to.iter().filter(|target| serves(plan, **target, event)) {
                        match matches.deliveries.iter_mut().find(|(named, ..)| named == target) {
                            Some((.., priority)) => *priority = route.priority.max(*priority),
                            None => matches.deliveries.push((*target, *id, route.priority)),
                        }
                    }
                }
                Verdict::NeedsType | Verdict::NeedsJson(_) | Verdict::NeedsTenant => {
                    matches.poisoned.push(*id);
                }
                Verdict::OtherSource | Verdict::OtherTenant | Verdict::OtherType | Verdict::Refuses(_) => {}
            }
        }
        matches.candidates = candidates;
    }
}

/// Whether a target may get an event of this tenant (`tenant`). One that does not say whose events it
/// gets may get those that are nobody's.
pub fn serves(plan: &Plan, target: TargetId, event: &Event) -> bool {
    match plan.targets.get(target.0 as usize).and_then(|target| target.tenant.as_ref()) {
        Some(Tenant::Only(tenant)) => event.tenant.as_deref() == Some(tenant),
        Some(Tenant::Everybody) => true,
        None => event.tenant.is_none(),
    }
}

/// What one route says of one event. A refusal that is certain wins over a doubt.
pub fn judge(plan: &Plan, route: RouteId, event: &Event) -> Verdict {
    let route: &Route = &plan.routes[route.0 as usize];
    if !route.takes_from(event.source) {
        return Verdict::OtherSource;
    }
    let mut doubt = None;
    if !route.to.is_empty() && !route.to.iter().any(|target| serves(plan, *target, event)) {
        if !is_tenant_unreadable(plan, event) {
            return Verdict::OtherTenant;
        }
        doubt = Some(Verdict::NeedsTenant);
    }
    match &event.event_type {
        Some(event_type) if !route.types.matches(event_type) => return Verdict::OtherType,
        None if !route.types.takes_untyped() => doubt = doubt.or(Some(Verdict::NeedsType)),
        _ => {}
    }
    for (index, condition) in route.conditions.iter().enumerate() {
        if is_field_unreadable(plan, event, condition.field) {
            doubt = doubt.or(Some(Verdict::NeedsJson(index)));
        } else if !condition.holds(event.fields.get(condition.field).and_then(Option::as_ref)) {
            return Verdict::Refuses(index);
        }
    }
    doubt.unwrap_or(Verdict::Takes)
}

/// Whether a field can't be told, because it stands in a body that is not JSON.
fn is_field_unreadable(plan: &Plan, event: &Event, field: usize) -> bool {
    plan.fields.get(field).is_some_and(|place| is_unreadable(event, place))
}

/// Whether it can't be told whose the event is, because that stands in a body that is not JSON.
fn is_tenant_unreadable(plan: &Plan, event: &Event) -> bool {
    let source = plan.sources.get(usize::from(event.source.0));
    let places = source.and_then(|source| source.event.tenant.as_deref()).unwrap_or_default();
    event.tenant.is_none() && places.iter().any(|place| is_unreadable(event, place))
}

fn is_unreadable(event: &Event, place: &Place) -> bool {
    let stands_in_body = match place {
        Place::Body(_) => true,
        // It may come from a header.
        Place::Data(_) => event.data == Data::Absent,
        _ => false,
    };
    stands_in_body && event.kind == Kind::Regular && event.content != Content::Json
}
