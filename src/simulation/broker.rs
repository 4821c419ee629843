use std::sync::Arc;

use bytes::Bytes;

use super::truth::{Place, Truth};
use super::{DEAD, FIRST, HEALTHY, LIMITED, ORDERED, SECOND, UNKNOWN};
use crate::domain::{
    ConsumerId, Content, Data, Event, EventTime, Generation, Kind, Lease, Moment, Origin, SourceId, TargetId,
    Tier, Waiting,
};

/// A message in a partition's log.
#[derive(Debug, Clone)]
pub(super) struct Message {
    pub(super) offset: i64,
    pub(super) event_type: Option<&'static str>,
    pub(super) kind: Kind,
    pub(super) size: usize,
    pub(super) key: &'static str,
    priority: Option<i16>,
}

/// A record in a tier's log; its offset is its index.
#[derive(Debug, Clone)]
pub(super) struct Record {
    pub(super) place: Place,
    pub(super) waiting: Waiting,
}

/// Something that a group gives to one of its members: a log, as one consumer reads it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Slot {
    /// A partition, by the shared group.
    Shared(usize),
    /// A partition, by the ordered target's group.
    Ordered(usize),
    /// A tier's only partition.
    Tier(Tier),
}

impl Slot {
    /// Who reads it, in the plan of the simulation.
    pub(super) fn consumer(self) -> ConsumerId {
        ConsumerId(match self {
            Slot::Shared(_) => 0,
            Slot::Ordered(_) => 1,
            Slot::Tier(_) => 2,
        })
    }
}

/// The fake broker: logs, committed offsets, and who owns what.
#[derive(Debug)]
pub(super) struct Broker {
    pub(super) logs: Vec<Vec<Message>>,
    pub(super) tiers: Vec<Vec<Record>>,
    pub(super) slots: Vec<Slot>,
    /// By slot, as all that follows.
    pub(super) committed: Vec<i64>,
    /// The replica and generation that may commit.
    pub(super) owners: Vec<Option<(usize, Generation)>>,
    /// Whether dead letters and tiers take writes.
    pub(super) store_up: bool,
}

/// A record is taken up to this size.
pub(super) const LARGEST_RECORD: usize = 900;

impl Broker {
    /// Fills the logs: mixed types and kinds, and gaps as compaction leaves them.
    pub(super) fn fill(
        random: &mut fastrand::Rng,
        partitions: usize,
        truth: &mut Truth,
        now: Moment,
    ) -> Broker {
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
        let sources = (0..partitions).flat_map(|log| [Slot::Shared(log), Slot::Ordered(log)]);
        let slots: Vec<Slot> = sources.chain(Tier::all().map(Slot::Tier)).collect();
        let mut tiers: Vec<Vec<Record>> = Tier::all().map(|_| Vec::new()).collect();
        if random.u8(0..4) == 0 {
            tiers[Tier::ONE_MINUTE.index()] = unknown(random, &logs, truth, now);
        }
        Broker {
            logs,
            tiers,
            committed: vec![0; slots.len()],
            owners: vec![None; slots.len()],
            slots,
            store_up: true,
        }
    }

    /// The first message of a partition at or after an offset.
    pub(super) fn message(&self, log: usize, offset: i64) -> Option<&Message> {
        let log = &self.logs[log];
        log.get(log.partition_point(|message| message.offset < offset))
    }

    /// The first record of a tier at or after an offset.
    pub(super) fn record(&self, tier: Tier, offset: i64) -> Option<&Record> {
        self.tiers[tier.index()].get(usize::try_from(offset).unwrap_or(0))
    }

    /// The message at a place.
    pub(super) fn at(&self, (partition, offset): Place) -> &Message {
        self.message(partition, offset).expect("records are made of messages")
    }

    /// The offset after the last message or record.
    pub(super) fn end(&self, slot: Slot) -> i64 {
        match slot {
            Slot::Shared(log) | Slot::Ordered(log) => {
                self.logs[log].last().map_or(0, |message| message.offset + 1)
            }
            Slot::Tier(tier) => self.tiers[tier.index()].len() as i64,
        }
    }

