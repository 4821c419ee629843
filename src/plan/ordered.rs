//! Ordered targets beside the sources that feed them (DESIGN.md §4.5).

use crate::domain::Ordering;

use super::types::{Nats, NatsMode, Plan, Reads, Source, Target};
use super::walk::Item;

/// Refuses order where the broker of a source can't keep it, and a group that would be shared.
pub(super) fn judge(plan: &Plan, root: &Item<'_>) {
    for consumer in &plan.consumers {
        let Reads::Ordered(target) = consumer.reads else { continue };
        let source = plan.sources.get(usize::from(consumer.source.0));
        let target = plan.targets.get(target.0 as usize);
        let (Some(source), Some(target)) = (source, target) else { continue };
        match impossible(source, target.ordering) {
            Some(why) => refuse(root, ["targets", &target.name, "ordering"], why),
            None => judge_group(plan, source, target, root),
        }
    }
}

fn refuse(root: &Item<'_>, keys: [&str; 3], why: String) {
    Item::new(root.node.nearest(keys), keys.join("."), root.findings()).fault(why);
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

/// Refuses a target's own group if another source has it: they would take each other's messages.
fn judge_group(plan: &Plan, source: &Source, target: &Target, root: &Item<'_>) {
    let Some(kafka) = source.kafka() else { return };
    let own = format!("{}.{}", kafka.group, target.name);
    let taken = plan.sources.iter().find(|other| other.kafka().is_some_and(|kafka| kafka.group == own));
    let Some(other) = taken else { return };
    let keys = ["sources", &other.name, "kafka", "group"];
    let item = Item::new(root.node.nearest(keys), keys.join("."), root.findings());
    item.fault(format!(
        "{} is the group of the ordered target {} at the source {}; choose another group",
        item.quoted(),
        target.name,
        source.name
    ));
}
