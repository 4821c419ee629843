use std::time::Duration;

use super::broker::Slot;
use super::world::{Check, World};
use super::{HEALTHY, LIMITED};
use crate::domain::{ConsumerId, TargetState};
use crate::engine::Grant;

/// However bad other targets are, a partition is read on within this time: the longest time for which a
/// delivery is held, an attempt, a write, a commit, and some turns of the world.
const STANDSTILL: Duration = Duration::from_secs(120);

/// The rules that hold at every moment.
impl World {
    pub(super) fn check(&mut self, replica: usize) -> Check {
        self.check_windows(replica)?;
        self.check_permits(replica)?;
        self.check_book(replica)?;
        self.check_lanes(replica)
    }

    fn check_windows(&mut self, replica: usize) -> Check {
        let plan = self.plan.clone();
        let Some(running) = self.running(replica) else { return Ok(()) };
        for consumer in (0..plan.consumers.len() as u16).map(ConsumerId) {
            let window = plan.window(consumer);
            for counted in [running.engine.open(consumer), running.alive(consumer)] {
                let alone = counted.events <= 1;
                if counted.events > window.events || counted.bytes > window.bytes && !alone {
                    return Err(format!(
                        "replica {replica} has {counted:?} of {consumer:?} open, over its window"
                    ));
                }
            }
        }
        Ok(())
    }

    fn check_book(&mut self, replica: usize) -> Check {
        let (plan, now) = (self.plan.clone(), self.now);
        let Some(running) = self.running(replica).filter(|running| !running.dazed) else { return Ok(()) };
        for consumer in (0..plan.consumers.len() as u16).map(ConsumerId) {
            let window = plan.window(consumer);
            let window = Grant { events: window.events, bytes: window.bytes };
            running.book.check(consumer, window, now)?;
        }
        Ok(())
    }

    fn check_permits(&mut self, replica: usize) -> Check {
        let (plan, now) = (self.plan.clone(), self.now);
        let Some(running) = self.running(replica) else { return Ok(()) };
        let made: usize = running.in_flight.iter().sum();
        if made > plan.limits.in_flight {
            return Err(format!("replica {replica} makes more attempts than limits.in_flight"));
        }
        // One for each that is not switched off is kept, and there are enough for all.
        let lanes = running.engine.lanes(now);
        let resting = lanes
            .iter()
            .zip(&running.in_flight)
            .filter(|(lane, made)| **made == 0 && lane.standing.state != TargetState::Disabled);
        let resting = resting.count();
        let is_overbooked = made + resting > plan.limits.in_flight;
        running.overbooked &= is_overbooked;
        if is_overbooked && !running.overbooked {
            return Err(format!("replica {replica} has no permit left for a target that makes no attempt"));
        }
        for (target, in_flight) in plan.targets.iter().zip(&running.in_flight) {
            if *in_flight > target.concurrency {
                return Err(format!(
                    "replica {replica} makes more attempts to {} than its concurrency",
                    target.name
                ));
            }
        }
        Ok(())
    }

    fn check_lanes(&mut self, replica: usize) -> Check {
        let now = self.now;
        let Some(running) = self.running(replica) else { return Ok(()) };
        for (index, lane) in running.engine.lanes(now).iter().enumerate() {
            if lane.in_flight != running.in_flight[index] {
                return Err(format!(
                    "lane {index} counts {} permits, {} are out",
                    lane.in_flight, running.in_flight[index]
                ));
            }
            let is_free = lane.standing.state == TargetState::Active && index != LIMITED.0 as usize;
            if lane.in_flight == 0 && lane.ready > 0 && is_free && !running.overbooked {
                return Err(format!("lane {index} waits although a permit is kept for it"));
            }
            if index == HEALTHY.0 as usize && lane.standing.state != TargetState::Active {
                return Err(format!("the healthy target is {}", lane.standing.state.as_str()));
            }
            let open = running.engine.open_deliveries(index);
            if running.balance[index] != open {
                return Err(format!("lane {index} has {open} open, by its notes {}", running.balance[index]));
            }
        }
        Ok(())
    }

    /// No bad target keeps a partition from being read, as long as the tiers take what is in the way.
    pub(super) fn check_progress(&mut self, replica: usize) -> Check {
        let (now, down_until) = (self.now, self.store_down_until);
        let Some(running) = self.running(replica) else { return Ok(()) };
        if running.stopping || running.dazed {
            return Ok(());
        }
        for assigned in running.assigned.values().filter(|assigned| assigned.leaving.is_none()) {
            // An ordered target's own group may wait for it.
            let is_shared = matches!(assigned.slot, Slot::Shared(_) | Slot::Tier(_));
            let since = assigned.moved_on.max(down_until);
            if is_shared && now.since(since) > STANDSTILL {
                return Err(format!("{:?} stands still since {:?}", assigned.slot, now.since(since)));
            }
        }
        Ok(())
    }
}
