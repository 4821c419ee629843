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

/// What was written lately, by its print.
#[derive(Debug, Default)]
struct Lines(VecDeque<(u64, Instant)>);

impl Lines {
    /// Whether this was not written lately. Then it is now.
    fn is_news(&mut self, line: u64, now: Instant) -> bool {
        while self.0.front().is_some_and(|(_, at)| now.duration_since(*at) >= QUIET || self.0.len() > KNOWN) {
            self.0.pop_front();
        }
        let is_news = self.0.iter().all(|(known, _)| *known != line);
        if is_news {
            self.0.push_back((line, now));
        }
        is_news
    }
}

impl<L> Echo<L> {
    pub(super) fn new(layer: L) -> Echo<L> {
        Echo { layer, lines: Mutex::default() }
    }

    fn is_news(&self, event: &Event<'_>) -> bool {
        if *event.metadata().level() > Level::INFO {
            return true;
        }
        let mut text = Text::default();
        event.record(&mut text);
        let mut print = DefaultHasher::new();
        (event.metadata().level().as_str(), text.0).hash(&mut print);
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines.is_news(print.finish(), Instant::now())
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

    #[test]
    fn the_same_line_is_written_once_in_a_while() {
        let (mut lines, start) = (Lines::default(), Instant::now());
        let after = |seconds| start + Duration::from_secs(seconds);
        assert!(lines.is_news(1, start));
        assert!(!lines.is_news(1, after(1)));
        assert!(lines.is_news(2, after(1)), "another one");
        assert!(lines.is_news(1, after(5)), "it lasts, or comes again");
        assert!(!lines.is_news(2, after(5)));
    }
}
