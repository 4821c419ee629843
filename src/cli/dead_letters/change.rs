use std::collections::BTreeMap;
use std::io::{self, IsTerminal, Write};
use std::ops::ControlFlow;

use serde_json::json;

use super::Reading;
use super::listing::age;
use crate::cli::arguments::{Change, Format};
use crate::cli::{Exit, answer, complain};
use crate::domain::Moment;
use crate::plan::Plan;
use crate::store::{Archive, DeadLetterRecord, Depth, LetterFault, LetterPosition, LetterValue, Redrive};

/// At most so many letters, or about so many bytes of them, are sent and confirmed together.
const BATCH: usize = 256;
const BATCH_BYTES: usize = 8 << 20;
/// So many of those that could not be helped are named.
const NAMED: usize = 20;

/// What is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    Redrive,
    Purge,
}

impl Action {
    fn infinitive(self) -> &'static str {
        match self {
            Action::Redrive => "redrive",
            Action::Purge => "purge",
        }
    }

    fn done(self) -> &'static str {
        match self {
            Action::Redrive => "redriven",
            Action::Purge => "purged",
        }
    }
}

/// Counts what is meant, asks, and does it.
pub(super) fn change(
    plan: &Plan,
    archives: &[Archive<'_>],
    action: Action,
    order: &Change,
    format: Format,
) -> Exit {
    let now_ms = Moment::now().wall_ms;
    let reading = Reading {
        doing: "counting",
        selection: &order.selection,
        positions: &order.positions,
        all: false,
        depth: Depth::Headers,
        now_ms,
    };
    let mut census = Census::default();
    let counted = reading.each(archives, |_, letter, _| {
        census.add(&letter, now_ms);
        ControlFlow::Continue(())
    });
    if let Err(exit) = counted {
        return exit;
    }
    if order.dry_run || census.total == 0 {
        return answer(&match format {
            Format::Text => format!("{}\n", census.in_words()),
            Format::Json => format!("{}\n", census.document(action, &Tally::default(), order.dry_run)),
        });
    }
    complain(&census.in_words());
    if action == Action::Redrive {
        warn_of_targets(plan, &census);
    }
    if let Err(exit) = consent(action, order, census.total) {
        return exit;
    }
    let depth = if action == Action::Redrive { Depth::Whole } else { Depth::Headers };
    let reading = Reading { doing: action.done(), depth, ..reading };
    let mut work =
        Work { plan, archives, action, now_ms, at: 0, batch: Batch::default(), tally: Tally::default() };
    let read = reading.each(archives, |index, letter, _| work.add(index, &letter));
    work.flush();
    finish(action, &census, &work.tally, read, format)
}

fn finish(action: Action, census: &Census, tally: &Tally, read: Result<(), Exit>, format: Format) -> Exit {
    let written = answer(&match format {
        Format::Text => format!("{} {} of {} dead letters\n", action.done(), tally.done, census.total),
        Format::Json => format!("{}\n", census.document(action, tally, false)),
    });
    for (position, why) in &tally.named {
        complain(&format!("{position}: {why}"));
    }
    if tally.failed > tally.named.len() as u64 {
        complain(&format!("and {} more", tally.failed - tally.named.len() as u64));
    }
    if let Some(why) = &tally.stopped {
        complain(&format!("it was not gone on with: {why}"));
    }
    match read {
        Err(exit) => exit,
        Ok(()) if tally.failed > 0 => Exit::Failed,
        Ok(()) => written,
    }
}

/// A person's word for it.
fn consent(action: Action, order: &Change, total: u64) -> Result<(), Exit> {
    if order.yes {
        return Ok(());
    }
    let verb = action.infinitive();
    if !(io::stdin().is_terminal() && io::stderr().is_terminal()) {
        complain(&format!(
            "nothing was {}: there is no terminal to ask on; say --yes to {verb} them, or --dry-run to count only",
            action.done()
        ));
        return Err(Exit::BadInput);
    }
    // There is nowhere to report that the terminal is gone; then no answer comes either.
    let _ = write!(io::stderr(), "{verb} these {total} dead letters? [y/N] ");
    let mut line = String::new();
    let read = io::stdin().read_line(&mut line);
    if read.is_ok() && matches!(line.trim(), "y" | "Y" | "yes") {
        return Ok(());
    }
    complain(&format!("nothing was {}", action.done()));
    Err(Exit::Done)
}

/// Letters for a target that does not take them now come back, or wait.
fn warn_of_targets(plan: &Plan, census: &Census) {
    for name in census.targets.keys().flatten() {
        match plan.targets.iter().find(|target| *target.name == **name) {
            None => complain(&format!(
                "warning: there is no target {name} in this configuration: unless the running replicas have one, its letters will \
                 be dead letters again a day after their first failure"
            )),
            Some(target) if !target.enabled => {
                complain(&format!(
                    "warning: the target {name} is switched off; its letters will be dead letters again"
                ));
            }
            Some(_) => {}
        }
    }
}

/// What is meant, counted.
#[derive(Debug, Default)]
struct Census {
    total: u64,
    targets: BTreeMap<Option<Box<str>>, u64>,
    reasons: BTreeMap<Box<str>, u64>,
    /// Those that have no value any more.
    omitted: u64,
    oldest_ms: i64,
}

impl Census {
    fn add(&mut self, letter: &DeadLetterRecord, now_ms: i64) {
        self.total += 1;
        *self.targets.entry(letter.target.clone()).or_default() += 1;
        *self.reasons.entry(letter.reason.clone()).or_default() += 1;
        self.omitted += u64::from(letter.value == LetterValue::Omitted);
        self.oldest_ms = self.oldest_ms.max(now_ms.saturating_sub(letter.written_ms));
    }

    fn in_words(&self) -> String {
        let plural = |count: u64, one: &str| format!("{count} {one}{}", if count == 1 { "" } else { "s" });
        if self.total == 0 {
            return "no dead letters".to_owned();
        }
        let list = |counts: &mut dyn Iterator<Item = (&str, u64)>| {
            // The most first; names keep their order among equals.
            let mut counts: Vec<_> = counts.collect();
            counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
            counts.iter().map(|(name, count)| format!("{name} {count}")).collect::<Vec<_>>().join(", ")
        };
        let named = self.targets.iter().filter(|(name, _)| name.is_some()).count() as u64;
        let of = if named == 0 { String::new() } else { format!(" of {}", plural(named, "target")) };
        let targets = list(&mut self.targets.iter().map(|(name, count)| (shown(name.as_deref()), *count)));
        let reasons = list(&mut self.reasons.iter().map(|(name, count)| (&**name, *count)));
        let omitted = match self.omitted {
            0 => String::new(),
            count => format!("; without their value, which was too large: {count}"),
        };
        let letters = plural(self.total, "dead letter");
        super::listing::plain(&format!(
            "{letters}{of}: {targets}; reasons: {reasons}; the oldest is {} old{omitted}",
            age(self.oldest_ms)
        ))
    }

    fn document(&self, action: Action, tally: &Tally, dry_run: bool) -> serde_json::Value {
        let targets: BTreeMap<&str, u64> =
            self.targets.iter().map(|(name, count)| (name.as_deref().unwrap_or_default(), *count)).collect();
        let failed: Vec<_> = (tally.named.iter())
            .map(|(position, why)| json!({ "position": position.to_string(), "why": why }))
            .collect();
        json!({
            "dead_letters": self.total,
            "targets": targets,
            "reasons": self.reasons,
            "dry_run": dry_run,
            action.done(): tally.done,
            "failed": tally.failed,
            "failures": failed,
        })
    }
}

/// An event's own dead letter has no target.
fn shown(target: Option<&str>) -> &str {
    target.unwrap_or("(events)")
}

/// What came of it.
#[derive(Debug, Default)]
struct Tally {
    done: u64,
    failed: u64,
    /// The first of those that failed.
    named: Vec<(LetterPosition, String)>,
    /// Why the rest was left alone.
    stopped: Option<String>,
}

impl Tally {
    fn fail(&mut self, position: &LetterPosition, why: String) {
        self.failed += 1;
        if self.named.len() < NAMED {
            self.named.push((position.clone(), why));
        }
    }

    fn count(&mut self, position: &LetterPosition, result: Result<(), LetterFault>) {
        match result {
            Ok(()) => self.done += 1,
            Err(fault) => {
                if let LetterFault::Unconfirmed(why) | LetterFault::Unnoted(why) = &fault {
                    self.stopped.get_or_insert_with(|| why.clone());
                }
                self.fail(position, fault.to_string());
            }
        }
    }
}

/// Letters that are sent and confirmed together.
#[derive(Default)]
struct Batch {
    redrives: Vec<Redrive>,
    purges: Vec<(LetterPosition, i64)>,
    bytes: usize,
}

/// The doing of it.
struct Work<'a, 'p> {
    plan: &'a Plan,
    archives: &'a [Archive<'p>],
    action: Action,
    now_ms: i64,
    /// The archive that the batch belongs to.
    at: usize,
    batch: Batch,
    tally: Tally,
}

