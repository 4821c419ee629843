use bytes::Bytes;
use jiff::Timestamp;

use crate::domain::{DeadLetter, Failed, Kind};
use crate::plan::Plan;

/// All our headers begin so; a message's own that do are dropped, so that none can be forged.
pub(super) const PREFIX: &str = "hookferry-";

/// Ends the header `route` where not all routes are named.
pub(super) const MORE_ROUTES: &str = "…";

/// The most bytes of one of our headers; what is longer is cut.
const LONGEST: usize = 1024;
/// The most bytes of where the message was: a subject of NATS may be so long.
const LONGEST_PLACE: usize = 4096;
/// The most bytes of the header `route`: without all of them a redrive is not exact.
const LONGEST_ROUTES: usize = 16 * 1024;

/// A dead letter as it is written: the original message, and headers that say why it is there.
#[derive(Debug, PartialEq)]
pub(super) struct Record {
    /// The message's key.
    pub(super) key: Option<Bytes>,
    /// Its value; `None` if there was none or it is left out.
    pub(super) value: Option<Bytes>,
    /// Its headers, and ours behind them.
    pub(super) headers: Vec<(String, Bytes)>,
}

impl Record {
    pub(super) fn new(plan: &Plan, letter: &DeadLetter) -> Record {
        let event = &letter.event;
        let value = match event.kind {
            Kind::Regular if !letter.omit_value => Some(event.body.clone()),
            _ => None,
        };
        let own = event.headers.iter().filter(|(name, _)| !letter.omit_headers && !is_ours(name));
        let mut headers: Vec<(String, Bytes)> =
            own.map(|(name, value)| (name.to_string(), value.clone())).collect();
        let said = our_headers(plan, letter, value.is_some());
        let said =
            said.into_iter().map(|(name, value)| (format!("{PREFIX}{name}"), Bytes::from(cut(name, value))));
        headers.extend(said);
        let key = event.origin.key.clone().filter(|_| !letter.omit_headers);
        Record { key, value, headers }
    }
}

fn cut(name: &str, mut text: String) -> String {
    let longest = match name {
        "origin" | "subject" => LONGEST_PLACE,
        "route" => LONGEST_ROUTES,
        _ => LONGEST,
    };
    text.truncate(text.floor_char_boundary(longest));
    text
}

/// The names of routes, as many as may be named.
fn listed(routes: &[&str], longest: usize) -> String {
    let mut list = String::new();
    for route in routes {
        let comma = if list.is_empty() { "" } else { "," };
        if list.len() + comma.len() + route.len() + 1 + MORE_ROUTES.len() > longest {
            list.extend([comma, MORE_ROUTES]);
            break;
        }
        list.extend([comma, *route]);
    }
    list
}

/// `<RFC 3339> <result>, …`, the oldest first; of very many only the last ones.
fn told(history: &[Failed]) -> Option<String> {
    let entries = history.iter().filter_map(|failed| Some((rfc_3339(failed.at_ms)?, &failed.result)));
    let entries: Vec<String> = entries.map(|(time, result)| format!("{time} {result}")).collect();
    let mut length = 0;
    let fits = |entry: &&String| {
        length += entry.len() + 2;
        length <= LONGEST
    };
    let kept = entries.iter().rev().take_while(fits).count();
    let last = entries.get(entries.len() - kept..)?;
    (!last.is_empty()).then(|| last.join(", "))
}

pub(super) fn is_ours(name: &str) -> bool {
    name.get(..PREFIX.len()).is_some_and(|start| start.eq_ignore_ascii_case(PREFIX))
}

