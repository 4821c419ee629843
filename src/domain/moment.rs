use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A point in time on both clocks: waits are measured on the monotonic one, and what people and
/// receivers read comes from the wall clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Moment {
    /// Microseconds since the process started; never goes back.
    pub mono_us: u64,
    /// Milliseconds since 1970-01-01 UTC; may jump when the clock is set.
    pub wall_ms: i64,
}

impl Moment {
    /// Reads both clocks of this machine. Only the edges call this; the engine is handed moments.
    pub fn now() -> Moment {
        static START: OnceLock<Instant> = OnceLock::new();
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Moment {
            mono_us: START.get_or_init(Instant::now).elapsed().as_micros() as u64,
            wall_ms: wall.as_millis() as i64,
        }
    }

    /// The moment `wait` later, on both clocks.
    pub fn after(self, wait: Duration) -> Moment {
        Moment {
            mono_us: self.mono_us.saturating_add(wait.as_micros() as u64),
            wall_ms: self.wall_ms.saturating_add(wait.as_millis() as i64),
        }
    }

    /// How long after `earlier` this is on the monotonic clock; zero if it is not later.
    pub fn since(self, earlier: Moment) -> Duration {
        Duration::from_micros(self.mono_us.saturating_sub(earlier.mono_us))
    }
}
