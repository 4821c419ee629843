//! A small plan and an event for the tests of what is observed.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::domain::{
    Backoff, Content, Data, Event, EventTime, Exhausted, Generation, HonourRetryAfter, Jitter, Kind, Lease,
    Ordering, Origin, RetryOn, RetryPolicy, SourceId, StatusSet, TargetId, TypeSet,
};
use crate::plan::{Egress, Plan, Route, Target, TargetUrl};
use crate::source::test_plan;
use crate::wire::{Blueprint, JsonForm, PayloadSpec, RequestSpec, Shape};

/// One source `orders`, two targets `crm` (disabled) and `shop`, one route.
pub(crate) fn plan() -> Plan {
    Plan {
        hash: "0123456789abcdef".to_owned(),
        targets: vec![target("crm", false), target("shop", true)],
        routes: vec![Route {
            name: "billing".into(),
            from: vec![SourceId(0)],
            types: TypeSet::default(),
            conditions: Vec::new(),
            to: vec![TargetId(1)],
            priority: 0,
        }],
        ..test_plan::offline(Vec::new())
    }
}

fn target(name: &str, enabled: bool) -> Target {
    let spec = RequestSpec {
        target_id: name.to_owned(),
        payload: PayloadSpec { shape: Shape::Raw, json: JsonForm::Exact, content_type: None },
        signature: None,
        headers: Vec::new(),
    };
    Target {
        name: Arc::from(name),
        id: name.to_owned(),
        enabled,
        description: None,
        labels: Vec::new(),
        url: TargetUrl(url::Url::parse("https://shop.example.com/hooks").expect("a valid URL")),
        blueprint: Blueprint::compile(&spec).expect("a valid specification"),
        egress: Egress::Public,
        timeout: Duration::from_secs(10),
        success: StatusSet::range(200, 299),
        retry: RetryPolicy {
            backoff: Backoff::Schedule { waits: Vec::new(), jitter: Jitter::None },
            retry_on: RetryOn { statuses: StatusSet::range(500, 599), network: true, timeout: true },
            retry_after: HonourRetryAfter::Ignore,
            max_age: None,
            hold: Duration::from_secs(15),
            on_exhausted: Exhausted::DeadLetter,
        },
        concurrency: 64,
        rate: None,
        breaker: None,
        disable_on: StatusSet::default(),
        disable_after: None,
        ordering: Ordering::None,
        key: None,
    }
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
