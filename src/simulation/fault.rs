use crate::engine::Sabotage;

/// A fault put into the code on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// The highest settled offset is committed, not the lowest unsettled one.
    CommitHighest,
    /// The sender does not look at the lease.
    IgnoreLease,
    /// The store does not look at the lease.
    WriteWithoutLease,
    /// One in the engine.
    Engine(Sabotage),
}

impl Fault {
    pub(super) fn of_engine(self) -> Option<Sabotage> {
        match self {
            Fault::Engine(sabotage) => Some(sabotage),
            Fault::CommitHighest | Fault::IgnoreLease | Fault::WriteWithoutLease => None,
        }
    }
}
