use std::collections::VecDeque;
use std::fmt::{self, Write};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

/// A line is not written again for so long.
const QUIET: Duration = Duration::from_secs(5);
/// So many lines are known again.
const KNOWN: usize = 64;

/// Keeps back a line that says the same as one just before: the consumers and stores of a source are
/// clients of one broker, and all of them meet the same trouble. Below `info` everything is written.
#[derive(Debug)]
pub(super) struct Echo<L> {
    /// Writes lines.
    layer: L,
    lines: Mutex<Lines>,
}

/// What was written lately.
#[derive(Debug, Default)]
struct Lines(VecDeque<Line>);

#[derive(Debug, Clone, Copy)]
struct Line {
    print: u64,
    /// Whether it tells of a trouble: a warning or an error.
    is_trouble: bool,
    at: Instant,
}

impl Lines {
    /// Whether this was not written lately. Then it is now.
    fn is_news(&mut self, line: Line) -> bool {
        while self
            .0
            .front()
            .is_some_and(|old| line.at.duration_since(old.at) >= QUIET || self.0.len() > KNOWN)
        {
            self.0.pop_front();
        }
        let is_news = self.0.iter().all(|known| known.print != line.print);
        if is_news {
            // What is well again may be in trouble again, and the last word has to be true.
            self.0.retain(|known| known.is_trouble == line.is_trouble);
            self.0.push_back(line);
        }
        is_news
    }
}

impl<L> Echo<L> {
    pub(super) fn new(layer: L) -> Echo<L> {
        Echo { layer, lines: Mutex::default() }
    }

    fn is_news(&self, event: &Event<'_>) -> bool {
        let (level, target) = (*event.metadata().level(), event.metadata().target());
        // Whoever asks for a reload is to see an answer, each time.
        if level > Level::INFO || target.starts_with("hookferry::reload") {
            return true;
        }
        let mut text = Text::default();
        event.record(&mut text);
        let mut print = DefaultHasher::new();
        (level.as_str(), text.0).hash(&mut print);
        let line = Line { print: print.finish(), is_trouble: level < Level::INFO, at: Instant::now() };
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).is_news(line)
    }
}

/// Not a filter: one that judges events and not their call sites confuses the registry's count of what is enabled.
impl<S: Subscriber, L: Layer<S>> Layer<S> for Echo<L> {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        self.layer.on_new_span(attributes, id, context);
    }

    fn on_record(&self, span: &Id, values: &Record<'_>, context: Context<'_, S>) {
        self.layer.on_record(span, values, context);
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        if self.is_news(event) {
            self.layer.on_event(event, context);
        }
    }
}

#[derive(Default)]
struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing to a String does not fail.
        let _ = write!(self.0, "{}={value:?};", field.name());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trouble(print: u64, at: Instant) -> Line {
        Line { print, is_trouble: true, at }
    }

    #[test]
    fn the_same_line_is_written_once_in_a_while() {
        let (mut lines, start) = (Lines::default(), Instant::now());
        let after = |seconds| start + Duration::from_secs(seconds);
        assert!(lines.is_news(trouble(1, start)));
        assert!(!lines.is_news(trouble(1, after(1))));
        assert!(lines.is_news(trouble(2, after(1))), "another one");
        assert!(lines.is_news(trouble(1, after(5))), "it lasts, or comes again");
        assert!(!lines.is_news(trouble(2, after(5))));
    }

    #[test]
    fn a_trouble_that_was_over_is_written_when_it_comes_again() {
        let (mut lines, now) = (Lines::default(), Instant::now());
        let well = Line { print: 2, is_trouble: false, at: now };
        assert!(lines.is_news(trouble(1, now)) && lines.is_news(well));
        assert!(lines.is_news(trouble(1, now)), "the last word is true");
        assert!(lines.is_news(well));
    }
}
