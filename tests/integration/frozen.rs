//! A process that was frozen longer than its session does nothing for what others own by now.

use std::collections::{BTreeMap, HashSet};
use std::time::{Duration, Instant};

use crate::bridge::Bridge;
use crate::receiver::{Answer, Receiver};
use crate::scene::{Scene, events, one_target};
use crate::stage::{Stage, on_every_broker};
use crate::wait;

on_every_broker! {
    a_thawed_replica_makes_no_attempt_that_fell_due_meanwhile,
}

const PARTITIONS: usize = 4;

#[test]
fn a_thawed_replica_starts_no_old_request_and_commits_nothing_old() {
    let scene = Scene::new("frozen", PARTITIONS as i32);
    let slow = || Answer::After(Duration::from_millis(20), Box::new(Answer::Status(200)));
    let receiver = Receiver::start(move |_| slow());
    let concurrency = 4;
    let config = |path: &str| {
        let target = one_target(&receiver.url(path), &format!("concurrency: {concurrency}"), "");
        scene.kafka_config("", "session.timeout.ms: 6000, heartbeat.interval.ms: 1000", &target)
    };
    scene.cluster.produce(&scene.topic, events(0..3000, PARTITIONS));
    let first = Bridge::ready(&config("/first"));
    receiver.wait_count(200);

    first.signal(libc::SIGSTOP);
    let second = Bridge::ready(&config("/second"));
    // The second replica has all partitions once it delivers of each.
    wait::until(
        "the second replica delivers of all partitions",
        Duration::from_secs(40),
        || format!("{} by the second", receiver.requests_to("/second").len()),
        || (partitions(&receiver, "/second").len() == PARTITIONS).then_some(()),
    );
    let committed = || scene.cluster.committed(&scene.group, &scene.topic);
    let before = committed();

    let thawed = Instant::now();
    first.signal(libc::SIGCONT);
    let mut last = before;
    scene.cluster.wait_members(&scene.group, 2);
    wait::until(
        "everything is delivered",
        Duration::from_secs(60),
        || format!("{} events", receiver.events().len()),
        || {
            last = never_back(&last, committed());
            (receiver.events().len() == 3000).then_some(())
        },
    );
    scene.cluster.wait_committed_to_end(&scene.group, &scene.topic);
    never_back(&last, committed());

    // After the thaw the first replica may get partitions again by a new assignment, and delivers
    // what the second one left. What the second one delivers at any time is the second one's: a
    // request of the first for it was started under the old assignment.
    let owned: HashSet<String> =
        receiver.requests_to("/second").iter().map(|request| request.event()).collect();
    let late = receiver.requests_to("/first").into_iter().filter(|request| request.at > thawed);
    let repeated: Vec<String> =
        late.map(|request| request.event()).filter(|event| owned.contains(event)).collect();
    assert!(
        repeated.len() <= concurrency,
        "only what was on the wire at the freeze may still arrive: {repeated:?}"
    );
    second.stop();
    first.stop();
}

/// Asserts that no offset is behind an earlier look, and returns the later one.
fn never_back(earlier: &BTreeMap<i32, i64>, later: BTreeMap<i32, i64>) -> BTreeMap<i32, i64> {
    for (partition, offset) in earlier {
        let now = later.get(partition).copied().unwrap_or(-1);
        assert!(now >= *offset, "partition {partition} went from {offset} back to {now}");
    }
    later
}

fn partitions(receiver: &Receiver, path: &str) -> HashSet<usize> {
    let number = |n: &serde_json::Value| n.as_u64().unwrap() as usize % PARTITIONS;
    receiver.requests_to(path).iter().map(|request| number(&request.json()["n"])).collect()
}

fn a_thawed_replica_makes_no_attempt_that_fell_due_meanwhile<S: Stage>() {
    const EVENTS: usize = 400;
    // Long enough to freeze the first replica before any of its retries is due.
    const RETRY: Duration = Duration::from_secs(20);
    let scene = S::new("thawed", PARTITIONS as i32);
    let receiver = Receiver::start(|request| match request.path.as_str() {
        "/first" => Answer::Status(503),
        _ => Answer::Status(200),
    });
    let config = |path: &str| {
        let keys = format!(
            "concurrency: 200, breaker: 'off', retry: {{ schedule: [{}s], hold: 1m }}",
            RETRY.as_secs()
        );
        let target = one_target(&receiver.url(path), &keys, "");
        scene.hasty_config(&target)
    };
    scene.publish(events(0..EVENTS, PARTITIONS));
    let first = Bridge::start(&config("/first"));
    receiver.wait_count(EVENTS);
    first.signal(libc::SIGSTOP);
    let refused = receiver.count();
    let last_refusal = receiver.requests().iter().map(|request| request.at).max().unwrap();
    let second = Bridge::ready(&config("/second"));
    wait::until(
        "the second replica has delivered everything",
        Duration::from_secs(40),
        || format!("{} by the second", receiver.requests_to("/second").len()),
        || (receiver.requests_to("/second").len() == EVENTS).then_some(()),
    );
    scene.wait_settled();

    wait::until(
        "all retries of the first are due",
        RETRY * 2,
        || format!("{:?} since the last refusal", last_refusal.elapsed()),
        || (last_refusal.elapsed() > RETRY + Duration::from_secs(1)).then_some(()),
    );
    // And all of them are somebody else's by now.
    first.signal(libc::SIGCONT);
    first.wait_log(&["WARN", "stood still"]);
    scene.wait_replicas(2);
    wait::throughout(
        "the first replica starts no request",
        Duration::from_secs(2),
        || format!("{} requests by the first", receiver.requests_to("/first").len()),
        || receiver.requests_to("/first").len() == refused,
    );
    scene.wait_settled();
    assert_eq!(receiver.requests_to("/second").len(), EVENTS, "and the second repeats nothing");
    second.stop();
    first.stop();
}
