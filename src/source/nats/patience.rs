use std::time::Duration;

/// The times that follow from a durable's `ack_wait`. The server counts it from when it sent a
/// message or last heard of it; we count from when we took the message in. What lies between is
/// bounded: a connection that is silent for longer is dropped with all that comes through it, and so
/// is everything after a standstill of this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Patience {
    /// How often the server gives a sign of life while a pull waits.
    pub(super) heartbeat: Duration,
    /// Without one for so long, the pull is lost.
    pub(super) silence: Duration,
    /// A turn that takes so long was a standstill: all that was open is void.
    pub(super) standstill: Duration,
    /// A message is in progress again when the server has not heard of it for so long.
    pub(super) progress: Duration,
    /// So long after the last sign of it a message is surely still ours.
    pub(super) tenure: Duration,
    /// A pull ends by itself after so long.
    pub(super) expires: Duration,
    /// An acknowledged message that comes again so soon is acknowledged again, not sent again.
    pub(super) memory: Duration,
}

const LEAST_HEARTBEAT: Duration = Duration::from_millis(100);
const MOST_HEARTBEAT: Duration = Duration::from_secs(5);

impl Patience {
    pub(super) fn new(ack_wait: Duration) -> Patience {
        let heartbeat = (ack_wait / 12).clamp(LEAST_HEARTBEAT, MOST_HEARTBEAT);
        let silence = heartbeat * 2;
        let standstill = ack_wait / 6;
        Patience {
            heartbeat,
            silence,
            standstill,
            progress: ack_wait / 3,
            tenure: ack_wait.saturating_sub(silence.max(standstill)),
            expires: heartbeat * 6,
            memory: ack_wait * 2,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_ours_for_as_long_as_the_server_may_have_given_it_away() {
        for seconds in [1, 2, 5, 30, 60, 3600] {
            let ack_wait = Duration::from_secs(seconds);
            let patience = Patience::new(ack_wait);
            let late = patience.silence.max(patience.standstill);
            assert!(patience.tenure + late <= ack_wait, "{patience:?}");
            assert!(patience.progress * 3 / 2 <= patience.tenure, "time for a second try: {patience:?}");
            assert!(patience.expires >= patience.heartbeat * 2, "a condition of the server: {patience:?}");
        }
        let usual = Patience::new(Duration::from_secs(60));
        assert_eq!((usual.progress, usual.tenure), (Duration::from_secs(20), Duration::from_secs(50)));
    }
}
