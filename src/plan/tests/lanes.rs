//! Limits, breakers and order of targets.

use std::time::Duration;

use secrecy::ExposeSecret;

use super::*;
use crate::domain::{Backoff, BreakerPolicy, ConsumerId, Exhausted, Ordering, Place, Rate, SourceId};
use crate::plan::{Consumer, Reads, Target};

fn target(keys: &str) -> Target {
    let plan = plan(&with_target(&format!("url: https://x.example/\n{keys}")));
    plan.into_target()
}

#[track_caller]
fn refused(keys: &str, expected: &str) {
    assert_eq!(faults(&with_target(&format!("url: https://x.example/\n{keys}"))), [expected]);
}

#[test]
fn a_rate_is_shared_by_all_replicas() {
    let rate = |keys: &str, replicas: u32| {
        let text =
            format!("replicas: {replicas}\n{}", with_target(&format!("url: https://x.example/\n{keys}")));
        plan(&text).targets[0].rate
    };
    let of = |per_second, burst| Some(Rate { per_second, burst });

    assert_eq!(rate("rate: { limit: 100/s, burst: 20 }", 1), of(100.0, 20.0));
    assert_eq!(rate("rate: { limit: 100/s, burst: 20 }", 4), of(25.0, 5.0));
    assert_eq!(rate("rate: { limit: 100/s }", 4), of(25.0, 25.0), "what it allows in one second");
    assert_eq!(rate("rate: { limit: 30/m }", 1), of(0.5, 1.0), "at least one at a time");
    assert_eq!(rate("rate: { limit: 10/s, burst: 2 }", 10), of(1.0, 1.0), "of every replica");
    assert_eq!(rate("rate: off", 1), None);
}

#[test]
fn a_breaker_may_be_set_in_part_or_switched_off() {
    let policy = |failures, probe| Some(BreakerPolicy { failures, probe: Duration::from_secs(probe) });

    assert_eq!(target("breaker: { failures: 3 }").breaker, policy(3, 10));
    assert_eq!(target("breaker: { failures: 3, probe: 1m }").breaker, policy(3, 60));
    assert_eq!(target("breaker: off").breaker, None);
    assert_eq!(target("dialect: ops-center\nbreaker: { probe: 5s }").breaker, policy(10, 5));
}

#[test]
fn what_disables_a_target_is_read() {
    let target = target("disable_on: [401, 410, 5xx]");
    assert!([401, 410, 503].iter().all(|status| target.disable_on.contains(*status)));

    let target = self::target("disable_on: []\ndisable_after: 2h");
    assert!(!target.disable_on.contains(410));
    assert_eq!(target.disable_after, Some(Duration::from_secs(7200)));
}

#[test]
fn limits_that_make_no_sense_are_refused() {
    let cases = [
        (
            "rate: 100/m",
            "h.yaml:5:11: targets.crm.rate: write `off`, or for example `{ limit: 100/m, burst: 20 }`",
        ),
        (
            "rate: { burst: 2 }",
            "h.yaml:5:11: targets.crm.rate.limit: missing; write for example `limit: 100/m`",
        ),
        (
            "rate: { limit: 100 }",
            "h.yaml:5:20: targets.crm.rate.limit: `100` is no rate; write for example `10/s`, `100/m` or `5/h`",
        ),
        (
            "rate: { limit: 1/s, burst: 0 }",
            "h.yaml:5:32: targets.crm.rate.burst: `0` must be a number from 1 to 1000000",
        ),
        (
            "breaker: on",
            "h.yaml:5:14: targets.crm.breaker: write `off`, or for example `{ failures: 10, probe: 10s }`",
        ),
        (
            "breaker: { failures: 0 }",
            "h.yaml:5:26: targets.crm.breaker.failures: `0` must be a number from 1 to 1000000",
        ),
        (
            "disable_on: [gone]",
            "h.yaml:5:18: targets.crm.disable_on.0: `gone` is no status; write a number from 100 to 599, or `4xx`",
        ),
        (
            "disable_after: 1ms",
            "h.yaml:5:20: targets.crm.disable_after: `1ms` is too short; it must be at least 1s",
        ),
        (
            "ordering: keyed",
            "h.yaml:5:15: targets.crm.ordering: `keyed` is not possible here; write `none`, `by_key` or `strict`",
        ),
        (
            "key: body:org",
            "h.yaml:5:10: targets.crm.key: only `ordering: by_key` goes by a key; set that, or remove this",
        ),
    ];
    for (keys, expected) in cases {
        refused(keys, expected);
    }
}

#[test]
fn an_ordered_target_has_its_own_consumer_and_may_block() {
    let plan =
        plan(&with_target("url: https://x.example/\nordering: by_key\nkey: body:org\non_exhausted: block"));
    let [target] = &plan.targets[..] else { panic!("one target") };

    assert_eq!((target.ordering, target.retry.on_exhausted), (Ordering::ByKey, Exhausted::Block));
    let place = target.key.and_then(|index| plan.fields.get(index));
    assert_eq!(place.map(Place::to_string).as_deref(), Some("body:org"));
    let source = SourceId(0);
    let reads = [Reads::Shared, Reads::Ordered(crate::domain::TargetId(0)), Reads::Tiers];
    assert_eq!(plan.consumers, reads.map(|reads| Consumer { source, reads }));
    assert_eq!(plan.consumer_name(&plan.consumers[usize::from(ConsumerId(1).0)]), "crm");
}

