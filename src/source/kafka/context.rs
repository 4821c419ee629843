use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rdkafka::bindings::rd_kafka_resp_err_t;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext, RebalanceProtocol};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{ClientContext, TopicPartitionList};

use super::partition::PartitionName;
use crate::broker::kafka::{Reachability, pass_on};

/// What happened to the group's member, in order.
#[derive(Debug)]
pub(super) enum GroupEvent {
    /// Partitions are to be taken over.
    Assigned(Vec<PartitionName>),
    /// Partitions are to be given up.
    Revoked(Vec<PartitionName>),
}

/// The call-backs of the group's member. They only note what happened: the rebalance is answered
/// by the worker, in its own time (DESIGN.md §4.7).
pub(super) struct MemberContext {
    reachability: Arc<Reachability>,
    events: Mutex<VecDeque<GroupEvent>>,
    /// Nobody takes events any more: rebalances are answered at once, or closing would never end.
    closing: AtomicBool,
}

impl MemberContext {
    pub(super) fn new(reachability: Arc<Reachability>) -> MemberContext {
        MemberContext { reachability, events: Mutex::default(), closing: AtomicBool::new(false) }
    }

    pub(super) fn next_event(&self) -> Option<GroupEvent> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }

    /// The broker lets us in: see [`Reachability::admitted`].
    pub(super) fn admitted(&self) {
        self.reachability.admitted();
    }

    pub(super) fn close(&self) {
        self.closing.store(true, Ordering::Release);
    }

    fn push(&self, event: GroupEvent) {
        self.events.lock().unwrap_or_else(PoisonError::into_inner).push_back(event);
    }
}

impl ClientContext for MemberContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        pass_on(level, facility, text);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.reachability.error(&error, reason);
    }
}

impl ConsumerContext for MemberContext {
    fn rebalance(&self, consumer: &BaseConsumer<Self>, kind: RDKafkaRespErr, list: &mut TopicPartitionList) {
        let assigned = kind == rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS;
        if self.closing.load(Ordering::Acquire) {
            let answered = if assigned { assign(consumer, list) } else { unassign(consumer, list) };
            if let Err(error) = answered {
                tracing::debug!(target: "librdkafka", "a rebalance while closing was not answered: {error}");
            }
            return;
        }
        let names = list.elements().iter().map(PartitionName::of).collect();
        self.push(if assigned { GroupEvent::Assigned(names) } else { GroupEvent::Revoked(names) });
    }
}

/// Answers an assignment in the protocol of the group.
pub(super) fn assign(consumer: &BaseConsumer<MemberContext>, list: &TopicPartitionList) -> KafkaResult<()> {
    match consumer.rebalance_protocol() {
        RebalanceProtocol::Cooperative => consumer.incremental_assign(list),
        _ => consumer.assign(list),
    }
}

/// Answers a revocation in the protocol of the group.
pub(super) fn unassign(consumer: &BaseConsumer<MemberContext>, list: &TopicPartitionList) -> KafkaResult<()> {
    match consumer.rebalance_protocol() {
        RebalanceProtocol::Cooperative => consumer.incremental_unassign(list),
        _ => consumer.unassign(),
    }
}

/// The call-backs of a client that only looks.
pub(super) struct ObserverContext {
    reachability: Arc<Reachability>,
    refusal: Mutex<Option<KafkaError>>,
}

impl ObserverContext {
    pub(super) fn new(reachability: Arc<Reachability>) -> ObserverContext {
        ObserverContext { reachability, refusal: Mutex::default() }
    }

    /// What its group was refused.
    pub(super) fn refusal(&self) -> Option<KafkaError> {
        self.refused().clone()
    }

    /// Its group is refused nothing any more.
    pub(super) fn admitted(&self) {
        *self.refused() = None;
    }

    fn refused(&self) -> MutexGuard<'_, Option<KafkaError>> {
        self.refusal.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ClientContext for ObserverContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        pass_on(level, facility, text);
    }

    /// What it is refused counts where it asks for something: said here it may be old.
    fn error(&self, error: KafkaError, reason: &str) {
        match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::GroupAuthorizationFailed) => *self.refused() = Some(error),
            Some(RDKafkaErrorCode::TopicAuthorizationFailed) => {}
            _ => self.reachability.error(&error, reason),
        }
    }
}

impl ConsumerContext for ObserverContext {}
