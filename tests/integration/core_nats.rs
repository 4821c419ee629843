//! Core NATS: at most once, and what is lost is counted.

use crate::bridge::Bridge;
use crate::nats::Server;
use crate::process::{Folder, fresh, hookferry, text};
use crate::receiver::{Answer, Receiver};
use crate::scene::{event, events, one_target};
use crate::wait;
use std::collections::HashSet;
use std::time::Duration;

/// Subjects that no other test uses, without a stream.
struct Scene {
    server: Server,
    name: String,
}

impl Scene {
    fn new(stem: &str) -> Scene {
        Scene { server: Server::shared(), name: fresh(stem) }
    }

    fn subject(&self) -> String {
        format!("{}.events.made", self.name)
    }

    fn config(&self, rest: &str) -> String {
        let (name, server) = (&self.name, self.server.url());
        format!(
            "name: {name}
sources:
  events: {{ nats: {{ servers: '{server}', subjects: ['{name}.events.>'], queue: '{name}-group' }} }}
{rest}
"
        )
    }

    /// Publishes `e-0` until it comes at all these paths: a subscription is there once it does.
    fn wait_listening(&self, receiver: &Receiver, paths: &[&str]) {
        wait::until(
            "all replicas listen",
            Duration::from_secs(30),
            || format!("{:?}", receiver.requests()),
            || {
                self.server.publish_core(&self.subject(), [event(0)]);
                paths.iter().all(|path| !receiver.requests_to(path).is_empty()).then_some(())
            },
        );
    }
}

/// How often each event came, without those that only showed that somebody listens.
fn counts(receiver: &Receiver) -> Vec<usize> {
    receiver.events().into_iter().filter(|(event, _)| event != "e-0").map(|(_, count)| count).collect()
}

#[test]
fn check_and_the_log_say_that_it_is_at_most_once() {
    let scene = Scene::new("once");
    let receiver = Receiver::ok();
    let config = scene.config(&one_target(&receiver.url("/"), "", ""));
    let folder = Folder::new("once");
    let path = folder.file("hookferry.yaml", &config);
    let output = hookferry(&["check", "-c", path.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    assert!(text(&output).contains("at most once"), "{}", text(&output));
    let bridge = Bridge::ready(&config);
    bridge.wait_log(&["WARN", "at most once"]);
    scene.wait_listening(&receiver, &["/"]);
    scene.server.publish_core(&scene.subject(), events(1..101, 1));
    receiver.wait_events(101);
    bridge.stop();
    assert_eq!(counts(&receiver), [1; 100]);
}

#[test]
fn replicas_share_a_queue_group() {
    let scene = Scene::new("group");
    let receiver = Receiver::ok();
    let config = |path: &str| scene.config(&one_target(&receiver.url(path), "", ""));
    let (first, second) = (Bridge::ready(&config("/first")), Bridge::ready(&config("/second")));
    scene.wait_listening(&receiver, &["/first", "/second"]);
    scene.server.publish_core(&scene.subject(), events(1..401, 1));
    receiver.wait_events(401);
    let by = |path| receiver.requests_to(path).into_iter().map(|r| r.event()).collect::<HashSet<_>>();
    assert!(by("/first").len() > 1 && by("/second").len() > 1, "both take part");
    first.stop();
    second.stop();
    assert_eq!(counts(&receiver), [1; 400]);
}

#[test]
fn what_comes_while_the_window_is_full_is_counted_as_lost() {
    let scene = Scene::new("slow");
    let receiver = Receiver::start(|request| match request.event().as_str() {
        "e-0" => Answer::Status(200),
        _ => Answer::Hang,
    });
    let target = one_target(&receiver.url("/"), "timeout: 5m", "limits: { window: { events: 10 } }");
    let bridge = Bridge::ready(&scene.config(&target));
    scene.wait_listening(&receiver, &["/"]);
    // Those that showed that it listens are done with, so that the window is empty.
    bridge.wait_metric("hookferry_queue_deliveries", &[("target", "sink")], 0.0);
    scene.server.publish_core(&scene.subject(), events(1..1001, 1));
    receiver.wait_events(11);
    let lost = [("source", "events"), ("reason", "slow_consumer")];
    bridge.wait_metric("hookferry_events_lost_total", &lost, 990.0);
    bridge.wait_log(&["ERROR", "990", "lost"]);
    receiver.release();
    let outcome = [("target", "sink"), ("outcome", "delivered")];
    let probes = receiver.requests().iter().filter(|request| request.event() == "e-0").count();
    bridge.wait_metric("hookferry_deliveries_total", &outcome, (probes + 10) as f64);
    bridge.stop();
    assert_eq!(counts(&receiver), [1; 10]);
}
