//! A crash loses nothing and repeats at most the window.

use crate::bridge::Bridge;
use crate::receiver::Receiver;
use crate::scene::events;
use crate::stage::{Stage, on_every_broker};

on_every_broker! {
    sigkill_and_restart_lose_nothing_and_repeat_at_most_the_window,
}

const EVENTS: usize = 6000;
const WINDOW: usize = 500;

fn sigkill_and_restart_lose_nothing_and_repeat_at_most_the_window<S: Stage>() {
    let scene = S::new("crash", 6);
    let receiver = Receiver::hanging_after(EVENTS / 2);
    scene.publish(events(0..EVENTS, 6));
    let rest = format!("limits: {{ window: {{ events: {WINDOW} }} }}");
    let target = crate::scene::one_target(&receiver.url("/"), "concurrency: 16, timeout: 5m", &rest);
    // What a killed replica held stays its own for some seconds.
    let config = scene.hasty_config(&target);
    let bridge = Bridge::ready(&config);
    receiver.wait_count(EVENTS / 2 + 1);
    bridge.kill();
    receiver.release();
    let bridge = Bridge::start(&config);
    receiver.wait_events(EVENTS);
    scene.wait_settled();
    bridge.stop();
    let repeated = receiver.count() - EVENTS;
    assert!(repeated <= WINDOW, "{repeated} repeated; the window is {WINDOW}");
}
