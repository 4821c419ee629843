use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};

use super::pass_on;
use super::remedy::{is_at_the_door, remedy};

/// A client that says nothing for so long has said all.
const SILENT: Duration = Duration::from_millis(10);
/// One that never stops is heard for so long.
const HEARD: Duration = Duration::from_millis(200);

/// Remembers why a client gets no answers, for callers that ask and wait. (Sources have
/// [`Reachability`](super::Reachability), which also tells when that is over.)
#[derive(Debug, Default)]
pub(crate) struct Listener(Mutex<Option<Cause>>);

#[derive(Debug)]
struct Cause {
    reason: String,
    /// How much it explains.
    rank: u8,
}

impl Listener {
    /// What explains best that there was no answer, with what helps. After that it counts no more.
    pub(crate) fn why(&self) -> Option<String> {
        self.cause().take().map(|cause| cause.reason)
    }

    pub(crate) fn note(&self, error: &KafkaError, reason: &str) {
        tracing::debug!(target: "librdkafka", "{reason}");
        let rank = match error.rdkafka_error_code() {
            // It says less than what came before it.
            Some(RDKafkaErrorCode::AllBrokersDown) => 0,
            // Its connections break off, and then the client says that too.
            _ if is_at_the_door(error) => 2,
            _ => 1,
        };
        let mut cause = self.cause();
        if cause.as_ref().is_none_or(|known| rank >= known.rank) {
            *cause = Some(Cause { reason: format!("{reason}; {}", remedy(error)), rank });
        }
    }

    fn cause(&self) -> std::sync::MutexGuard<'_, Option<Cause>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ClientContext for Listener {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        pass_on(level, facility, text);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.note(&error, reason);
    }
}

impl ConsumerContext for Listener {}

/// Lets a client hand over all that it said so far of its connections, and log lines. Each poll may end at any of
/// it, and one without patience ends at each log line.
pub(crate) fn hear_out<C: ConsumerContext>(client: &BaseConsumer<C>) {
    let until = Instant::now() + HEARD;
    while client.poll(SILENT).is_some() && Instant::now() < until {}
}

/// Asks the brokers something.
///
/// # Errors
/// They do not answer: why, and what helps.
pub(crate) fn ask<T>(
    client: &BaseConsumer<Listener>,
    question: impl FnOnce(&BaseConsumer<Listener>) -> KafkaResult<T>,
) -> Result<T, String> {
    let answer = question(client);
    hear_out(client);
    // What was said before an answer counts no more.
    let why = client.context().why();
    answer.map_err(|error| why.unwrap_or_else(|| format!("{error}; {}", remedy(&error))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_explains_most_is_told_once() {
        let listener = Listener::default();
        let note = |code, reason| listener.note(&KafkaError::Global(code), reason);
        note(RDKafkaErrorCode::BrokerTransportFailure, "refused");
        note(RDKafkaErrorCode::AllBrokersDown, "all down");
        let why = listener.why().expect("a reason");
        assert!(why.starts_with("refused; check `brokers`"), "{why}");
        assert_eq!(listener.why(), None);

        note(RDKafkaErrorCode::Authentication, "wrong password");
        note(RDKafkaErrorCode::BrokerTransportFailure, "disconnected");
        let why = listener.why().expect("a reason");
        assert!(why.starts_with("wrong password; check `sasl.mechanism`"), "{why}");
    }
}
