//! Brokers that are away.

use std::time::Duration;

use crate::bridge::Bridge;
use crate::receiver::{Answer, Receiver};
use crate::scene::{events, one_target};
use crate::stage::{Private, Stage, on_every_broker};
use crate::wait;

on_every_broker! {
    an_unreachable_broker_at_start_is_waited_for,
    a_broker_that_is_stopped_and_started_under_load_is_survived,
    dead_letters_wait_for_their_store_and_the_source_waits_with_them,
}

fn an_unreachable_broker_at_start_is_waited_for<S: Stage>() {
    let mut broker = S::Private::reserve();
    let receiver = Receiver::ok();
    let scene = S::names_on(&broker, "absent");
    let bridge = Bridge::start(&scene.hasty_config(&one_target(&receiver.url("/"), "", "")));
    bridge.wait_log(&["WARN", &broker.address()]);
    bridge.wait_not_ready(&broker.address());
    let (health, _) = bridge.get("/healthz").unwrap();
    assert_eq!(health, 200, "waiting is healthy");

    broker.start();
    scene.create(2);
    scene.publish(events(0..100, 2));
    receiver.wait_events(100);
    bridge.wait_ready();
    scene.wait_settled();
    bridge.stop();
}

fn a_broker_that_is_stopped_and_started_under_load_is_survived<S: Stage>() {
    let mut broker = S::Private::reserve();
    broker.start();
    let scene = S::on(&broker, "restart", 2);
    let receiver = Receiver::hanging_after(2000);
    scene.publish(events(0..4000, 2));
    let rest = "limits: { window: { events: 500 } }";
    let target = one_target(&receiver.url("/"), "concurrency: 4, timeout: 5m", rest);
    let bridge = Bridge::ready(&scene.hasty_config(&target));
    receiver.wait_count(2001);
    broker.stop();
    bridge.wait_log(&["WARN", &broker.address()]);
    receiver.release();
    broker.start();
    scene.publish(events(4000..5000, 2));
    receiver.wait_events(5000);
    scene.wait_settled();
    bridge.wait_ready();
    bridge.stop();
    let repeated = receiver.count() - 5000;
    assert!(repeated <= 500, "{repeated} repeated; the window is 500");
}

fn dead_letters_wait_for_their_store_and_the_source_waits_with_them<S: Stage>() {
    let mut broker = S::Private::reserve();
    broker.start();
    let scene = S::on(&broker, "store", 1);
    let receiver = Receiver::start(|request| match request.json()["n"].as_u64() {
        // Refused, but only after the broker stands still.
        Some(0) => Answer::HangThen(400),
        _ => Answer::Status(200),
    });
    scene.publish(events(0..20, 1));
    let target = one_target(&receiver.url("/"), "timeout: 5m", "");
    let bridge = Bridge::ready(&scene.hasty_config(&target));
    receiver.wait_events(20);
    bridge.wait_metric("hookferry_dead_letter_store_up", &[], 1.0);
    // Its connections stay open, so that the letter is sent and nothing confirms it.
    broker.freeze();
    receiver.release();
    bridge.wait_metric("hookferry_attempts_total", &[("result", "4xx")], 1.0);
    let letters = || bridge.metric("hookferry_deliveries_total", &[("outcome", "dead_lettered")]);
    wait::throughout(
        "only a confirmed letter counts",
        Duration::from_secs(3),
        || format!("{:?}", letters()),
        || letters() == Some(0.0),
    );
    broker.kill();
    bridge.wait_metric("hookferry_dead_letter_store_up", &[], 0.0);
    bridge.wait_not_ready("dead");
    assert_eq!(letters(), Some(0.0));

    broker.start();
    let letters = scene.wait_letters(1);
    assert_eq!(letters[0].header("hookferry-reason"), Some("rejected"));
    scene.wait_settled();
    bridge.wait_ready();
    bridge.stop();
}
