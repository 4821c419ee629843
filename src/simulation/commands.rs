use std::time::Duration;

use super::book::judge_unknown;
use super::broker::{LARGEST_RECORD, Record};
use super::fault::Fault;
use super::receivers::{Mood, place};
use super::replica::Replica;
use super::truth::Place;
use super::world::{Check, World};
use super::{DEAD, FIRST, HEALTHY, LIMITED, ORDERED, SECOND, UNKNOWN};
use crate::domain::{
    Attempt, Attempted, DeadLetter, DeadLetterReason, Event, Generation, Move, Ordering::ByKey, Outcome,
    Reply, Settled, TargetId,
};
use crate::engine::{Command, Input, Note, StoreFault, WriteId};

/// As often may `second`, the one that discards, have failed before it does.
const ATTEMPTS_OF_SECOND: usize = 3;

/// Something on its way to a replica.
#[derive(Debug)]
pub(super) enum Landing {
    Attempted {
        attempt: Attempt,
        /// The sender saw that the lease had ended, and sent nothing.
        withheld: bool,
    },
    Stored {
        write: WriteId,
        letter: Box<DeadLetter>,
        /// The store saw that the lease had ended, and wrote nothing.
        withheld: bool,
    },
    Moved {
        write: WriteId,
        moved: Box<Move>,
        withheld: bool,
    },
}

/// What the engines command, and what the world makes of it.
impl World {
    /// Carries out all commands of a replica's engine.
    pub(super) fn obey(&mut self, replica: usize) -> Check {
        let now = self.now;
        while let Some(command) = self.running(replica).and_then(|running| running.engine.next_command(now)) {
            self.carry_out(replica, command)?;
        }
        Ok(())
    }

    fn carry_out(&mut self, replica: usize, command: Command) -> Check {
        self.say(|| format!("replica {replica}: {command:?}").chars().take(160).collect());
        let latency = Duration::from_millis(self.random.u64(1..3_000));
        match command {
            Command::Attempt(attempt) => self.attempt(replica, attempt, latency),
            Command::DeadLetter { write, letter } => {
                let withheld = self.is_withheld(replica, &letter.event, "a dead letter was written")?;
                if let Some(target) = target_buried(&letter) {
                    self.counted(replica, &letter.event, target, letter.attempts, "a dead letter")?;
                    self.judge_letter(replica, write, &letter, target)?;
                }
                self.fly(latency, replica, Landing::Stored { write, letter, withheld });
                Ok(())
            }
            Command::Move { write, moved } => {
                let withheld = self.is_withheld(replica, &moved.event, "a delivery was moved")?;
                let (target, made) = (target_named(&moved), moved.waiting.attempts);
                self.counted(replica, &moved.event, target, made, "a move")?;
                if target == ORDERED {
                    return Err("a delivery of an ordered target was moved to a tier".to_owned());
                }
                self.judge_move(replica, write, &moved, target)?;
                self.fly(latency, replica, Landing::Moved { write, moved, withheld });
                Ok(())
            }
            Command::Settle(Settled { receipt, .. }) => {
                let Some(running) = self.replicas[replica].as_mut() else { return Ok(()) };
                known(running, receipt.generation, "a receipt was given back")?;
                running.settle(&receipt);
                Ok(())
            }
            Command::Released(_, generation) => self.leave(replica, generation),
            Command::Note(note) => self.note(replica, note),
        }
    }

    fn attempt(&mut self, replica: usize, attempt: Attempt, latency: Duration) -> Check {
        let now = self.now;
        let withheld = self.is_withheld(replica, &attempt.event, "a request started")?;
        let (place, target, generation) = (place(&attempt.event), attempt.target, attempt.event.generation);
        let Some(running) = self.replicas[replica].as_mut() else { return Ok(()) };
        running.attempt_started(target);
        running.book.lets_go((generation, place, target));
        if running.book.is_gone(target) {
            return Err(format!("{place:?} is sent to {target:?}, which is switched off"));
        }
        running.numbers.insert(attempt.delivery, attempt.number);
        if target == LIMITED {
            running.book.keeps_its_rate(now)?;
        }
        if !withheld {
            let made = running.attempts.entry((generation, place, target)).or_insert(Some(0));
            *made = made.map(|made| made + 1);
        }
        if target == ORDERED && !withheld {
            let mut earlier =
                self.broker.before(place, self.plan.targets[target.0 as usize].ordering == ByKey);
            if let Some(earlier) = earlier.find(|earlier| !self.truth.has_ended(*earlier, target)) {
                return Err(format!("{place:?} was sent before {earlier:?}, out of its order"));
            }
        }
        self.fly(latency, replica, Landing::Attempted { attempt, withheld });
        Ok(())
    }

