//! What only a durable on a JetStream stream can meet.

use std::time::Duration;

use async_nats::jetstream::consumer::{AckPolicy, pull};
use async_nats::jetstream::stream::{Config, RetentionPolicy};

use crate::bridge::Bridge;
use crate::nats::{PrivateServer, Server};
use crate::nats_scene::NatsScene;
use crate::receiver::{Answer, Receiver, Request};
use crate::scene::{event, events, one_target};
use crate::stage::Stage;
use crate::wait;

/// A receiver at which one event hangs; everything else is taken.
fn hanging_at(number: u64) -> Receiver {
    Receiver::start(move |request: &Request| match request.json()["n"].as_u64() {
        Some(n) if n == number => Answer::Hang,
        _ => Answer::Status(200),
    })
}

#[test]
fn an_open_event_is_not_acknowledged_and_all_others_are() {
    let scene = NatsScene::stream("open");
    // Event 6 has the sequence 7.
    let receiver = hanging_at(6);
    scene.publish(events(0..500, 1));
    let bridge = Bridge::ready(&scene.one_target(&receiver.url("/"), "timeout: 5m", ""));
    receiver.wait_events(500);
    let state = || {
        let info = scene.consumer().unwrap();
        (info.ack_floor.stream_sequence, info.num_ack_pending, info.num_pending)
    };
    wait::until(
        "all but the open event are acknowledged",
        Duration::from_secs(30),
        || format!("{:?}", state()),
        || (state() == (6, 1, 0)).then_some(()),
    );
    scene.publish(events(500..600, 1));
    receiver.wait_events(600);
    wait::throughout(
        "the acknowledged ones end before the open event",
        Duration::from_secs(3),
        || format!("{:?}", state()),
        || state().0 == 6,
    );
    receiver.release();
    scene.wait_settled();
    bridge.stop();
    assert_eq!(receiver.count(), 600);
}

#[test]
fn a_durable_that_is_deleted_is_made_anew_where_it_was() {
    let scene = NatsScene::stream("deleted");
    let receiver = hanging_at(100);
    scene.publish(events(0..100, 1));
    let bridge = Bridge::ready(&scene.one_target(&receiver.url("/"), "timeout: 5m", ""));
    receiver.wait_events(100);
    scene.wait_settled();
    scene.publish([event(100)]);
    receiver.wait_events(101);
    scene.server.delete_consumer(&scene.stream, &scene.durable);
    scene.publish(events(101..200, 1));
    receiver.wait_events(200);
    bridge.wait_log(&["WARN", "made the durable", "anew, from message 101 on"]);
    receiver.release();
    scene.wait_settled();
    bridge.wait_ready();
    bridge.stop();
    assert_eq!(receiver.count(), 200, "what was settled or open is not sent again");
}

#[test]
fn a_durable_on_a_work_queue_is_made_anew_too() {
    let scene = NatsScene::named(Server::shared(), "requeued");
    scene.server.create_stream(Config { retention: RetentionPolicy::WorkQueue, ..scene.stream_config() });
    let receiver = hanging_at(20);
    scene.publish(events(0..21, 1));
    let bridge = Bridge::ready(&scene.one_target(&receiver.url("/"), "timeout: 5m", ""));
    receiver.wait_events(21);
    scene.server.wait_count(&scene.stream, 1);
    scene.server.delete_consumer(&scene.stream, &scene.durable);
    scene.publish(events(21..40, 1));
    receiver.wait_events(40);
    receiver.release();
    scene.server.wait_count(&scene.stream, 0);
    bridge.stop();
    assert_eq!(receiver.count(), 40, "what was open or settled is not sent again");
}

