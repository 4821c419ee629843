use std::collections::{HashMap, HashSet};

use crate::domain::TargetId;

/// What must become of an event, and what has: told by the fake receivers and the fake stores,
/// never by the engine.
#[derive(Debug, Default)]
pub(super) struct Truth {
    expected: HashMap<Place, Vec<Option<TargetId>>>,
    ended: HashSet<(Place, Option<TargetId>)>,
    /// Records in tiers that are not committed, by what they are about.
    waiting: HashMap<(Place, TargetId), usize>,
}

/// Partition and offset.
pub(super) type Place = (usize, i64);

impl Truth {
    /// `None` among the targets stands for the event's own dead letter.
    pub(super) fn expect(&mut self, place: Place, targets: Vec<Option<TargetId>>) {
        self.expected.insert(place, targets);
    }

    pub(super) fn expect_one_more(&mut self, place: Place, target: TargetId) {
        self.expected.entry(place).or_default().push(Some(target));
    }

    /// It was read by a plan that has no such target.
    pub(super) fn waive(&mut self, place: Place, target: TargetId) {
        if let Some(targets) = self.expected.get_mut(&place) {
            targets.retain(|expected| *expected != Some(target));
        }
    }

    pub(super) fn ended(&mut self, place: Place, target: Option<TargetId>) {
        self.ended.insert((place, target));
    }

    /// Whether this target has had its event, or never was to get it.
    pub(super) fn has_ended(&self, place: Place, target: TargetId) -> bool {
        let expected = self.expected.get(&place).is_some_and(|targets| targets.contains(&Some(target)));
        !expected || self.ended.contains(&(place, Some(target)))
    }

    /// A tier holds one more record of this.
    pub(super) fn waits(&mut self, place: Place, target: TargetId) {
        *self.waiting.entry((place, target)).or_default() += 1;
    }

    /// A tier's record was committed. The answer is whether it was the last that keeps an obligation.
    pub(super) fn waited(&mut self, place: Place, target: TargetId) -> bool {
        let left = self.waiting.entry((place, target)).or_default();
        *left -= 1;
        *left == 0 && !self.has_ended(place, target)
    }

    /// A target (or own dead letter) that this event still owes, and that no record in a tier keeps.
    pub(super) fn owed(
        &self,
        place: Place,
        concerns: impl Fn(Option<TargetId>) -> bool,
    ) -> Option<Option<TargetId>> {
        let waits = |target: Option<TargetId>| {
            target.is_some_and(|target| self.waiting.get(&(place, target)).is_some_and(|count| *count > 0))
        };
        let targets = self.expected.get(&place)?.iter().copied().filter(|target| concerns(*target));
        targets.into_iter().find(|target| !self.ended.contains(&(place, *target)) && !waits(*target))
    }

    /// Whether nothing is owed by any event.
    pub(super) fn is_paid(&self) -> bool {
        let all = |(place, targets): (&Place, &Vec<Option<TargetId>>)| {
            targets.iter().all(|target| self.ended.contains(&(*place, *target)))
        };
        self.expected.iter().all(all)
    }
}
