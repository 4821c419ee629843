use std::collections::VecDeque;
use std::time::{Duration, Instant};

use async_nats::Client;
use async_nats::Subject;
use async_nats::connection::State;
use async_nats::jetstream::AckKind;
use bytes::Bytes;
use tokio::task::JoinSet;

use super::book::Book;
use crate::domain::{Ending, Generation, Moment, Settled};

/// Acknowledgements go out together, this often.
const FLUSH_EVERY: Duration = Duration::from_millis(100);
/// So many wait at most for that.
const FLUSH_AT: usize = 1000;
/// So many answers to TERM are waited for at once.
const TERMS: usize = 1024;
/// The client takes a message in this time, unless its connection has just broken.
const PATIENCE: Duration = Duration::from_secs(2);
const ANSWER: Duration = Duration::from_secs(5);

/// What is to be said of messages to their server: `+ACK` for what is settled, `+TERM` by request
/// where dead letters were written, `-NAK` for what others shall have. One that gets lost is a
/// duplicate, never a loss: the message comes again and is known to be settled.
#[derive(Debug)]
pub(super) struct Acks {
    /// Where to say what, in this order.
    waiting: Vec<(Subject, Bytes)>,
    terms: VecDeque<Subject>,
    answers: JoinSet<()>,
    flushed: Instant,
}

impl Acks {
    pub(super) fn new() -> Acks {
        Acks { waiting: Vec::new(), terms: VecDeque::new(), answers: JoinSet::new(), flushed: Instant::now() }
    }

    /// A message is settled.
    pub(super) fn settled(&mut self, reply: Subject, ending: Ending) {
        match ending {
            Ending::Done => self.waiting.push((reply, Bytes::from_static(b"+ACK"))),
            Ending::DeadLettered => self.terms.push_back(reply),
        }
    }

    /// Says so of all that are of this generation and that `book` knows: what belongs to an earlier one is
    /// somebody else's.
    pub(super) fn all_settled(&mut self, settled: Vec<Settled>, generation: Generation, book: &mut Book) {
        let now_us = Moment::now().mono_us;
        for Settled { receipt, ending } in settled {
            let sequence = u64::try_from(receipt.position).unwrap_or_default();
            if receipt.generation == generation
                && let Some(reply) = book.settle(sequence, ending, now_us)
            {
                self.settled(reply, ending);
            }
        }
    }

    /// A message shall be given to somebody else, at once.
    pub(super) fn refused(&mut self, reply: Subject) {
        self.waiting.push((reply, Bytes::from_static(b"-NAK")));
    }

    /// A message shall come again, to anybody, after this time.
    pub(super) fn postponed(&mut self, reply: Subject, delay: Duration) {
        self.waiting.push((reply, AckKind::Nak(Some(delay)).into()));
    }

    /// Whether nothing waits to be said or answered.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.terms.is_empty() && self.answers.is_empty()
    }

    /// Whether it is time to send what waits.
    pub(super) fn is_due(&self) -> bool {
        self.waiting.len() >= FLUSH_AT || (!self.is_empty() && self.flushed.elapsed() >= FLUSH_EVERY)
    }

    /// Goes on with TERM, as far as answers have come.
    pub(super) fn go_on(&mut self, client: &Client) {
        while self.answers.try_join_next().is_some() {}
        self.terminate(client);
    }

    /// Sends what waits, if there is a connection. The answer is whether anything was sent.
    pub(super) async fn flush(&mut self, client: &Client) -> bool {
        self.flushed = Instant::now();
        if client.connection_state() != State::Connected {
            return false;
        }
        let sent = send(client, &mut self.waiting).await;
        self.go_on(client);
        sent
    }

    fn terminate(&mut self, client: &Client) {
        while self.answers.len() < TERMS
            && let Some(reply) = self.terms.pop_front()
        {
            let client = client.clone();
            self.answers.spawn(async move {
                // Without an answer the message comes again, and this is done again.
                let answer = client.request(reply, "+TERM".into());
                let _ = tokio::time::timeout(ANSWER, answer).await;
            });
        }
    }

    /// Sends all that waits, and waits for the answers; `false` if that took too long.
    pub(super) async fn finish(&mut self, client: &Client, until: Instant) -> bool {
        while !self.is_empty() {
            if Instant::now() >= until {
                return false;
            }
            self.flush(client).await;
            if self.answers.is_empty() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            } else {
                let left = until.saturating_duration_since(Instant::now());
                let _ = tokio::time::timeout(left, self.answers.join_next()).await;
            }
        }
        true
    }
}

/// Publishes all of these; what could not be handed to the client stays.
async fn send(client: &Client, waiting: &mut Vec<(Subject, Bytes)>) -> bool {
    let mut sent = 0;
    for (reply, text) in waiting.iter() {
        let publish = client.publish(reply.clone(), text.clone());
        match tokio::time::timeout(PATIENCE, publish).await {
            Ok(Ok(())) => sent += 1,
            Ok(Err(_)) | Err(_) => break,
        }
    }
    waiting.drain(..sent);
    sent > 0
}
