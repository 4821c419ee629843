//! Bounded waits: a condition is looked at until it holds, and the state is shown when time runs out.

use std::thread;
use std::time::{Duration, Instant};

const PACE: Duration = Duration::from_millis(25);

/// Waits until `probe` gives a value. When `limit` runs out, panics with `what` and `state`.
#[track_caller]
pub fn until<T>(
    what: &str,
    limit: Duration,
    state: impl Fn() -> String,
    mut probe: impl FnMut() -> Option<T>,
) -> T {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(value) = probe() {
            return value;
        }
        assert!(Instant::now() < deadline, "not within {limit:?}: {what}\nstate: {}", state());
        thread::sleep(PACE);
    }
}

/// Asserts that `holds` stays true for all of `span`; for "nothing happens" claims only.
#[track_caller]
pub fn throughout(what: &str, span: Duration, state: impl Fn() -> String, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + span;
    while Instant::now() < end {
        assert!(holds(), "did not stay so: {what}\nstate: {}", state());
        thread::sleep(PACE);
    }
}
