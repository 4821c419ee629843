use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use crate::domain::{DiscardReason, Event, Outcome, Reply, RouteId, TargetId};
use crate::engine::Note;
use crate::plan::Plan;

/// Whether lines are coloured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Colours {
    /// On a terminal.
    On,
    /// Elsewhere.
    Off,
}

/// One line of the live account, and what kind of line it is.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line {
    word: &'static str,
    colour: &'static str,
    rest: String,
}

const GREEN: &str = "\x1b[32m";
const YELLOW: &str = "\x1b[33m";
const RED: &str = "\x1b[31m";
const GREY: &str = "\x1b[90m";
const PLAIN: &str = "\x1b[0m";

impl Line {
    /// The line for something that happened, if it is worth one.
    pub(super) fn of(plan: &Plan, note: &Note) -> Option<Line> {
        let (word, colour, rest) = match note {
            Note::Ended { target, route, outcome, event, attempts, status, .. } => {
                let way = way(plan, event, *route, *target);
                let after = format!("{} after {}", status_text(*status), count(*attempts, "attempt"));
                match outcome {
                    Outcome::Delivered => ("delivered", GREEN, format!("{way}: {after}")),
                    Outcome::DeadLettered(reason) => {
                        ("dead-lettered", RED, format!("{way}: {after}, {reason}"))
                    }
                    Outcome::Discarded(DiscardReason::OnExhausted(reason)) => {
                        ("discarded", RED, format!("{way}: {after}, {reason}"))
                    }
                }
            }
            Note::Retrying { target, route, event, reply, wait_ms, .. } => {
                let way = way(plan, event, *route, *target);
                ("retrying", YELLOW, format!("{way}: {}, again in {wait_ms} ms", reply_text(reply)))
            }
            Note::EventDeadLettered { event, reason } => {
                let origin = &event.origin;
                let rest = format!("{}/{}@{}: {reason}", origin.topic, origin.partition, origin.position);
                ("dead-lettered", RED, rest)
            }
            Note::Unrouted(_) => ("not routed", GREY, "an event that no route takes".to_owned()),
            Note::Tombstone(_) => ("ignored", GREY, "a message without a value".to_owned()),
            Note::Moved { .. }
            | Note::Resumed { .. }
            | Note::RateLimited(_)
            | Note::Misfit { .. }
            | Note::Stands { .. }
            | Note::Released { .. }
            | Note::Routed(_)
            | Note::Poisoned(_)
            | Note::Opened(_) => return None,
        };
        Some(Line { word, colour, rest })
    }

    /// The line as it is shown.
    pub(super) fn shown(&self, colours: Colours) -> String {
        match colours {
            Colours::On => format!("{}{:<13}{PLAIN} {}", self.colour, self.word, self.rest),
            Colours::Off => format!("{:<13} {}", self.word, self.rest),
        }
    }
}

fn way(plan: &Plan, event: &Event, route: RouteId, target: TargetId) -> String {
    let route = plan.routes.get(route.0 as usize).map_or("?", |route| &route.name);
    let target = plan.targets.get(target.0 as usize).map_or("?", |target| &target.name);
    let event_type = event.event_type.as_deref().unwrap_or("(no type)");
    format!("{:<8} {event_type:<18} → {target:<10} by {route}", event.id)
}

fn status_text(status: Option<u16>) -> String {
    status.map_or_else(|| "no answer".to_owned(), |status| status.to_string())
}

fn reply_text(reply: &Reply) -> String {
    match reply {
        Reply::Status { status, .. } => status.to_string(),
        Reply::Fault { fault, .. } => fault.as_str().to_owned(),
        Reply::Unrenderable(_) | Reply::Withheld => "not sent".to_owned(),
    }
}

