use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

const PACE: Duration = Duration::from_millis(200);
const WIDTH: u64 = 30;

/// A bar on standard error, if that is a terminal.
pub(super) struct Progress {
    doing: &'static str,
    total: u64,
    done: u64,
    next: Option<Instant>,
    visible: bool,
}

impl Progress {
    /// Of so many steps. It appears only if they take a moment.
    pub(super) fn new(doing: &'static str, total: u64) -> Progress {
        let next = io::stderr().is_terminal().then(|| Instant::now() + PACE);
        Progress { doing, total, done: 0, next, visible: false }
    }

    /// One step is done.
    pub(super) fn step(&mut self) {
        self.done += 1;
        let Some(next) = self.next.filter(|next| *next <= Instant::now()) else { return };
        self.next = Some(next + PACE.max(next.elapsed()));
        self.visible = true;
        // There is nowhere to report that the terminal is gone.
        let _ = write!(io::stderr(), "\r\x1b[K{}", bar(self.doing, self.done, self.total));
    }

    /// Makes room for other text.
    pub(super) fn clear(&mut self) {
        if std::mem::take(&mut self.visible) {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}

fn bar(doing: &str, done: u64, total: u64) -> String {
    let total = total.max(done).max(1);
    let filled = usize::try_from(u128::from(done) * u128::from(WIDTH) / u128::from(total)).unwrap_or(0);
    let empty = WIDTH as usize - filled;
    format!("{doing} [{}{}] {done} of {total}", "#".repeat(filled), "-".repeat(empty))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_is_as_full_as_what_is_done() {
        assert_eq!(
            bar("reading", 50, 100),
            format!("reading [{}{}] 50 of 100", "#".repeat(15), "-".repeat(15))
        );
        assert_eq!(bar("reading", 3, 0), format!("reading [{}] 3 of 3", "#".repeat(30)));
        assert_eq!(bar("reading", 0, 0), format!("reading [{}] 0 of 1", "-".repeat(30)));
    }
}
