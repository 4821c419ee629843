//! What reads the sources and the retry tiers.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::domain::{ConsumerId, Ordering, SourceId, TargetId};

use super::budget::Budget;
use super::process::Window;
use super::routes::Route;
use super::sources::Source;
use super::targets::Target;
use super::top::Plan;

/// What reads one kind of messages from the broker of a source, with its own group or durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Consumer {
    /// The source; of tiers, the one on whose broker they are.
    pub source: SourceId,
    /// What it reads.
    pub reads: Reads,
}

/// What a [`Consumer`] reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reads {
    /// The source's messages, for all targets that are not ordered.
    Shared,
    /// The source's messages, for one ordered target.
    Ordered(TargetId),
    /// Deliveries that wait in the retry tiers.
    Tiers,
}

impl Plan {
    /// What reads them all: each source, each ordered target's own group, and the retry tiers on each
    /// broker that keeps some.
    pub(crate) fn consumers(sources: &[Source], targets: &[Arc<Target>], routes: &[Route]) -> Vec<Consumer> {
        let mut consumers = Vec::new();
        for (index, _) in sources.iter().enumerate() {
            let source = SourceId(index as u16);
            consumers.push(Consumer { source, reads: Reads::Shared });
            let named = |target: TargetId| {
                routes.iter().any(|route| route.takes_from(source) && route.to.contains(&target))
            };
            for (target, settings) in (0..).map(TargetId).zip(targets) {
                if settings.ordering != Ordering::None && named(target) {
                    consumers.push(Consumer { source, reads: Reads::Ordered(target) });
                }
            }
        }
        let keepers: BTreeSet<SourceId> = sources.iter().map(|source| source.store).collect();
        consumers.extend(keepers.into_iter().map(|source| Consumer { source, reads: Reads::Tiers }));
        consumers
    }

    /// The targets of this source that have a group or durable of their own.
    pub fn ordered_targets(&self, source: SourceId) -> impl Iterator<Item = TargetId> {
        let own = self.consumers.iter().filter(move |consumer| consumer.source == source);
        own.filter_map(|consumer| match consumer.reads {
            Reads::Ordered(target) => Some(target),
            Reads::Shared | Reads::Tiers => None,
        })
    }

    /// The targets of this source that its shared group or durable serves.
    pub fn shared_targets(&self, source: SourceId) -> impl Iterator<Item = TargetId> {
        let takes = move |target: &TargetId| {
            self.routes.iter().any(|route| route.takes_from(source) && route.to.contains(target))
        };
        self.unordered_targets().filter(takes)
    }

    /// The targets that are enabled and have no order, of all sources.
    pub fn unordered_targets(&self) -> impl Iterator<Item = TargetId> {
        let targets = self.live_targets();
        targets.filter(|(_, target)| target.enabled && target.ordering == Ordering::None).map(|(id, _)| id)
    }

    /// The targets of the configuration.
    pub fn live_targets(&self) -> impl Iterator<Item = (TargetId, &Arc<Target>)> {
        let targets = (0..).map(TargetId).zip(&self.targets);
        targets.filter(|(id, _)| !self.removed.contains(id))
    }

    /// How much of one consumer may be open, within `limits.window` and the [`Budget`].
    pub fn window(&self, consumer: ConsumerId) -> Window {
        Budget::of(self).window(consumer)
    }

    /// The consumer's name in metrics and logs: `shared`, `tiers`, or an ordered target's name.
    pub fn consumer_name(&self, consumer: &Consumer) -> &str {
        match consumer.reads {
            Reads::Shared => "shared",
            Reads::Tiers => "tiers",
            Reads::Ordered(target) => self.targets.get(target.0 as usize).map_or("", |target| &target.name),
        }
    }
}