/// PRODUCT.md §5, and what a redrive needs beside that. What there is nothing to say of is left out.
fn our_headers(plan: &Plan, letter: &DeadLetter, has_value: bool) -> Vec<(&'static str, String)> {
    let DeadLetter { event, failure, .. } = letter;
    let unknown = letter.unknown.as_deref();
    let target = letter.target_name.as_deref().or(unknown.and_then(|waiting| waiting.target.as_deref()));
    let routes = letter.routes.iter().map(|name| &**name);
    let routes: Vec<&str> =
        routes.chain(unknown.iter().flat_map(|waiting| waiting.routes.iter().map(|name| &**name))).collect();
    let last_error =
        failure.as_ref().and_then(|failure| failure.last_error.as_deref()).or(letter.detail.as_deref());
    let origin = &event.origin;
    let source = plan.sources.get(usize::from(event.source.0)).map(|source| source.name.clone());
    let longest_list = if letter.omit_headers { LONGEST } else { LONGEST_ROUTES };
    let value = match event.kind {
        Kind::Tombstone => Some("none"),
        _ if has_value => None,
        _ => Some("omitted"),
    };
    let said = [
        ("event-id", Some(event.id.to_string())),
        ("event-type", event.event_type.as_deref().map(str::to_owned)),
        ("target", target.map(str::to_owned)),
        ("route", (!routes.is_empty()).then(|| listed(&routes, longest_list))),
        ("reason", Some(letter.reason.as_str().to_owned())),
        ("attempts", Some(letter.attempts.to_string())),
        ("first-failure", failure.as_ref().and_then(|failure| rfc_3339(failure.first_ms))),
        ("last-failure", failure.as_ref().and_then(|failure| rfc_3339(failure.last_ms))),
        (
            "last-status",
            failure.as_ref().and_then(|failure| failure.last_status).map(|status| status.to_string()),
        ),
        ("last-error", last_error.map(str::to_owned)),
        ("history", failure.as_ref().and_then(|failure| told(&failure.history))),
        ("source", source),
        ("origin", Some(origin.to_string())),
        ("namespace", (!origin.namespace.is_empty()).then(|| origin.namespace.to_string())),
        ("subject", origin.subject.as_deref().map(str::to_owned)),
        ("stored", rfc_3339(origin.stored_ms)),
        ("value", value.map(str::to_owned)),
        ("headers", letter.omit_headers.then(|| "omitted".to_owned())),
    ];
    said.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
}