    /// Whether a sender or store sees that the lease has ended. Without that, only the owner may act.
    fn is_withheld(&self, replica: usize, event: &Event, what: &str) -> Result<bool, String> {
        let Some(running) = self.replicas[replica].as_ref() else { return Ok(true) };
        known(running, event.generation, what)?;
        let looks = match what {
            "a request started" => self.fault != Some(Fault::IgnoreLease),
            _ => self.fault != Some(Fault::WriteWithoutLease),
        };
        if looks && !event.lease.holds(self.now) {
            return Ok(true);
        }
        let index = running.assigned.get(&event.generation).map(|assigned| assigned.index);
        match index.is_some_and(|index| self.broker.owners[index] == Some((replica, event.generation))) {
            true => Ok(false),
            false => Err(format!("{what} for {:?} while another replica owns it", place(event))),
        }
    }

    /// The attempts that a letter or record tells are those that were made.
    fn counted(&self, replica: usize, event: &Event, target: TargetId, told: u32, what: &str) -> Check {
        let Some(running) = self.replicas[replica].as_ref() else { return Ok(()) };
        let made = running.attempts.get(&(event.generation, place(event), target)).copied();
        match made.unwrap_or(Some(0)) {
            Some(made) if made != told => {
                Err(format!("{what} of {:?} tells {told} attempts, and {made} were made", place(event)))
            }
            _ => Ok(()),
        }
    }

    fn note(&mut self, replica: usize, note: Note) -> Check {
        self.held(replica, &note);
        let (target, change) = match &note {
            Note::Opened(target) | Note::Resumed { target, .. } => (*target, 1),
            Note::Ended { target, .. } | Note::Moved { target, .. } | Note::Released { target, .. } => {
                (*target, -1)
            }
            _ => return Ok(()),
        };
        if let Some(running) = self.replicas[replica].as_mut() {
            running.balance[target.0 as usize] += change;
        }
        match note {
            Note::Ended { outcome: Outcome::Discarded(_), event, .. } => {
                self.discarded(place(&event), target)
            }
            _ => Ok(()),
        }
    }

    /// What is held in memory, by what the engine says that it waits for or has let go.
    fn held(&mut self, replica: usize, note: &Note) {
        let now = self.now;
        let Some(running) = self.replicas[replica].as_mut() else { return };
        match note {
            Note::Retrying { target, event, wait_ms, .. } => {
                let Some(assigned) = running.assigned.get(&event.generation) else { return };
                let until = now.after(Duration::from_millis(*wait_ms));
                let (key, consumer) = ((event.generation, place(event), *target), assigned.slot.consumer());
                running.book.waits(key, consumer, event, until);
            }
            Note::Ended { target, event, .. } | Note::Released { target, event, .. } => {
                running.book.lets_go((event.generation, place(event), *target));
            }
            _ => {}
        }
    }

    fn judge_move(&mut self, replica: usize, write: WriteId, moved: &Move, target: TargetId) -> Check {
        let now = self.now;
        let Some(running) = self.replicas[replica].as_mut() else { return Ok(()) };
        let key = (moved.event.generation, place(&moved.event), target);
        running.book.lets_go(key);
        if !running.book.is_new(write) {
            return Ok(());
        }
        if running.book.is_gone(target) {
            return Err(format!("{key:?} was moved although its target is switched off"));
        }
        running.book.judge_move(key, moved, now)
    }

    fn judge_letter(
        &mut self,
        replica: usize,
        write: WriteId,
        letter: &DeadLetter,
        target: TargetId,
    ) -> Check {
        let now = self.now;
        let Some(running) = self.replicas[replica].as_mut() else { return Ok(()) };
        running.book.lets_go((letter.event.generation, place(&letter.event), target));
        if !running.book.is_new(write) {
            return Ok(());
        }
        let disabled = letter.reason == DeadLetterReason::TargetDisabled;
        match &letter.unknown {
            Some(waiting) => judge_unknown(waiting, now),
            None if disabled && !running.book.is_gone(target) => {
                Err(format!("a letter says that {target:?} is disabled, and it is not"))
            }
            None => Ok(()),
        }
    }

    fn discarded(&mut self, (partition, offset): Place, target: TargetId) -> Check {
        let refused = self.receivers.have_refused((partition, offset), target, ATTEMPTS_OF_SECOND);
        if target != SECOND || !refused {
            return Err(format!("{partition}/{offset} was discarded although {target:?} has attempts left"));
        }
        self.truth.ended((partition, offset), Some(target));
        Ok(())
    }

    // ---- What comes back ----

    pub(super) fn fly(&mut self, after: Duration, replica: usize, landing: Landing) {
        let Some(life) = self.replicas[replica].as_ref().map(|replica| replica.life) else { return };
        self.numbers += 1;
        let due = self.now.after(after).mono_us;
        self.flights.insert((due, self.numbers), (replica, life, landing));
    }

