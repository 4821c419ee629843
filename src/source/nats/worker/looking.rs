use std::time::Instant;

use async_nats::Client;

use super::{LOOK_EVERY, Look, News, Worker};
use crate::domain::Moment;
use crate::source::nats::durable::Trouble;
use crate::source::nats::reading::Reading;
use crate::source::nats::session::Session;
use crate::source::nats::subscription::connection;

/// What the server is told of messages that are open, and asked now and then.
impl<R: Reading> Worker<R> {
    /// Tells the server of messages that have been open for long, and then asks something: its answer
    /// confirms that it has heard.
    pub(super) async fn keep_progress(&mut self, client: &Client) {
        let session = &mut self.session;
        let now_us = Moment::now().mono_us;
        let before_us = now_us.saturating_sub(session.patience.progress.as_micros() as u64);
        // Not more often than that, also where nothing confirms it.
        let now = Instant::now();
        if self.looking
            || now < self.due.progress
            || session.book.oldest_sign_us().is_none_or(|oldest| oldest >= before_us)
        {
            return;
        }
        self.due.progress = now + session.patience.heartbeat;
        let mut told = Vec::new();
        for (sequence, reply) in session.book.silent(before_us) {
            let publish = client.publish(reply, "+WPI".into());
            if !matches!(tokio::time::timeout(session.patience.heartbeat, publish).await, Ok(Ok(()))) {
                break;
            }
            told.push(sequence);
        }
        if !told.is_empty() {
            self.look(told, now_us, connection(client));
        }
    }

    /// Asks the server where the durables and their stream stand.
    pub(super) fn look(&mut self, sequences: Vec<u64>, at_us: u64, connection: u64) {
        let Some(stream) = self.session.stream.clone() else { return };
        self.looking = true;
        self.due.look = Instant::now() + LOOK_EVERY;
        let (clients, tell) = (self.clients, self.tell.clone());
        let asking = self.reading.ask(&self.session, stream);
        tokio::spawn(async move {
            let answer = asking.await;
            // The worker may have gone.
            let _ = tell.send((clients, News::Looked(Look { sequences, at_us, connection, answer })));
        });
    }

    pub(super) fn looked(&mut self, client: &Client, look: Look<R::Standing>) {
        self.looking = false;
        let standing = match look.answer {
            Ok(standing) => standing,
            Err(Trouble::NoAnswer(text)) => {
                return tracing::debug!(source = self.session.name(), "the durable was not seen: {text}");
            }
            Err(Trouble::Refused(text) | Trouble::NoStream(text)) => {
                tracing::debug!(source = self.session.name(), "{text}");
                return self.detach();
            }
        };
        let Session { book, patience, .. } = &mut self.session;
        if look.connection == connection(client) {
            book.heard(&look.sequences, look.at_us);
        }
        let memory_us = patience.memory.as_micros() as u64;
        book.forget_settled(Moment::now().mono_us.saturating_sub(memory_us));
        let topic = self.subscription.as_ref().map(|subscription| subscription.stream.clone());
        if let Err(trouble) = self.reading.stands(&self.session, standing, look.at_us, topic) {
            self.troubled(trouble);
            self.detach();
        }
    }
}
