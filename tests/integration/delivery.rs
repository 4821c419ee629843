//! Events reach exactly the targets that their routes name.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use serde_json::{Value, json};

use crate::bridge::Bridge;
use crate::kafka::Cluster;
use crate::receiver::{Answer, Receiver, Request};
use crate::record::Record;
use crate::scene::{Scene, event, events, one_target};
use crate::stage::{Stage, on_every_broker};
use crate::wait;

on_every_broker! {
    twenty_thousand_events_reach_exactly_their_targets,
    connections_are_reused_and_bounded_by_concurrency,
    a_dead_and_a_hanging_target_delay_no_other,
    a_new_group_starts_where_it_is_told_and_only_then,
}

const EVENTS: usize = 20_000;

fn order(n: usize) -> Value {
    let kind = ["order.created", "order.line.added", "invoice.paid"][n % 3];
    let severity = ["low", "medium", "high", "critical"][n % 4];
    json!({ "event_id": format!("e-{n}"), "type": kind, "severity": severity, "cost": { "amount": n % 200 } })
}

fn refused(request: &Request) -> bool {
    request.path == "/all" && request.json()["cost"]["amount"] == 13
}

fn twenty_thousand_events_reach_exactly_their_targets<S: Stage>() {
    let scene = S::new("many", 12);
    let receiver = Receiver::start(|request| Answer::Status(if refused(request) { 400 } else { 200 }));
    let records = (0..EVENTS).map(|n| Record::json(&order(n)).in_partition((n % 12) as i32));
    scene.publish(records);
    let url = receiver.url("");
    let bridge = Bridge::ready(&scene.config(&format!(
        "targets:
  all: {{ url: '{url}/all', egress: private }}
  orders: {{ url: '{url}/orders', egress: private }}
  severe: {{ url: '{url}/severe', egress: private }}
  costly: {{ url: '{url}/costly', egress: private }}
routes:
  - {{ name: all, types: ['*'], to: [all] }}
  - {{ name: orders, types: ['order.*', '!order.line.*'], to: [orders] }}
  - {{ name: severe, types: ['*'], where: {{ severity: [high, critical] }}, to: [severe] }}
  - {{ name: costly, types: [invoice.paid], where: {{ cost.amount: {{ gte: 150 }} }}, to: [costly] }}"
    )));
    let wanted: HashMap<&str, BTreeSet<String>> = [
        ("/all", chosen(|_| true)),
        ("/orders", chosen(|e| e["type"] == "order.created")),
        ("/severe", chosen(|e| e["severity"] == "high" || e["severity"] == "critical")),
        ("/costly", chosen(|e| e["type"] == "invoice.paid" && e["cost"]["amount"].as_u64() >= Some(150))),
    ]
    .into();
    receiver.wait_count(wanted.values().map(BTreeSet::len).sum());
    scene.wait_settled();
    let mut came: HashMap<String, Vec<String>> = HashMap::new();
    for request in receiver.requests() {
        came.entry(request.path.clone()).or_default().push(request.event());
    }
    for (path, wanted) in &wanted {
        let got = &came[*path];
        assert_eq!(got.len(), wanted.len(), "each once at {path}");
        assert_eq!(&got.iter().cloned().collect::<BTreeSet<_>>(), wanted, "the right ones at {path}");
    }
    let refused = chosen(|e| e["cost"]["amount"] == 13);
    let letters = scene.letters();
    let found: BTreeSet<String> = letters.iter().map(original_id).collect();
    assert_eq!((letters.len(), found), (refused.len(), refused));
    bridge.stop();
}

fn chosen(takes: impl Fn(&Value) -> bool) -> BTreeSet<String> {
    let id = |e: Value| e["event_id"].as_str().unwrap().to_owned();
    (0..EVENTS).map(order).filter(|e| takes(e)).map(id).collect()
}

fn original_id(letter: &Record) -> String {
    let value: Value = serde_json::from_slice(letter.value.as_deref().unwrap()).unwrap();
    value["event_id"].as_str().unwrap().to_owned()
}

fn connections_are_reused_and_bounded_by_concurrency<S: Stage>() {
    let scene = S::new("reuse", 4);
    let receiver = Receiver::ok();
    scene.publish(events(0..2000, 4));
    let bridge = Bridge::ready(&scene.one_target(&receiver.url("/"), "concurrency: 4", ""));
    receiver.wait_events(2000);
    assert!(receiver.connections() <= 4, "{} connections", receiver.connections());
    bridge.stop();
}

fn a_dead_and_a_hanging_target_delay_no_other<S: Stage>() {
    let scene = S::new("alone", 2);
    let receiver = Receiver::start(|request| match request.path.as_str() {
        "/hang" => Answer::Hang,
        _ => Answer::Status(200),
    });
    let nobody = crate::bridge::free_port();
    scene.publish(events(0..1000, 2));
    let (good, hang) = (receiver.url("/good"), receiver.url("/hang"));
    let _bridge = Bridge::ready(&scene.config(&format!(
        "targets:
  good: {{ url: '{good}', egress: private }}
  hang: {{ url: '{hang}', egress: private, timeout: 60s, concurrency: 2 }}
  dead: {{ url: 'http://127.0.0.1:{nobody}/', egress: private, retry: {{ attempts: 3, initial: 30s, factor: 1, jitter: none }} }}
routes:
  - {{ types: ['*'], to: [good, hang, dead] }}"
    )));
    wait::until(
        "all events at the good target",
        Duration::from_secs(20),
        || format!("{}", receiver.requests_to("/good").len()),
        || (receiver.requests_to("/good").len() == 1000).then_some(()),
    );
    assert_eq!(receiver.requests_to("/hang").len(), 2);
}