fn count(number: u32, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

/// How far the pipeline is. Only decides when the demo may end; the summary counts by other ways.
#[derive(Debug, Default)]
pub(super) struct Progress {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct State {
    events: u64,
    opened: u64,
    ended: u64,
    poisoned: u64,
    buried: u64,
}

impl State {
    fn settled(self, published: u64) -> bool {
        self.events >= published && self.ended >= self.opened && self.buried >= self.poisoned
    }
}

/// How waiting for the pipeline ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Waited {
    /// Everything that was published has ended.
    Settled,
    /// Not in time.
    Overdue,
}

impl Progress {
    /// Takes a note into account.
    pub(super) fn note(&self, note: &Note) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match note {
            Note::Routed(_) | Note::Unrouted(_) | Note::Tombstone(_) => state.events += 1,
            Note::Poisoned(_) => {
                state.events += 1;
                state.poisoned += 1;
            }
            Note::Opened(_) => state.opened += 1,
            // What waits in a tier has not ended: it comes back.
            Note::Ended { .. } | Note::Released { .. } => state.ended += 1,
            Note::EventDeadLettered { .. } => state.buried += 1,
            Note::Retrying { .. }
            | Note::Moved { .. }
            | Note::Resumed { .. }
            | Note::RateLimited(_)
            | Note::Misfit { .. }
            | Note::Stands { .. } => {}
        }
        self.changed.notify_all();
    }

    /// Waits until everything of `published` messages has ended, at most `limit`.
    pub(super) fn wait(&self, published: u64, limit: Duration) -> Waited {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.changed.wait_timeout_while(state, limit, |state| !state.settled(published));
        match waited.unwrap_or_else(PoisonError::into_inner).1.timed_out() {
            true => Waited::Overdue,
            false => Waited::Settled,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{DeadLetterReason, DeliveryId, SourceId};
    use crate::observe::testing::{event, plan};

    fn ended(outcome: Outcome, status: Option<u16>, attempts: u32) -> Note {
        Note::Ended {
            target: TargetId(1),
            route: RouteId(0),
            outcome,
            event: event(),
            attempts,
            status,
            error: None,
        }
    }

    fn shown(note: &Note) -> String {
        Line::of(&plan(), note).expect("worth a line").shown(Colours::Off)
    }

    #[test]
    fn lines_say_what_happened_to_which_event() {
        assert_eq!(
            shown(&ended(Outcome::Delivered, Some(200), 2)),
            "delivered     evt_1    (no type)          → shop       by billing: 200 after 2 attempts"
        );
        let rejected = Outcome::DeadLettered(DeadLetterReason::Rejected);
        assert!(shown(&ended(rejected, Some(400), 1)).ends_with(": 400 after 1 attempt, rejected"));
        let retrying = Note::Retrying {
            delivery: DeliveryId { slot: 0, serial: 0 },
            target: TargetId(1),
            route: RouteId(0),
            event: event(),
            attempts: 1,
            reply: Reply::Status { status: 503, retry_after: None },
            wait_ms: 280,
        };
        assert!(shown(&retrying).ends_with("by billing: 503, again in 280 ms"));
        let poisoned = Note::EventDeadLettered { event: event(), reason: DeadLetterReason::Poisoned };
        assert_eq!(shown(&poisoned), "dead-lettered events/0@7: poisoned");
        assert_eq!(Line::of(&plan(), &Note::Opened(TargetId(1))), None);
    }

    #[test]
    fn colours_are_for_terminals_only() {
        let line = Line::of(&plan(), &ended(Outcome::Delivered, Some(200), 1)).expect("worth a line");
        assert!(!line.shown(Colours::Off).contains('\x1b'));
        assert!(line.shown(Colours::On).starts_with(GREEN));
    }

    #[test]
    fn it_has_ended_only_when_every_delivery_and_dead_letter_has() {
        let progress = Progress::default();
        let waited = |published| progress.wait(published, Duration::ZERO);
        progress.note(&Note::Routed(SourceId(0)));
        progress.note(&Note::Opened(TargetId(1)));
        assert_eq!(waited(1), Waited::Overdue, "the delivery is open");
        progress.note(&ended(Outcome::Delivered, Some(200), 1));
        assert_eq!(waited(1), Waited::Settled);
        progress.note(&Note::Poisoned(SourceId(0)));
        assert_eq!(waited(2), Waited::Overdue, "its dead letter is not confirmed");
        progress.note(&Note::EventDeadLettered { event: event(), reason: DeadLetterReason::Poisoned });
        assert_eq!(waited(2), Waited::Settled);
        assert_eq!(waited(3), Waited::Overdue, "one was not read yet");
    }
}
