//! The index finds what asking every route finds, and no event crosses to another tenant.

use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::domain::{EventTime, Field, Generation, Lease, Origin};
use crate::plan::{self, Layers};

/// What every route says, without an index.
fn asked_one_by_one(plan: &Plan, event: &Event) -> (Vec<(TargetId, RouteId, i16)>, Vec<RouteId>, bool) {
    let (mut deliveries, mut poisoned, mut taken) =
        (Vec::<(TargetId, RouteId, i16)>::new(), Vec::new(), false);
    for id in (0..plan.routes.len() as u32).map(RouteId) {
        let route = &plan.routes[id.0 as usize];
        match judge(plan, id, event) {
            Verdict::Takes => {
                taken = true;
                for target in route.to.iter().filter(|target| serves(plan, **target, event)) {
                    match deliveries.iter_mut().find(|(named, ..)| named == target) {
                        Some((.., priority)) => *priority = route.priority.max(*priority),
                        None => deliveries.push((*target, id, route.priority)),
                    }
                }
            }
            Verdict::NeedsType | Verdict::NeedsJson(_) | Verdict::NeedsTenant => poisoned.push(id),
            _ => {}
        }
    }
    (deliveries, poisoned, taken)
}

/// A plan of these routes. Target `t-N` is of tenant N, or of everybody's; source `apart` tells tenants
/// apart and `together` does not.
fn plan_of(routes: &[String]) -> Plan {
    let tenants = ["acme", "bolt", "'*'"];
    let targets: String = (0..6)
        .map(|n| format!("  t-{n}: {{ url: 'https://t.example/', tenant: {} }}\n", tenants[n % 3]))
        .collect();
    let text = format!(
        "sources:
  apart: {{ kafka: {{ brokers: b, topics: [a] }}, event: {{ tenant: [body:org] }} }}
  together: {{ kafka: {{ brokers: b, topics: [t] }} }}
targets:\n{targets}routes:\n{}",
        routes.concat()
    );
    plan::load_text("h.yaml", &text, &Layers::default()).unwrap_or_else(|faults| panic!("{faults}\n{text}"))
}

fn route() -> impl Strategy<Value = String> {
    let types = prop_oneof![
        Just(""),
        Just("types: ['*'], "),
        Just("types: [a.b], "),
        Just("types: [a.b, a.c, x], "),
        Just("types: ['a.*'], "),
        Just("types: ['a.b.*', '!a.b.c'], "),
        Just("types: ['*.b'], "),
        Just("types: ['**.c', a.b], "),
        Just("types: ['a.**.c'], "),
        Just("types: ['**'], "),
    ];
    let conditions = prop_oneof![
        Just(""),
        Just("where: { kind: gold }, "),
        Just("where: { kind: [gold, 7, true] }, "),
        Just("where: { 'header:h': x }, "),
        Just("where: { kind: { ne: gold } }, "),
        Just("where: { kind: { eq: 7, gte: 3 } }, "),
        Just("where: { kind: { in: [gold], missing: pass } }, "),
        Just("where: { amount: { gte: 5 }, kind: gold }, "),
        Just("where: { kind: { exists: false } }, "),
    ];
    let from = prop_oneof![Just(""), Just("from: [apart], "), Just("from: [together], ")];
    let to = proptest::sample::subsequence(vec![0, 1, 2, 3, 4, 5], 1..4);
    (types, conditions, from, to, 0..3i16).prop_map(|(types, conditions, from, to, priority)| {
        let to: Vec<String> = to.iter().map(|n| format!("t-{n}")).collect();
        format!("  - {{ {types}{conditions}{from}priority: {priority}, to: [{}] }}\n", to.join(", "))
    })
}

fn value() -> impl Strategy<Value = Option<Field>> {
    let text = |text: &str| Field::Text(text.into());
    prop_oneof![
        Just(None),
        Just(Some(Field::Null)),
        Just(Some(text("gold"))),
        Just(Some(text("x"))),
        Just(Some(Field::Integer(7))),
        Just(Some(Field::Float(7.0))),
        Just(Some(Field::Bool(true))),
        Just(Some(Field::List([text("tin"), text("gold")].into()))),
        Just(Some(Field::List([Field::Integer(7)].into()))),
        Just(Some(Field::Object)),
    ]
}

