use std::collections::{HashMap, HashSet};
use std::time::Duration;

use super::truth::Place;
use super::world::Check;
use super::{HEALTHY, ORDERED, UNKNOWN};
use crate::domain::{ConsumerId, Event, Generation, Moment, Move, TargetId, Waiting};
use crate::engine::{Grant, WriteId};

/// What `limited` allows: so many attempts a second, and so many at once.
const RATE: i64 = 2;
const BURST: i64 = 3;
/// The limiter rounds to microseconds.
const ROUNDING: i64 = 10;
/// A delivery for the healthy target waits no longer for its first attempt: a window of them, four at a
/// time, none of which takes more than three seconds, and a turn of the world.
const HEALTHY_WAIT: Duration = Duration::from_secs(20);
/// What is not in the configuration is waited for so long after its first failure.
const UNKNOWN_FOR_MS: i64 = 24 * 3600 * 1000;

/// A delivery as one assignment of one process knows it.
type Key = (Generation, Place, TargetId);

/// What one process has done with its deliveries, told by what it commands and by what came back, so
/// that the engine's own accounts are not believed.
#[derive(Debug, Default)]
pub(super) struct Book {
    held: HashMap<Key, Held>,
    /// When each delivery of the healthy target was read whose first attempt has not started.
    awaited: HashMap<(Generation, Place), Moment>,
    moves: HashMap<Key, Moves>,
    /// Writes that were judged when they were made first.
    judged: HashSet<WriteId>,
    /// Targets that have answered that they are gone.
    gone: HashSet<TargetId>,
    /// Attempts to `limited`, and the least that any of them was ahead of its rate.
    limited: (i64, Option<i64>),
}

#[derive(Debug)]
struct Held {
    consumer: ConsumerId,
    weight: u64,
    until: Moment,
}

/// How often a delivery was read again and moved, and until when its moves make it wait. Several copies of
/// it may be read; each is moved on when its own wait is over, also if that move was never confirmed.
#[derive(Debug, Default)]
struct Moves {
    read: u32,
    made: u32,
    due_ms: Vec<i64>,
}

impl Book {
    /// A message was read that the healthy target gets.
    pub(super) fn awaits(&mut self, generation: Generation, place: Place, now: Moment) {
        self.awaited.insert((generation, place), now);
    }

    /// A tier's record was read.
    pub(super) fn resumed(&mut self, generation: Generation, place: Place, target: TargetId) {
        self.moves.entry((generation, place, target)).or_default().read += 1;
    }

    /// A delivery waits for its next attempt.
    pub(super) fn waits(&mut self, key: Key, consumer: ConsumerId, event: &Event, until: Moment) {
        if key.2 != ORDERED {
            self.held.insert(key, Held { consumer, weight: event.weight(), until });
        }
    }

    /// A delivery is no longer held: it is attempted, written or let go.
    pub(super) fn lets_go(&mut self, key: Key) {
        self.held.remove(&key);
        if key.2 == HEALTHY {
            self.awaited.remove(&(key.0, key.1));
        }
    }

    pub(super) fn is_gone(&self, target: TargetId) -> bool {
        self.gone.contains(&target)
    }

    pub(super) fn goes(&mut self, target: TargetId) {
        self.gone.insert(target);
    }

    /// A reload switches everybody on again.
    pub(super) fn all_are_back(&mut self) {
        self.gone.clear();
    }

    pub(super) fn forget(&mut self, generation: Generation) {
        self.held.retain(|key, _| key.0 != generation);
        self.awaited.retain(|key, _| key.0 != generation);
        self.moves.retain(|key, _| key.0 != generation);
    }

    /// Whether a write is made for the first time.
    pub(super) fn is_new(&mut self, write: WriteId) -> bool {
        self.judged.insert(write)
    }

    /// Over no stretch of time up to now more attempts than the rate and the burst allow. An attempt is
    /// as far ahead of the rate as its number is ahead of what time has given; over the stretch from any
    /// earlier one it may be ahead by the burst.
    pub(super) fn keeps_its_rate(&mut self, now: Moment) -> Check {
        const ATTEMPT: i64 = 1_000_000;
        let (made, least) = &mut self.limited;
        *made += 1;
        let ahead = *made * ATTEMPT - RATE * now.mono_us as i64;
        let start = *least.get_or_insert(ahead);
        *least = Some(start.min(ahead));
        match ahead - start + ATTEMPT > BURST * ATTEMPT + ROUNDING {
            true => Err(format!("attempt {made} is over the rate, over some stretch of time")),
            false => Ok(()),
        }
    }

    /// A move that is made for the first time: it waits for its tier's length, and the wait of an earlier
    /// one is over.
    pub(super) fn judge_move(&mut self, key: Key, moved: &Move, now: Moment) -> Check {
        let Waiting { tier, due_ms, .. } = moved.waiting;
        if due_ms < now.wall_ms + tier.length().as_millis() as i64 {
            return Err(format!(
                "a record of {tier} waits for less than the tier's length: {due_ms} at {}",
                now.wall_ms
            ));
        }
        let moves = self.moves.entry(key).or_default();
        let came_back = moves.made < moves.read.max(1);
        let over = moves.due_ms.iter().position(|due_ms| *due_ms <= now.wall_ms);
        match over.filter(|_| !came_back) {
            Some(over) => drop(moves.due_ms.remove(over)),
            None if came_back => {}
            None => return Err(format!("{key:?} was moved twice within a tier's delay")),
        }
        moves.made += 1;
        moves.due_ms.push(due_ms);
        if key.2 == UNKNOWN {
            if tier.name() != "1h" {
                return Err(format!("a record of an unknown target was moved to {tier}"));
            }
            if unknown_for_ms(&moved.waiting, now) >= UNKNOWN_FOR_MS {
                return Err("an unknown target was waited for longer than a day".to_owned());
            }
        }
        Ok(())
    }

    /// No more is held than half of the window and the delivery that reached it, and the healthy target's
    /// deliveries do not wait for others.
    pub(super) fn check(&mut self, consumer: ConsumerId, window: Grant, now: Moment) -> Check {
        let own = self.held.values().filter(|held| held.consumer == consumer && held.until > now);
        let (events, bytes, largest) = own.fold((0, 0, 0), |(events, bytes, largest), held| {
            (events + 1, bytes + held.weight, held.weight.max(largest))
        });
        if events > window.events.div_ceil(2) || bytes > window.bytes.div_ceil(2) + largest {
            return Err(format!("{consumer:?} holds {events} of {window:?}, more than half of its window"));
        }
        match self.awaited.iter().find(|(_, read)| now.since(**read) > HEALTHY_WAIT) {
            Some((key, read)) => {
                Err(format!("the healthy target's {key:?} has waited for {:?}", now.since(*read)))
            }
            None => Ok(()),
        }
    }
}

/// The letter of a record whose target is unknown: not before a day after the first failure.
pub(super) fn judge_unknown(waiting: &Waiting, now: Moment) -> Check {
    match unknown_for_ms(waiting, now) < UNKNOWN_FOR_MS {
        true => Err("an unknown target was not waited for for a day".to_owned()),
        false => Ok(()),
    }
}

fn unknown_for_ms(waiting: &Waiting, now: Moment) -> i64 {
    now.wall_ms - waiting.failure.as_ref().map_or(waiting.first_ms, |failure| failure.first_ms)
}
