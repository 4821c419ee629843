use std::time::Instant;

use async_nats::Client;

use super::{LOOK_EVERY, Look, News, Worker, connection};
use crate::domain::Moment;
use crate::source::Report;
use crate::source::nats::durable::Trouble;

/// What the server is asked now and then: where the durable and its stream stand.
impl Worker {
    pub(super) fn look(&mut self, sequences: Vec<u64>, connection: u64) {
        self.look_at(sequences, Moment::now().mono_us, connection);
    }

    /// Asks the server where the durable and its stream stand.
    pub(super) fn look_at(&mut self, sequences: Vec<u64>, at_us: u64, connection: u64) {
        let Some(stream) = self.stream.clone() else { return };
        self.looking = true;
        self.due.look = Instant::now() + LOOK_EVERY;
        let (durable, tell) = (self.durable.clone(), self.tell.clone());
        tokio::spawn(async move {
            let answer = async {
                let info = durable.found(&stream).await?;
                let info = info.ok_or_else(|| Trouble::Refused("the durable is gone".to_owned()))?;
                let state = stream.get_info().await.map_err(|error| Trouble::NoAnswer(error.to_string()))?;
                Ok(Box::new((info, state)))
            };
            let answer = answer.await;
            // The worker may have gone.
            let _ = tell.send(News::Looked(Look { sequences, at_us, connection, answer }));
        });
    }

    pub(super) fn looked(&mut self, client: &Client, look: Look) {
        self.looking = false;
        let (info, state) = match look.answer {
            Ok(answer) => *answer,
            Err(Trouble::NoAnswer(text)) => {
                return tracing::debug!(source = self.name(), "the durable was not seen: {text}");
            }
            Err(Trouble::Refused(text) | Trouble::NoStream(text)) => {
                tracing::debug!(source = self.name(), "{text}");
                return self.detach();
            }
        };
        if look.connection == connection(client) {
            self.book.heard(&look.sequences, look.at_us);
        }
        let memory_us = self.patience.memory.as_micros() as u64;
        self.book.forget_settled(Moment::now().mono_us.saturating_sub(memory_us));
        self.gap.look(&info, &state);
        self.floor = self.floor.max(info.ack_floor.stream_sequence);
        let open = self.book.open() as u64;
        let Some(attached) = &mut self.attached else { return };
        let moved = std::mem::take(&mut attached.moved);
        attached.pull = attached.pull.filter(|_| !is_forgotten(info.num_pending, info.num_waiting, moved));
        let topic = attached.name.clone();
        // All replicas see the same number; each tells its part, so that the sum is right.
        let messages = Some(info.num_pending / u64::from(self.plan.replicas.max(1)) + open);
        self.outbox.report(Report::Lag { topic, partition: 0, messages });
    }

    pub(super) fn report_oldest(&self) {
        let Some(attached) = &self.attached else { return };
        let stored_ms = self.book.oldest_stored_ms();
        let topic = attached.name.clone();
        self.outbox.report(Report::OldestUnsettled { topic, partition: 0, stored_ms });
    }
}

/// Whether the server does not know of our pull: messages wait, no pull does, and nothing came.
fn is_forgotten(pending: u64, pulls: usize, moved: bool) -> bool {
    pending > 0 && pulls == 0 && !moved
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pull_is_forgotten_if_messages_wait_and_none_came() {
        assert!(is_forgotten(1, 0, false));
        assert!(!is_forgotten(0, 0, false), "there is nothing to come");
        assert!(!is_forgotten(1, 1, false), "it waits at the server, or another replica's does");
        assert!(!is_forgotten(1, 0, true), "it was filled just now");
    }
}
