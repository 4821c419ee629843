use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use async_nats::{ClientError, Event, ServerError};

/// Whether a source's servers answer, as one of its clients sees it: one line when that changes, with
/// the reason.
#[derive(Debug)]
pub(crate) struct Reachability {
    source: String,
    servers: String,
    down: AtomicBool,
    /// The client gave up: it was not let in any more.
    closed: AtomicBool,
    /// Messages that were dropped because a subscription was read too slowly.
    dropped: AtomicU64,
    /// Why the servers do not let us in, or do not answer.
    reason: Mutex<Option<String>>,
}

impl Reachability {
    pub(crate) fn new(source: &str, servers: &[String]) -> Reachability {
        Reachability {
            source: source.to_owned(),
            servers: servers.join(", "),
            down: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            dropped: AtomicU64::new(0),
            reason: Mutex::default(),
        }
    }

    /// A client is made.
    pub(crate) fn opened(&self) {
        self.closed.store(false, Ordering::Release);
    }

    /// Whether the client has ended for good, and another one has to be made.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// No connection could be made.
    pub(crate) fn no_answer(&self, reason: &str) {
        let news = self.set_reason(reason);
        if !self.down.swap(true, Ordering::AcqRel) || news {
            tracing::warn!(
                source = self.source,
                "the NATS servers {} can't be used ({reason}); nothing is lost, and it is tried until they answer",
                self.servers,
            );
        }
    }

    /// Messages that the client dropped since the last call.
    pub(crate) fn take_dropped(&self) -> u64 {
        self.dropped.swap(0, Ordering::AcqRel)
    }

    /// Why nothing can be read or written now, if that is so.
    pub(crate) fn fault(&self) -> Option<String> {
        self.down.load(Ordering::Acquire).then(|| {
            let reason = self.reason.lock().unwrap_or_else(PoisonError::into_inner);
            match &*reason {
                Some(reason) => format!("the NATS servers {} can't be used: {reason}", self.servers),
                None => format!("the NATS servers {} can't be reached", self.servers),
            }
        })
    }

    /// What the client says of its connection.
    pub(crate) fn event(&self, event: &Event) {
        match event {
            Event::Connected => {
                *self.reason.lock().unwrap_or_else(PoisonError::into_inner) = None;
                if self.down.swap(false, Ordering::AcqRel) {
                    tracing::info!(source = self.source, "the NATS servers {} answer again", self.servers);
                }
            }
            Event::Disconnected => {
                if !self.down.swap(true, Ordering::AcqRel) {
                    tracing::warn!(
                        source = self.source,
                        "the connection to the NATS servers {} broke; nothing is lost, and it is made anew",
                        self.servers,
                    );
                }
            }
            Event::Closed => self.closed.store(true, Ordering::Release),
            Event::SlowConsumer(_) => drop(self.dropped.fetch_add(1, Ordering::AcqRel)),
            Event::ServerError(ServerError::AuthorizationViolation) => {
                self.closed.store(true, Ordering::Release);
                self.no_answer(
                    "authorization violation; check `creds`, `nkey`, `user` and `password`, or `token`",
                );
            }
            Event::ServerError(error) => self.server_error(&error.to_string()),
            Event::ClientError(ClientError::MaxReconnects) => self.closed.store(true, Ordering::Release),
            Event::ClientError(error) => {
                tracing::debug!(source = self.source, "NATS client: {error}");
            }
            Event::LameDuckMode | Event::Draining => {
                tracing::debug!(source = self.source, "NATS: {event}");
            }
        }
    }

    /// For example that a subject is not permitted. Told once.
    fn server_error(&self, text: &str) {
        if self.set_reason(text) {
            tracing::error!(source = self.source, "the NATS server says: {text}");
        }
    }

    /// Whether this is another reason than before.
    fn set_reason(&self, reason: &str) -> bool {
        let mut last = self.reason.lock().unwrap_or_else(PoisonError::into_inner);
        let news = last.as_deref() != Some(reason);
        *last = Some(reason.to_owned());
        news
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broken_connection_is_a_fault_until_it_is_made_anew() {
        let reachability = Reachability::new("orders", &["nats://one:4222".to_owned()]);
        assert_eq!(reachability.fault(), None);
        reachability.event(&Event::Disconnected);
        assert_eq!(
            reachability.fault(),
            Some("the NATS servers nats://one:4222 can't be reached".to_owned())
        );
        reachability.no_answer("refused");
        assert!(reachability.fault().is_some_and(|fault| fault.ends_with("refused")));
        reachability.event(&Event::Connected);
        assert_eq!(reachability.fault(), None);
    }

    #[test]
    fn dropped_messages_are_told_once() {
        let reachability = Reachability::new("orders", &[]);
        reachability.event(&Event::SlowConsumer(1));
        reachability.event(&Event::SlowConsumer(1));
        assert_eq!((reachability.take_dropped(), reachability.take_dropped()), (2, 0));
    }
}
