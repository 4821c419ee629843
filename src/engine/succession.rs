use std::sync::Arc;

use super::Engine;
use super::lane::Address;
use super::routing::Routing;
use super::waits::reach;
use crate::domain::{DeadLetterReason, DeliveryId, Moment, RouteId, TargetId, Tier};
use crate::plan::Plan;

/// How the engine goes over to another plan while it works.
impl Engine {
    /// Goes on by `plan`, which follows the present one ([`plan::succeed`](crate::plan::succeed)): targets
    /// have the same numbers in both. What is open stays open; lanes of targets that did not change
    /// notice nothing, except that one that its answers had switched off is on again.
    pub fn adopt(&mut self, plan: Arc<Plan>, now: Moment) {
        let old = std::mem::replace(&mut self.plan, plan.clone());
        self.routing = Routing::new(&plan);
        self.names = super::Names::new(&plan);
        self.reach = reach(&plan);
        self.ledger.renumber_routes(|route| renumbered(&old, &plan, route));
        for (id, target) in (0..).map(TargetId).zip(&plan.targets) {
            let lane = match self.lanes.get_mut(id.0 as usize) {
                Some(lane) => lane,
                None => {
                    self.lanes.push(super::Lane::new(target));
                    continue;
                }
            };
            let known = old.targets.get(id.0 as usize);
            if let Some(known) = known.filter(|known| !Arc::ptr_eq(known, target)) {
                let address = if known.url == target.url { Address::Same } else { Address::Other };
                lane.adopt(target, address, now);
            }
            match plan.removed.contains(&id) {
                true => lane.remove(now),
                false => lane.reinstate(target),
            }
        }
        self.permits
            .resize(plan.limits.in_flight, self.lanes.iter().filter(|lane| lane.is_resting()).count());
        for id in (0..plan.targets.len() as u32).map(TargetId) {
            if self.lane(id).is_disabled() {
                self.turn_all_away(id, now);
            }
            self.offer(id, now);
        }
    }

    /// Nothing is sent for this target any more: what waits for it in memory leaves it.
    pub(super) fn turn_all_away(&mut self, target: TargetId, now: Moment) {
        while let Some(id) = self.lane(target).withdraw() {
            #[cfg(test)]
            if self.sabotage == Some(super::Sabotage::LoseRemoved) && self.lane(target).is_removed() {
                self.end(id, crate::domain::Outcome::Delivered, None, None, now);
                continue;
            }
            self.turn_away(id, target, now);
        }
        for (id, slot) in self.ledger.held_of(target) {
            self.ledger.unhold(slot);
            self.lane(target).unhold();
            self.turn_away(id, target, now);
        }
    }

    /// Of a target that is switched off it goes to the dead letters; of one that is no longer in the
    /// configuration it waits, for that may be a mistake, or it is there again soon (DESIGN.md §4.4).
    pub(super) fn turn_away(&mut self, id: DeliveryId, target: TargetId, now: Moment) {
        match self.lane(target).is_removed() {
            true => self.move_to(id, Tier::ONE_HOUR, None, now),
            false => self.give_up(id, DeadLetterReason::TargetDisabled, now),
        }
    }
}

/// The route of the same name.
fn renumbered(old: &Plan, new: &Plan, route: RouteId) -> RouteId {
    let name = old.routes.get(route.0 as usize).map(|route| &route.name);
    let place = name.and_then(|name| new.routes.iter().position(|route| route.name == *name));
    place.map_or(RouteId::GONE, |place| RouteId(place as u32))
}