fn an_event(plan: &Plan, parts: (u16, Option<&str>, Option<&str>, bool, Vec<Option<Field>>)) -> Event {
    let (source, event_type, tenant, is_json, values) = parts;
    let is_apart = plan.sources[usize::from(source)].event.tenant.is_some();
    let readable = |place: &Place| is_json || matches!(place, Place::Header(_));
    let fields = plan.fields.iter().zip(values).map(|(place, value)| value.filter(|_| readable(place)));
    Event {
        source: SourceId(source),
        id: "e".into(),
        event_type: event_type.map(Arc::from),
        time: EventTime { unix_ms: 0, text: None },
        subject: None,
        key: None,
        tenant: tenant.filter(|_| is_apart && is_json).map(Arc::from),
        priority: None,
        producer: "/p".into(),
        kind: Kind::Regular,
        body: bytes::Bytes::new(),
        content: if is_json { Content::Json } else { Content::NotJson("no".into()) },
        data: Data::Absent,
        headers: Box::default(),
        fields: fields.collect(),
        origin: Origin::kafka("t", 0),
        generation: Generation(1),
        lease: Arc::new(Lease::unlimited()),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn the_index_finds_what_asking_every_route_finds(
        routes in proptest::collection::vec(route(), 1..12),
        events in proptest::collection::vec(
            (
                0..2u16,
                proptest::option::of(prop_oneof![
                    Just("a"), Just("a.b"), Just("a.c"), Just("a.b.c"), Just("x.b"), Just("x"), Just("q.r.s"), Just("")
                ]),
                proptest::option::of(prop_oneof![Just("acme"), Just("bolt"), Just("other")]),
                proptest::bool::weighted(0.8),
                proptest::collection::vec(value(), 6),
            ),
            1..12,
        ),
    ) {
        let plan = plan_of(&routes);
        let routing = Routing::new(&plan);
        let mut matches = Matches::default();
        for parts in events {
            let event = an_event(&plan, parts);
            routing.route(&plan, &event, &mut matches);
            let found = (matches.deliveries.clone(), matches.poisoned.clone(), matches.taken);
            prop_assert_eq!(found, asked_one_by_one(&plan, &event), "{:?}", event);
            for (target, ..) in &matches.deliveries {
                let name = &plan.targets[target.0 as usize].name;
                let own = ["acme", "bolt", "*"][name.trim_start_matches("t-").parse::<usize>().expect("a number") % 3];
                prop_assert!(own == "*" || event.tenant.as_deref() == Some(own), "{} got {:?}", name, event.tenant);
            }
        }
    }
}

/// With so many routes that have nothing to do with an event, only those that may have are asked.
#[test]
fn routes_of_other_types_tenants_and_values_are_not_even_asked() {
    let other = |n: usize| {
        [
            format!("  - {{ types: ['other-{n}.*'], to: [t-2] }}\n"),
            format!("  - {{ types: ['**.other-{n}'], to: [t-2] }}\n"),
            format!("  - {{ where: {{ kind: other-{n} }}, to: [t-2] }}\n"),
            "  - { from: [apart], to: [t-1] }\n".to_owned(),
            "  - { from: [together], to: [t-2] }\n".to_owned(),
        ]
        .concat()
    };
    let routes: Vec<String> =
        (0..200).map(other).chain(["  - { types: ['a.*'], to: [t-0] }\n".to_owned()]).collect();
    let plan = plan_of(&routes);
    let index = Index::new(&plan, SourceId(0));
    let gold = Some(Field::Text("gold".into()));
    let event = an_event(&plan, (0, Some("a.b"), Some("acme"), true, vec![gold]));

    let mut candidates = Vec::new();
    index.candidates(&plan, &event, &mut candidates);
    assert_eq!(candidates, [RouteId(1000)]);
}

/// `data` that comes from a header is there, whatever the body is.
#[test]
fn a_condition_on_data_that_is_no_part_of_the_body_can_be_judged() {
    let text =
        "sources: { s: { kafka: { brokers: b, topics: [t] }, event: { data: ['header:about', body] } } }
targets: { t: { url: 'https://t.example/' } }
routes: [{ where: { data: urgent }, to: [t] }]";
    let plan =
        plan::load_text("h.yaml", text, &Layers::default()).unwrap_or_else(|faults| panic!("{faults}"));
    let routing = Routing::new(&plan);
    let mut matches = Matches::default();
    for (about, taken, poisoned) in [(Some("urgent"), true, 0), (Some("idle"), false, 0), (None, false, 1)] {
        let headers: Vec<(String, String)> =
            about.map(|about| ("about".to_owned(), about.to_owned())).into_iter().collect();
        let sample = crate::source::Sample { body: b"no JSON", headers: &headers, ..Default::default() };
        routing.route(&plan, &sample.read(&plan, &plan.sources[0]), &mut matches);
        assert_eq!((matches.taken, matches.poisoned.len()), (taken, poisoned), "{about:?}");
    }
}
