//! Bad targets beside healthy ones.

use std::time::Duration;

use crate::bridge::{Bridge, free_port};
use crate::receiver::{Answer, Receiver};
use crate::scene::events;
use crate::stage::{Stage, on_every_broker};
use crate::wait;

const HEALTHY: usize = 14;
const EVENTS: usize = 150;

on_every_broker!(six_bad_targets_keep_nothing_from_the_others);

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
