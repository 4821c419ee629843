use std::time::Duration;

use secrecy::ExposeSecret;

use super::*;
use crate::domain::{
    Backoff, BreakerPolicy, Condition, Exhausted, Field, HonourRetryAfter, Jitter, Operator, Ordering, Place,
    SourceId, TargetId,
};
use crate::plan::{Egress, LogFormat, LogLevel, Network, Start, Tombstones, Topic};

/// Everything that is supported, at least once.
const FULL: &str = r#"
x-brokers: &brokers [one:9092, two:9092]
x-retry: &retry { attempts: 3, initial: 250ms }
name: shop
admin: { listen: 0.0.0.0:9000 }
log: { format: json, level: debug }
limits: { in_flight: 10, max_event: 2MiB, window: { bytes: 8MiB, events: 100 } }
shutdown: { deadline: 5s }
sources:
  orders:
    kafka:
      brokers: *brokers
      topics: [events, '^billing\..*']
      group: shop-all
      start: 2h
      properties: { security.protocol: PLAINTEXT, fetch.wait.max.ms: 100 }
    tombstones: dead_letter
    event: { type: ['header:x', body:a.b], key: [key], tenant: [] }
  audit:
    kafka: { brokers: 'b:9092', topics: audit, start: 2026-01-31T12:00:00Z }
defaults:
  timeout: 7s
  labels: { team: core }
targets:
  crm:
    url: https://crm.example.com/hooks
    id: crm-1
    description: the CRM
    labels: { tier: gold }
    secrets: [one, two]
    signature:
      message: '{{timestamp}}.{{body}}'
      headers: { X-Sig: '{{signature}}' }
    headers: { X-Environment: production, X-Version: 1.10 }
    success: [2xx, 304]
    retry: { <<: *retry, factor: 3, retry_on: [any], retry_after: ignore, max_age: 1d, jitter: 0.1 }
    on_exhausted: discard
    concurrency: 4
    egress: { allow: [10.1.0.0/16, host.internal:8443], deny: [1.2.3.4] }
  chat:
    url: http://localhost:9999/x
    egress: private
    payload: { preset: dcision, json: exact, content_type: application/json }
    retry: { schedule: [1m, 5m], max_age: off }
  off:
    url: https://off.example.com/
    enabled: false
routes:
  - name: billing
    from: [orders]
    types: ['billing.*', '!billing.test.*']
    where:
      severity: [high, critical]
      cost.amount: { gte: 100, lt: 1e3 }
      paid: true
      tags: []
      header:x: { exists: false, missing: pass }
    to: [crm, chat, off]
  - to: chat
dead_letters: { topic: shop.dead }
"#;

#[test]
fn a_full_configuration_becomes_a_plan() {
    let plan = plan(FULL);

    assert_eq!(plan.name, "shop");
    assert_eq!(plan.admin.listen.to_string(), "0.0.0.0:9000");
    assert_eq!((plan.log.format, plan.log.level), (LogFormat::Json, LogLevel::Debug));
    assert_eq!((plan.limits.in_flight, plan.limits.max_event), (10, 2 << 20));
    assert_eq!((plan.limits.window.bytes, plan.limits.window.events), (8 << 20, 100));
    assert_eq!(plan.shutdown.deadline, Duration::from_secs(5));
    assert_eq!(plan.dead_letters.topic, "shop.dead");
    let names: Vec<&str> = plan.targets.iter().map(|target| &*target.name).collect();
    assert_eq!(names, ["chat", "crm", "off"]);
}

#[test]
fn sources_are_read() {
    let plan = plan(FULL);
    let [audit, orders] = &plan.sources[..] else { panic!("two sources") };

    assert_eq!(orders.kafka().unwrap().brokers, "one:9092,two:9092");
    assert_eq!(
        orders.kafka().unwrap().topics,
        [Topic::Name("events".into()), Topic::Regex(r"^billing\..*".into())]
    );
    assert_eq!(orders.kafka().unwrap().start, Start::Ago(Duration::from_secs(7200)));
    assert_eq!(orders.kafka().unwrap().group, "shop-all");
    let properties: Vec<_> = orders
        .kafka()
        .unwrap()
        .properties
        .iter()
        .map(|(name, value)| (name.as_str(), value.expose_secret()))
        .collect();
    assert_eq!(properties, [("security.protocol", "PLAINTEXT"), ("fetch.wait.max.ms", "100")]);
    assert_eq!(orders.tombstones, Tombstones::DeadLetter);
    assert_eq!(orders.event.key, Some(vec![Place::Key]));
    assert_eq!(orders.event.id, None, "what is not set is left to the intake");
    assert_eq!(audit.kafka().unwrap().start, Start::At(1_769_860_800_000));
    assert_eq!((audit.kafka().unwrap().group.as_str(), audit.tombstones), ("shop-audit", Tombstones::Ignore));
}