    /// The places of messages before this one that the ordered target must have had first.
    pub(super) fn before(&self, (partition, offset): Place, by_key: bool) -> impl Iterator<Item = Place> {
        let key = self.at((partition, offset)).key;
        let earlier = self.logs[partition].iter().take_while(move |message| message.offset < offset);
        let in_chain = move |message: &&Message| !by_key || message.key == key;
        earlier.filter(in_chain).map(move |message| (partition, message.offset))
    }
}

/// Records of a target that is not in the plan, which failed first some time ago.
fn unknown(random: &mut fastrand::Rng, logs: &[Vec<Message>], truth: &mut Truth, now: Moment) -> Vec<Record> {
    let mut records = Vec::new();
    for (partition, log) in logs.iter().enumerate() {
        let fitting = log.iter().filter(|message| message.kind == Kind::Regular);
        for message in fitting.filter(|message| message.size <= LARGEST_RECORD).take(2) {
            let place = (partition, message.offset);
            truth.expect_one_more(place, UNKNOWN);
            truth.waits(place, UNKNOWN);
            let waiting = Waiting {
                target: Some("removed".into()),
                routes: Vec::new(),
                tier: Tier::ONE_MINUTE,
                due_ms: now.wall_ms + 60_000,
                not_before_ms: None,
                attempts: random.u32(0..5),
                first_ms: now.wall_ms - random.i64(0..23 * 3600 * 1000),
                moves: 1,
                idle_moves: 0,
                priority: 0,
                failure: None,
            };
            records.push(Record { place, waiting });
        }
    }
    records
}

fn message(random: &mut fastrand::Rng, offset: i64) -> Message {
    let types = [Some("a.x"), Some("a.x"), Some("b.x"), Some("b.x"), Some("d.x"), Some("c.x"), None];
    let size = if random.u8(0..12) == 0 { LARGEST_RECORD + 100 } else { random.usize(1..400) };
    let kind = match random.u8(0..20) {
        0 => Kind::Tombstone,
        1 => Kind::Oversized(size),
        _ => Kind::Regular,
    };
    let priority = (random.u8(0..4) == 0).then(|| random.i16(-3..4));
    let key = ["k0", "k1", "k2"][random.usize(0..3)];
    Message { offset, event_type: types[random.usize(0..types.len())], kind, size, key, priority }
}

/// What the plan of the simulation asks for, said once more in other words.
fn expected(message: &Message) -> Vec<Option<TargetId>> {
    let targets: &[TargetId] = match (message.kind, message.event_type) {
        (Kind::Tombstone, _) => &[],
        (Kind::Oversized(_), _) | (Kind::Regular, None) => return vec![None],
        (Kind::Regular, Some("a.x")) => &[FIRST, SECOND, LIMITED],
        (Kind::Regular, Some("b.x")) => &[SECOND, HEALTHY, ORDERED],
        (Kind::Regular, Some("d.x")) => &[DEAD, HEALTHY, ORDERED],
        (Kind::Regular, Some(_)) => &[],
    };
    targets.iter().copied().map(Some).collect()
}

impl Message {
    /// Whether the plan sends it to this target.
    pub(super) fn is_for(&self, target: TargetId) -> bool {
        expected(self).contains(&Some(target))
    }

    /// The event that a source makes of it.
    pub(super) fn event(&self, partition: usize, generation: Generation, lease: Arc<Lease>) -> Arc<Event> {
        let size = if self.kind == Kind::Regular { self.size } else { 0 };
        Arc::new(Event {
            source: SourceId(0),
            id: format!("evt_{partition}_{}", self.offset).into(),
            event_type: self.event_type.map(Arc::from),
            time: EventTime { unix_ms: 0, text: None },
            subject: None,
            key: Some(self.key.into()),
            priority: self.priority,
            tenant: None,
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
