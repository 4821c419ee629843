use std::cmp::Reverse;
use std::sync::Arc;
use std::time::Duration;

use super::ORDERED;
use super::broker::Slot;
use super::commands::target_of;
use super::replica::{Assigned, Replica};
use super::world::{Check, REPLICAS, World};
use crate::domain::{Generation, TargetId, TargetState};
use crate::engine::Input;
use crate::plan::Plan;

const GRACE: Duration = Duration::from_secs(10);
/// A replica that is silent for so long loses what it owns.
const SESSION: Duration = Duration::from_secs(10);

/// Who owns what: commits, rebalances, and replicas that come, go, freeze and thaw.
impl World {
    pub(super) fn commit_all(&mut self) -> Check {
        for replica in 0..REPLICAS {
            let generations: Vec<Generation> = self
                .running(replica)
                .map(|running| running.assigned.keys().copied().collect())
                .unwrap_or_default();
            for generation in generations {
                self.commit(replica, generation)?;
            }
        }
        Ok(())
    }

    /// The broker takes a commit only from the owner. Nothing may be committed that isn't settled: what an
    /// event owes must have ended, or wait in a tier.
    pub(super) fn commit(&mut self, replica: usize, generation: Generation) -> Check {
        let Some(running) = self.replicas[replica].as_ref() else { return Ok(()) };
        let Some(Assigned { index, slot, .. }) = running.assigned.get(&generation) else { return Ok(()) };
        let (index, slot) = (*index, *slot);
        let Some(offset) = running.committable(generation) else { return Ok(()) };
        if self.broker.owners[index] != Some((replica, generation)) {
            return Ok(());
        }
        let committed = self.broker.committed[index];
        if offset < committed {
            return Err(format!("{slot:?} was committed back from {committed} to {offset}"));
        }
        match slot {
            Slot::Shared(log) => self.commit_messages(log, offset, |target| target != Some(ORDERED))?,
            Slot::Ordered(log) => self.commit_messages(log, offset, |target| target == Some(ORDERED))?,
            Slot::Tier(tier) => {
                for position in committed..offset {
                    let Some(record) = self.broker.record(tier, position) else { break };
                    let (place, target) = (record.place, target_of(record));
                    if self.truth.waited(place, target) {
                        return Err(format!(
                            "{tier}/{position} was committed although {place:?} owes {target:?}"
                        ));
                    }
                }
            }
        }
        self.broker.committed[index] = offset;
        let owner = self.replicas[replica].as_mut().and_then(|running| running.assigned.get_mut(&generation));
        if let Some(assigned) = owner {
            assigned.frontier.committed(offset);
        }
        Ok(())
    }

    fn commit_messages(&self, log: usize, offset: i64, concerns: impl Fn(Option<TargetId>) -> bool) -> Check {
        for message in self.broker.logs[log].iter().take_while(|message| message.offset < offset) {
            if let Some(owed) = self.truth.owed((log, message.offset), &concerns) {
                let at = message.offset;
                return Err(format!("{log}/{offset} was committed although {log}/{at} owes {owed:?}"));
            }
        }
        Ok(())
    }

    pub(super) fn start_replica(&mut self, replica: usize) -> Check {
        if self.replicas[replica].is_some() {
            return Ok(());
        }
        self.lives += 1;
        self.say(|| format!("replica {replica} starts"));
        let seed = self.random.u64(..);
        self.replicas[replica] = Some(Replica::new(&self.plan, self.lives, seed, self.fault));
        self.adopt_orphans()
    }

    pub(super) fn crash(&mut self, replica: usize) -> Check {
        if self.replicas[replica].take().is_none() {
            return Ok(());
        }
        self.say(|| format!("replica {replica} crashes"));
        self.sessions[replica] = None;
        self.disown(replica);
        self.adopt_orphans()
    }

    pub(super) fn freeze(&mut self, replica: usize) -> Check {
        let session_ends = self.now.after(SESSION).mono_us;
        let Some(running) = self.running(replica) else { return Ok(()) };
        running.frozen = true;
        self.sessions[replica] = Some(session_ends);
        self.deadlines.push(Reverse(session_ends));
        self.say(|| format!("replica {replica} freezes"));
        Ok(())
    }

    /// The broker has not heard of a frozen replica for too long: others get its partitions, and
    /// it does not know.
    pub(super) fn end_sessions(&mut self) -> Check {
        for replica in 0..REPLICAS {
            if self.sessions[replica].is_some_and(|ends| ends <= self.now.mono_us) {
                self.sessions[replica] = None;
                self.say(|| format!("the session of replica {replica} ends"));
                self.disown(replica);
            }
        }
        self.adopt_orphans()
    }

    pub(super) fn thaw(&mut self, replica: usize) -> Check {
        let Some(frozen) = self.replicas[replica].as_mut().filter(|replica| replica.frozen) else {
            return Ok(());
        };
        frozen.frozen = false;
        frozen.dazed = true;
        self.say(|| format!("replica {replica} thaws"));
        self.obey(replica)
    }

    /// The source notices how long it was away: everything that it held is void.
    pub(super) fn come_round(&mut self, replica: usize) -> Check {
        let now = self.now;
        let dazed = self.replicas[replica].as_mut().filter(|replica| replica.dazed && !replica.frozen);
        let Some(dazed) = dazed else { return Ok(()) };
        dazed.dazed = false;
        let generations: Vec<Generation> = dazed.assigned.keys().copied().collect();
        for generation in generations {
            dazed.forget(generation, now);
        }
        self.sessions[replica] = None;
        self.say(|| format!("replica {replica} has noticed its absence"));
        self.disown(replica);
        self.obey(replica)?;
        self.adopt_orphans()
    }

