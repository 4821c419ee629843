use std::fmt;

/// How a delivery ended. Each is terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// The receiver answered with a success status.
    Delivered,
    /// Written to the dead letters, and the broker confirmed it.
    DeadLettered(DeadLetterReason),
    /// Given up as configured (`on_exhausted: discard`).
    Discarded(DiscardReason),
}

/// Why something is in the dead letters. The texts are the closed set of PRODUCT.md §4.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DeadLetterReason {
    /// The receiver refused it with a status that is not retried.
    Rejected,
    /// All attempts failed.
    Exhausted,
    /// `retry.max_age` ran out.
    Expired,
    /// A route could not judge the event, or the message can't be read.
    Poisoned,
    /// The request can't be rendered for this target.
    Template,
    /// The message is larger than `limits.max_event`.
    Oversized,
    /// The target's address is not allowed by its `egress`.
    Blocked,
    /// A message without a value, by `tombstones: dead_letter`.
    Tombstone,
    /// Its target is not in the configuration, and was not for a day.
    TargetUnknown,
    /// Its target is switched off.
    TargetDisabled,
    /// Its type is not declared, or its data breaks the type's schema (`event_types.unknown: dead_letter`).
    Schema,
}

impl DeadLetterReason {
    /// All of them.
    pub const ALL: [DeadLetterReason; 11] = [
        DeadLetterReason::Rejected,
        DeadLetterReason::Exhausted,
        DeadLetterReason::Expired,
        DeadLetterReason::Poisoned,
        DeadLetterReason::Template,
        DeadLetterReason::Oversized,
        DeadLetterReason::Blocked,
        DeadLetterReason::Tombstone,
        DeadLetterReason::TargetUnknown,
        DeadLetterReason::TargetDisabled,
        DeadLetterReason::Schema,
    ];

    /// The text used in metrics, headers and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            DeadLetterReason::Rejected => "rejected",
            DeadLetterReason::Exhausted => "exhausted",
            DeadLetterReason::Expired => "expired",
            DeadLetterReason::Poisoned => "poisoned",
            DeadLetterReason::Template => "template",
            DeadLetterReason::Oversized => "oversized",
            DeadLetterReason::Blocked => "blocked",
            DeadLetterReason::Tombstone => "tombstone",
            DeadLetterReason::TargetUnknown => "target_unknown",
            DeadLetterReason::TargetDisabled => "target_disabled",
            DeadLetterReason::Schema => "schema",
        }
    }
}

impl fmt::Display for DeadLetterReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a delivery was discarded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DiscardReason {
    /// `on_exhausted: discard`, and the attempts ended with this reason.
    OnExhausted(DeadLetterReason),
}

/// Why a delivery left this process unfinished. Its event stays uncommitted and comes again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ReleaseReason {
    /// Its partition went to another replica.
    Revoked,
    /// This process is stopping.
    Shutdown,
}

impl ReleaseReason {
    /// The text used in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            ReleaseReason::Revoked => "revoked",
            ReleaseReason::Shutdown => "shutdown",
        }
    }
}
