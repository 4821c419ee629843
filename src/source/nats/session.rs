use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::stream::Stream;

use super::acks::Acks;
use super::book::Book;
use super::durable::Trouble;
use super::patience::Patience;
use super::tenure::Tenure;
use crate::domain::{Moment, Settled, SourceId};
use crate::engine::{Grant, Input};
use crate::plan::{Consumer, Nats, Plan};
use crate::source::SharedGrant;
use crate::source::allowance::Allowance;
use crate::source::hand::Hand;
use crate::source::outbox::Outbox;
use crate::source::pressure::Pressure;

/// What is ours of a JetStream stream, and what the pipeline lets us have: the same whatever is read, and
/// kept from one connection to the next.
pub(super) struct Session {
    pub(super) plan: Arc<Plan>,
    pub(super) source: SourceId,
    pub(super) nats: Nats,
    pub(super) patience: Patience,
    pub(super) allowance: Allowance,
    pub(super) outbox: Outbox,
    pub(super) pressure: Pressure,
    pub(super) tenure: Tenure,
    pub(super) book: Book,
    pub(super) acks: Acks,
    /// What the grant had no room for.
    pub(super) hands: VecDeque<Hand>,
    /// Of the present client.
    pub(super) stream: Option<Arc<Stream>>,
    /// When the stream that was read last was made, for a durable that is deleted under us.
    pub(super) created: Option<Box<str>>,
    /// The stream was not there when it was looked for last.
    pub(super) was_missing: bool,
    /// Why nothing can be read, as told.
    pub(super) trouble: Option<Trouble>,
}

impl Session {
    pub(super) fn new(
        plan: Arc<Plan>,
        reader: Consumer,
        nats: Nats,
        ack_wait: Duration,
        grant: Arc<SharedGrant>,
        outbox: Outbox,
    ) -> Session {
        let patience = Patience::new(ack_wait);
        Session {
            allowance: Allowance::new(grant, plan.window(outbox.consumer())),
            plan,
            source: reader.source,
            nats,
            patience,
            outbox,
            pressure: Pressure::default(),
            tenure: Tenure::new(patience),
            book: Book::default(),
            acks: Acks::new(),
            hands: VecDeque::new(),
            stream: None,
            created: None,
            was_missing: false,
            trouble: None,
        }
    }

    pub(super) fn name(&self) -> &str {
        self.outbox.source()
    }

    /// The window, as a grant.
    pub(super) fn window(&self) -> Grant {
        let window = self.allowance.window();
        Grant { events: window.events, bytes: window.bytes }
    }

    pub(super) fn settled(&mut self, settled: Vec<Settled>) {
        self.acks.all_settled(settled, self.tenure.generation(), &mut self.book);
    }

    // ---- Hands ----

    /// Hands this over with `batch`, or keeps it until there is room.
    pub(super) fn offer(&mut self, hand: Hand, batch: &mut Vec<Input>) {
        match self.hands.is_empty() && self.allowance.fits(hand.event()) {
            true => batch.push(hand.over(&mut self.allowance)),
            false => self.hands.push_back(hand),
        }
    }

    /// Hands over what had no room, as far as it has it now.
    pub(super) fn offer_hands(&mut self) {
        let mut batch = Vec::new();
        while let Some(hand) = self.hands.pop_front() {
            if !self.allowance.fits(hand.event()) {
                self.hands.push_front(hand);
                break;
            }
            batch.push(hand.over(&mut self.allowance));
        }
        self.outbox.inputs(batch);
    }

    // ---- What is ours ----

    /// Renews the lease of all that is open as far as the server has heard of it. `false`: after a
    /// standstill, or when the server has not been told of it in time, all of it was given up.
    pub(super) fn keep_tenure(&mut self) -> bool {
        let now = Moment::now();
        let oldest = self.book.oldest_sign_us().unwrap_or(now.mono_us);
        if self.tenure.keep(now.mono_us, oldest) {
            return true;
        }
        self.hands.clear();
        // The server still counts them; they come again when it has waited long enough.
        self.book.release();
        let lost = self.tenure.renew();
        self.outbox.inputs(vec![Input::Lost(lost)]);
        false
    }

    /// The stream is gone. What is open of it can't be acknowledged any more, and is nobody else's;
    /// another stream's sequences begin anew.
    pub(super) fn leave_stream(&mut self) {
        self.book.clear();
        self.acks = Acks::new();
        self.tenure.retire();
        self.created = None;
    }

    /// Whether the server has been told all that is settled.
    pub(super) fn unsaid(&self) -> Result<(), String> {
        match self.acks.is_empty() {
            true => Ok(()),
            false => Err("the servers can't be told what is settled; it is sent again".to_owned()),
        }
    }
}
