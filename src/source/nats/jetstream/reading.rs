use std::time::Instant;

use async_nats::StatusCode;
use futures_util::{FutureExt, StreamExt};

use super::{Hand, PULL_AGAIN, Worker};
use crate::domain::{Moment, Receipt};
use crate::engine::Input;
use crate::source::Report;
use crate::source::nats::book::Arrival;
use crate::source::nats::gap::Lost;
use crate::source::nats::message::{Delivered, message};
use crate::source::nats::pull::Pull;

/// At most so many events are handed over together.
const BATCH: usize = 256;

/// What comes through the subscription: messages, and what the server says of pulls.
impl Worker {
    /// Takes in a message and those that came with it, and hands their events over.
    pub(super) fn read(&mut self, first: async_nats::Message) {
        let mut batch = Vec::new();
        self.take(&first, &mut batch);
        for _ in 1..BATCH {
            let waiting =
                self.attached.as_mut().and_then(|attached| attached.subscriber.next().now_or_never());
            let Some(Some(message)) = waiting else { break };
            self.take(&message, &mut batch);
        }
        self.outbox.inputs(batch);
        if self.redelivered > 0 {
            self.outbox.report(Report::Redelivered(std::mem::take(&mut self.redelivered)));
        }
    }

    fn take(&mut self, native: &async_nats::Message, batch: &mut Vec<Input>) {
        let Some(attached) = &mut self.attached else { return };
        attached.heard = Instant::now();
        if let Some(status) = native.status {
            return self.status(status, native.description.as_deref().unwrap_or_default());
        }
        let delivered = native.reply.as_ref().and_then(|reply| Some((reply, Delivered::of(reply)?)));
        let Some((reply, delivered)) = delivered else { return };
        attached.moved = true;
        self.too_few_bytes = None;
        attached.pull = attached.pull.and_then(Pull::next);
        self.redelivered += u64::from(delivered.times > 1);
        let now = Moment::now();
        match self.book.received(delivered.sequence, reply, delivered.stored_ms, now.mono_us) {
            Arrival::Settled(ending) => return self.acks.settled(reply.clone(), ending),
            Arrival::Joins => return,
            Arrival::New => {}
        }
        let native = message(native, attached.name.clone(), Some(delivered), now.wall_ms);
        let (generation, lease) = (self.tenure.generation(), self.tenure.lease());
        let event = attached.intake.read(native, generation, lease);
        let receipt =
            Receipt { consumer: self.outbox.consumer(), generation, position: event.origin.position };
        self.report_gap(delivered);
        let hand = Hand { event, receipt };
        match self.hands.is_empty() && self.allowance.fits(&hand.event) {
            true => batch.push(self.allowance.hand_over(hand.event, hand.receipt)),
            false => self.hands.push_back(hand),
        }
    }

    /// What the server says of a pull instead of a message.
    fn status(&mut self, status: StatusCode, description: &str) {
        let Some(attached) = &mut self.attached else { return };
        match status {
            StatusCode::IDLE_HEARTBEAT => {}
            // Its time is over, or the server moves.
            StatusCode::TIMEOUT | StatusCode::NOT_FOUND => attached.pull = None,
            StatusCode::REQUEST_TERMINATED => {
                let text = description.to_ascii_lowercase();
                // That it was filled is counted here, and another may be on its way by now.
                if text.contains("batch completed") {
                    return;
                }
                let ended = attached.pull.take();
                if text.contains("message size") && text.contains("maxbytes") {
                    self.too_few_bytes = ended.and_then(Pull::too_few_bytes);
                } else if text.contains("consumer deleted") {
                    tracing::error!(
                        source = self.name(),
                        "the durable was deleted; it is made anew where it was"
                    );
                    self.detach();
                } else {
                    tracing::debug!(source = self.name(), "the server ended a pull: {description}");
                    self.due.pull = Instant::now() + PULL_AGAIN;
                }
            }
            // Nobody answers for the durable: it, or its stream, is gone or between two leaders.
            _ => {
                tracing::debug!(source = self.name(), "the server refused a pull: {status} {description}");
                self.detach();
            }
        }
    }

    /// Hands over events that had no room, as far as they have it now.
    pub(super) fn offer_hands(&mut self) {
        let mut batch = Vec::new();
        while let Some(hand) = self.hands.pop_front() {
            if !self.allowance.fits(&hand.event) {
                self.hands.push_front(hand);
                break;
            }
            batch.push(self.allowance.hand_over(hand.event, hand.receipt));
        }
        self.outbox.inputs(batch);
    }

    fn report_gap(&mut self, delivered: Delivered) {
        let lost = if delivered.times == 1 { self.gap.close(delivered.sequence) } else { None };
        let (Some(Lost { from, to }), Some(attached)) = (lost, &self.attached) else { return };
        let (topic, messages) = (attached.name.clone(), to - from);
        tracing::error!(
            "the stream {topic} deleted {messages} messages from sequence {from} on before they were read; make its \
             limits wider than the longest outage",
        );
        let from = i64::try_from(from).unwrap_or(i64::MAX);
        self.outbox.report(Report::Lost { topic, partition: 0, from, messages });
    }
}