    pub(super) fn arrive(&mut self, replica: usize, landing: Landing) -> Check {
        let now = self.now;
        if let (Landing::Attempted { attempt, withheld: false }, Some(running)) =
            (&landing, self.replicas[replica].as_mut())
        {
            debug_assert_eq!(running.numbers.remove(&attempt.delivery), Some(attempt.number));
        }
        let target = match &landing {
            Landing::Attempted { attempt, .. } => Some(attempt.target),
            Landing::Stored { .. } | Landing::Moved { .. } => None,
        };
        let input = self.happen(landing);
        if let Some(running) = self.replicas[replica].as_mut() {
            if let Some(target) = target {
                running.attempt_ended(target);
            }
            // To one that is removed nothing is sent anyway, and it comes back switched on.
            let is_there = |target: &TargetId| !running.plan.removed.contains(target);
            if let (Some(target), true) = (target.filter(is_there), says_gone(&input)) {
                running.book.goes(target);
            }
            running.engine.handle(input, now);
        }
        self.obey(replica)
    }

    /// What the receiver or the store does, and what it answers.
    pub(super) fn happen(&mut self, landing: Landing) -> Input {
        let gone = || Err(StoreFault::Unavailable("the lease has ended".into()));
        match landing {
            Landing::Attempted { attempt, withheld } => {
                let reply = if withheld { Reply::Withheld } else { self.receive(&attempt) };
                let Attempt { delivery, target, number, .. } = attempt;
                let took = Duration::from_millis(1);
                Input::Attempted(Attempted { delivery, target, number, reply, took })
            }
            Landing::Stored { write, letter, withheld } => {
                let result = if withheld { gone() } else { self.store(&letter) };
                Input::Stored { write, result }
            }
            Landing::Moved { write, moved, withheld } => {
                let result = if withheld { gone() } else { self.shelve(*moved) };
                Input::Stored { write, result }
            }
        }
    }

    fn receive(&mut self, attempt: &Attempt) -> Reply {
        let mood = if self.healed { Mood::Healed } else { Mood::Troubled };
        self.receivers.receive(attempt, mood, &mut self.random, &mut self.truth)
    }

    fn store(&mut self, letter: &DeadLetter) -> Result<(), StoreFault> {
        if !letter.omit_value && letter.event.body.len() > LARGEST_RECORD {
            return Err(StoreFault::TooLarge);
        }
        let confirmed = self.broker.store_up;
        if confirmed || self.random.bool() {
            self.truth.ended(place(&letter.event), target_buried(letter));
        }
        if confirmed { Ok(()) } else { Err(StoreFault::Unavailable("down".into())) }
    }

    /// A record comes into a tier; sometimes although its writer does not hear of it.
    fn shelve(&mut self, moved: Move) -> Result<(), StoreFault> {
        if moved.event.body.len() > LARGEST_RECORD {
            return Err(StoreFault::TooLarge);
        }
        let confirmed = self.broker.store_up;
        if confirmed || self.random.bool() {
            let (place, target) = (place(&moved.event), target_named(&moved));
            self.truth.waits(place, target);
            let tier = moved.waiting.tier.index();
            self.broker.tiers[tier].push(Record { place, waiting: moved.waiting });
        }
        if confirmed { Ok(()) } else { Err(StoreFault::Unavailable("down".into())) }
    }
}

/// Whether a receiver answered that it takes nothing any more.
fn says_gone(input: &Input) -> bool {
    matches!(input, Input::Attempted(Attempted { reply: Reply::Status { status: 410, .. }, .. }))
}

/// Whose letter it is; `None` if the event's own.
fn target_buried(letter: &DeadLetter) -> Option<TargetId> {
    match &letter.unknown {
        Some(waiting) => Some(named(waiting.target.as_deref())),
        None => letter.target,
    }
}

/// Nothing may happen for a generation after the engine was told that it is gone.
fn known(replica: &Replica, generation: Generation, what: &str) -> Check {
    match replica.assigned.contains_key(&generation) {
        true => Ok(()),
        false => Err(format!("{what} of a generation that is gone")),
    }
}

fn target_named(moved: &Move) -> TargetId {
    named(moved.waiting.target.as_deref())
}

/// The target of a tier's record.
pub(super) fn target_of(record: &Record) -> TargetId {
    named(record.waiting.target.as_deref())
}

fn named(name: Option<&str>) -> TargetId {
    match name {
        Some("dead") => DEAD,
        Some("first") => FIRST,
        Some("healthy") => HEALTHY,
        Some("limited") => LIMITED,
        Some("ordered") => ORDERED,
        Some("second") => SECOND,
        Some("removed") => UNKNOWN,
        other => panic!("no target of the simulation: {other:?}"),
    }
}
