use std::collections::BTreeMap;
use std::time::Duration;

use super::ledger::EventSlot;
use super::protocol::{Command, WriteId};
use crate::domain::{DeadLetter, DeliveryId, Generation, Move};

/// Dead letters and moves that a store has not confirmed yet. Each is repeated until it is.
#[derive(Debug, Default)]
pub(super) struct Writes {
    open: BTreeMap<WriteId, Write>,
    next: u64,
}

#[derive(Debug)]
struct Write {
    generation: Generation,
    obligation: Obligation,
    payload: Payload,
    refusals: u32,
    /// Refused, and not sent again yet.
    waiting: bool,
}

/// What is written.
#[derive(Debug, Clone)]
pub(super) enum Payload {
    Letter(Box<DeadLetter>),
    Move(Box<Move>),
}

/// What ends when a write is confirmed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Obligation {
    /// A delivery.
    Delivery(DeliveryId),
    /// The event's own dead letter, or the move of a delivery whose target is not known.
    Event(EventSlot),
}

const FIRST_WAIT: Duration = Duration::from_millis(500);
const LONGEST_WAIT: Duration = Duration::from_secs(15);

impl Writes {
    pub(super) fn open(
        &mut self,
        generation: Generation,
        obligation: Obligation,
        payload: Payload,
    ) -> WriteId {
        self.next += 1;
        let write = Write { generation, obligation, payload, refusals: 0, waiting: false };
        self.open.insert(WriteId(self.next), write);
        WriteId(self.next)
    }

    /// The command to send now, if the write is still open.
    pub(super) fn command(&mut self, id: WriteId) -> Option<Command> {
        let write = self.open.get_mut(&id)?;
        write.waiting = false;
        Some(match write.payload.clone() {
            Payload::Letter(letter) => Command::DeadLetter { write: id, letter },
            Payload::Move(moved) => Command::Move { write: id, moved },
        })
    }

    /// The move that is written, if it is one.
    pub(super) fn moved(&self, id: WriteId) -> Option<(Obligation, &Move)> {
        match self.open.get(&id)? {
            Write { obligation, payload: Payload::Move(moved), .. } => Some((*obligation, moved)),
            Write { payload: Payload::Letter(_), .. } => None,
        }
    }

    pub(super) fn close(&mut self, id: WriteId) -> Option<(Obligation, Payload)> {
        self.open.remove(&id).map(|write| (write.obligation, write.payload))
    }

    /// From now on without the value, and the second time without the message's headers and key
    /// too; `false` if nothing is left to be omitted. A move has nothing that could be.
    pub(super) fn shrink(&mut self, id: WriteId) -> bool {
        let Some(Write { payload: Payload::Letter(letter), .. }) = self.open.get_mut(&id) else {
            return false;
        };
        let shrunk = !letter.omit_headers;
        letter.omit_headers = letter.omit_value;
        letter.omit_value = true;
        shrunk
    }

    /// How long to wait after a refusal.
    pub(super) fn next_wait(&mut self, id: WriteId) -> Option<Duration> {
        let write = self.open.get_mut(&id)?;
        let wait = FIRST_WAIT * 2u32.pow(write.refusals.min(10));
        write.refusals += 1;
        write.waiting = true;
        Some(wait.min(LONGEST_WAIT))
    }

    pub(super) fn is_open(&self, id: WriteId) -> bool {
        self.open.contains_key(&id)
    }

    /// The generation of what an open write is about.
    pub(super) fn generation(&self, id: WriteId) -> Option<Generation> {
        self.open.get(&id).map(|write| write.generation)
    }

    /// Writes of this generation (or of all) that wait to be repeated.
    pub(super) fn waiting(&self, generation: Option<Generation>) -> Vec<WriteId> {
        (self.open.iter())
            .filter(|(_, write)| generation.is_none_or(|generation| write.generation == generation))
            .filter(|(_, write)| write.waiting)
            .map(|(id, _)| *id)
            .collect()
    }

    /// Forgets the writes of a generation; a confirmation that comes later changes nothing.
    pub(super) fn forget(&mut self, generation: Generation) {
        self.open.retain(|_, write| write.generation != generation);
    }
}
