//! The egress guard in the running process: blocked once, never retried, and nothing connected to.

use crate::bridge::Bridge;
use crate::receiver::{Answer, Receiver};
use crate::scene::event;
use crate::stage::{Stage, on_every_broker};

on_every_broker!(a_blocked_delivery_is_a_dead_letter_at_once, a_redirect_is_a_refusal_and_is_not_followed,);

fn a_blocked_delivery_is_a_dead_letter_at_once<S: Stage>() {
    let scene = S::new("blocked", 1);
    let receiver = Receiver::ok();
    scene.publish([event(0)]);
    let blocked = [
        ("address", receiver.url("/address")),
        ("name", receiver.url("/name").replace("127.0.0.1", "localhost")),
        ("decimal", receiver.url("/decimal").replace("127.0.0.1", "2130706433")),
        ("mapped", receiver.url("/mapped").replace("127.0.0.1", "[::ffff:127.0.0.1]")),
        ("metadata", "http://169.254.169.254/latest/meta-data/".to_owned()),
    ];
    // With a list, the senders alone decide; `public` is a fault at once.
    let keys = "allow_http: true, egress: { allow: [10.0.0.0/8] }, breaker: { failures: 1, probe: 1s }, \
                retry: { schedule: [50ms, 50ms, 50ms], retry_on: [any] }";
    let targets: String =
        blocked.iter().map(|(name, url)| format!("  {name}: {{ url: '{url}', {keys} }}\n")).collect();
    let names = blocked.each_ref().map(|(name, _)| *name).join(", ");
    let open = receiver.url("/open");
    let bridge = Bridge::ready(&scene.config(&format!(
        "targets:
{targets}  open: {{ url: '{open}', egress: private }}
routes:
  - {{ name: all, types: ['*'], to: [{names}, open] }}"
    )));

    let letters = scene.wait_letters(blocked.len());

    for letter in &letters {
        assert_eq!(letter.header("hookferry-reason"), Some("blocked"), "{letter:?}");
        assert_eq!(letter.header("hookferry-attempts"), Some("1"), "{letter:?}");
        let error = letter.header("hookferry-last-error").unwrap_or_default();
        assert!(error.contains("which the target's egress does not allow"), "{letter:?}");
    }
    scene.wait_settled();
    let attempts = |labels: &[(&str, &str)]| bridge.metric("hookferry_attempts_total", labels);
    for (name, _) in &blocked {
        assert_eq!(attempts(&[("target", name), ("result", "blocked")]), Some(1.0), "{name}");
        assert_eq!(attempts(&[("target", name)]), Some(1.0), "{name}: no other result");
        let labels = [("target", *name), ("reason", "blocked")];
        assert_eq!(bridge.metric("hookferry_dead_letters_total", &labels), Some(1.0), "{name}");
    }
    assert_eq!(attempts(&[("target", "open"), ("result", "2xx")]), Some(1.0));
    let paths: Vec<String> = receiver.requests().iter().map(|request| request.path.clone()).collect();
    assert_eq!((receiver.connections(), paths.as_slice()), (1, ["/open".to_owned()].as_slice()));
    bridge.stop();
}

fn a_redirect_is_a_refusal_and_is_not_followed<S: Stage>() {
    let scene = S::new("redirect", 1);
    let inner = Receiver::ok();
    let places = ["http://169.254.169.254/latest/meta-data/".to_owned(), inner.url("/inner")];
    let receiver = Receiver::start(move |request| match request.path.as_str() {
        "/metadata" => Answer::Header(302, "location", places[0].clone()),
        _ => Answer::Header(307, "location", places[1].clone()),
    });
    scene.publish([event(0)]);
    let (metadata, loopback) = (receiver.url("/metadata"), receiver.url("/loopback"));
    let bridge = Bridge::ready(&scene.config(&format!(
        "targets:
  metadata: {{ url: '{metadata}', egress: private }}
  loopback: {{ url: '{loopback}', egress: private }}
routes:
  - {{ name: all, types: ['*'], to: [metadata, loopback] }}"
    )));

    for letter in scene.wait_letters(2) {
        assert_eq!(letter.header("hookferry-reason"), Some("rejected"), "{letter:?}");
        let status = letter.header("hookferry-last-status");
        assert!(matches!(status, Some("302" | "307")), "{letter:?}");
    }
    bridge.wait_metric("hookferry_attempts_total", &[("result", "3xx")], 2.0);
    assert_eq!((receiver.count(), inner.connections()), (2, 0));
    bridge.stop();
}
