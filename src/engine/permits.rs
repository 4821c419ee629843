use std::collections::VecDeque;

use super::lane::Lane;
use crate::domain::{DeliveryId, TargetId};

/// The permits of the whole process (`limits.in_flight`), and the lanes that want one, in turn.
///
/// One permit is kept for each lane that has none, so that a target that never answers can't hold
/// all of them (DESIGN.md §4.3); where there are too many lanes for that, half of all permits are.
#[derive(Debug)]
pub(super) struct Permits {
    limit: usize,
    taken: usize,
    /// Lanes that have none.
    resting: usize,
    /// Lanes that can dispatch.
    round: VecDeque<TargetId>,
    /// Lanes that have some, and could dispatch if more were free than are kept.
    aside: VecDeque<TargetId>,
}

impl Permits {
    pub(super) fn new(limit: usize, lanes: usize) -> Permits {
        Permits { limit, taken: 0, resting: lanes, round: VecDeque::new(), aside: VecDeque::new() }
    }

    /// Whether none is taken.
    pub(super) fn are_free(&self) -> bool {
        self.taken == 0
    }

    /// Lets a lane take its turn, if it can dispatch.
    pub(super) fn join(&mut self, target: TargetId, lane: &mut Lane) {
        if !lane.in_round && lane.can_dispatch() {
            lane.in_round = true;
            self.round.push_back(target);
        }
    }

    /// Takes a permit for the next delivery of the lane whose turn it is.
    pub(super) fn take(&mut self, lanes: &mut [Lane]) -> Option<(TargetId, DeliveryId)> {
        while self.taken < self.limit {
            let target = self.next(lanes)?;
            let lane = &mut lanes[target.0 as usize];
            let rested = lane.is_resting();
            let Some(delivery) = lane.take() else { continue };
            self.resting -= usize::from(rested);
            self.taken += 1;
            self.join(target, lane);
            return Some((target, delivery));
        }
        None
    }

    /// A lane that was put aside is offered a permit again as soon as one is to spare. If it has none
    /// itself by then, it has joined the round as well, where it need not wait for that.
    fn next(&mut self, lanes: &mut [Lane]) -> Option<TargetId> {
        let kept = self.resting.min(self.limit / 2);
        let is_spare = self.limit - self.taken > kept;
        if is_spare && let Some(target) = self.aside.pop_front() {
            lanes[target.0 as usize].is_aside = false;
            return Some(target);
        }
        loop {
            let target = self.round.pop_front()?;
            let lane = &mut lanes[target.0 as usize];
            lane.in_round = false;
            if is_spare || lane.is_resting() {
                return Some(target);
            }
            if !lane.is_aside {
                lane.is_aside = true;
                self.aside.push_back(target);
            }
        }
    }

    pub(super) fn give_back(&mut self, target: TargetId, lane: &mut Lane) {
        lane.give_back_permit();
        self.resting += usize::from(lane.is_resting());
        self.taken = self.taken.saturating_sub(1);
        self.join(target, lane);
    }
}
