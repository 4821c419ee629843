//! A crash loses nothing and repeats at most the window.

use crate::bridge::Bridge;
use crate::receiver::Receiver;
use crate::scene::{Scene, events};

const EVENTS: usize = 6000;
const WINDOW: usize = 500;

#[test]
fn sigkill_and_restart_lose_nothing_and_repeat_at_most_the_window() {
    let scene = Scene::new("crash", 6);
    let receiver = Receiver::hanging_after(EVENTS / 2);
    scene.cluster.produce(&scene.topic, events(0..EVENTS, 6));
    let rest = format!("limits: {{ window: {{ events: {WINDOW} }} }}");
    // A killed member keeps its partitions until its session ends.
    let properties = "session.timeout.ms: 6000";
    let target = crate::scene::one_target(&receiver.url("/"), "concurrency: 16, timeout: 5m", &rest);
    let config = scene.config_with("", properties, &target);
    let bridge = Bridge::ready(&config);
    receiver.wait_count(EVENTS / 2 + 1);
    bridge.kill();
    receiver.release();
    let bridge = Bridge::start(&config);
    receiver.wait_events(EVENTS);
    scene.cluster.wait_committed_to_end(&scene.group, &scene.topic);
    bridge.stop();
    let repeated = receiver.count() - EVENTS;
    assert!(repeated <= WINDOW, "{repeated} repeated; the window is {WINDOW}");
}
