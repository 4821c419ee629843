use std::collections::HashMap;
use std::sync::Arc;

use super::{Intake, Message, Namespace};
use crate::broker::tier_record::{HEADER, TierRecord};
use crate::domain::{BrokerLog, Event, Generation, Lease, SourceId, Waiting};
use crate::plan::Plan;

/// Turns the records of retry tiers into events again, as their own sources once read them.
#[derive(Debug)]
pub(super) struct TierIntake {
    plan: Arc<Plan>,
    /// The source on whose broker the tiers are.
    keeper: SourceId,
    /// How those records look that can't be read.
    namespace: Namespace,
    intakes: HashMap<(SourceId, Namespace), Intake>,
}

/// One record of a tier.
pub(super) enum TierMessage {
    /// A delivery that waits.
    Waiting(Event, Box<Waiting>),
    /// It can't be read: the record as a message of its own, and why.
    Unreadable(Event, Box<str>),
}

impl TierMessage {
    /// Its event.
    pub(super) fn event(&self) -> &Event {
        match self {
            TierMessage::Waiting(event, _) | TierMessage::Unreadable(event, _) => event,
        }
    }

    /// When it is due, in milliseconds since 1970-01-01 UTC. What can't be read is due at once.
    pub(super) fn due_ms(&self) -> i64 {
        match self {
            TierMessage::Waiting(_, waiting) => waiting.due_ms,
            TierMessage::Unreadable(..) => i64::MIN,
        }
    }
}

impl TierIntake {
    /// For the tiers on the broker of `keeper`, whose messages stand in `namespace`.
    pub(super) fn new(plan: Arc<Plan>, keeper: SourceId, namespace: Namespace) -> TierIntake {
        TierIntake { plan, keeper, namespace, intakes: HashMap::new() }
    }

    /// From now on by another plan.
    pub(super) fn adopt(&mut self, plan: &Arc<Plan>) {
        self.plan = plan.clone();
        self.intakes.clear();
    }

    /// Reads one record that came under `generation` and `lease`.
    pub(super) fn read(
        &mut self,
        record: Message<'_>,
        generation: Generation,
        lease: Arc<Lease>,
    ) -> TierMessage {
        let header = record.headers.iter().rev().find(|(name, _)| name.eq_ignore_ascii_case(HEADER));
        let decoded = match header {
            Some((_, text)) => TierRecord::decode(text),
            None => Err(format!("the record has no header `{HEADER}`: it was not written by hookferry")),
        };
        match decoded {
            Ok(found) => self.resumed(found, record.value, generation, lease),
            Err(why) => {
                let namespace = self.namespace.clone();
                let event = self.intake(self.keeper, namespace).read(record, generation, lease);
                TierMessage::Unreadable(event, why.into())
            }
        }
    }

    fn resumed(
        &mut self,
        found: TierRecord,
        value: Option<&[u8]>,
        generation: Generation,
        lease: Arc<Lease>,
    ) -> TierMessage {
        let TierRecord { source, waiting, event_id, log, namespace, topic, partition, position, .. } = found;
        // Of a source that is not in the configuration any more: as if the keeper had read it.
        let source = self.plan.sources.iter().position(|own| *own.name == *source);
        let source = source.map_or(self.keeper, |index| SourceId(index as u16));
        let namespace = match log {
            BrokerLog::Kafka => Namespace::Kafka { cluster: namespace },
            BrokerLog::JetStream => Namespace::JetStream { created: namespace },
            BrokerLog::Nats => Namespace::Nats,
        };
        let message = Message {
            topic: Arc::from(topic),
            partition,
            position,
            timestamp_ms: Some(found.stored_ms),
            subject: found.subject.as_deref(),
            key: found.key.as_deref(),
            value: value.filter(|_| !found.tombstone),
            headers: found.headers.into(),
        };
        let mut event = self.intake(source, namespace).read(message, generation, lease);
        event.id = Arc::from(event_id);
        TierMessage::Waiting(event, Box::new(waiting))
    }

