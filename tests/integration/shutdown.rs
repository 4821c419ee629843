//! Stops: drained, past the deadline, and never started.

use std::net::TcpListener;
use std::os::unix::net::UnixDatagram;
use std::time::{Duration, Instant};

use crate::bridge::Bridge;
use crate::process::{Folder, hookferry, text};
use crate::receiver::{Answer, Receiver};
use crate::scene::{Scene, event, events, one_target};
use crate::secure::{Authority, Secure};
use crate::stage::{Stage, on_every_broker};

on_every_broker! {
    a_stop_drains_what_is_in_flight_and_repeats_nothing,
    a_held_retry_does_not_delay_a_stop_and_comes_again,
    a_stop_past_its_deadline_ends_with_4_and_commits_nothing_open,
    a_second_signal_ends_it_at_once,
    stops_under_load_lose_nothing_and_repeat_nothing,
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

fn a_second_signal_ends_it_at_once<S: Stage>() {
    let scene = S::new("hurry", 1);
    let receiver = Receiver::start(|_| Answer::Hang);
    scene.publish([event(0)]);
    let rest = "shutdown: { deadline: 10m }";
    let mut bridge = Bridge::ready(&scene.one_target(&receiver.url("/"), "timeout: 5m", rest));
    receiver.wait_count(1);
    bridge.signal(libc::SIGTERM);
    bridge.wait_not_ready("draining");
    bridge.signal(libc::SIGTERM);
    assert_eq!(bridge.wait_exit(Duration::from_secs(20)).code(), Some(4), "{}", bridge.log());
    assert!(scene.is_untouched());
}

/// As often as `HOOKFERRY_SOAK_STOPS` says; scripts/soak has it done a hundred times.
fn stops_under_load_lose_nothing_and_repeat_nothing<S: Stage>() {
    const STARTED: usize = 20;
    let stops = std::env::var("HOOKFERRY_SOAK_STOPS").map_or(10, |stops| stops.parse().unwrap());
    let published = 40 * (stops + 1);
    let scene = S::new("stops", 2);
    let receiver =
        Receiver::start(|_| Answer::After(Duration::from_millis(20), Box::new(Answer::Status(200))));
    scene.publish(events(0..published, 2));
    let config = scene.one_target(&receiver.url("/"), "concurrency: 4, rate: { limit: 60/s, burst: 4 }", "");
    for stop in 1..=stops {
        let before = receiver.count();
        let mut bridge = Bridge::ready(&config);
        receiver.wait_count(before + STARTED);
        bridge.signal(libc::SIGTERM);
        let ended = bridge.wait_exit(Duration::from_secs(25)).code();
        assert_eq!(ended, Some(0), "stop {stop} of {stops}: {}", bridge.log());
    }
    assert!(receiver.count() < published, "every stop came in the middle");
    let bridge = Bridge::ready(&config);
    receiver.wait_events(published);
    scene.wait_settled();
    bridge.stop();
    assert_eq!(receiver.count(), published, "each exactly once, for all of it was drained in time");
}

/// What a service of systemd says of itself (`Type=notify`).
#[test]
fn the_service_manager_is_told_of_start_and_stop() {
    let scene = Scene::new("notify", 1);
    let folder = Folder::new("notify");
    let place = folder.path().join("socket");
    let manager = UnixDatagram::bind(&place).unwrap();
    manager.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let told = || {
        let mut buffer = [0; 64];
        let length = manager.recv(&mut buffer).expect("something is told in time");
        String::from_utf8_lossy(&buffer[..length]).trim().to_owned()
    };
    let config = scene.one_target("https://example.com/", "", "").replace("egress: private, ", "");
    let bridge = Bridge::start_in(&[("NOTIFY_SOCKET", place.to_str().unwrap())], &config);
    assert_eq!(told(), "READY=1");
    bridge.stop();
    assert_eq!(told(), "STOPPING=1");
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

#[test]
fn a_stop_while_tls_is_tried_ends_in_order() {
    // It refuses nothing by itself: the client does not know its authority, and tries again and again.
    let server = Secure::start(&Authority::new("unknown"), None, |_| ("200 OK", String::new()));
    let properties = "security.protocol: SSL, reconnect.backoff.ms: 1, reconnect.backoff.max.ms: 2";
    let source = |n| {
        let brokers = server.address();
        format!(
            "  s{n}: {{ kafka: {{ brokers: '{brokers}', topics: [events], properties: {{ {properties} }} }} }}\n"
        )
    };
    let sources: String = (0..10).map(source).collect();
    let config = format!("name: tls\nsources:\n{sources}{}", one_target("http://127.0.0.1:9/", "", ""));
    for _ in 0..4 {
        let bridges: Vec<Bridge> = (0..4).map(|_| Bridge::start(&config)).collect();
        for bridge in bridges {
            bridge.wait_log(&["ERROR", "check `security.protocol` and the `ssl.*` settings"]);
            bridge.stop();
        }
    }
}
