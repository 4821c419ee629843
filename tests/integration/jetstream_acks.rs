//! What the server is told of a message: settled, given up for good, or given back.

use async_nats::jetstream::consumer::pull;
use async_nats::jetstream::stream::{Config, RetentionPolicy};

use crate::bridge::Bridge;
use crate::nats::Server;
use crate::nats_scene::NatsScene;
use crate::receiver::{Answer, Receiver};
use crate::scene::{event, events, one_target};
use crate::stage::Stage;

#[test]
fn an_event_with_a_dead_letter_is_terminated_and_others_are_not() {
    let scene = NatsScene::stream("terminated");
    let receiver = Receiver::start(|request| match request.json()["n"].as_u64() {
        Some(3) => Answer::Status(400),
        _ => Answer::Status(200),
    });
    // The server tells of each terminated message on a subject, which a stream can keep.
    let advisories = format!("{}-advisories", scene.name);
    let (stream, durable) = (&scene.stream, &scene.durable);
    scene.server.create_stream(Config {
        name: advisories.clone(),
        subjects: vec![format!("$JS.EVENT.ADVISORY.CONSUMER.MSG_TERMINATED.{stream}.{durable}")],
        ..Config::default()
    });
    scene.publish(events(0..10, 1));
    let bridge = Bridge::ready(&scene.one_target(&receiver.url("/"), "", ""));
    scene.wait_letters(1);
    scene.wait_settled();
    let told = &scene.server.wait_records(&advisories, 1)[0];
    let told: serde_json::Value = serde_json::from_slice(told.value.as_deref().unwrap()).unwrap();
    assert_eq!(told["stream_seq"], 4, "event 3 is the fourth message: {told}");
    bridge.stop();
}

#[test]
fn a_stop_gives_back_at_once_what_is_open() {
    let scene = NatsScene::stream("back");
    let receiver = Receiver::start(|request| match request.path.as_str() {
        "/failing" => Answer::Status(503),
        _ => Answer::Status(200),
    });
    scene.publish([event(0)]);
    // Without it the server would wait for longer than this test does.
    let config = |path: &str| {
        let target = one_target(&receiver.url(path), "retry: { schedule: [5m], hold: 10m }", "");
        scene.nats_config("ack_wait: 10m", &target)
    };
    let bridge = Bridge::ready(&config("/failing"));
    receiver.wait_count(1);
    bridge.wait_metric("hookferry_queue_deliveries", &[("state", "retrying")], 1.0);
    bridge.stop();

    let bridge = Bridge::ready(&config("/fine"));
    receiver.wait_count(2);
    scene.wait_settled();
    bridge.stop();
    assert_eq!(receiver.requests_to("/fine").len(), 1);
}

#[test]
fn a_second_durable_on_a_work_queue_is_refused_with_the_remedy() {
    let scene = NatsScene::named(Server::shared(), "taken");
    let receiver = Receiver::ok();
    let queue = Config { retention: RetentionPolicy::WorkQueue, ..scene.stream_config() };
    scene.server.create_stream(queue);
    let theirs = pull::Config {
        durable_name: Some("theirs".to_owned()),
        filter_subject: scene.subject(">"),
        ..pull::Config::default()
    };
    scene.server.create_consumer(&scene.stream, theirs);
    let bridge = Bridge::start(&scene.one_target(&receiver.url("/"), "", ""));
    bridge.wait_log(&["ERROR", &scene.stream, "gives each message to one consumer only"]);
    bridge.wait_not_ready("one consumer only");
    // Once the other one is gone, it goes on by itself.
    scene.server.delete_consumer(&scene.stream, "theirs");
    scene.publish([event(0)]);
    receiver.wait_events(1);
    bridge.wait_ready();
    bridge.stop();
}