    fn intake(&mut self, source: SourceId, namespace: Namespace) -> &Intake {
        let plan = &self.plan;
        self.intakes.entry((source, namespace)).or_insert_with_key(|(source, namespace)| {
            Intake::new(plan, &plan.sources[usize::from(source.0)], *source, namespace.clone())
                .without_limit()
        })
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::domain::{Move, Place, Tier};
    use crate::source::test_plan;

    const BODY: &[u8] = br#"{"type":"a.b","data":{"x":1}}"#;

    fn lease() -> Arc<Lease> {
        Arc::new(Lease::unlimited())
    }

    fn cluster() -> Namespace {
        Namespace::Kafka { cluster: "c".into() }
    }

    /// As a retry tier holds it.
    fn record(headers: Box<[(Box<str>, Bytes)]>) -> Message<'static> {
        Message {
            topic: "hookferry.retry.1m".into(),
            partition: 0,
            position: 0,
            timestamp_ms: Some(100),
            subject: None,
            key: None,
            value: Some(BODY),
            headers,
        }
    }

    /// The parts of an event may have other places after a reload.
    #[test]
    fn an_event_comes_back_as_the_plan_of_now_reads_it() {
        let plan = Arc::new(test_plan::offline(Vec::new()));
        let first = Intake::new(&plan, &plan.sources[0], SourceId(0), cluster());
        let event = Arc::new(first.read(record(Box::default()), Generation(1), lease()));
        let moved = Move { event, waiting: test_plan::waiting(Tier::ONE_MINUTE, 5) };
        let header = TierRecord::new("orders", &moved).encode();
        let mut intake = TierIntake::new(plan, SourceId(0), cluster());
        let read_type = |intake: &mut TierIntake| {
            let headers = [(HEADER.into(), Bytes::from(header.clone()))].into();
            match intake.read(record(headers), Generation(2), lease()) {
                TierMessage::Waiting(event, _) => event.event_type.clone(),
                TierMessage::Unreadable(_, why) => panic!("{why}"),
            }
        };
        assert_eq!(read_type(&mut intake).as_deref(), Some("a.b"));

        let mut other = test_plan::offline(Vec::new());
        other.sources[0].event.event_type = Some(vec![Place::Const("other".into())]);
        intake.adopt(&Arc::new(other));

        assert_eq!(read_type(&mut intake).as_deref(), Some("other"));
    }

    /// What a store writes of an event is, read again, the same event.
    #[test]
    fn an_event_comes_back_as_it_was() {
        let plan = Arc::new(test_plan::offline(Vec::new()));
        // As after a restart with a smaller `limits.max_event`.
        let mut later = test_plan::offline(Vec::new());
        later.limits.max_event = 1;
        let first = Intake::new(&plan, &plan.sources[0], SourceId(0), cluster());
        let message = Message {
            topic: "events".into(),
            partition: 3,
            position: 9,
            timestamp_ms: Some(77),
            subject: None,
            key: Some(b"\xff"),
            value: Some(BODY),
            headers: [("trace".into(), Bytes::from_static(b"\xfe"))].into(),
        };
        let event = Arc::new(first.read(message, Generation(1), lease()));
        let waiting = test_plan::waiting(Tier::ONE_MINUTE, 5);
        let moved = Move { event: event.clone(), waiting: waiting.clone() };
        let header = TierRecord::new("orders", &moved).encode();

        let mut intake = TierIntake::new(Arc::new(later), SourceId(0), cluster());
        let headers = [(HEADER.into(), Bytes::from(header))].into();
        match intake.read(record(headers), Generation(2), lease()) {
            TierMessage::Waiting(again, read) => {
                assert_eq!(*read, waiting);
                assert_eq!(
                    (&again.id, &again.event_type, &again.origin),
                    (&event.id, &event.event_type, &event.origin)
                );
                assert_eq!(
                    (&again.body, &again.headers, &again.time),
                    (&event.body, &event.headers, &event.time)
                );
                assert_eq!(again.generation, Generation(2));
            }
            TierMessage::Unreadable(_, why) => panic!("{why}"),
        }
        match intake.read(record(Box::default()), Generation(2), lease()) {
            TierMessage::Unreadable(event, why) => {
                assert_eq!((&*event.origin.topic, event.body.as_ref()), ("hookferry.retry.1m", BODY));
                assert!(why.contains("not written by hookferry"), "{why}");
            }
            TierMessage::Waiting(..) => panic!("there was nothing to be read"),
        }
    }
}