#[test]
fn a_key_under_all_targets_counts_for_those_that_go_by_one() {
    let text = format!("defaults: {{ key: body:org }}\n{}", with_target("url: https://x.example/"));
    let plan = plan(&text);
    assert_eq!((plan.targets[0].key, plan.fields.len()), (None, 0));
}

const STREAMS: &str = "\
sources:
  js: { nats: { servers: 'a:1', stream: S, subjects: [a] } }
  core: { nats: { servers: 'a:1', subjects: [b] } }
targets:
  crm: { url: https://x.example/, ordering: ORDER }
routes: [{ from: [FROM], to: [crm] }]
";

#[test]
fn order_that_a_broker_can_not_keep_is_refused() {
    let of = |order: &str, from: &str| faults(&STREAMS.replace("ORDER", order).replace("FROM", from));

    let [by_key] = &of("by_key", "js")[..] else { panic!("one fault") };
    assert!(
        by_key.starts_with(
            "h.yaml:5:45: targets.crm.ordering: the source js feeds it, and JetStream has no partitions"
        ),
        "{by_key}"
    );
    for order in ["by_key", "strict"] {
        let [core] = &of(order, "core")[..] else { panic!("one fault") };
        assert!(core.starts_with("h.yaml:5:45: targets.crm.ordering: the source core feeds it, and core NATS neither keeps an order"), "{core}");
    }
    let strict = plan(&STREAMS.replace("ORDER", "strict").replace("FROM", "js"));
    assert_eq!(strict.targets[0].ordering, Ordering::Strict);
}

#[test]
fn the_group_of_an_ordered_target_is_its_own() {
    let text = with_target("url: https://x.example/\nordering: strict").replacen(
        "sources: {",
        "sources: { o: { kafka: { brokers: 'b:1', topics: [u], group: hookferry-s.crm } },",
        1,
    );
    assert_eq!(
        faults(&text),
        [
            "h.yaml:1:62: sources.o.kafka.group: the events of s for its ordered target crm are read as a group of this name too; choose another"
        ]
    );
}

#[test]
fn priorities_of_routes_and_events_are_read() {
    let text = with_target("url: https://x.example/")
        .replacen("[t] } }", "[t] }, event: { priority: [header:p, body:p] } }", 1)
        .replacen("to: [crm]", "to: [crm], priority: -7", 1);
    let plan = plan(&text);
    assert_eq!(plan.routes[0].priority, -7);
    assert_eq!(plan.sources[0].event.priority.as_ref().map(Vec::len), Some(2));

    let text = text.replace("-7", "1001");
    assert_eq!(
        faults(&text),
        ["h.yaml:5:33: routes.route-1.priority: `1001` must be a number from -1000 to 1000"]
    );
}

#[test]
fn a_token_is_kept_secret_and_its_lack_is_named() {
    let text = with_target("url: https://x.example/");
    let with = |admin: &str| format!("{text}admin: {{ {admin} }}\n");

    let guarded = with("listen: '0.0.0.0:1', token: hunter2");
    let plan_guarded = plan(&guarded);
    assert_eq!(plan_guarded.admin.token.as_ref().map(|token| token.expose_secret()), Some("hunter2"));
    assert_eq!(plan_guarded.notices, [""; 0]);
    assert_eq!(setting(&guarded, "admin.token"), "*** from h.yaml:6:38");

    assert_eq!(
        plan(&with("listen: '0.0.0.0:1'")).notices,
        [
            "h.yaml:6:18: admin.listen: 0.0.0.0:1 is no loopback address and there is no `admin.token`, so /api refuses everything; metrics and probes need none"
        ]
    );
    let [wrong] = &faults(&with("token: 'hunter 2'"))[..] else { panic!("one fault") };
    assert!(wrong.starts_with("h.yaml:6:17: admin.token: a token has visible ASCII"), "{wrong}");
    assert!(!wrong.contains("hunter"));
}

#[test]
fn a_budget_of_memory_has_a_least_size() {
    let text = with_target("url: https://x.example/");
    assert_eq!(plan(&format!("{text}limits: {{ memory: 1GiB }}\n")).limits.memory, 1 << 30);
    assert_eq!(
        faults(&format!("{text}limits: {{ memory: 1MiB }}\n")),
        ["h.yaml:6:19: limits.memory: `1MiB` is too small; it must be at least 64MiB"]
    );
}

#[test]
fn a_rehearsal_divides_the_waits_of_retries() {
    let mut plan = plan(&with_target("url: https://x.example/\ndialect: ops-center\ntimeout: 30s"));

    plan.rehearse(600);

    let [target] = &plan.targets[..] else { panic!("one target") };
    let Backoff::Schedule { waits, .. } = &target.retry.backoff else { panic!("a schedule") };
    let millis: Vec<u128> = waits.iter().map(Duration::as_millis).collect();
    assert_eq!(millis, [100, 500, 1500, 6000, 12_000]);
    assert_eq!(target.retry.hold, Duration::from_millis(25));
    assert_eq!((plan.time_scale, target.timeout), (600, Duration::from_secs(30)));
}
