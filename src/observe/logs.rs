use std::fmt;
use std::sync::OnceLock;
use std::time::Duration;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry, reload};

use super::echo::Echo;
use super::journal::Trouble;
use crate::domain::{DiscardReason, Event, Outcome, Reply, RouteId, SourceId, TargetId, TargetState};
use crate::engine::Note;
use crate::plan::{Log, LogFormat, LogLevel, Plan};

/// Starts logging to standard error, once in a process; a second call changes nothing.
///
/// `text` is for people, `json` is one object a line. Libraries are heard from their warnings on,
/// and in full at `trace`; librdkafka (target `librdkafka`) speaks at the configured level. Not the
/// resolver: it names hosts, which may be secret, and what fails there is told by its attempts.
pub fn init(log: &Log) {
    let lines = match log.format {
        LogFormat::Text => tracing_subscriber::fmt::layer()
            .with_writer(std::io::stderr)
            .with_target(false)
            .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
            .boxed(),
        LogFormat::Json => json_lines(std::io::stderr),
    };
    let (filter, level) = reload::Layer::new(filter(log.level));
    // Logging that is set up already (by a test, or a program that embeds this) stays as it is.
    if tracing_subscriber::registry().with(Echo::new(lines).with_filter(filter)).try_init().is_ok() {
        let _ = LEVEL.set(level);
    }
}

/// Lets another level be written from now on.
pub fn set_level(level: LogLevel) {
    if let Some(filters) = LEVEL.get() {
        // It can't be gone while the process runs.
        let _ = filters.reload(filter(level));
    }
}

/// What is written, once logging was set up here.
static LEVEL: OnceLock<reload::Handle<Targets, Registry>> = OnceLock::new();

/// One object a line. Its only `target` is a delivery's: the module that tracing calls so is left
/// out, because a reader keeps one of two members with the same name.
fn json_lines<W>(writer: W) -> Box<dyn Layer<Registry> + Send + Sync>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let lines = tracing_subscriber::fmt::layer().with_writer(writer).with_target(false);
    lines.json().flatten_event(true).with_current_span(false).with_span_list(false).boxed()
}

fn filter(level: LogLevel) -> Targets {
    let (ours, libraries) = match level {
        LogLevel::Error => (LevelFilter::ERROR, LevelFilter::ERROR),
        LogLevel::Warn => (LevelFilter::WARN, LevelFilter::WARN),
        LogLevel::Info => (LevelFilter::INFO, LevelFilter::WARN),
        LogLevel::Debug => (LevelFilter::DEBUG, LevelFilter::WARN),
        LogLevel::Trace => (LevelFilter::TRACE, LevelFilter::TRACE),
    };
    Targets::new()
        .with_default(libraries)
        .with_target("hookferry", ours)
        .with_target("librdkafka", ours)
        .with_target("hickory_", LevelFilter::OFF)
}

