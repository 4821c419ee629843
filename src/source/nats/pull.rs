use std::time::Duration;

use async_nats::jetstream::consumer::pull::BatchConfig;

use super::patience::Patience;
use crate::engine::Grant;

/// What an event takes of the window beside its bytes, about.
const EVENT_COST: u64 = 512;
/// More messages are never asked for at once.
const LARGEST: u64 = 5_000;

/// A pull that the server is answering.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pull {
    /// So many messages may still come of it.
    left: usize,
    asked: usize,
    /// So many bytes at most; 0 is without a limit.
    bytes: u64,
    /// When it was sent, in microseconds on the monotonic clock.
    pub(super) sent_us: u64,
}

impl Pull {
    fn of(asked: usize, bytes: u64, sent_us: u64) -> Pull {
        Pull { left: asked, asked, bytes, sent_us }
    }

    /// After one message of it; `None` if that was the last.
    pub(super) fn next(self) -> Option<Pull> {
        Some(Pull { left: self.left - 1, ..self }).filter(|pull| pull.left > 0)
    }

    /// If it ended because of a message that is too large: how many bytes were too few for it alone.
    pub(super) fn too_few_bytes(self) -> Option<u64> {
        (self.left == self.asked).then_some(self.bytes)
    }
}

/// How much a source may have open.
#[derive(Debug, Clone, Copy)]
pub(super) struct Room {
    /// What the engine grants beyond what it was handed, in events and bytes.
    pub(super) granted: Grant,
    /// The window of the source.
    pub(super) window: Grant,
    /// How many messages are open at this process.
    pub(super) open: u64,
    /// The next message did not fit into so many bytes.
    pub(super) too_few_bytes: Option<u64>,
}

/// What a durable lets a pull ask for; 0 is without a limit.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Allowed {
    pub(super) batch: u64,
    pub(super) bytes: u64,
    pub(super) expires: Duration,
}

impl Room {
    /// What to pull next, with how many messages at most; nothing while there is too little room, so
    /// that pulls do not become small.
    pub(super) fn pull(
        &self,
        allowed: Allowed,
        patience: Patience,
        now_us: u64,
    ) -> Option<(Pull, BatchConfig)> {
        let quarter = (self.window.events / 4).clamp(1, LARGEST);
        let mut events = self.granted.events.min(LARGEST);
        let mut bytes = self.granted.bytes;
        if events < quarter || bytes < self.window.bytes / 4 {
            return None;
        }
        if self.too_few_bytes.is_some_and(|few| few < self.window.bytes && bytes <= few) {
            return None;
        }
        if self.too_few_bytes.is_some_and(|few| few >= self.window.bytes) {
            // It goes alone, and only when it has all the room there is.
            if self.open > 0 || bytes < self.window.bytes {
                return None;
            }
            (events, bytes) = (1, 0);
        } else {
            events = events.min((bytes / EVENT_COST).max(1));
            bytes = least_of(bytes, allowed.bytes);
        }
        let events = least_of(events, allowed.batch) as usize;
        let expires = match allowed.expires {
            Duration::ZERO => patience.expires,
            most => patience.expires.min(most),
        };
        let config = BatchConfig {
            batch: events,
            max_bytes: usize::try_from(bytes).unwrap_or(usize::MAX),
            expires: Some(expires),
            idle_heartbeat: patience.heartbeat.min(expires / 2),
            ..BatchConfig::default()
        };
        Some((Pull::of(events, bytes, now_us), config))
    }
}

/// The smaller of the two, where 0 is no limit.
fn least_of(wanted: u64, limit: u64) -> u64 {
    if limit == 0 { wanted } else { wanted.min(limit) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Grant = Grant { events: 1000, bytes: 1 << 20 };

    fn room() -> Room {
        Room { granted: WINDOW, window: WINDOW, open: 0, too_few_bytes: None }
    }

    fn asked(room: Room) -> Option<(usize, usize)> {
        let (pull, config) = room.pull(Allowed::default(), Patience::new(Duration::from_secs(60)), 0)?;
        assert_eq!(pull.left, config.batch);
        Some((config.batch, config.max_bytes))
    }

    #[test]
    fn a_pull_asks_for_no_more_than_there_is_room() {
        assert_eq!(asked(room()), Some((1000, 1 << 20)));
        let few_events = Grant { events: 300, ..WINDOW };
        assert_eq!(asked(Room { granted: few_events, ..room() }), Some((300, 1 << 20)));
        let few_bytes = Grant { events: 1000, bytes: 300_000 };
        assert_eq!(asked(Room { granted: few_bytes, ..room() }), Some((585, 300_000)));
    }

    #[test]
    fn pulls_do_not_become_small() {
        let granted = Grant { events: 249, ..WINDOW };
        assert_eq!(asked(Room { granted, ..room() }), None, "less than a quarter");
        let tiny = Grant { events: 2, bytes: 1 << 20 };
        assert_eq!(asked(Room { granted: tiny, window: tiny, ..room() }), Some((2, 1 << 20)));
    }

    #[test]
    fn a_message_that_is_larger_than_the_window_goes_alone() {
        let large = Room { too_few_bytes: Some(WINDOW.bytes), ..room() };
        assert_eq!(asked(Room { open: 1, ..large }), None);
        assert_eq!(asked(large), Some((1, 0)), "without a limit of bytes");
    }

    #[test]
    fn a_message_that_did_not_fit_is_asked_for_again_with_more_room() {
        let some = |bytes: u64| Room {
            granted: Grant { bytes, ..WINDOW },
            too_few_bytes: Some(400_000),
            open: 1,
            ..room()
        };
        assert_eq!(asked(some(400_000)), None);
        assert_eq!(asked(some(500_000)), Some((976, 500_000)), "also while others are open");
    }

    #[test]
    fn a_durable_with_limits_is_asked_within_them() {
        let allowed = Allowed { batch: 10, bytes: 1000, expires: Duration::from_secs(2) };
        let (_, config) = room().pull(allowed, Patience::new(Duration::from_secs(60)), 0).expect("room");
        assert_eq!((config.batch, config.max_bytes), (10, 1000));
        assert_eq!(
            (config.expires, config.idle_heartbeat),
            (Some(Duration::from_secs(2)), Duration::from_secs(1))
        );
    }
}
