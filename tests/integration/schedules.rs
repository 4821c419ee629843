//! The schedules of the seed dialects (DIALECTS.md §5), with shortened waits.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::bridge::Bridge;
use crate::receiver::{Answer, Receiver, Request};
use crate::record::Record;
use crate::scene::{SECRET, Scene};
use crate::stage::{Stage, on_every_broker};

/// How much later than due an attempt may be on a busy machine.
const LATE: Duration = Duration::from_secs(3);

fn event() -> Record {
    Record::json(&serde_json::json!({
        "event_id": "s-1", "type": "cost.alert", "time": "2025-01-02T03:04:05Z", "data": { "title": "t" }
    }))
}

fn target(dialect: &str, receiver: &Receiver) -> String {
    let url = receiver.url(&format!("/{dialect}"));
    format!(
        "targets: {{ it: {{ url: '{url}', egress: private, dialect: {dialect}, secrets: ['{SECRET}'] }} }}
routes: [{{ name: all, to: [it] }}]"
    )
}

/// Asserts that attempts came after these waits, in seconds at full length, give or take a tenth.
#[track_caller]
fn assert_waits(requests: &[Arc<Request>], time_scale: u32, waits: &[u64]) {
    let times: Vec<Instant> = requests.iter().map(|request| request.at).collect();
    assert_eq!(times.len(), waits.len() + 1);
    for (pair, wait) in times.windows(2).zip(waits) {
        let due = Duration::from_secs(*wait) / time_scale;
        let waited = pair[1] - pair[0];
        assert!(waited >= due.mul_f64(0.9) && waited <= due.mul_f64(1.1) + LATE, "{waited:?}, not {due:?}");
    }
}

/// One delivery that fails until it is given up.
fn runs_its_schedule(dialect: &str, time_scale: u32, waits: &[u64]) {
    let scene = Scene::new(dialect, 1);
    let receiver = Receiver::start(|_| Answer::Status(500));
    let bridge = Bridge::rehearsing(&scene.config(&target(dialect, &receiver)), time_scale);
    scene.publish([event()]);

    let letters = scene.wait_letters(1);
    assert_waits(&receiver.requests(), time_scale, waits);
    assert_eq!(letters[0].header("hookferry-attempts"), Some((waits.len() + 1).to_string().as_str()));
    assert_eq!(letters[0].header("hookferry-reason"), Some("exhausted"));
    bridge.stop();
}

#[test]
fn cost_katana() {
    runs_its_schedule("cost-katana", 20, &[5, 10, 20, 40, 80]);
}

#[test]
fn llm_optimizer() {
    runs_its_schedule("llm-optimizer", 4, &[1, 2, 4, 8]);
}

#[test]
fn dcision() {
    runs_its_schedule("dcision", 2, &[1, 2]);
}

on_every_broker!(ops_center_across_sigkills);

/// Its waits are those of the tiers: attempts are counted on by whichever process comes next.
fn ops_center_across_sigkills<S: Stage>() {
    let stage = S::new("ops-center", 1);
    let receiver = Receiver::start(|_| Answer::Status(500));
    let config = stage.config(&target("ops-center", &receiver));
    let start = || Bridge::rehearsing(&config, SCALE);
    const SCALE: u32 = 600;
    let mut bridge = start();
    stage.publish([event()]);

    // What a killed process had open on JetStream comes again after a minute only.
    let kills: &[usize] = if S::KEYS { &[2, 4] } else { &[4] };
    for attempts in kills {
        receiver.wait_count(*attempts);
        // The move is confirmed; now it waits on the broker only.
        bridge.wait_log(&["moved to a retry tier", if *attempts == 2 { "5m" } else { "1h" }]);
        bridge.kill();
        bridge = start();
    }
    receiver.wait_count(6);
    let letters = stage.wait_letters(1);
    let requests = receiver.requests();
    assert_eq!(letters[0].header("hookferry-attempts"), Some("6"));
    assert_eq!(letters[0].header("hookferry-reason"), Some("exhausted"));
    // A kill before the last commit repeats a move, and with it what follows; no attempt is left out.
    assert!(requests.len() >= 6, "{}", requests.len());
    bridge.stop();
}