#[test]
fn a_durable_that_is_edited_under_us_is_noticed() {
    let scene = NatsScene::stream("edited");
    let receiver = Receiver::ok();
    scene.publish([event(0)]);
    let bridge = Bridge::ready(&scene.one_target(&receiver.url("/"), "", ""));
    receiver.wait_events(1);
    scene.wait_settled();
    let found = scene.consumer().unwrap().config;
    let ours = pull::Config {
        durable_name: Some(scene.durable.clone()),
        description: found.description,
        deliver_policy: found.deliver_policy,
        ack_policy: AckPolicy::Explicit,
        ack_wait: found.ack_wait,
        max_ack_pending: found.max_ack_pending,
        max_deliver: -1,
        max_waiting: found.max_waiting,
        filter_subject: scene.subject(">"),
        ..pull::Config::default()
    };
    scene.server.create_consumer(&scene.stream, pull::Config { max_deliver: 5, ..ours.clone() });
    bridge.wait_not_ready("max_deliver is 5");
    // Once it is mended, it goes on by itself.
    scene.server.create_consumer(&scene.stream, ours);
    scene.publish([event(1)]);
    receiver.wait_events(2);
    bridge.wait_ready();
    bridge.stop();
}

#[test]
fn a_stream_that_is_deleted_and_made_anew_is_read_from_its_beginning() {
    let scene = NatsScene::stream("remade");
    let receiver = hanging_at(50);
    // With `latest`: what is in the new stream before it is seen is read nevertheless.
    let config = scene.nats_config("start: latest", &one_target(&receiver.url("/"), "timeout: 5m", ""));
    let bridge = Bridge::ready(&config);
    scene.publish(events(0..50, 1));
    receiver.wait_events(50);
    scene.wait_settled();
    scene.publish([event(50)]);
    receiver.wait_events(51);
    scene.server.delete_stream(&scene.stream);
    scene.create(1);
    scene.publish(events(51..100, 1));
    receiver.wait_events(100);
    receiver.release();
    scene.wait_settled();
    bridge.wait_log(&["ERROR", "deleted and made anew"]);
    bridge.wait_ready();
    let delivered = [("target", "sink"), ("outcome", "delivered")];
    bridge.wait_metric("hookferry_deliveries_total", &delivered, 100.0);
    bridge.stop();
    assert_eq!(receiver.count(), 100);
}

#[test]
fn what_was_not_read_of_a_stream_that_is_deleted_is_counted_as_lost() {
    let scene = NatsScene::stream("unread");
    let receiver = Receiver::start(|_| Answer::Hang);
    scene.publish(events(0..50, 1));
    let window = "limits: { window: { events: 10 } }";
    let bridge = Bridge::ready(&scene.one_target(&receiver.url("/"), "timeout: 5m", window));
    receiver.wait_events(10);
    scene.server.delete_stream(&scene.stream);
    let line = bridge.wait_log(&["ERROR", &scene.stream, "was deleted with 40 messages"]);
    assert!(line.contains("publish them again"), "{line}");
    scene.create(1);
    scene.publish(events(50..55, 1));
    receiver.release();
    receiver.wait_events(15);
    scene.wait_settled();
    for (reason, messages) in [("deleted", 40.0), ("retention", 0.0)] {
        let labels = [("source", "events"), ("reason", reason)];
        bridge.wait_metric("hookferry_events_lost_total", &labels, messages);
    }
    bridge.stop();
}

#[test]
fn a_server_that_stops_giving_signs_of_life_is_pulled_from_anew() {
    let mut private = PrivateServer::new();
    let scene = NatsScene::stream_on(private.start(), "silent");
    let receiver = Receiver::ok();
    let bridge = Bridge::ready(&scene.hasty_config(&one_target(&receiver.url("/"), "", "")));
    scene.publish(events(0..10, 1));
    receiver.wait_events(10);
    scene.wait_settled();
    // Its connections stay open: nothing but the missing signs tells of it.
    private.freeze();
    bridge.wait_log(&["the server is silent"]);
    private.thaw();
    scene.publish(events(10..20, 1));
    receiver.wait_events(20);
    scene.wait_settled();
    bridge.wait_ready();
    bridge.stop();
    assert_eq!(receiver.count(), 20);
}