    pub(super) fn stop_gracefully(&mut self, replica: usize) -> Check {
        let now = self.now;
        let Some(running) = self.running(replica) else { return Ok(()) };
        running.stopping = true;
        running.engine.handle(Input::Shutdown, now);
        self.say(|| format!("replica {replica} stops"));
        self.obey(replica)?;
        let Some(running) = self.running(replica) else { return Ok(()) };
        if running.engine.is_idle() {
            self.commit_all()?;
            return self.crash(replica);
        }
        Ok(())
    }

    /// A replica goes over to another plan. Lanes of targets that are the same in both notice nothing.
    pub(super) fn reload(&mut self, replica: usize, plan: Arc<Plan>) -> Check {
        let now = self.now;
        let Some(running) = self.running(replica).filter(|running| !running.stopping) else { return Ok(()) };
        let before = running.engine.lanes(now);
        running.engine.adopt(plan.clone(), now);
        let after = running.engine.lanes(now);
        for (index, (before, after)) in before.iter().zip(&after).enumerate() {
            let is_same = Arc::ptr_eq(&running.plan.targets[index], &plan.targets[index]);
            let is_on = before.standing.state != TargetState::Disabled;
            if is_same && is_on && !plan.removed.contains(&TargetId(index as u32)) && before != after {
                return Err(format!("a reload changed lane {index} from {before:?} to {after:?}"));
            }
        }
        running.plan = plan;
        running.overbooked = true;
        running.book.all_are_back();
        self.say(|| format!("replica {replica} reloads"));
        self.obey(replica)
    }

    /// A group takes something away from its owner, who may finish what is in flight.
    pub(super) fn rebalance(&mut self) -> Check {
        let now = self.now;
        let index = self.random.usize(0..self.broker.slots.len());
        let Some((owner, generation)) = self.broker.owners[index] else { return self.adopt_orphans() };
        let consumer = self.broker.slots[index].consumer();
        let until = now.after(GRACE);
        let Some(running) = self.running(owner) else { return Ok(()) };
        let Some(assigned) = running.assigned.get_mut(&generation) else { return Ok(()) };
        if assigned.leaving.is_some() {
            return Ok(());
        }
        assigned.leaving = Some(until);
        running.engine.handle(Input::Revoked(consumer, generation), now);
        self.deadlines.push(Reverse(until.mono_us));
        self.say(|| format!("slot {index} is revoked from {owner}"));
        self.obey(owner)
    }

    /// A revocation that took too long ends without waiting further.
    pub(super) fn end_leavings(&mut self, replica: usize) -> Check {
        let now = self.now;
        let Some(running) = self.running(replica) else { return Ok(()) };
        let late: Vec<Generation> = (running.assigned.iter())
            .filter(|(_, assigned)| assigned.leaving.is_some_and(|until| until <= now))
            .map(|(generation, _)| *generation)
            .collect();
        for generation in late {
            self.leave(replica, generation)?;
        }
        Ok(())
    }

    /// The owner commits what is settled and lets the partition go; another one takes it over.
    pub(super) fn leave(&mut self, replica: usize, generation: Generation) -> Check {
        let now = self.now;
        self.commit(replica, generation)?;
        let Some(running) = self.replicas[replica].as_mut() else { return Ok(()) };
        let Some(assigned) = running.assigned.get(&generation) else { return Ok(()) };
        let index = assigned.index;
        running.forget(generation, now);
        if self.broker.owners[index] == Some((replica, generation)) {
            self.broker.owners[index] = None;
        }
        self.obey(replica)?;
        self.adopt_orphans()
    }

    pub(super) fn disown(&mut self, replica: usize) {
        for owner in &mut self.broker.owners {
            if owner.is_some_and(|(owner, _)| owner == replica) {
                *owner = None;
            }
        }
    }

    /// What has no owner goes to any replica that runs.
    pub(super) fn adopt_orphans(&mut self) -> Check {
        let able: Vec<usize> = (0..REPLICAS)
            .filter(|replica| self.replicas[*replica].as_ref().is_some_and(Replica::can_own))
            .collect();
        if able.is_empty() {
            return Ok(());
        }
        for index in 0..self.broker.slots.len() {
            if self.broker.owners[index].is_some() {
                continue;
            }
            let replica = able[self.random.usize(0..able.len())];
            self.generations += 1;
            let generation = Generation(self.generations);
            self.broker.owners[index] = Some((replica, generation));
            let (slot, committed, now) = (self.broker.slots[index], self.broker.committed[index], self.now);
            if let Some(running) = self.replicas[replica].as_mut() {
                running.assign(generation, index, slot, committed, now);
            }
            self.say(|| format!("{slot:?} goes to {replica} at {committed}"));
        }
        Ok(())
    }

    /// From here on everything works again.
    pub(super) fn heal(&mut self) -> Check {
        self.say(|| "the world heals".to_owned());
        self.healed = true;
        self.broker.store_up = true;
        for replica in 0..REPLICAS {
            self.thaw(replica)?;
            self.come_round(replica)?;
            if self.replicas[replica].as_ref().is_some_and(|replica| replica.stopping) {
                self.crash(replica)?;
            }
            self.start_replica(replica)?;
            self.reload(replica, self.plan.clone())?;
        }
        self.adopt_orphans()
    }
}
