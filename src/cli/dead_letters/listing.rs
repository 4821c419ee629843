use std::io::{self, BufWriter, StdoutLock, Write};
use std::ops::ControlFlow;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::cli::arguments::Format;
use crate::cli::{Exit, complain};
use crate::store::{DeadLetterRecord, LetterState, LetterValue};

/// Dead letters as they are listed: written as they come, since there may be very many.
pub(super) struct Listing {
    out: BufWriter<StdoutLock<'static>>,
    format: Format,
    now_ms: i64,
    count: u64,
    fault: Option<io::Error>,
}

impl Listing {
    pub(super) fn new(format: Format, now_ms: i64) -> Listing {
        Listing { out: BufWriter::new(io::stdout().lock()), format, now_ms, count: 0, fault: None }
    }

    /// Writes one; `Break` if nobody reads any more.
    pub(super) fn add(&mut self, letter: &DeadLetterRecord) -> ControlFlow<()> {
        let first = self.count == 0;
        self.count += 1;
        let written = match self.format {
            Format::Text if first => writeln!(self.out, "{}\n{}", head(), row(letter, self.now_ms)),
            Format::Text => writeln!(self.out, "{}", row(letter, self.now_ms)),
            Format::Json => {
                write!(self.out, "{}\n{}", if first { "[" } else { "," }, Value::Object(summary(letter)))
            }
        };
        match written {
            Ok(()) => ControlFlow::Continue(()),
            Err(fault) => {
                self.fault = Some(fault);
                ControlFlow::Break(())
            }
        }
    }

    /// Ends the list.
    pub(super) fn end(mut self) -> Exit {
        let written = match (self.fault.take(), self.format, self.count) {
            (Some(fault), ..) => Err(fault),
            (None, Format::Json, 0) => writeln!(self.out, "[]"),
            (None, Format::Json, _) => writeln!(self.out, "\n]"),
            (None, Format::Text, 0) => writeln!(self.out, "no dead letters"),
            (None, Format::Text, _) => Ok(()),
        };
        match written.and_then(|()| self.out.flush()) {
            Ok(()) => Exit::Done,
            Err(fault) if fault.kind() == io::ErrorKind::BrokenPipe => Exit::Done,
            Err(fault) => {
                complain(&format!("can't write to standard output: {fault}"));
                Exit::Failed
            }
        }
    }
}

fn columns(parts: [&str; 8]) -> String {
    let [position, age, target, reason, attempts, last, event_type, event_id] = parts;
    format!(
        "{position:<28} {age:>6}  {target:<14} {reason:<15} {attempts:>8}  {last:<8} {event_type:<24} {event_id}"
    )
}

fn head() -> String {
    columns(["POSITION", "AGE", "TARGET", "REASON", "ATTEMPTS", "LAST", "TYPE", "EVENT"])
}

fn row(letter: &DeadLetterRecord, now_ms: i64) -> String {
    let failure = letter.failure.as_ref();
    let status = failure.and_then(|failure| failure.last_status).map(|status| status.to_string());
    let last = failure.and_then(|failure| failure.history.last()).map(|failed| &*failed.result);
    let reason = match letter.state {
        LetterState::Pending => letter.reason.to_string(),
        state => format!("({})", state.as_str()),
    };
    plain(&columns([
        &letter.position.to_string(),
        &age(now_ms.saturating_sub(letter.written_ms)),
        letter.target.as_deref().unwrap_or("-"),
        &reason,
        &letter.attempts.to_string(),
        status.as_deref().or(last).unwrap_or("-"),
        letter.event_type.as_deref().unwrap_or("-"),
        &letter.event_id,
    ]))
}

