use std::sync::Arc;

use bytes::Bytes;

use super::truth::Truth;
use crate::domain::{Content, Data, Event, EventTime, Generation, Kind, Lease, Origin, SourceId, TargetId};

/// A message in a partition's log.
#[derive(Debug, Clone)]
pub(super) struct Message {
    pub(super) offset: i64,
    pub(super) event_type: Option<&'static str>,
    pub(super) kind: Kind,
    pub(super) size: usize,
}

/// The fake broker: logs, committed offsets, and who owns which partition.
#[derive(Debug)]
pub(super) struct Broker {
    pub(super) logs: Vec<Vec<Message>>,
    pub(super) committed: Vec<i64>,
    /// The replica and generation that may commit.
    pub(super) owners: Vec<Option<(usize, Generation)>>,
    /// Whether the dead-letter store takes writes.
    pub(super) store_up: bool,
}

/// A dead letter without its value is taken up to this size; larger messages are refused with it.
pub(super) const LARGEST_RECORD: usize = 900;

impl Broker {
    /// Fills the logs: mixed types and kinds, and gaps as compaction leaves them.
    pub(super) fn fill(random: &mut fastrand::Rng, partitions: usize, truth: &mut Truth) -> Broker {
        let mut logs = Vec::new();
        for partition in 0..partitions {
            let mut offset = random.i64(0..5);
            let mut log = Vec::new();
            for _ in 0..random.usize(5..25) {
                let message = message(random, offset);
                truth.expect((partition, offset), expected(&message));
                log.push(message);
                offset += if random.u8(0..10) == 0 { random.i64(2..5) } else { 1 };
            }
            logs.push(log);
        }
        Broker { committed: vec![0; logs.len()], owners: vec![None; logs.len()], logs, store_up: true }
    }

    /// The first message at or after an offset.
    pub(super) fn read(&self, partition: usize, offset: i64) -> Option<&Message> {
        let log = &self.logs[partition];
        log.get(log.partition_point(|message| message.offset < offset))
    }

    /// The offset after the last message.
    pub(super) fn end(&self, partition: usize) -> i64 {
        self.logs[partition].last().map_or(0, |message| message.offset + 1)
    }
}

fn message(random: &mut fastrand::Rng, offset: i64) -> Message {
    let event_type =
        [Some("a.x"), Some("a.x"), Some("b.x"), Some("b.x"), Some("c.x"), None][random.usize(0..6)];
    let size = if random.u8(0..12) == 0 { LARGEST_RECORD + 100 } else { random.usize(1..400) };
    let kind = match random.u8(0..20) {
        0 => Kind::Tombstone,
        1 => Kind::Oversized(size),
        _ => Kind::Regular,
    };
    Message { offset, event_type, kind, size }
}

/// What the plan of the simulation asks for, said once more in other words.
fn expected(message: &Message) -> Vec<Option<TargetId>> {
    let (first, second, third) = (Some(TargetId(0)), Some(TargetId(1)), Some(TargetId(2)));
    match (message.kind, message.event_type) {
        (Kind::Tombstone, _) => vec![],
        (Kind::Oversized(_), _) => vec![None],
        (Kind::Regular, Some("a.x")) => vec![first, second],
        (Kind::Regular, Some("b.x")) => vec![second, third],
        (Kind::Regular, Some(_)) => vec![],
        (Kind::Regular, None) => vec![None],
    }
}

impl Message {
    /// The event that a source makes of it.
    pub(super) fn event(&self, partition: usize, generation: Generation, lease: Arc<Lease>) -> Arc<Event> {
        let size = if self.kind == Kind::Regular { self.size } else { 0 };
        Arc::new(Event {
            source: SourceId(0),
            id: format!("evt_{partition}_{}", self.offset).into(),
            event_type: self.event_type.map(Arc::from),
            time: EventTime { unix_ms: 0, text: None },
            subject: None,
            key: None,
            priority: None,
            producer: "/simulation".into(),
            kind: self.kind,
            body: Bytes::from(vec![b'1'; size]),
            content: Content::Json,
            data: Data::Absent,
            headers: Box::default(),
            fields: Box::default(),
            origin: Origin { partition: partition as i32, ..Origin::kafka("events", self.offset) },
            generation,
            lease,
        })
    }
}
