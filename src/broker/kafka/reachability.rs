use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use super::remedy::{is_at_the_door, remedy};

/// Clients say again and again that they are not let in; librdkafka leaves out what it said in the last 30 seconds.
/// Brokers that say nothing for so long are down.
const SHUT_OUT: Duration = Duration::from_secs(90);

/// Whether a source's brokers answer, as its clients see it. Turns librdkafka's many lines about
/// one trouble into one line with the remedy, and one when it is over.
#[derive(Debug)]
pub(crate) struct Reachability {
    source: String,
    brokers: String,
    group: String,
    down: AtomicBool,
    /// They don't let us in.
    shut_out: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// What a client said last of one broker.
    last: String,
    /// Troubles that were told already.
    told: BTreeSet<String>,
    /// Why the brokers don't let the clients in, and when that was said last.
    shut_out: Option<(String, Instant)>,
    /// What they are refused once they are in, by the code. Of each librdkafka says only that it began.
    denied: BTreeMap<String, String>,
}

impl State {
    fn shut_out(&self) -> Option<&str> {
        let (reason, said) = self.shut_out.as_ref()?;
        (said.elapsed() < SHUT_OUT).then_some(reason)
    }
}

impl Reachability {
    /// Of the clients of this group.
    pub(crate) fn new(source: &str, brokers: &str, group: &str) -> Reachability {
        Reachability {
            source: source.to_owned(),
            brokers: brokers.to_owned(),
            group: group.to_owned(),
            down: AtomicBool::new(false),
            shut_out: AtomicBool::new(false),
            state: Mutex::default(),
        }
    }

    /// The brokers answered, so they let us in.
    pub(crate) fn contact(&self) {
        if self.shut_out.load(Ordering::Relaxed) && self.shut_out.swap(false, Ordering::AcqRel) {
            let mut state = self.state();
            state.shut_out = None;
            state.told.clear();
        }
        if self.down.load(Ordering::Relaxed) && self.down.swap(false, Ordering::AcqRel) {
            tracing::info!(source = self.source, "the Kafka brokers {} answer again", self.brokers);
        }
    }

    /// A blocking call got no answer.
    pub(crate) fn no_answer(&self, reason: &str) {
        let mut state = self.state();
        // Why is told by then, and the way to mend it.
        if !self.down.swap(true, Ordering::AcqRel) && state.shut_out().is_none() {
            let last = std::mem::take(&mut state.last);
            let reason = if last.is_empty() { reason } else { &last };
            tracing::warn!(
                source = self.source,
                "the Kafka brokers {} can't be reached ({reason}); nothing is lost, and it is tried until they \
                 answer. Check `brokers`, the network and `security.protocol`",
                self.brokers,
            );
        }
    }

    /// Why nothing can be read now, if that is so.
    pub(crate) fn fault(&self) -> Option<String> {
        let state = self.state();
        if let Some(reason) = state.shut_out() {
            return Some(reason.to_owned());
        }
        if self.down.load(Ordering::Acquire) {
            return Some(format!("the Kafka brokers {} can't be reached", self.brokers));
        }
        let denied: Vec<&str> = state.denied.values().map(String::as_str).collect();
        (!denied.is_empty()).then(|| denied.join("; "))
    }

    /// The group was joined, something was read or a commit was taken, so nothing keeps us out any
    /// more. That a broker answers is not enough: it also answers those that it refuses something.
    pub(crate) fn admitted(&self) {
        let mut state = self.state();
        state.shut_out = None;
        state.denied.clear();
        state.told.clear();
    }

    /// Topics that could not be seen can be now.
    pub(crate) fn topics_admitted(&self) {
        let code = RDKafkaErrorCode::TopicAuthorizationFailed.to_string();
        let mut state = self.state();
        state.denied.remove(&code);
        state.told.remove(&code);
    }

    /// What librdkafka's error call-back says.
    pub(crate) fn error(&self, error: &KafkaError, reason: &str) {
        use RDKafkaErrorCode as Code;
        match error.rdkafka_error_code() {
            // Its own words count brokers, and not always right.
            Some(Code::AllBrokersDown) => self.no_answer("all are down"),
            Some(Code::BrokerTransportFailure | Code::Resolve | Code::OperationTimedOut) => {
                reason.clone_into(&mut self.state().last);
            }
            // The probe names missing topics, with the command that creates them.
            Some(Code::UnknownTopicOrPartition | Code::UnknownTopic | Code::UnknownPartition) => {}
            code => {
                let group = match code {
                    Some(Code::GroupAuthorizationFailed) => format!(" {}", self.group),
                    _ => String::new(),
                };
                self.denied(error, &format!("{}; {}{group}", reason.trim_end_matches('.'), remedy(error)));
            }
        }
    }

    fn denied(&self, error: &KafkaError, reason: &str) {
        let Some(code) = error.rdkafka_error_code() else { return };
        let mut state = self.state();
        if state.told.insert(code.to_string()) {
            tracing::error!(source = self.source, "Kafka: {reason}");
        }
        if is_at_the_door(error) {
            self.shut_out.store(true, Ordering::Release);
            state.shut_out = Some((reason.to_owned(), Instant::now()));
        } else {
            state.denied.insert(code.to_string(), reason.to_owned());
        }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_keeps_us_out_is_told_until_we_are_admitted_again() {
        let reachability = Reachability::new("orders", "localhost:9092", "webhooks");
        let refused = KafkaError::Global(RDKafkaErrorCode::GroupAuthorizationFailed);

        reachability.error(&refused, "refused");
        reachability.contact();
        let fault = reachability.fault().expect("an answer alone admits nobody");
        assert!(fault.ends_with("READ on the group webhooks"), "{fault}");

        reachability.admitted();
        assert_eq!(reachability.fault(), None);
        assert!(reachability.state().told.is_empty(), "the next trouble is told again");
    }

    #[test]
    fn brokers_that_let_nobody_in_are_not_said_to_be_down() {
        let reachability = Reachability::new("orders", "localhost:9092", "webhooks");
        let down = KafkaError::Global(RDKafkaErrorCode::AllBrokersDown);
        reachability.error(&KafkaError::Global(RDKafkaErrorCode::Authentication), "wrong password");
        reachability.error(&down, "1/1 brokers are down");
        let fault = reachability.fault().expect("a fault");
        assert!(fault.starts_with("wrong password; check `sasl.mechanism`"), "{fault}");

        reachability.contact();
        assert_eq!(reachability.fault(), None, "a broker answered");
        reachability.error(&down, "1/1 brokers are down");
        assert_eq!(reachability.fault().expect("down"), "the Kafka brokers localhost:9092 can't be reached");
    }
}
