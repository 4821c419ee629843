/// Index of a source in the [`Plan`](crate::plan::Plan).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SourceId(pub u16);

/// Index of a [`Consumer`](crate::plan::Consumer) in the [`Plan`](crate::plan::Plan): what reads a
/// source, or the retry tiers on its broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConsumerId(pub u16);

/// Index of a target in the [`Plan`](crate::plan::Plan).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TargetId(pub u32);

/// Index of a route in the [`Plan`](crate::plan::Plan), in file order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RouteId(pub u32);

impl RouteId {
    /// A route that the configuration does not have any more.
    pub const GONE: RouteId = RouteId(u32::MAX);
}

/// One assignment of one partition to this process. Each assignment gets a new number, unique in
/// the process, so that whatever belongs to an earlier one is recognised as stale.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Generation(pub u64);

/// The right to acknowledge one message of a source. It is moved, never copied, and dropping one
/// acknowledges nothing.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Receipt {
    /// The consumer that read the message.
    pub consumer: ConsumerId,
    /// The assignment under which it was read.
    pub generation: Generation,
    /// The message's position in its partition (Kafka: the offset) or stream (its sequence).
    pub position: i64,
}

/// The receipt of an event that is settled, on its way back to be acknowledged.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Settled {
    /// The right that may be used now.
    pub receipt: Receipt,
    /// How the event ended.
    pub ending: Ending,
}

/// How an event ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Ending {
    /// No dead letter was written for it.
    Done,
    /// At least one was.
    DeadLettered,
}
