use std::collections::VecDeque;

use super::lane::Lane;
use crate::domain::TargetId;

/// The permits of the whole process (`limits.in_flight`), and the lanes that want one, in turn: each
/// may send so many bytes before the next one's turn comes (deficit round robin).
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

/// What a lane may send in one turn, in bytes: one or two small events, or a part of a large one.
const QUANTUM: u64 = 1024;

impl Permits {
    pub(super) fn new(limit: usize, lanes: usize) -> Permits {
        Permits { limit, taken: 0, resting: lanes, round: VecDeque::new(), aside: VecDeque::new() }
    }

    /// Another limit; of all lanes so many have none.
    pub(super) fn resize(&mut self, limit: usize, resting: usize) {
        (self.limit, self.resting) = (limit, resting);
    }

    /// Whether none is taken.
    pub(super) fn are_free(&self) -> bool {
        self.taken == 0
    }

    /// Lets a lane take its turn, which can dispatch and may.
    pub(super) fn join(&mut self, target: TargetId, lane: &mut Lane) {
        if !lane.in_round {
            lane.in_round = true;
            // Who has not used its turn up goes on with it.
            if lane.deficit >= lane.next_weight() && lane.deficit > 0 {
                self.round.push_front(target);
            } else {
                self.round.push_back(target);
            }
        }
    }

    /// The lane whose turn it is, if there is a permit for it. It may have become unable to dispatch
    /// since it joined.
    pub(super) fn next(&mut self, lanes: &mut [Lane]) -> Option<TargetId> {
        if self.taken >= self.limit {
            return None;
        }
        let kept = self.resting.min(self.limit / 2);
        let is_spare = self.limit - self.taken > kept;
        if is_spare && let Some(target) = self.aside.pop_front() {
            lanes[target.0 as usize].is_aside = false;
            return Some(target);
        }
        loop {
            let target = self.round.pop_front()?;
            let lane = &mut lanes[target.0 as usize];
            let weight = lane.next_weight();
            if lane.deficit < weight {
                lane.deficit += QUANTUM;
                // Alone it need not wait for its turn.
                if lane.deficit < weight && self.round.is_empty() {
                    lane.deficit = weight;
                }
                self.round.push_back(target);
                continue;
            }
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

    /// Takes a permit for a lane, which had some before or not.
    pub(super) fn take(&mut self, rested: bool) {
        self.resting -= usize::from(rested);
        self.taken += 1;
    }

    pub(super) fn give_back(&mut self, lane: &mut Lane) {
        lane.give_back_permit();
        self.resting += usize::from(lane.is_resting());
        self.taken = self.taken.saturating_sub(1);
    }
}