/// Writes a delivery's line at debug: event id, route, target, attempts and what came of it. Dead
/// letters are warnings, because somebody has to look at them.
pub(super) fn log_note(plan: &Plan, note: &Note) {
    match note {
        Note::Ended { target, route, outcome, event, attempts, status, error } => {
            let target = target_name(plan, *target);
            let route = route_name(plan, *route);
            let (event, status) = (&*event.id, Status(*status));
            // Without a value the field is left out.
            let error = error.as_deref();
            match outcome {
                Outcome::Delivered => {
                    tracing::debug!(event, route, target, attempts, %status, "delivered");
                }
                Outcome::DeadLettered(reason) => {
                    tracing::warn!(event, route, target, attempts, %status, %reason, error, "dead-lettered; mend what the reason says, then `hookferry dead-letters redrive`");
                }
                Outcome::Discarded(DiscardReason::OnExhausted(reason)) => {
                    tracing::warn!(event, route, target, attempts, %status, %reason, error, "discarded, as `on_exhausted: discard` says; mend the receiver");
                }
            }
        }
        Note::Stands { target, standing } => {
            let (target, state) = (target_name(plan, *target), standing.state.as_str());
            let reason = standing.reason.as_deref();
            match standing.state {
                TargetState::Open { .. } => tracing::warn!(
                    target,
                    state,
                    reason,
                    "the target does not answer; what waits is kept, and one delivery is tried now and then. Check the receiver"
                ),
                TargetState::Disabled => tracing::error!(
                    target,
                    state,
                    reason,
                    "the target is switched off, and its deliveries go to the dead letters; mend the receiver, then reload"
                ),
                TargetState::Active => tracing::info!(target, state, "the target answers again"),
                TargetState::Paused { .. } | TargetState::Probing => {
                    tracing::debug!(target, state, reason, "the target's state has changed");
                }
            }
        }
        Note::Moved { target, tier } => {
            tracing::debug!(target = target_name(plan, *target), %tier, "moved to a retry tier");
        }
        Note::Retrying { target, route, event, attempts, reply, wait_ms, .. } => {
            tracing::debug!(
                event = &*event.id,
                route = route_name(plan, *route),
                target = target_name(plan, *target),
                attempts,
                reply = %Answer(reply),
                wait_ms,
                "waits for its next attempt"
            );
        }
        Note::EventDeadLettered { event, reason } => log_event_dead_lettered(plan, event, reason.as_str()),
        Note::Released { target, route, event, reason } => {
            tracing::debug!(
                event = &*event.id,
                route = route_name(plan, *route),
                target = target_name(plan, *target),
                reason = reason.as_str(),
                "released"
            );
        }
        Note::Misfit { event, why } => tracing::warn!(
            event = &*event.id,
            source = source_name(plan, event.source),
            r#type = event.event_type.as_deref(),
            why = &**why,
            "an event fits no declared type; it is routed as any other. Declare it in `event_types`, or mend its producer"
        ),
        Note::Resumed { .. }
        | Note::RateLimited(_)
        | Note::Routed(_)
        | Note::Unrouted(_)
        | Note::Tombstone(_)
        | Note::Poisoned(_)
        | Note::Opened(_) => {}
    }
}

/// Writes how often a trouble came again.
pub(super) fn log_repeated(plan: &Plan, trouble: Trouble, more: u64, within: Duration) {
    let seconds = within.as_secs();
    match trouble {
        Trouble::DeadLettered(target, reason) => {
            let target = target_name(plan, target);
            tracing::warn!(target, %reason, more, seconds, "and more were dead-lettered");
        }
        Trouble::Discarded(target) => {
            let target = target_name(plan, target);
            tracing::warn!(target, more, seconds, "and more were discarded");
        }
        Trouble::EventDeadLettered(source, reason) => {
            let source = source_name(plan, source);
            tracing::warn!(source, %reason, more, seconds, "and more events were dead-lettered");
        }
    }
}

fn log_event_dead_lettered(plan: &Plan, event: &Event, reason: &str) {
    tracing::warn!(
        event = &*event.id,
        source = source_name(plan, event.source),
        origin = %event.origin,
        reason,
        "event dead-lettered; `hookferry dead-letters show` has it"
    );
}

fn target_name(plan: &Plan, target: TargetId) -> &str {
    plan.targets.get(target.0 as usize).map_or("?", |target| &target.name)
}

fn route_name(plan: &Plan, route: RouteId) -> &str {
    plan.routes.get(route.0 as usize).map_or("?", |route| &route.name)
}

fn source_name(plan: &Plan, source: SourceId) -> &str {
    plan.sources.get(usize::from(source.0)).map_or("?", |source| &source.name)
}

/// A status for people: `-` where the receiver did not answer.
struct Status(Option<u16>);

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(status) => write!(f, "{status}"),
            None => f.write_str("-"),
        }
    }
}

/// What came back, for people. Details of a [`Reply`] hold neither URL nor secret.
struct Answer<'a>(&'a Reply);

