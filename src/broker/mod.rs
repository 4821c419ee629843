//! Floor 4, below its other rooms: what [`source`](crate::source) and [`store`](crate::store) need
//! of a broker alike, which is how to reach it and what to say when that fails.

pub mod kafka;
pub mod nats;
mod start_fault;

pub use start_fault::StartFault;
/// What a record in a retry tier says.
pub mod tier_record;
