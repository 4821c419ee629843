//! Tenants are kept apart (PRODUCT.md §1, `tenant`).

use crate::domain::{SourceId, TargetId, Tenant};

use super::sources::Source;
use super::top::Plan;
use super::walk::{Item, Keys};

/// Reads `tenant` of a target.
pub(super) fn tenant(keys: &mut Keys<'_>) -> Option<Tenant> {
    let text = keys.get("tenant")?.nonempty();
    Some(match &*text {
        "*" => Tenant::Everybody,
        _ => Tenant::Only(text.into()),
    })
}

/// Refuses a target of which it is not said whose events it gets, beside a source that tells tenants
/// apart; and says where a tenant's target gets nothing.
pub(super) fn judge(plan: &Plan, root: &Item<'_>) {
    for (id, target) in (0..).map(TargetId).zip(&plan.targets) {
        let feeds = |source: &SourceId| {
            plan.routes.iter().any(|route| route.takes_from(*source) && route.to.contains(&id))
        };
        let sources = (0..).map(SourceId).zip(&plan.sources).filter(|(source, _)| feeds(source));
        let (apart, together): (Vec<_>, Vec<_>) =
            sources.map(|(_, source)| source).partition(|source| source.event.tenant.is_some());
        let keys = ["targets", &target.name, "tenant"];
        let item = Item::new(root.node.nearest(keys), keys.join("."), root.findings());
        match (&target.tenant, apart.first(), together.first()) {
            (None, Some(source), _) => item.fault(format!(
                "the source {} tells tenants apart (`event.tenant`), so each of its targets needs `tenant`: a tenant's \
                 id, or `'*'` for everybody's events",
                source.name
            )),
            (Some(Tenant::Only(_)), _, Some(source)) => untold(&item, source),
            _ => {}
        }
    }
}

fn untold(item: &Item<'_>, source: &Source) {
    item.findings().notice(format!(
        "{}: {}: the source {} does not tell tenants apart, so nothing of it goes to this target; set `event.tenant` \
         there",
        item.node.origin, item.path, source.name
    ));
}
