//! One timer for the whole life of a connection.

use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

/// The longest wait; longer ones are cut, since clocks overflow.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);

/// A timer that is set again for each attempt and each idle time. A later due time costs nothing:
/// the sleeping timer is left alone, and goes back to sleep if it wakes too early.
pub(super) struct Timer {
    sleep: Pin<Box<Sleep>>,
    due: Instant,
}

impl Timer {
    /// Must be called inside a runtime.
    pub(super) fn new() -> Timer {
        let due = Instant::now() + LONGEST;
        Timer { sleep: Box::pin(sleep_until(due)), due }
    }

    /// Due `wait` after `now`.
    pub(super) fn set(&mut self, now: Instant, wait: Duration) {
        self.due = now + wait.min(LONGEST);
        if self.due < self.sleep.deadline() {
            self.sleep.as_mut().reset(self.due);
        }
    }

    /// Ready once the timer is due.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            ready!(self.sleep.as_mut().poll(cx));
            if Instant::now() >= self.due {
                return Poll::Ready(());
            }
            self.sleep.as_mut().reset(self.due);
        }
    }

    /// What `work` comes to, or `None` if the timer is due first.
    pub(super) async fn bound<T>(&mut self, work: impl Future<Output = T>) -> Option<T> {
        let mut work = pin!(work);
        std::future::poll_fn(|cx| match work.as_mut().poll(cx) {
            Poll::Ready(done) => Poll::Ready(Some(done)),
            Poll::Pending => self.poll(cx).map(|()| None),
        })
        .await
    }
}