fn rfc_3339(unix_ms: i64) -> Option<String> {
    Timestamp::from_millisecond(unix_ms).ok().map(|time| time.to_string())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::domain::{DeadLetterReason, Event, Failure, Generation, Lease, SourceId};
    use crate::source::{Intake, Message, Namespace, test_plan};

    fn plan() -> Plan {
        test_plan::offline(Vec::new())
    }

    fn event(plan: &Plan, value: Option<&[u8]>) -> Arc<Event> {
        let header = |name: &str, value: &'static str| (name.into(), Bytes::from(value));
        let message = Message {
            topic: "events".into(),
            partition: 1,
            position: 7,
            subject: None,
            timestamp_ms: Some(0),
            key: Some(b"k"),
            value,
            headers: [header("trace", "t"), header("Hookferry-Target", "forged"), header("x", "")].into(),
        };
        let intake =
            Intake::new(plan, &plan.sources[0], SourceId(0), Namespace::Kafka { cluster: "c".into() });
        Arc::new(intake.read(message, Generation(1), Arc::new(Lease::unlimited())))
    }

    fn letter(event: Arc<Event>) -> DeadLetter {
        DeadLetter {
            event,
            target: None,
            target_name: None,
            unknown: None,
            routes: vec!["billing".into(), "audit".into()],
            reason: DeadLetterReason::Exhausted,
            attempts: 8,
            failure: Some(Failure {
                first_ms: 0,
                last_ms: 1500,
                last_status: Some(503),
                last_error: Some("the receiver answered 503".into()),
                history: vec![failed(0, "timeout"), failed(1500, "503")],
            }),
            detail: None,
            omit_value: false,
            omit_headers: false,
            resumed_ms: None,
        }
    }

    fn failed(at_ms: i64, result: &str) -> Failed {
        Failed { at_ms, result: result.into() }
    }

    fn header<'a>(record: &'a Record, name: &str) -> Option<&'a str> {
        let (_, value) = record.headers.iter().find(|(own, _)| own == name)?;
        std::str::from_utf8(value).ok()
    }

    #[test]
    fn it_holds_the_message_and_the_reason() {
        let plan = plan();
        let body = br#"{"event_id":"e-1","type":"a.b"}"#;
        let record = Record::new(&plan, &letter(event(&plan, Some(body))));

        assert_eq!(record.key.as_deref(), Some(b"k".as_slice()));
        assert_eq!(record.value.as_deref(), Some(body.as_slice()));
        let headers: Vec<_> = record
            .headers
            .iter()
            .map(|(name, value)| (name.as_str(), std::str::from_utf8(value).expect("text")))
            .collect();
        assert_eq!(
            headers,
            [
                ("trace", "t"),
                ("x", ""),
                ("hookferry-event-id", "e-1"),
                ("hookferry-event-type", "a.b"),
                ("hookferry-route", "billing,audit"),
                ("hookferry-reason", "exhausted"),
                ("hookferry-attempts", "8"),
                ("hookferry-first-failure", "1970-01-01T00:00:00Z"),
                ("hookferry-last-failure", "1970-01-01T00:00:01.5Z"),
                ("hookferry-last-status", "503"),
                ("hookferry-last-error", "the receiver answered 503"),
                ("hookferry-history", "1970-01-01T00:00:00Z timeout, 1970-01-01T00:00:01.5Z 503"),
                ("hookferry-source", "orders"),
                ("hookferry-origin", "kafka:events/1/7"),
                ("hookferry-namespace", "c"),
                ("hookferry-stored", "1970-01-01T00:00:00Z"),
            ]
        );
    }

    #[test]
    fn of_a_long_history_the_last_attempts_are_told() {
        let history: Vec<_> = (0..100).map(|n| failed(n * 1000, "503")).collect();
        let told = told(&history).expect("some");
        assert!(told.len() <= LONGEST && told.ends_with(", 1970-01-01T00:01:39Z 503"), "{told}");
        assert!(told.starts_with("1970-01-01T00:01:01Z 503, "), "{told}");
    }

    #[test]
    fn routes_are_named_whole_or_not() {
        assert_eq!(listed(&["billing", "audit"], 100), "billing,audit");
        assert_eq!(listed(&["billing", "audit", "last"], 18), "billing,audit,…");
        assert_eq!(listed(&["billing"], 8), MORE_ROUTES);
    }

    #[test]
    fn a_value_that_is_left_out_is_said_to_be() {
        let plan = plan();
        let omitted =
            Record::new(&plan, &DeadLetter { omit_value: true, ..letter(event(&plan, Some(b"{}"))) });
        assert_eq!((omitted.value.is_none(), header(&omitted, "hookferry-value")), (true, Some("omitted")));

        let mut small = self::plan();
        small.limits.max_event = 1;
        let oversized = Record::new(&small, &letter(event(&small, Some(b"{}"))));
        assert_eq!(
            (oversized.value.is_none(), header(&oversized, "hookferry-value")),
            (true, Some("omitted"))
        );

        let tombstone = Record::new(&plan, &letter(event(&plan, None)));
        assert_eq!((tombstone.value.is_none(), header(&tombstone, "hookferry-value")), (true, Some("none")));
    }

    /// However large the message's own parts are, what is left is small.
    #[test]
    fn headers_and_key_that_are_left_out_are_said_to_be() {
        let plan = plan();
        let kind = format!(r#"{{"event_id":"e-1","type":"a.{}"}}"#, "é".repeat(5000));
        let letter = letter(event(&plan, Some(kind.as_bytes())));
        let record = Record::new(&plan, &DeadLetter { omit_value: true, omit_headers: true, ..letter });

        assert_eq!((record.key.is_none(), record.value.is_none()), (true, true));
        assert!(record.headers.iter().all(|(name, _)| is_ours(name)), "{:?}", record.headers);
        assert_eq!(header(&record, "hookferry-value"), Some("omitted"));
        assert_eq!(header(&record, "hookferry-headers"), Some("omitted"));
        let cut = header(&record, "hookferry-event-type").expect("text");
        assert_eq!(cut, format!("a.{}", "é".repeat(511)));
    }

    #[test]
    fn without_attempts_the_detail_says_what_went_wrong() {
        let plan = plan();
        let poisoned = DeadLetter {
            reason: DeadLetterReason::Poisoned,
            attempts: 0,
            failure: None,
            detail: Some("the body is not JSON".into()),
            ..letter(event(&plan, Some(b"x")))
        };
        let record = Record::new(&plan, &poisoned);

        assert_eq!(header(&record, "hookferry-last-error"), Some("the body is not JSON"));
        assert_eq!(header(&record, "hookferry-first-failure"), None);
        assert_eq!(record.value.as_deref(), Some(b"x".as_slice()));
    }
}
