//! Which targets of a source are served apart, in order.

use crate::domain::{Ordering, SourceId, TargetId};
use crate::plan::{Plan, Reads};

/// The targets of this source that have a group or durable of their own.
pub(super) fn ordered(plan: &Plan, source: SourceId) -> impl Iterator<Item = TargetId> {
    plan.consumers.iter().filter(move |consumer| consumer.source == source).filter_map(|consumer| {
        match consumer.reads {
            Reads::Ordered(target) => Some(target),
            Reads::Shared | Reads::Tiers => None,
        }
    })
}

/// The targets of this source that the shared group or durable serves.
pub(super) fn shared(plan: &Plan, source: SourceId) -> impl Iterator<Item = TargetId> {
    let takes = move |target: TargetId| {
        let mut routes =
            plan.routes.iter().filter(|route| route.from.is_empty() || route.from.contains(&source));
        routes.any(|route| route.to.contains(&target))
    };
    let targets = (0..).map(TargetId).zip(&plan.targets);
    let unordered = targets.filter(|(_, target)| target.enabled && target.ordering == Ordering::None);
    unordered.map(|(id, _)| id).filter(move |id| takes(*id))
}
