//! Ordered targets beside the sources that feed them (DESIGN.md §4.5).

use crate::domain::Ordering;

use super::consumers::Reads;
use super::nats::{Nats, NatsMode};
use super::sources::Source;
use super::top::Plan;
use super::walk::Item;

/// Refuses order where the broker of a source can't keep it.
pub(super) fn judge(plan: &Plan, root: &Item<'_>) {
    for consumer in &plan.consumers {
        let Reads::Ordered(target) = consumer.reads else { continue };
        let source = plan.sources.get(usize::from(consumer.source.0));
        let target = plan.targets.get(target.0 as usize);
        let (Some(source), Some(target)) = (source, target) else { continue };
        if let Some(why) = impossible(source, target.ordering) {
            let keys = ["targets", &target.name, "ordering"];
            Item::new(root.node.nearest(keys), keys.join("."), root.findings()).fault(why);
        }
    }
}

/// Why messages of this source can't be delivered in this order.
fn impossible(source: &Source, ordering: Ordering) -> Option<String> {
    let Nats { mode, .. } = source.nats()?;
    let name = &source.name;
    match (mode, ordering) {
        (NatsMode::Core { .. }, _) => Some(format!(
            "the source {name} feeds it, and core NATS neither keeps an order nor sends anything again; \
             write `ordering: none`, read that source with a `stream`, or name other sources in the `from` of its \
             routes"
        )),
        (NatsMode::JetStream(_), Ordering::ByKey) => Some(format!(
            "the source {name} feeds it, and JetStream has no partitions: what has the same key would come in \
             order to one replica only; write `strict` or `none`, or name other sources in the `from` of its routes"
        )),
        (NatsMode::JetStream(_), Ordering::None | Ordering::Strict) => None,
    }
}