impl fmt::Display for Answer<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Reply::Status { status, .. } => write!(f, "{status}"),
            Reply::Fault { fault, detail } => write!(f, "{}: {detail}", fault.as_str()),
            Reply::Unrenderable(reason) => write!(f, "can't be rendered: {reason}"),
            Reply::Withheld => f.write_str("withheld"),
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::sync::{Arc, Mutex};

    use tracing::Level;

    use super::*;
    use crate::domain::{DeadLetterReason, Fault, ReleaseReason};
    use crate::observe::testing;

    #[test]
    fn libraries_are_heard_from_their_warnings_on() {
        let info = filter(LogLevel::Info);
        assert!(info.would_enable("hookferry::pipeline", &Level::INFO));
        assert!(!info.would_enable("hookferry::pipeline", &Level::DEBUG));
        assert!(info.would_enable("librdkafka", &Level::INFO));
        assert!(info.would_enable("hyper::proto", &Level::WARN));
        assert!(!filter(LogLevel::Debug).would_enable("hyper::proto", &Level::INFO));
        assert!(filter(LogLevel::Trace).would_enable("hyper::proto", &Level::TRACE));
        assert!(!filter(LogLevel::Trace).would_enable("hickory_resolver::hosts", &Level::ERROR));
        assert!(!filter(LogLevel::Error).would_enable("librdkafka", &Level::WARN));
    }

    #[test]
    fn a_warning_says_why_a_delivery_ended() {
        for (outcome, message) in [
            (Outcome::DeadLettered(DeadLetterReason::Exhausted), "dead-lettered"),
            (Outcome::Discarded(DiscardReason::OnExhausted(DeadLetterReason::Exhausted)), "discarded"),
        ] {
            let note = Note::Ended {
                target: TargetId(1),
                route: RouteId(0),
                outcome,
                event: testing::event(),
                attempts: 8,
                status: None,
                error: Some("tls: certificate expired".into()),
            };
            let lines = logged(
                |writer| tracing_subscriber::fmt::layer().with_ansi(false).with_writer(writer).boxed(),
                || log_note(&testing::plan(), &note),
            );
            for part in
                ["WARN", message, "target=\"shop\"", "reason=exhausted", "error=\"tls: certificate expired\""]
            {
                assert!(lines.contains(part), "{part} in {lines}");
            }
        }
    }

    #[test]
    fn in_json_target_is_the_deliverys_and_each_line_names_its_event() {
        let (target, route, event) = (TargetId(1), RouteId(0), testing::event());
        let ended = Note::Ended {
            target,
            route,
            outcome: Outcome::Delivered,
            event: event.clone(),
            attempts: 1,
            status: Some(200),
            error: None,
        };
        let released = Note::Released { target, route, event, reason: ReleaseReason::Revoked };
        for note in [ended, released] {
            let line = logged(json_lines, || log_note(&testing::plan(), &note));
            assert_eq!(line.matches("\"target\"").count(), 1, "{line}");
            let line: serde_json::Value = serde_json::from_str(&line).expect("one JSON object");
            let named = [&line["target"], &line["route"], &line["event"]];
            assert_eq!(named, ["shop", "billing", "evt_1"], "{line}");
        }
    }

    /// What is logged meanwhile.
    pub(in crate::observe) fn logged(
        layer: impl FnOnce(Mutex<Lines>) -> Box<dyn Layer<Registry> + Send + Sync>,
        what: impl FnOnce(),
    ) -> String {
        let written = Lines::default();
        let subscriber = tracing_subscriber::registry().with(layer(Mutex::new(written.clone())));
        tracing::subscriber::with_default(subscriber, what);
        let bytes = written.0.lock().expect("no test panics inside").clone();
        String::from_utf8(bytes).expect("text")
    }

    #[derive(Clone, Default)]
    pub(in crate::observe) struct Lines(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().expect("no test panics inside").extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_came_back_is_one_short_text() {
        let status = Reply::Status { status: 503, retry_after: None };
        assert_eq!(Answer(&status).to_string(), "503");
        let fault = Reply::Fault { fault: Fault::Tls, detail: "certificate expired".into() };
        assert_eq!(Answer(&fault).to_string(), "tls: certificate expired");
        assert_eq!(Status(None).to_string(), "-");
    }
}
