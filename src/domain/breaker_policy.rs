use std::time::Duration;

/// `breaker`: when a target counts as down, and how it is tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BreakerPolicy {
    /// So many failed attempts one after the other open it.
    pub failures: u32,
    /// While it is open, one delivery is tried so often.
    pub probe: Duration,
}
