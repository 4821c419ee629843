use std::collections::BTreeMap;
use std::time::Duration;

use super::ledger::EventSlot;
use super::protocol::WriteId;
use crate::domain::{DeadLetter, DeliveryId, Generation};

/// Dead letters that the store has not confirmed yet. Each is repeated until it is.
#[derive(Debug, Default)]
pub(super) struct Writes {
    open: BTreeMap<WriteId, Write>,
    next: u64,
}

#[derive(Debug)]
struct Write {
    generation: Generation,
    obligation: Obligation,
    letter: DeadLetter,
    refusals: u32,
    /// Refused, and not sent again yet.
    waiting: bool,
}

/// What ends when a write is confirmed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Obligation {
    /// A delivery.
    Delivery(DeliveryId),
    /// The event's own dead letter.
    Event(EventSlot),
}

const FIRST_WAIT: Duration = Duration::from_millis(500);
const LONGEST_WAIT: Duration = Duration::from_secs(15);

impl Writes {
    pub(super) fn open(
        &mut self,
        generation: Generation,
        obligation: Obligation,
        letter: DeadLetter,
    ) -> WriteId {
        self.next += 1;
        let write = Write { generation, obligation, letter, refusals: 0, waiting: false };
        self.open.insert(WriteId(self.next), write);
        WriteId(self.next)
    }

    /// The letter to send now, if the write is still open.
    pub(super) fn letter(&mut self, id: WriteId) -> Option<DeadLetter> {
        let write = self.open.get_mut(&id)?;
        write.waiting = false;
        Some(write.letter.clone())
    }

    pub(super) fn close(&mut self, id: WriteId) -> Option<(Obligation, DeadLetter)> {
        self.open.remove(&id).map(|write| (write.obligation, write.letter))
    }

    /// From now on without the value; `false` if it was without already.
    pub(super) fn omit_value(&mut self, id: WriteId) -> bool {
        match self.open.get_mut(&id) {
            Some(write) if !write.letter.omit_value => {
                write.letter.omit_value = true;
                true
            }
            _ => false,
        }
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
