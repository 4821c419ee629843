//! How many dead letters wait for a person.

use std::sync::{Arc, Weak};

use super::{kafka, nats};
use crate::broker::StartFault;
use crate::domain::{SourceId, TargetId};
use crate::plan::{Broker, Plan};

/// How many dead letters of each target are neither redriven nor purged; `None` stands for events' own and
/// for targets that are not in the plan. What several replicas see alike is divided among them.
pub type Pending = Vec<(Option<TargetId>, f64)>;

/// A census that goes on until this is dropped.
#[derive(Debug)]
pub struct Census {
    _held: Arc<()>,
}

/// Whether a census is still wanted.
pub(super) struct Wanted(Weak<()>);

impl Wanted {
    pub(super) fn holds(&self) -> bool {
        self.0.strong_count() > 0
    }
}

/// Counts the dead letters on the broker of `keeper`, on a thread of its own, and tells `emit` when their
/// numbers change. On Kafka each replica counts its share of the partitions. A broker that does not answer
/// is tried until it does.
///
/// # Errors
/// The client can't be created, or there is no thread for it.
pub fn start_census(
    plan: &Arc<Plan>,
    keeper: SourceId,
    emit: impl Fn(Pending) + Send + 'static,
) -> Result<Census, StartFault> {
    let source = plan.sources.get(usize::from(keeper.0)).ok_or(StartFault::NoSource(keeper.0))?;
    let held = Arc::new(());
    let wanted = Wanted(Arc::downgrade(&held));
    match &source.broker {
        Broker::Kafka(kafka) => kafka::start_census(plan, source, kafka, wanted, emit)?,
        Broker::Nats(nats) => nats::start_census(plan, source, nats, wanted, emit)?,
    }
    Ok(Census { _held: held })
}

/// Letters by the place of their target in a plan.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Counts {
    names: Vec<Arc<str>>,
    /// The last one is of all that have no target of the plan.
    numbers: Vec<u64>,
}

impl Counts {
    pub(super) fn new(plan: &Plan) -> Counts {
        let names: Vec<Arc<str>> = plan.targets.iter().map(|target| target.name.clone()).collect();
        Counts { numbers: vec![0; names.len() + 1], names }
    }

    /// Where the letters of this target are counted.
    pub(super) fn slot(&self, target: Option<&str>) -> usize {
        let known = |name: &str| self.names.iter().position(|own| **own == *name);
        target.and_then(known).unwrap_or(self.names.len())
    }

    pub(super) fn add(&mut self, slot: usize, letters: u64) {
        if let Some(number) = self.numbers.get_mut(slot) {
            *number += letters;
        }
    }

    pub(super) fn remove_one(&mut self, slot: usize) {
        if let Some(number) = self.numbers.get_mut(slot) {
            *number = number.saturating_sub(1);
        }
    }

    /// What to tell, if each of so many replicas sees all of them.
    pub(super) fn pending(&self, replicas: u32) -> Pending {
        let target = |slot: usize| (slot < self.names.len()).then_some(TargetId(slot as u32));
        let share = |number: u64| number as f64 / f64::from(replicas.max(1));
        self.numbers.iter().enumerate().map(|(slot, number)| (target(slot), share(*number))).collect()
    }
}