#[test]
fn a_retry_that_comes_after_ack_wait_is_the_same_attempt_sequence() {
    let scene = NatsScene::stream("shorter");
    let receiver = Receiver::start(|_| Answer::Status(503));
    scene.publish([event(0)]);
    let target = one_target(&receiver.url("/"), "retry: { schedule: [12s] }", "");
    let bridge = Bridge::ready(&scene.nats_config("ack_wait: 4s", &target));
    let letter = &scene.wait_letters(1)[0];
    assert_eq!(letter.header("hookferry-attempts"), Some("2"));
    scene.wait_settled();
    let info = scene.consumer().unwrap();
    assert_eq!(info.num_redelivered, 0, "the server was told in time: {info:?}");
    bridge.stop();
    assert_eq!(receiver.count(), 2);
}

#[test]
fn an_acknowledgement_that_gets_lost_is_given_again_and_the_event_is_not_sent_again() {
    const EVENTS: usize = 100;
    let mut private = PrivateServer::new();
    let scene = NatsScene::stream_on(private.start(), "lost");
    let receiver = Receiver::start(|_| Answer::Hang);
    scene.publish(events(0..EVENTS, 1));
    let target = one_target(&receiver.url("/"), "timeout: 5m, concurrency: 200", "");
    let bridge = Bridge::ready(&scene.nats_config("ack_wait: 8s", &target));
    receiver.wait_count(EVENTS);
    let sent = || bridge.metric("hookferry_commits_total", &[("source", "events"), ("result", "ok")]);
    assert_eq!(sent().unwrap_or_default(), 0.0, "nothing is settled");
    // The acknowledgements go to a server that reads nothing any more, and then is gone.
    private.freeze();
    receiver.release();
    let outcome = [("target", "sink"), ("outcome", "delivered")];
    bridge.wait_metric("hookferry_deliveries_total", &outcome, EVENTS as f64);
    wait::until(
        "acknowledgements are sent",
        Duration::from_secs(10),
        || format!("{:?}", sent()),
        || sent().filter(|sent| *sent > 0.0),
    );
    private.kill();
    private.start();
    scene.wait_settled();
    bridge.wait_ready();
    bridge.stop();
    assert_eq!(receiver.count(), EVENTS);
}

#[test]
fn a_durable_with_other_settings_is_refused_with_the_difference_and_the_remedy() {
    let scene = NatsScene::stream("other");
    let receiver = Receiver::ok();
    let theirs = pull::Config {
        durable_name: Some(scene.durable.clone()),
        ack_policy: AckPolicy::Explicit,
        ack_wait: Duration::from_secs(30),
        max_ack_pending: 20_000,
        max_deliver: 5,
        filter_subject: scene.subject(">"),
        ..pull::Config::default()
    };
    scene.server.create_consumer(&scene.stream, theirs.clone());
    scene.publish([event(0)]);
    let bridge = Bridge::start(&scene.one_target(&receiver.url("/"), "", ""));
    bridge.wait_log(&["ERROR", &scene.durable, "max_deliver is 5", "nats consumer edit", "--max-deliver=-1"]);
    bridge.wait_not_ready("max_deliver is 5");
    bridge.wait_not_ready("nats consumer edit");
    assert_eq!(receiver.count(), 0, "nothing is read");
    assert_eq!(scene.consumer().unwrap().config.max_deliver, 5, "and nothing is altered");
    // Once it is mended, it goes on by itself.
    scene.server.delete_consumer(&scene.stream, &scene.durable);
    scene.server.create_consumer(&scene.stream, pull::Config { max_deliver: -1, ..theirs });
    receiver.wait_events(1);
    bridge.wait_ready();
    bridge.stop();
}

#[test]
fn a_missing_stream_is_named_waited_for_and_read_from_its_beginning() {
    let scene = NatsScene::named(Server::shared(), "missing");
    let receiver = Receiver::ok();
    let target = one_target(&receiver.url("/"), "", "");
    let bridge = Bridge::start(&scene.nats_config("start: latest", &target));
    bridge.wait_not_ready(&scene.stream);
    bridge.wait_log(&["WARN", &scene.stream, "nats stream add"]);
    scene.create(1);
    scene.publish([event(0)]);
    receiver.wait_events(1);
    bridge.wait_ready();
    assert_eq!(bridge.log_lines(&["WARN", "nats stream add"]).len(), 1, "once:\n{}", bridge.log());
    bridge.stop();
}