impl Work<'_, '_> {
    fn add(&mut self, index: usize, letter: &DeadLetterRecord) -> ControlFlow<()> {
        if index != self.at {
            self.flush();
            self.at = index;
        }
        match self.action {
            Action::Purge => self.batch.purges.push((letter.position.clone(), letter.written_ms)),
            Action::Redrive => match letter.redrive(self.now_ms, self.priority(letter)) {
                Ok(redrive) => {
                    self.batch.bytes += redrive.value.as_ref().map_or(0, |value| value.len());
                    self.batch.redrives.push(redrive);
                }
                Err(why) => self.tally.fail(&letter.position, why),
            },
        }
        let full = self.batch.redrives.len() + self.batch.purges.len() >= BATCH;
        if full || self.batch.bytes >= BATCH_BYTES {
            self.flush();
        }
        // A broker that fails is not tried with thousands more.
        if self.tally.stopped.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    /// The highest one of its routes that are still there.
    fn priority(&self, letter: &DeadLetterRecord) -> i16 {
        let named = |name: &str| letter.routes.iter().any(|route| **route == *name);
        let routes = self.plan.routes.iter().filter(|route| named(&route.name));
        routes.map(|route| route.priority).max().unwrap_or(0)
    }

    fn flush(&mut self) {
        let Batch { redrives, purges, .. } = std::mem::take(&mut self.batch);
        let Some(archive) = self.archives.get(self.at) else { return };
        if !redrives.is_empty() {
            for (letter, result) in redrives.iter().zip(archive.redrive(&redrives)) {
                self.tally.count(&letter.position, result);
            }
        }
        if !purges.is_empty() {
            for ((position, _), result) in purges.iter().zip(archive.purge(&purges)) {
                self.tally.count(position, result);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::dead_letters::listing::tests::letter;

    #[test]
    fn what_is_meant_is_counted_by_target_and_reason() {
        let mut census = Census::default();
        assert_eq!(census.in_words(), "no dead letters");
        let of = |target: Option<&str>, reason: &str| DeadLetterRecord {
            target: target.map(Into::into),
            reason: reason.into(),
            ..letter()
        };
        census.add(&of(Some("crm"), "exhausted"), 70_000);
        assert_eq!(
            census.in_words(),
            "1 dead letter of 1 target: crm 1; reasons: exhausted 1; the oldest is 60s old"
        );
        census.add(&of(Some("chat"), "rejected"), 70_000);
        census.add(&of(Some("crm"), "rejected"), 70_000);
        census.add(&DeadLetterRecord { value: LetterValue::Omitted, ..of(None, "oversized") }, 70_000);
        assert_eq!(
            census.in_words(),
            "4 dead letters of 2 targets: crm 2, (events) 1, chat 1; reasons: rejected 2, exhausted 1, oversized 1; \
             the oldest is 60s old; without their value, which was too large: 1"
        );
        let document = census.document(Action::Purge, &Tally::default(), true);
        assert_eq!((&document["dead_letters"], &document["targets"]["crm"]), (&json!(4), &json!(2)));
        assert_eq!((&document["purged"], &document["dry_run"]), (&json!(0), &json!(true)));
    }

    #[test]
    fn a_broker_that_fails_ends_it_and_a_letter_that_is_too_large_does_not() {
        let mut tally = Tally::default();
        tally.count(&letter().position, Ok(()));
        tally.count(&letter().position, Err(LetterFault::TooLarge));
        assert_eq!((tally.done, tally.failed, &tally.stopped), (1, 1, &None));
        tally.count(&letter().position, Err(LetterFault::Unconfirmed("gone".to_owned())));
        assert_eq!((tally.failed, tally.stopped.as_deref()), (2, Some("gone")));
    }
}