#[test]
fn topics_are_taken_by_pattern_and_own_topics_never() {
    let scene = Scene::new("pattern", 1);
    let receiver = Receiver::start(|_| Answer::Status(400));
    let other = format!("{}.more", scene.name);
    // The pattern matches it as well, and it is there and holds something from the start.
    let own = scene.dead_letters();
    for (topic, n) in [(&other, 1), (&own, 9)] {
        scene.cluster.create_topic(topic, 1);
        scene.cluster.produce(topic, [event(n)]);
    }
    scene.cluster.produce(&scene.topic, [event(0)]);
    let quick = "topic.metadata.refresh.interval.ms: 1000";
    let config = scene
        .kafka_config("", quick, &one_target(&receiver.url("/"), "", ""))
        .replace(&format!("['{}']", scene.topic), &format!("['^{}\\..*']", scene.name));
    let bridge = Bridge::ready(&config);
    // Each is refused and goes to the dead letters.
    scene.cluster.wait_records(&own, 3);
    scene.cluster.produce(&scene.topic, [event(2)]);
    scene.cluster.wait_records(&own, 4);
    wait::throughout(
        "nothing of the dead letters is delivered",
        Duration::from_secs(3),
        || format!("{:?}", receiver.events()),
        || receiver.count() == 3,
    );
    bridge.stop();
}

fn a_new_group_starts_where_it_is_told_and_only_then<S: Stage>() {
    let scene = S::new("start", 1);
    let receiver = Receiver::ok();
    let earliest = scene.one_target(&receiver.url("/"), "", "");
    let latest = earliest.replace("start: earliest", "start: latest");
    scene.publish(events(0..5, 1));
    let bridge = Bridge::ready(&latest);
    scene.publish([event(5)]);
    receiver.wait_events(1);
    assert!(receiver.events().contains_key("e-5"), "latest skips what was there before");
    bridge.stop();
    scene.wait_settled();
    scene.publish([event(6)]);
    let bridge = Bridge::ready(&earliest);
    receiver.wait_events(2);
    bridge.stop();
    assert_eq!(receiver.count(), 2, "a group with commits ignores `start`");
}

#[test]
fn cloudevents_are_recognised_in_both_forms() {
    let scene = Scene::new("cloud", 1);
    let receiver = Receiver::ok();
    let binary = Record::json(&json!({ "event_id": "of-the-entity" }))
        .with("ce_specversion", "1.0")
        .with("ce_id", "ce-1")
        .with("ce_type", "cloud.binary")
        .with("ce_source", "/here")
        .with("content-type", "application/json");
    let structured = Record::json(&json!({
        "specversion": "1.0", "id": "ce-2", "type": "cloud.structured", "source": "/here",
        "data": { "event_id": "of-the-entity" }
    }))
    .with("content-type", "application/cloudevents+json");
    scene.cluster.produce(&scene.topic, [binary, structured]);
    let bridge = Bridge::ready(&scene.config(&format!(
        "targets:
  sink: {{ url: '{}', egress: private, dialect: github, secrets: [a-secret] }}
routes:
  - {{ types: ['cloud.*'], to: [sink] }}",
        receiver.url("/")
    )));
    receiver.wait_count(2);
    let seen: BTreeSet<_> = receiver.requests().iter().map(|r| parts(r)).collect();
    let wanted = [("cloud.binary", "ce-1"), ("cloud.structured", "ce-2")];
    assert_eq!(seen, wanted.map(|(a, b)| (a.to_owned(), b.to_owned())).into());
    bridge.stop();
}

fn parts(request: &Request) -> (String, String) {
    let header = |name| request.header(name).unwrap_or_default().to_owned();
    (header("x-github-event"), header("x-github-delivery"))
}

#[test]
fn two_sources_share_one_bridge() {
    let scene = Scene::new("pair", 1);
    let second = Scene::new("pair", 1);
    let receiver = Receiver::ok();
    scene.cluster.produce(&scene.topic, [event(1)]);
    second.cluster.produce(&second.topic, [event(2)]);
    let brokers = Cluster::shared().brokers().to_owned();
    let (topic, group) = (&second.topic, &second.group);
    let more = format!(
        "  more:
    kafka: {{ brokers: '{brokers}', topics: ['{topic}'], group: {group}, start: earliest }}"
    );
    let config = scene.config(&format!("{more}\n{}", one_target(&receiver.url("/"), "", "")));
    let bridge = Bridge::ready(&config);
    receiver.wait_events(2);
    bridge.wait_metric("hookferry_events_total", &[("source", "more"), ("result", "routed")], 1.0);
    assert!(bridge.metric("hookferry_rebalances_total", &[("source", "more")]) >= Some(1.0));
    bridge.stop();
    second.cluster.wait_committed_to_end(&second.group, &second.topic);
}
