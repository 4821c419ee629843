mod faults;
mod language;
mod positions;
mod safety;

use std::sync::Arc;

use bytes::Bytes;

use super::*;
use crate::domain::{Content, Data, Event, EventTime, Generation, Kind, Lease, Origin, SourceId};

const BODY: &str = r#"{"type":"cost.alert","note":null,"data":{"title":"a \"b\"\n<é>","cost":{"amount":525.50,"currency":"USD"},"tags":["x","y z"],"items":[{"sku":"A","n":1},{"sku":"B","n":0}],"user":{"id":"u1","name":"Ada"},"project":{"id":"p1"},"flag":false,"zero":0,"none":null,"empty":"","list":[],"nested":"{\"k\":[1]}","at":1700000000}}"#;

/// An event with this body, whose data is its member `data`.
pub(super) fn with_body(body: &str) -> Event {
    let data = json::at(body, "data").map(|data| {
        let start = data.as_ptr().addr() - body.as_ptr().addr();
        Data::Slice(start..start + data.len())
    });
    Event {
        source: SourceId(0),
        id: "evt_42".into(),
        event_type: Some("cost.alert".into()),
        time: EventTime { unix_ms: 1_700_000_000_123, text: Some("2023-11-14T22:13:20.123Z".into()) },
        subject: None,
        key: Some("k\"1".into()),
        priority: None,
        tenant: None,
        producer: "/orders".into(),
        kind: Kind::Regular,
        body: Bytes::copy_from_slice(body.as_bytes()),
        content: Content::Json,
        data: data.unwrap_or(Data::Absent),
        headers: [
            ("X-Trace".into(), Bytes::from_static(b"t\"1")),
            ("x-trace".into(), Bytes::from_static(b"t2")),
        ]
        .into(),
        fields: Box::default(),
        origin: Origin::kafka("events", 0),
        generation: Generation(1),
        lease: Arc::new(Lease::unlimited()),
    }
}

/// What the first system's templates can name.
fn katana() -> Roots {
    let own = |name: &str, places: &[&str]| {
        (name.to_owned(), places.iter().map(|place| (*place).to_owned()).collect::<Vec<_>>())
    };
    Roots {
        own: vec![
            own("event.eventId", &["event.id"]),
            own("event.eventType", &["event.type"]),
            own("event.userId", &["event.data.userId", "event.data.user.id"]),
            own("user", &["event.data.user"]),
            own("project", &["event.data.project"]),
            own("timestamp", &["event.time"]),
            own("costKatana", &["extra.costkatana"]),
        ],
        extra: vec![("costkatana".to_owned(), r#"{"version":"2.0"}"#.to_owned())],
    }
}

fn compiled(text: &str, language: Language) -> Template {
    Template::compile(text, &[], language, &katana()).unwrap_or_else(|faults| {
        let faults: Vec<String> = faults.iter().map(ToString::to_string).collect();
        panic!("{text}: {}", faults.join("\n"))
    })
}

fn try_rendered(text: &str, event: &Event, language: Language, form: JsonForm) -> Result<String, String> {
    let facts = Facts { event, target_id: "crm", attempt: 3 };
    let out = compiled(text, language).render(facts, form).map_err(|error| error.to_string())?;
    Ok(String::from_utf8(out).expect("UTF-8"))
}

/// As JSON, and as the template wrote it.
fn rendered(text: &str) -> String {
    try_rendered(text, &with_body(BODY), Language::Json, JsonForm::Exact).expect("it renders")
}

fn plain(text: &str) -> String {
    try_rendered(text, &with_body(BODY), Language::Plain, JsonForm::Exact).expect("it renders")
}

fn unrenderable(text: &str) -> String {
    try_rendered(text, &with_body(BODY), Language::Json, JsonForm::Exact).expect_err("unrenderable")
}

fn faults(text: &str, language: Language) -> Vec<String> {
    let faults = Template::compile(text, &[], language, &katana()).expect_err("it has faults");
    faults.iter().map(ToString::to_string).collect()
}
