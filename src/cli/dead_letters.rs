use std::ops::ControlFlow;

use super::arguments::{DeadLetters, Format, Selection};
use super::publish::chosen_source;
use super::{Exit, complain};
use crate::domain::Moment;
use crate::plan::Plan;
use crate::store::{Archive, DeadLetterRecord, Depth, Found, LetterPosition, LetterState, Span, keepers};
use progress::Progress;

mod change;
mod listing;
mod pretty;
mod progress;
mod selection;
mod showing;

/// Lists, shows, redrives or purges dead letters.
pub(super) fn carry_out(plan: &Plan, command: &DeadLetters, format: Format) -> Exit {
    match command {
        DeadLetters::List { selection, all } => {
            with_archives(plan, &selection.sources, |archives| list(archives, selection, *all, format))
        }
        DeadLetters::Show { position, event_id } => with_archives(plan, &[], |archives| {
            show(archives, position.as_ref(), event_id.as_deref(), format)
        }),
        DeadLetters::Redrive(order) => with_archives(plan, &order.selection.sources, |archives| {
            change::change(plan, archives, change::Action::Redrive, order, format)
        }),
        DeadLetters::Purge(order) => with_archives(plan, &order.selection.sources, |archives| {
            change::change(plan, archives, change::Action::Purge, order, format)
        }),
    }
}

/// Opens the dead letters of these sources, or of all.
fn with_archives(plan: &Plan, sources: &[String], command: impl FnOnce(&[Archive<'_>]) -> Exit) -> Exit {
    for name in sources {
        if let Err(fault) = chosen_source(plan, Some(name)) {
            complain(&fault);
            return Exit::BadInput;
        }
    }
    let mut archives = Vec::new();
    for keeper in keepers(plan, sources) {
        match Archive::open(plan, keeper) {
            Ok(archive) => archives.push(archive),
            Err(fault) => {
                let name = plan.sources.get(usize::from(keeper.0)).map_or("", |source| &source.name);
                complain(&format!("sources.{name}: {fault}"));
                return Exit::Failed;
            }
        }
    }
    command(&archives)
}

/// What is read of the archives.
struct Reading<'a> {
    /// What it is for, for the progress.
    doing: &'static str,
    selection: &'a Selection,
    /// Only those that stand here, if any are named.
    positions: &'a [LetterPosition],
    /// Also what is done with.
    all: bool,
    depth: Depth,
    /// Ages are reckoned to this time.
    now_ms: i64,
}

impl Reading<'_> {
    /// Hands every letter that is meant to `visit`, with the number of its archive, until that has seen enough.
    /// What is not hookferry's is named in a warning.
    fn each(
        &self,
        archives: &[Archive<'_>],
        mut visit: impl FnMut(usize, Box<DeadLetterRecord>, &mut Progress) -> ControlFlow<()>,
    ) -> Result<(), Exit> {
        let mut left = self.selection.limit.unwrap_or(u64::MAX);
        if left == 0 {
            return Ok(());
        }
        let mut foreign: Option<(LetterPosition, u64)> = None;
        for (index, archive) in archives.iter().enumerate() {
            let mut progress = Progress::new(self.doing, archive.size());
            let mut stopped = false;
            let mut take = |found: Found| {
                if stopped {
                    return ControlFlow::Break(());
                }
                progress.step();
                let letter = match found {
                    Found::Letter(letter) => letter,
                    Found::Foreign(position) => {
                        foreign.get_or_insert((position, 0)).1 += 1;
                        return ControlFlow::Continue(());
                    }
                };
                let done_with = letter.state != LetterState::Pending && !self.all;
                if done_with || !self.selection.takes(&letter, self.now_ms) {
                    return ControlFlow::Continue(());
                }
                left -= 1;
                let flow = visit(index, letter, &mut progress);
                stopped |= flow.is_break() || left == 0;
                if stopped { ControlFlow::Break(()) } else { flow }
            };
            let mut read = |span| archive.read(span, self.depth, &mut take);
            let result = match self.positions {
                [] => read(Span::All(self.selection.only_target())),
                positions => {
                    // One that is named twice is meant once.
                    let named = positions.iter().enumerate();
                    let mut once = named.filter(|(index, own)| !positions[..*index].contains(own));
                    once.try_for_each(|(_, position)| read(Span::One(position)))
                }
            };
            progress.clear();
            if let Err(fault) = result {
                complain(&format!("sources.{}: {fault}", archive.keeper()));
                return Err(Exit::Failed);
            }
            if stopped {
                break;
            }
        }
        if let Some((position, count)) = foreign {
            complain(&format!(
                "warning: {count} records were not written by hookferry, the first at {position}; they are left alone"
            ));
        }
        Ok(())
    }
}

fn list(archives: &[Archive<'_>], selection: &Selection, all: bool, format: Format) -> Exit {
    let now_ms = Moment::now().wall_ms;
    let reading = Reading { doing: "reading", selection, positions: &[], all, depth: Depth::Headers, now_ms };
    let mut listing = listing::Listing::new(format, now_ms);
    let read = reading.each(archives, |_, letter, progress| {
        progress.clear();
        listing.add(&letter)
    });
    match (read, listing.end()) {
        (Err(exit), _) => exit,
        (Ok(()), exit) => exit,
    }
}

fn show(
    archives: &[Archive<'_>],
    position: Option<&LetterPosition>,
    event_id: Option<&str>,
    format: Format,
) -> Exit {
    let now_ms = Moment::now().wall_ms;
    let selection = Selection::everything();
    let positions = position.map(std::slice::from_ref).unwrap_or_default();
    let reading = Reading {
        doing: "looking",
        selection: &selection,
        positions,
        all: true,
        depth: Depth::Whole,
        now_ms,
    };
    let mut shown = 0_u64;
    let mut exit = Exit::Done;
    let read = reading.each(archives, |_, letter, progress| {
        if event_id.is_some_and(|id| *letter.event_id != *id) {
            return ControlFlow::Continue(());
        }
        progress.clear();
        shown += 1;
        exit = showing::show(&letter, now_ms, format);
        ControlFlow::Continue(())
    });
    if let Err(exit) = read {
        return exit;
    }
    if shown == 0 {
        match (position, event_id) {
            (Some(position), _) => complain(&format!("there is no dead letter at {position}")),
            (None, id) => {
                complain(&format!("there is no dead letter of the event {}", id.unwrap_or_default()))
            }
        }
        return Exit::Failed;
    }
    exit
}
