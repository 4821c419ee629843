//! Floor 0: the nouns. Plain data without I/O, without async and without knowledge of any broker.

mod address;
mod attempt;
mod condition;
mod dead_letter;
mod event;
mod field;
mod lease;
mod moment;
mod outcome;
mod place;
mod receipt;
mod reply;
mod retry_policy;
mod subject_pattern;
mod type_pattern;

pub use address::AddressKind;
pub use attempt::{Attempt, Attempted, DeliveryId};
pub use condition::{Condition, Operator, Presence};
pub use dead_letter::{DeadLetter, Failure};
pub use event::{BrokerLog, Content, Data, Event, EventTime, Kind, Origin};
pub use field::Field;
pub use lease::Lease;
pub use moment::Moment;
pub use outcome::{DeadLetterReason, DiscardReason, Outcome, ReleaseReason};
pub use place::{Path, Place};
pub use receipt::{Ending, Generation, Receipt, RouteId, Settled, SourceId, TargetId};
pub use reply::{Fault, Reply, RetryAfter};
pub use retry_policy::{Backoff, Exhausted, HonourRetryAfter, Jitter, RetryOn, RetryPolicy, StatusSet};
pub use subject_pattern::{SubjectFault, SubjectPattern};
pub use type_pattern::{Segment, TypePattern, TypePatternFault, TypeSet};
