use std::collections::{HashMap, HashSet};

use crate::domain::TargetId;

/// What must become of an event, and what has: told by the fake receivers and the fake store,
/// never by the engine.
#[derive(Debug, Default)]
pub(super) struct Truth {
    expected: HashMap<Place, Vec<Option<TargetId>>>,
    ended: HashSet<(Place, Option<TargetId>)>,
}

/// Partition and offset.
pub(super) type Place = (usize, i64);

impl Truth {
    /// `None` among the targets stands for the event's own dead letter.
    pub(super) fn expect(&mut self, place: Place, targets: Vec<Option<TargetId>>) {
        self.expected.insert(place, targets);
    }

    pub(super) fn ended(&mut self, place: Place, target: Option<TargetId>) {
        self.ended.insert((place, target));
    }

    /// A target (or own dead letter) that this event still owes.
    pub(super) fn owed(&self, place: Place) -> Option<Option<TargetId>> {
        let targets = self.expected.get(&place)?;
        targets.iter().copied().find(|target| !self.ended.contains(&(place, *target)))
    }
}