#[test]
fn targets_are_read() {
    let plan = plan(FULL);
    let [chat, crm, off] = &plan.targets[..] else { panic!("three targets") };

    assert_eq!((crm.id.as_str(), chat.id.as_str()), ("crm-1", "chat"));
    assert_eq!(crm.labels, [("team".into(), "core".into()), ("tier".into(), "gold".into())]);
    assert_eq!(crm.timeout, Duration::from_secs(7));
    assert!(crm.success.contains(204) && crm.success.contains(304) && !crm.success.contains(303));
    assert_eq!(
        crm.retry.backoff,
        Backoff::Exponential {
            attempts: Some(3),
            initial: Duration::from_millis(250),
            factor: 3.0,
            max_delay: Duration::from_secs(3600),
            jitter: Jitter::Fraction(0.1),
        }
    );
    assert!(crm.retry.retry_on.network && crm.retry.retry_on.timeout);
    assert!(crm.retry.retry_on.statuses.contains(404));
    assert_eq!(crm.retry.retry_after, HonourRetryAfter::Ignore);
    assert_eq!(crm.retry.max_age, Some(Duration::from_secs(86_400)));
    assert_eq!((crm.retry.on_exhausted, crm.concurrency), (Exhausted::Discard, 4));
    let Egress::Listed { allow, deny } = &crm.egress else { panic!("a list") };
    assert!(matches!(&allow[..], [Network::Range(_), Network::Host(_)]) && deny.len() == 1);
    assert_eq!(
        chat.retry.backoff,
        Backoff::Schedule {
            waits: vec![Duration::from_secs(60), Duration::from_secs(300)],
            jitter: Jitter::None
        }
    );
    assert_eq!((&chat.egress, chat.retry.max_age), (&Egress::Private, None));
    assert!(!off.enabled);
}

#[test]
fn routes_are_read() {
    let plan = plan(FULL);
    let [billing, second] = &plan.routes[..] else { panic!("two routes") };

    assert_eq!((&*billing.name, &*second.name), ("billing", "route-2"));
    assert_eq!(billing.from, [SourceId(1)]);
    assert!(billing.types.matches("billing.paid") && !billing.types.matches("billing.test.x"));
    assert_eq!(billing.to, [TargetId(1), TargetId(0)], "the one that is switched off is left out");
    let text = |text: &str| Field::Text(text.into());
    let field = |place: &str| {
        plan.fields.iter().position(|field| field.to_string() == place).unwrap_or_else(|| panic!("{place}"))
    };
    let condition = |place, operators| Condition {
        field: field(place),
        operators,
        missing_passes: false,
        concealed: false,
    };
    assert_eq!(
        billing.conditions,
        [
            condition("body:severity", vec![Operator::In(vec![text("high"), text("critical")])]),
            condition(
                "body:cost.amount",
                vec![Operator::GreaterOrEqual(Field::Integer(100)), Operator::Less(Field::Float(1000.0))]
            ),
            condition("body:paid", vec![Operator::In(vec![Field::Bool(true)])]),
            Condition {
                missing_passes: true,
                ..condition("header:x", vec![Operator::Exists(crate::domain::Presence::Absent)])
            },
        ],
        "an empty list says nothing"
    );
}

#[test]
fn only_what_yaml_1_2_takes_for_a_number_or_boolean_is_one() {
    let text = with_target("url: https://x.example/").replacen(
        "to: [crm]",
        "to: [crm], where: { x: [yes, 01234, '5', 5, True, -1.5] }",
        1,
    );

    let text_field = |text: &str| Field::Text(text.into());
    let expected = vec![
        text_field("yes"),
        text_field("01234"),
        text_field("5"),
        Field::Integer(5),
        Field::Bool(true),
        Field::Float(-1.5),
    ];
    assert_eq!(plan(&text).routes[0].conditions[0].operators, [Operator::In(expected)]);
}

#[test]
fn what_a_reference_brought_in_is_compared_as_text_and_as_what_it_looks_like() {
    let layers = environment(&[("N", "5"), ("B", "true"), ("ZERO", "007"), ("T", "gold")]);
    let holds = |condition: &str, field: Field| {
        let text = with_target("url: https://x.example/").replacen(
            "to: [crm]",
            &format!("to: [crm], where: {{ x: {condition} }}"),
            1,
        );
        plan_with(&text, &layers).routes[0].conditions[0].holds(Some(&field))
    };
    let text = |text: &str| Field::Text(text.into());

    for (condition, matching, other) in [
        ("\"${env:N}\"", vec![Field::Integer(5), text("5"), Field::Float(5.0)], Field::Integer(6)),
        ("[\"${env:N}\"]", vec![Field::Integer(5), text("5")], text("6")),
        ("{ eq: \"${env:N}\" }", vec![Field::Integer(5), text("5")], Field::Bool(true)),
        ("{ in: [a, \"${env:N}\"] }", vec![Field::Integer(5), text("5"), text("a")], Field::Integer(6)),
        ("{ eq: \"${env:B}\" }", vec![Field::Bool(true), text("true")], Field::Bool(false)),
        ("{ eq: \"${env:ZERO}\" }", vec![text("007")], Field::Integer(7)),
        ("{ eq: \"${env:T}\" }", vec![text("gold")], text("silver")),
        ("{ eq: '5' }", vec![text("5")], Field::Integer(5)),
    ] {
        for field in matching {
            assert!(holds(condition, field.clone()), "{condition} takes {field:?}");
        }
        assert!(!holds(condition, other.clone()), "{condition} refuses {other:?}");
    }
    for condition in ["{ ne: \"${env:N}\" }", "{ not_in: [a, \"${env:N}\"] }"] {
        assert!(!holds(condition, Field::Integer(5)) && !holds(condition, text("5")), "{condition}");
        assert!(holds(condition, Field::Integer(6)), "{condition}");
    }
}

