use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use rdkafka::error::{KafkaError, RDKafkaErrorCode};

/// Whether a source's brokers answer, as its clients see it. Turns librdkafka's many lines about
/// one trouble into one line with the remedy, and one when it is over.
#[derive(Debug)]
pub(crate) struct Reachability {
    source: String,
    brokers: String,
    down: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// What a client said last of one broker.
    last: String,
    /// Troubles that were told already.
    told: BTreeSet<String>,
    /// What keeps the clients out although the brokers answer.
    denied: Option<String>,
}

impl Reachability {
    pub(crate) fn new(source: &str, brokers: &str) -> Reachability {
        Reachability {
            source: source.to_owned(),
            brokers: brokers.to_owned(),
            down: AtomicBool::new(false),
            state: Mutex::default(),
        }
    }

    /// The brokers answered.
    pub(crate) fn contact(&self) {
        if self.down.load(Ordering::Relaxed) && self.down.swap(false, Ordering::AcqRel) {
            tracing::info!(source = self.source, "the Kafka brokers {} answer again", self.brokers);
        }
    }

    /// A blocking call got no answer.
    pub(crate) fn no_answer(&self, reason: &str) {
        if !self.down.swap(true, Ordering::AcqRel) {
            let last = std::mem::take(&mut self.state().last);
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
        if self.down.load(Ordering::Acquire) {
            return Some(format!("the Kafka brokers {} can't be reached", self.brokers));
        }
        self.state().denied.clone()
    }

    /// The group was joined, something was read or a commit was taken, so nothing keeps us out any
    /// more. That a broker answers is not enough: it also answers those that it refuses.
    pub(crate) fn admitted(&self) {
        let mut state = self.state();
        state.denied = None;
        state.told.clear();
    }

    /// What librdkafka's error call-back says.
    pub(crate) fn error(&self, error: &KafkaError, reason: &str) {
        use RDKafkaErrorCode as Code;
        let remedy = match error.rdkafka_error_code() {
            // Its own words count brokers, and not always right.
            Some(Code::AllBrokersDown) => return self.no_answer("all are down"),
            Some(Code::BrokerTransportFailure | Code::Resolve | Code::OperationTimedOut) => {
                reason.clone_into(&mut self.state().last);
                return;
            }
            Some(Code::Authentication | Code::SaslAuthenticationFailed) => {
                "check `sasl.mechanism`, `sasl.username` and `sasl.password` in `properties`"
            }
            Some(Code::SSL) => "check `security.protocol` and the `ssl.*` settings in `properties`",
            Some(Code::GroupAuthorizationFailed) => "the broker must allow this user READ on the group",
            Some(Code::TopicAuthorizationFailed) => {
                "the broker must allow this user READ and DESCRIBE on the topic"
            }
            Some(Code::InconsistentGroupProtocol) => {
                "another program uses this group with another assignment strategy; set a `group` of our own"
            }
            // The probe names missing topics, with the command that creates them.
            Some(Code::UnknownTopicOrPartition | Code::UnknownTopic | Code::UnknownPartition) => return,
            _ => "see the reason",
        };
        self.denied(error, reason, remedy);
    }

    fn denied(&self, error: &KafkaError, reason: &str, remedy: &str) {
        let Some(code) = error.rdkafka_error_code() else { return };
        let mut state = self.state();
        if state.told.insert(code.to_string()) {
            tracing::error!(source = self.source, "Kafka: {reason}; {remedy}");
        }
        state.denied = Some(format!("{reason}; {remedy}"));
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
        let reachability = Reachability::new("orders", "localhost:9092");
        let refused = KafkaError::Global(RDKafkaErrorCode::GroupAuthorizationFailed);

        reachability.error(&refused, "refused");
        reachability.contact();
        let fault = reachability.fault().expect("an answer alone admits nobody");
        assert!(fault.contains("READ on the group"), "{fault}");

        reachability.admitted();
        assert_eq!(reachability.fault(), None);
        assert!(reachability.state().told.is_empty(), "the next trouble is told again");
    }
}
