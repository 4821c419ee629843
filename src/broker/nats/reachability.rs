use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use async_nats::{ClientError, Event, ServerError};

/// Whether a source's servers answer, as one of its clients sees it: one line when that changes, with
/// the reason.
#[derive(Debug)]
pub(crate) struct Reachability {
    source: String,
    servers: String,
    down: AtomicBool,
    /// Why the servers do not let us in, or do not answer.
    reason: Mutex<Option<String>>,
}

impl Reachability {
    pub(crate) fn new(source: &str, servers: &[String]) -> Reachability {
        Reachability {
            source: source.to_owned(),
            servers: servers.join(", "),
            down: AtomicBool::new(false),
            reason: Mutex::default(),
        }
    }

    /// No connection could be made.
    pub(crate) fn no_answer(&self, reason: &str) {
        let news = self.set_reason(reason);
        if !self.down.swap(true, Ordering::AcqRel) || news {
            tracing::warn!(
                source = self.source,
                "the NATS servers {} can't be used ({reason}); nothing is lost, and it is tried until they answer. Check \
                 `servers` and the network",
                self.servers,
            );
        }
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

    /// What a client says of its connection. `Break`: it has to be given up.
    pub(crate) fn event(&self, event: &Event) -> ControlFlow<()> {
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
            Event::SlowConsumer(_) => {
                tracing::debug!(source = self.source, "NATS: {event}");
            }
            Event::ServerError(ServerError::AuthorizationViolation) => {
                self.no_answer(
                    "authorization violation; check `creds`, `nkey`, `user` and `password`, or `token`",
                );
                return ControlFlow::Break(());
            }
            Event::ServerError(error) => self.server_error(&error.to_string()),
            Event::ClientError(ClientError::MaxReconnects) => return ControlFlow::Break(()),
            Event::ClientError(error) => {
                tracing::debug!(source = self.source, "NATS client: {error}");
            }
            // Closed is what a client says that nobody holds any more.
            Event::LameDuckMode | Event::Draining | Event::Closed => {
                tracing::debug!(source = self.source, "NATS: {event}");
            }
        }
        ControlFlow::Continue(())
    }

    /// For example that a subject is not permitted. Told once.
    fn server_error(&self, text: &str) {
        if self.set_reason(text) {
            tracing::error!(
                source = self.source,
                "the NATS server says: {text}; check what this user may do"
            );
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
        assert!(reachability.event(&Event::Disconnected).is_continue());
        assert_eq!(
            reachability.fault(),
            Some("the NATS servers nats://one:4222 can't be reached".to_owned())
        );
        reachability.no_answer("refused");
        assert!(reachability.fault().is_some_and(|fault| fault.ends_with("refused")));
        assert!(reachability.event(&Event::Connected).is_continue());
        assert_eq!(reachability.fault(), None);
    }

    #[test]
    fn a_client_that_is_not_let_in_is_given_up_and_one_that_nobody_holds_says_nothing() {
        let reachability = Reachability::new("orders", &[]);
        let event = |event: Event| reachability.event(&event).is_break();
        assert!(event(Event::ServerError(ServerError::AuthorizationViolation)));
        assert!(event(Event::ClientError(ClientError::MaxReconnects)));
        assert!(!event(Event::Closed) && !event(Event::Disconnected) && !event(Event::SlowConsumer(1)));
    }
}
