#[cfg(test)]
use super::Sabotage;
use super::chains::Link;
use super::ledger::State;
use super::protocol::{Command, Note, WriteId};
use super::timers::Timer;
use super::writes::Obligation;
use super::{Engine, Life};
use crate::domain::{ConsumerId, DeliveryId, Generation, ReleaseReason};

/// How deliveries leave this process unfinished: a partition is revoked or lost, or the process is
/// stopping. None of them is settled, so their events come again.
impl Engine {
    /// A waiting delivery leaves this process unfinished.
    pub(super) fn release(&mut self, id: DeliveryId, reason: ReleaseReason) {
        let Some(delivery) = self.ledger.delivery(id) else { return };
        let (target, route, state) = (delivery.target, delivery.route, delivery.state);
        let (slot, link) = (delivery.slot, delivery.link);
        if matches!(state, State::Held { .. }) {
            self.ledger.unhold(slot);
        }
        let event = self.ledger.event(slot).clone();
        let lane = self.lane(target);
        lane.closed(event.weight());
        if matches!(state, State::Held { .. } | State::Writing | State::Blocked) {
            lane.unhold();
        }
        if let Some(key) = link {
            // Whatever waits for it is released too.
            lane.chains.remove(Link { generation: event.generation, key }, id);
        }
        self.note(Note::Released { target, route, event, reason });
        let closed = self.ledger.release_delivery(id);
        self.closed(closed);
    }

    pub(super) fn release_write(&mut self, write: WriteId, reason: ReleaseReason) {
        match self.writes.close(write) {
            Some((Obligation::Delivery(id), _)) => self.release(id, reason),
            Some((Obligation::Event(slot), _)) => {
                let closed = self.ledger.release_obligation(slot);
                self.closed(closed);
            }
            None => {}
        }
    }

    pub(super) fn release_reason(&self) -> ReleaseReason {
        match self.life {
            Life::Running => ReleaseReason::Revoked,
            Life::Stopping => ReleaseReason::Shutdown,
        }
    }

    pub(super) fn revoked(&mut self, consumer: ConsumerId, generation: Generation) {
        #[cfg(test)]
        if self.sabotage == Some(Sabotage::IgnoreGeneration) {
            self.commands.push_back(Command::Released(consumer, generation));
            return;
        }
        if !self.ledger.end_tenure(generation) {
            self.commands.push_back(Command::Released(consumer, generation));
            return;
        }
        self.release_waiting(Some(generation), ReleaseReason::Revoked);
    }

    pub(super) fn shut_down(&mut self) {
        self.life = Life::Stopping;
        self.release_waiting(None, ReleaseReason::Shutdown);
    }

    /// Releases all that waits: what is ready, what is held, and writes that wait to be repeated.
    pub(super) fn release_waiting(&mut self, generation: Option<Generation>, reason: ReleaseReason) {
        let waiting = self.ledger.waiting(generation);
        for id in waiting {
            self.release(id, reason);
        }
        for write in self.writes.waiting(generation) {
            self.release_write(write, reason);
        }
        self.purge();
    }

    /// Drops what names deliveries and writes that are gone.
    pub(super) fn purge(&mut self) {
        let ledger = &mut self.ledger;
        for lane in &mut self.lanes {
            lane.retain(|id| ledger.delivery(*id).is_some());
        }
        let writes = &self.writes;
        self.timers.retain(|timer| match timer {
            Timer::Retry(id) => ledger.delivery(*id).is_some(),
            Timer::Write(write) => writes.is_open(*write),
            Timer::Lane(_) | Timer::Shelve(_) => true,
        });
    }

    pub(super) fn lost(&mut self, generation: Generation) {
        #[cfg(test)]
        if self.sabotage == Some(Sabotage::IgnoreGeneration) {
            return;
        }
        self.writes.forget(generation);
        for lane in &mut self.lanes {
            lane.chains.forget(generation);
        }
        let reason = self.release_reason();
        for (delivery, event) in self.ledger.forget(generation) {
            let (target, route) = (delivery.target, delivery.route);
            let lane = self.lane(target);
            lane.closed(event.weight());
            if matches!(delivery.state, State::Held { .. } | State::Writing | State::Blocked) {
                lane.unhold();
            }
            self.note(Note::Released { target, route, event, reason });
        }
        self.purge();
    }
}
