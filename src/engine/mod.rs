//! Floor 3: the delivery logic, pure and synchronous. Time and randomness come in as arguments,
//! effects go out as values.

mod protocol;

pub use protocol::{Command, Grant, Input, Note, StoreFault, WriteId};
