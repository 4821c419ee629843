//! Stops: drained, past the deadline, and never started.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use crate::bridge::Bridge;
use crate::process::{Folder, hookferry, text};
use crate::receiver::{Answer, Receiver};
use crate::scene::{Scene, event, events};
use crate::stage::{Stage, on_every_broker};

on_every_broker! {
    a_stop_drains_what_is_in_flight_and_repeats_nothing,
    a_held_retry_does_not_delay_a_stop_and_comes_again,
    a_stop_past_its_deadline_ends_with_4_and_commits_nothing_open,
}

fn a_stop_drains_what_is_in_flight_and_repeats_nothing<S: Stage>() {
    for signal in [libc::SIGTERM, libc::SIGINT] {
        let scene = S::new("drain", 2);
        let slow = || Answer::After(Duration::from_millis(300), Box::new(Answer::Status(200)));
        let receiver = Receiver::start(move |_| slow());
        scene.publish(events(0..200, 2));
        let config = scene.one_target(&receiver.url("/"), "concurrency: 8", "");
        let mut bridge = Bridge::ready(&config);
        receiver.wait_count(20);
        bridge.signal(signal);
        assert_eq!(bridge.wait_exit(Duration::from_secs(20)).code(), Some(0), "{}", bridge.log());
        assert!(receiver.count() < 200, "stopped in the middle");
        let bridge = Bridge::ready(&config);
        receiver.wait_events(200);
        scene.wait_settled();
        bridge.stop();
        assert_eq!(receiver.count(), 200, "each exactly once");
    }
}

fn a_held_retry_does_not_delay_a_stop_and_comes_again<S: Stage>() {
    let scene = S::new("held", 1);
    let receiver = Receiver::start(|request| match request.path.as_str() {
        "/failing" => Answer::Status(503),
        _ => Answer::Status(200),
    });
    scene.publish([event(0)]);
    let keys = "retry: { attempts: 3, initial: 5m, max_delay: 5m, jitter: none, hold: 10m }";
    let bridge = Bridge::ready(&scene.one_target(&receiver.url("/failing"), keys, ""));
    receiver.wait_count(1);
    bridge.wait_metric("hookferry_queue_deliveries", &[("state", "retrying")], 1.0);
    let started = Instant::now();
    bridge.stop();
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
    assert!(scene.is_untouched());
    let bridge = Bridge::ready(&scene.one_target(&receiver.url("/fine"), keys, ""));
    receiver.wait_count(2);
    scene.wait_settled();
    bridge.stop();
}

fn a_stop_past_its_deadline_ends_with_4_and_commits_nothing_open<S: Stage>() {
    let scene = S::new("deadline", 1);
    let receiver = Receiver::start(|_| Answer::Hang);
    scene.publish([event(0)]);
    let rest = "shutdown: { deadline: 10s }";
    let mut bridge = Bridge::ready(&scene.one_target(&receiver.url("/"), "timeout: 5m", rest));
    receiver.wait_count(1);
    let started = Instant::now();
    bridge.signal(libc::SIGTERM);
    bridge.wait_not_ready("draining");
    assert_eq!(bridge.wait_exit(Duration::from_secs(60)).code(), Some(4), "{}", bridge.log());
    // A part of the deadline is kept for the last writes.
    assert!(started.elapsed() >= Duration::from_secs(5), "{:?}", started.elapsed());
    assert!(scene.is_untouched());
}

#[test]
fn a_taken_port_ends_with_3_and_says_which() {
    let scene = Scene::new("port", 1);
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let folder = Folder::new("port");
    let config = scene.one_target("https://example.com/", "", &format!("admin: {{ listen: '{address}' }}"));
    let config = config.replace("egress: private, ", "");
    let path = folder.file("hookferry.yaml", &config);
    let output = hookferry(&["run", "-c", path.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(3), "{}", text(&output));
    assert!(text(&output).contains(&address), "{}", text(&output));
    assert!(scene.cluster.committed(&scene.group, &scene.topic).is_empty());
}