/// What is known of a letter, without its message.
pub(super) fn summary(letter: &DeadLetterRecord) -> Map<String, Value> {
    let failure = letter.failure.as_ref();
    let members = [
        ("position", json!(letter.position.to_string())),
        ("state", json!(letter.state.as_str())),
        ("written", json!(time(letter.written_ms))),
        ("source", json!(letter.source)),
        ("event_id", json!(letter.event_id)),
        ("event_type", json!(letter.event_type)),
        ("target", json!(letter.target)),
        ("routes", json!(letter.routes)),
        ("reason", json!(letter.reason)),
        ("attempts", json!(letter.attempts)),
        ("first_failure", json!(failure.map(|failure| time(failure.first_ms)))),
        ("last_failure", json!(failure.map(|failure| time(failure.last_ms)))),
        ("last_status", json!(failure.and_then(|failure| failure.last_status))),
        ("last_error", json!(letter.last_error)),
        ("origin", json!(letter.origin)),
        ("subject", json!(letter.subject)),
        ("stored", json!(letter.stored_ms.map(time))),
        ("value_omitted", json!(letter.value == LetterValue::Omitted)),
    ];
    members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// A time as people and programs read it.
pub(super) fn time(unix_ms: i64) -> String {
    Timestamp::from_millisecond(unix_ms).map_or_else(|_| unix_ms.to_string(), |time| time.to_string())
}

/// A time span in its largest unit.
pub(super) fn age(ms: i64) -> String {
    let seconds = ms.max(0) / 1000;
    match seconds {
        0..=119 => format!("{seconds}s"),
        120..=7_199 => format!("{}m", seconds / 60),
        7_200..=172_799 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// Text from outside, without what a terminal would obey.
pub(super) fn plain(text: &str) -> String {
    text.replace(|letter: char| letter.is_control() && letter != '\n' && letter != '\t', "\u{FFFD}")
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::domain::{Failed, Failure};

    pub(in crate::cli::dead_letters) fn letter() -> DeadLetterRecord {
        DeadLetterRecord {
            position: "x.dlq/0/17".parse().expect("a position"),
            written_ms: 10_000,
            state: LetterState::Pending,
            source: Some("orders".into()),
            event_id: "e-1".into(),
            event_type: Some("test.made".into()),
            target: Some("crm".into()),
            routes: vec!["billing".into()],
            more_routes: false,
            reason: "exhausted".into(),
            attempts: 8,
            failure: Some(Failure {
                first_ms: 1_000,
                last_ms: 9_000,
                last_status: None,
                last_error: Some("no answer within 10s".into()),
                history: vec![Failed { at_ms: 9_000, result: "timeout".into() }],
            }),
            last_error: Some("no answer within 10s".into()),
            origin: "kafka:events/1/7".into(),
            namespace: "c".into(),
            subject: None,
            stored_ms: Some(500),
            key: Some("k".into()),
            headers: vec![("trace".into(), "t".into())],
            headers_kept: None,
            value: LetterValue::Kept("{\"a\":1.50}".into()),
        }
    }

    #[test]
    fn a_row_says_what_happened_last() {
        let words: Vec<String> = row(&letter(), 3_610_000).split_whitespace().map(str::to_owned).collect();
        assert_eq!(words, ["x.dlq/0/17", "60m", "crm", "exhausted", "8", "timeout", "test.made", "e-1"]);
        let done = DeadLetterRecord { state: LetterState::Redriven, target: None, ..letter() };
        let row = row(&done, 10_000);
        assert!(row.contains(" - ") && row.contains("(redriven)"), "{row}");
    }

    #[test]
    fn a_terminal_obeys_nothing_that_events_say() {
        let evil = DeadLetterRecord { event_type: Some("a\x1b[2J\u{9b}b".into()), ..letter() };
        assert!(!row(&evil, 0).contains(char::is_control));
    }

    #[test]
    fn ages_are_told_in_their_largest_unit() {
        let told = [-5, 119_999, 120_000, 7_200_000, 172_800_000].map(age);
        assert_eq!(told, ["0s", "119s", "2m", "2h", "2d"]);
    }
}
