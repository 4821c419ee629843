use std::sync::Arc;
use std::time::Duration;

use super::{Event, Reply, TargetId};

/// One event for one target, while it is open in this process. A slot is used again with another
/// serial, so an id that outlived its delivery matches nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DeliveryId {
    /// Place in the ledger.
    pub slot: u32,
    /// Which use of that place.
    pub serial: u32,
}

/// One HTTP request to make.
#[derive(Debug, Clone)]
pub struct Attempt {
    /// The delivery that it is made for.
    pub delivery: DeliveryId,
    /// Where to.
    pub target: TargetId,
    /// What.
    pub event: Arc<Event>,
    /// 1 for the first attempt of the delivery.
    pub number: u32,
}

/// What came of one [`Attempt`].
#[derive(Debug, Clone, PartialEq)]
pub struct Attempted {
    /// The delivery that it was made for.
    pub delivery: DeliveryId,
    /// The target that it was made to.
    pub target: TargetId,
    /// The attempt's number.
    pub number: u32,
    /// What came back.
    pub reply: Reply,
    /// From the start of rendering to the end of the response.
    pub took: Duration,
}
