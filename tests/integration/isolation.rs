//! Bad targets beside healthy ones.

use std::time::Duration;

use crate::bridge::{Bridge, free_port};
use crate::receiver::{Answer, Receiver};
use crate::scene::events;
use crate::stage::{Stage, on_every_broker};
use crate::wait;

const HEALTHY: usize = 14;
const EVENTS: usize = 150;

/// As a window holds so few events, a slow target's queue fills it.
const WINDOW: usize = 200;
/// Several windows full.
const MANY: usize = 3 * WINDOW;

on_every_broker!(
    six_bad_targets_keep_nothing_from_the_others,
    a_slow_target_whose_queue_fills_the_window_holds_up_nobody,
);

/// It takes everything, and so slowly that a quarter of the window would be free after 100 seconds only.
fn a_slow_target_whose_queue_fills_the_window_holds_up_nobody<S: Stage>() {
    let stage = S::new("slow", 1);
    let good = Receiver::ok();
    let slow = Receiver::start(|_| Answer::After(Duration::from_secs(2), Box::new(Answer::Status(200))));
    let config = stage.config(&format!(
        "limits: {{ window: {{ events: {WINDOW} }} }}
targets:
  good: {{ url: '{}', egress: private }}
  slow: {{ url: '{}', egress: private, concurrency: 1 }}
routes: [{{ name: all, to: [good, slow] }}]",
        good.url("/"),
        slow.url("/")
    ));
    stage.publish(events(0..MANY, 1));
    let bridge = Bridge::ready(&config);
    wait::until(
        "the good target has all events",
        Duration::from_secs(45),
        || format!("it has {}, and the slow one {}", good.count(), slow.count()),
        || (good.count() >= MANY).then_some(()),
    );
    bridge.stop();
}

fn six_bad_targets_keep_nothing_from_the_others<S: Stage>() {
    let stage = S::new("isolation", 3);
    let good = Receiver::ok();
    let bad = Receiver::start(|request| match request.path.as_str() {
        "/hanging" => Answer::Hang,
        "/dripping" => Answer::Drip,
        "/resetting" => Answer::Reset,
        "/flooding" => Answer::Flood(64 << 20),
        _ => Answer::Status(429),
    });
    let mut targets: String = (0..HEALTHY)
        .map(|n| format!("  good-{n}: {{ url: '{}', egress: private }}\n", good.url(&format!("/{n}"))))
        .collect();
    for manner in ["hanging", "dripping", "resetting", "flooding", "limiting"] {
        let url = bad.url(&format!("/{manner}"));
        targets += &format!("  {manner}: {{ url: '{url}', egress: private, timeout: 1s }}\n");
    }
    targets += &format!("  refusing: {{ url: 'http://127.0.0.1:{}/', egress: private }}\n", free_port());
    let names: Vec<&str> = targets.lines().filter_map(|line| line.trim().split(':').next()).collect();
    let config =
        stage.config(&format!("targets:\n{targets}routes: [{{ name: all, to: [{}] }}]", names.join(", ")));
    let bridge = Bridge::ready(&config);
    stage.publish(events(0..EVENTS, 3));

    good.wait_count(EVENTS * HEALTHY);
    for n in 0..HEALTHY {
        assert_eq!(good.requests_to(&format!("/{n}")).len(), EVENTS, "of target good-{n}");
    }
    // What the bad ones have not taken waits on the broker, so the source is done with it.
    stage.wait_settled();
    for name in ["hanging", "dripping", "resetting", "limiting", "refusing"] {
        wait::until(
            &format!("{name} was moved to a retry tier"),
            Duration::from_secs(30),
            || format!("{:?}", bridge.metric("hookferry_moves_total", &[("target", name)])),
            || bridge.metric("hookferry_moves_total", &[("target", name)]).filter(|moved| *moved > 0.0),
        );
    }
    // A body that is too long is cut off, and its status counts.
    bridge.wait_metric(
        "hookferry_deliveries_total",
        &[("target", "flooding"), ("outcome", "delivered")],
        EVENTS as f64,
    );
    let open = wait::until(
        "the hanging target's breaker is open",
        Duration::from_secs(30),
        || format!("{:?}", bridge.metric("hookferry_target_state", &[("target", "hanging")])),
        || {
            let state =
                |state| bridge.metric("hookferry_target_state", &[("target", "hanging"), ("state", state)]);
            Some(state("open")? + state("probing")?).filter(|open| *open > 0.0)
        },
    );
    assert_eq!(open, 1.0);
    bridge.stop();
}
