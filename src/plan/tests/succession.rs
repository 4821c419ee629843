use std::sync::Arc;

use super::examined;
use crate::domain::TargetId;
use crate::plan::{Examined, NeedsRestart, Succession, succeed};

const BASE: &str = "\
limits: { in_flight: 100 }
sources: { s: { kafka: { brokers: 'b:9092', topics: [t] } } }
targets:
  crm: { url: 'https://crm.example.com/', rate: { limit: 10/s } }
  led: { url: 'https://led.example.com/', ordering: strict }
  shop: { url: 'https://shop.example.com/', auth: { bearer: a-secret-of-the-shop } }
routes:
  - { name: all, where: { a: 1, b: 2 }, to: [crm, shop] }
  - { name: led, to: [led] }
";

fn read(text: &str) -> Examined {
    examined(text).unwrap_or_else(|faults| panic!("{faults}"))
}

fn follow(new: &str) -> Result<(Examined, Succession), NeedsRestart> {
    let old = read(BASE);
    let next = succeed(&old.plan, &old.settings, read(new))?;
    Ok((old, next))
}

fn changed(from: &str, to: &str) -> (Examined, Succession) {
    assert!(BASE.contains(from), "{from}");
    follow(&BASE.replace(from, to)).unwrap_or_else(|keys| panic!("{keys}"))
}

#[test]
fn what_did_not_change_is_the_same() {
    let (old, next) = changed("limits: { in_flight: 100 }", "limits: { in_flight: 200 }");
    let paths: Vec<&str> = next.changes.iter().map(|change| &*change.path).collect();
    assert_eq!(paths, ["limits.in_flight"]);
    assert!(old.plan.targets.iter().zip(&next.plan.targets).all(|(old, new)| Arc::ptr_eq(old, new)));
}

#[test]
fn a_secret_that_changes_makes_its_target_another_one_and_is_not_shown() {
    let (old, next) = changed("a-secret-of-the-shop", "another-secret-of-the-shop");
    let same: Vec<bool> =
        old.plan.targets.iter().zip(&next.plan.targets).map(|(old, new)| Arc::ptr_eq(old, new)).collect();
    assert_eq!(same, [true, true, false]);
    let [change] = &next.changes[..] else { panic!("{:?}", next.changes) };
    assert_eq!((change.old.as_deref(), change.new.as_deref()), (Some("***"), Some("***")));
}

#[test]
fn targets_and_fields_keep_their_numbers() {
    let new = BASE
        .replace("  crm: { url: 'https://crm.example.com/', rate: { limit: 10/s } }\n", "")
        .replace("targets:\n", "targets:\n  bank: { url: 'https://bank.example.com/' }\n")
        .replace("where: { a: 1, b: 2 }, to: [crm, shop]", "where: { c: 3, b: 2 }, to: [bank, shop]");
    let (old, next) = follow(&new).unwrap_or_else(|keys| panic!("{keys}"));
    let names: Vec<&str> = next.plan.targets.iter().map(|target| &*target.name).collect();
    assert_eq!(names, ["crm", "led", "shop", "bank"]);
    assert_eq!(next.plan.removed, [TargetId(0)].into());
    assert_eq!(next.plan.routes[0].to, [TargetId(3), TargetId(2)]);
    assert_eq!(old.plan.fields, next.plan.fields[..2]);
    let fields: Vec<usize> = next.plan.routes[0].conditions.iter().map(|condition| condition.field).collect();
    assert_eq!(fields, [2, 1]);
    assert_eq!(old.plan.consumers, next.plan.consumers, "led has its own consumer still");

    let again = succeed(&next.plan, &next.settings, read(BASE)).unwrap_or_else(|keys| panic!("{keys}"));
    assert_eq!(again.plan.removed, [TargetId(3)].into(), "crm is back, and bank is gone");
    assert_eq!(again.plan.routes[0].to, [TargetId(0), TargetId(2)]);
}

#[test]
fn a_rate_is_divided_by_the_replicas_of_now() {
    let (old, next) = changed("limits: { in_flight: 100 }", "replicas: 2\nlimits: { in_flight: 100 }");
    let rates = [&old.plan, &next.plan].map(|plan| plan.targets[0].rate.expect("a rate").per_second);
    assert_eq!(rates, [10.0, 5.0]);
    assert!(Arc::ptr_eq(&old.plan.targets[2], &next.plan.targets[2]), "shop has none");
}

#[test]
fn what_only_a_new_process_can_have_is_refused_by_its_key() {
    for (from, to, key) in [
        ("limits: {", "name: other\nlimits: {", "name"),
        ("limits: {", "admin: { listen: '127.0.0.1:1' }\nlimits: {", "admin.listen"),
        ("limits: {", "log: { format: json }\nlimits: {", "log.format"),
        ("limits: {", "limits: { memory: 300MiB,", "limits.memory"),
        ("topics: [t]", "topics: [t, u]", "sources.s.kafka.topics"),
        ("sources: {", "sources: { z: { kafka: { brokers: 'b:1', topics: [z] } },", "sources.z"),
        ("routes:\n", "dead_letters: { topic: mine }\nroutes:\n", "dead_letters.topic"),
        (", ordering: strict", "", "targets.led (the consumers of an ordered target)"),
        ("to: [crm, shop]", "from: [s], to: [shop], priority: 1", ""),
    ] {
        assert!(BASE.contains(from), "{from}");
        let result = follow(&BASE.replace(from, to)).map(drop);
        match (key, result) {
            ("", result) => assert_eq!(result, Ok(()), "{to}"),
            (key, Err(NeedsRestart(keys))) => assert!(keys.iter().any(|own| own == key), "{keys:?} for {to}"),
            (key, Ok(())) => panic!("{key} was let through"),
        }
    }
}

#[test]
fn where_the_parts_of_an_event_are_may_change() {
    let (_, next) =
        changed("topics: [t] } }", "topics: [t] }, tombstones: deliver, event: { type: [header:kind] } }");
    assert!(next.plan.sources[0].event.event_type.is_some());
}

#[test]
fn the_order_of_routes_is_a_change() {
    let lines = "  - { name: all, where: { a: 1, b: 2 }, to: [crm, shop] }\n  - { name: led, to: [led] }\n";
    let other = "  - { name: led, to: [led] }\n  - { name: all, where: { a: 1, b: 2 }, to: [crm, shop] }\n";
    let (_, next) = changed(lines, other);
    assert_eq!(next.changes.len(), 1, "{:?}", next.changes);
    assert_eq!((&*next.changes[0].path, next.changes[0].new.as_deref()), ("routes", Some("led, all")));
}
