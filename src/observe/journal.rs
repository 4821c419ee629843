use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::time::Duration;

use super::logs::{log_note, log_repeated};
use crate::domain::{DeadLetterReason, Moment, Outcome, SourceId, TargetId, TargetState};
use crate::engine::Note;
use crate::plan::Plan;

/// After so long it is said of a trouble how many times it came again; each time after twice as long,
const SUM_UP_FIRST: Duration = Duration::from_secs(10);
/// up to this.
const SUM_UP_LAST: Duration = Duration::from_secs(60);

/// The log of what the engine notes. What goes wrong in the same way again and again has its line once, and
/// then one now and then that counts the others: soon at first, and once a minute while it lasts, so that a dead receiver does not flood the
/// log. At `debug`, where every delivery has its line, nothing is summed up.
#[derive(Debug, Default)]
pub struct Journal {
    troubles: HashMap<Trouble, Repeated>,
    /// Of these it was said that they do not answer.
    open: HashSet<TargetId>,
}

/// What goes wrong in the same way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Trouble {
    DeadLettered(TargetId, DeadLetterReason),
    Discarded(TargetId),
    EventDeadLettered(SourceId, DeadLetterReason),
}

#[derive(Debug)]
struct Repeated {
    said: Moment,
    /// For how long nothing is said then.
    rest: Duration,
    more: u64,
}

impl Journal {
    /// Writes what is new.
    pub fn note(&mut self, plan: &Plan, note: &Note, now: Moment) {
        if tracing::enabled!(tracing::Level::DEBUG) || self.is_new(note, now) {
            log_note(plan, note);
        }
    }

    fn is_new(&mut self, note: &Note, now: Moment) -> bool {
        if let Note::Stands { target, standing } = note {
            match standing.state {
                // A probe that failed: nothing has changed for whoever reads this.
                TargetState::Open { .. } => return self.open.insert(*target),
                TargetState::Active | TargetState::Disabled => self.open.remove(target),
                TargetState::Probing | TargetState::Paused { .. } => true,
            };
        }
        let Some(trouble) = Trouble::of(note) else { return true };
        match self.troubles.entry(trouble) {
            Entry::Vacant(first) => {
                first.insert(Repeated { said: now, rest: SUM_UP_FIRST, more: 0 });
                true
            }
            Entry::Occupied(mut again) => {
                again.get_mut().more += 1;
                false
            }
        }
    }

    /// Says what came again, where it is time.
    pub fn sum_up(&mut self, plan: &Plan, now: Moment) {
        self.sum_up_where(|repeated| now.since(repeated.said) >= repeated.rest, plan, now);
    }

    /// Says all that came again and was not said yet.
    pub fn conclude(&mut self, plan: &Plan, now: Moment) {
        self.sum_up_where(|_| true, plan, now);
    }

    fn sum_up_where(&mut self, is_due: impl Fn(&Repeated) -> bool, plan: &Plan, now: Moment) {
        self.troubles.retain(|trouble, repeated| {
            if !is_due(repeated) {
                return true;
            }
            let since = now.since(repeated.said);
            let more = std::mem::take(&mut repeated.more);
            repeated.said = now;
            repeated.rest = (repeated.rest * 2).min(SUM_UP_LAST);
            if more > 0 {
                log_repeated(plan, *trouble, more, since);
            }
            // One that stayed away is news when it comes again.
            more > 0
        });
    }
}

impl Trouble {
    fn of(note: &Note) -> Option<Trouble> {
        match note {
            Note::Ended { target, outcome: Outcome::DeadLettered(reason), .. } => {
                Some(Trouble::DeadLettered(*target, *reason))
            }
            Note::Ended { target, outcome: Outcome::Discarded(_), .. } => Some(Trouble::Discarded(*target)),
            Note::EventDeadLettered { event, reason } => {
                Some(Trouble::EventDeadLettered(event.source, *reason))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::Layer;
    use tracing_subscriber::filter::LevelFilter;

    use super::super::logs::tests::logged;
    use super::*;
    use crate::observe::testing;

    fn at(seconds: u64) -> Moment {
        Moment { mono_us: 1_000_000 * (1 + seconds), wall_ms: 0 }
    }

    fn dead_lettered(target: u32) -> Note {
        Note::Ended {
            target: TargetId(target),
            route: crate::domain::RouteId(0),
            outcome: Outcome::DeadLettered(DeadLetterReason::Exhausted),
            event: testing::event(),
            attempts: 8,
            status: Some(503),
            error: None,
        }
    }

    fn journaled(level: LevelFilter, write: impl FnOnce(&mut Journal, &Plan)) -> Vec<String> {
        let plan = testing::plan();
        let lines = logged(
            |writer| {
                let lines = tracing_subscriber::fmt::layer().with_ansi(false).with_writer(writer);
                lines.with_filter(level).boxed()
            },
            || write(&mut Journal::default(), &plan),
        );
        lines.lines().map(str::to_owned).collect()
    }

    #[test]
    fn the_same_trouble_is_said_once_and_then_counted() {
        let lines = journaled(LevelFilter::INFO, |journal, plan| {
            for _ in 0..1_000 {
                journal.note(plan, &dead_lettered(1), at(0));
            }
            journal.sum_up(plan, at(9));
            journal.note(plan, &dead_lettered(0), at(9));
            journal.sum_up(plan, at(10));
            journal.sum_up(plan, at(30));
            journal.note(plan, &dead_lettered(1), at(31));
        });

        assert_eq!(lines.len(), 4, "{lines:#?}");
        assert!(lines[0].contains("target=\"shop\"") && lines[0].contains("event="), "{}", lines[0]);
        assert!(!lines[1].contains("target=\"shop\""), "another target's is news: {}", lines[1]);
        assert!(lines[2].contains("more=999") && lines[2].contains("seconds=10"), "{}", lines[2]);
        assert!(lines[3].contains("event="), "one that comes again after a rest is news: {}", lines[3]);
    }

    #[test]
    fn a_trouble_that_lasts_is_counted_once_a_minute() {
        let lines = journaled(LevelFilter::INFO, |journal, plan| {
            for second in 0..=190 {
                journal.note(plan, &dead_lettered(1), at(second));
                journal.sum_up(plan, at(second));
            }
        });

        let told: Vec<&str> = lines.iter().filter_map(|line| line.split("seconds=").nth(1)).collect();
        assert_eq!(told, ["10", "20", "40", "60", "60"]);
    }

    #[test]
    fn at_debug_nothing_is_summed_up() {
        let lines = journaled(LevelFilter::DEBUG, |journal, plan| {
            (0..5).for_each(|_| journal.note(plan, &dead_lettered(1), at(0)));
        });

        assert_eq!(lines.len(), 5, "{lines:#?}");
    }

    #[test]
    fn what_was_not_said_is_said_at_the_end() {
        let lines = journaled(LevelFilter::INFO, |journal, plan| {
            (0..3).for_each(|_| journal.note(plan, &dead_lettered(1), at(0)));
            journal.conclude(plan, at(1));
        });

        assert!(lines.len() == 2 && lines[1].contains("more=2"), "{lines:#?}");
    }
}