#[test]
fn a_switched_off_target_is_named() {
    let plan = plan(FULL);

    let expected = "h.yaml:58:21: routes.billing.to.2: the target off is switched off (`enabled: false`) and receives nothing";
    assert!(plan.notices.iter().any(|notice| notice == expected), "{:?}", plan.notices);
}

#[test]
fn what_no_route_names_is_named() {
    let text = with_target("url: https://x.example/")
        .replacen("targets:", "targets:\n  idle: { url: 'https://y.example/' }\n  off: { url: 'https://z.example/', enabled: false }", 1)
        .replacen("sources: {", "sources: { t: { kafka: { brokers: 'b:1', topics: [u] } },", 1)
        .replacen("to: [crm]", "from: [s], to: [crm]", 1);
    assert_eq!(
        plan(&text).notices,
        [
            "h.yaml:1:15: sources.t: no route reads from it, so its events are dropped",
            "h.yaml:3:9: targets.idle: no route names it, so it receives nothing",
        ]
    );
}

#[test]
fn a_quoted_bound_is_named_and_an_empty_list_passes() {
    let text = with_target("url: https://x.example/").replacen(
        "to: [crm]",
        "to: [crm], where: { a: { gte: '100', lt: '2026-01-01' }, b: { in: [] }, c: { not_in: [], exists: true } }",
        1,
    );
    let plan = plan(&text);
    assert_eq!(
        plan.notices,
        [
            "h.yaml:5:42: routes.route-1.where.a.gte: in quotes it is text, so no number passes; write it without quotes"
        ]
    );
    let operators: Vec<usize> = plan.routes[0].conditions.iter().map(|one| one.operators.len()).collect();
    assert_eq!(operators, [2, 1], "`in: []` makes no condition");
}

#[test]
fn the_hash_depends_on_values_alone() {
    let first = plan(FULL);
    let moved = plan(&format!("# moved\n{}", FULL.replace("name: shop\n", "") + "name: shop\n"));
    let changed = plan(&FULL.replace("timeout: 7s", "timeout: 8s"));

    assert_eq!(first.hash, moved.hash);
    assert_ne!(first.hash, changed.hash);
    assert_eq!(first.hash.len(), 16);
}

#[test]
fn program_defaults_are_those_of_the_contract() {
    let plan = plan(&with_target("url: https://x.example/"));
    let [target] = &plan.targets[..] else { panic!("one target") };

    assert_eq!(plan.admin.listen.to_string(), "127.0.0.1:9477");
    assert_eq!((plan.limits.in_flight, plan.limits.max_event), (1024, 1 << 20));
    assert_eq!((plan.limits.window.bytes, plan.limits.window.events), (64 << 20, 50_000));
    assert_eq!(plan.shutdown.deadline, Duration::from_secs(25));
    assert_eq!(plan.dead_letters.topic, "hookferry.dlq");
    assert_eq!(plan.sources[0].kafka().unwrap().group, "hookferry-s");
    assert_eq!((target.timeout, target.concurrency), (Duration::from_secs(10), 64));
    let schedule = [5, 60, 300, 900, 3600, 7200, 21_600, 43_200].map(Duration::from_secs);
    assert_eq!(
        target.retry.backoff,
        Backoff::Schedule { waits: schedule.to_vec(), jitter: Jitter::Fraction(0.1) }
    );
    assert_eq!(target.retry.hold, Duration::from_secs(15));
    assert_eq!(target.breaker, Some(BreakerPolicy { failures: 10, probe: Duration::from_secs(10) }));
    assert!(target.disable_on.contains(410) && !target.disable_on.contains(404));
    assert_eq!((target.rate, target.disable_after, target.ordering), (None, None, Ordering::None));
    let retried: Vec<u16> =
        (100..600).filter(|status| target.retry.retry_on.statuses.contains(*status)).collect();
    assert_eq!(retried.len(), 103);
    assert_eq!(target.retry.retry_after, HonourRetryAfter::Honour { max: Duration::from_secs(3600) });
}
