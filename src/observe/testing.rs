//! A small plan and an event for the tests of what is observed.

use std::sync::Arc;

use bytes::Bytes;

use crate::domain::{
    Content, Data, Event, EventTime, Generation, Kind, Lease, Origin, SourceId, TargetId, TypeSet,
};
use crate::plan::{Plan, Route, Target};
use crate::source::test_plan;

/// One source `orders`, two targets `crm` (disabled) and `shop`, one route.
pub(crate) fn plan() -> Plan {
    Plan {
        hash: "0123456789abcdef".to_owned(),
        targets: vec![target("crm", false).into(), target("shop", true).into()],
        routes: vec![Route {
            name: "billing".into(),
            from: vec![SourceId(0)],
            types: TypeSet::default(),
            conditions: Vec::new(),
            to: vec![TargetId(1)],
            priority: 0,
            tests: Vec::new(),
        }],
        ..test_plan::offline(Vec::new())
    }
}

fn target(name: &str, enabled: bool) -> Target {
    Target { enabled, ..test_plan::target(name, "https://shop.example.com/hooks") }
}

/// When the broker stored [`event`], in milliseconds since 1970.
pub(crate) const STORED_MS: i64 = 1_700_000_000_000;

/// An event of the source that was stored at [`STORED_MS`].
pub(crate) fn event() -> Arc<Event> {
    Arc::new(Event {
        source: SourceId(0),
        id: "evt_1".into(),
        event_type: None,
        time: EventTime { unix_ms: 0, text: None },
        subject: None,
        key: None,
        priority: None,
        tenant: None,
        producer: "/orders".into(),
        kind: Kind::Regular,
        body: Bytes::new(),
        content: Content::Json,
        data: Data::Absent,
        headers: Box::new([]),
        fields: Box::new([]),
        origin: Origin { stored_ms: STORED_MS, ..Origin::kafka("events", 7) },
        generation: Generation(1),
        lease: Arc::new(Lease::unlimited()),
    })
}
