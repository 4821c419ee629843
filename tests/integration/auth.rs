//! Targets that want to know who calls: client certificates and tokens, from the configuration on.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::bridge::Bridge;
use crate::process::Folder;
use crate::scene::event;
use crate::secure::{Authority, Secure};
use crate::stage::{Stage, on_every_broker};
use crate::wait;

on_every_broker!(events_reach_a_target_that_wants_a_certificate_and_a_token);

fn events_reach_a_target_that_wants_a_certificate_and_a_token<S: Stage>() {
    const EVENTS: usize = 20;
    let scene = S::new("auth", 1);
    let (authority, clients) = (Authority::new("own"), Authority::new("clients"));
    let asked = AtomicUsize::new(0);
    // The endpoint fails first; the receiver takes no other token than the second one.
    let server = Secure::start(&authority, Some(&clients), move |head| {
        if !head.starts_with("POST /token ") {
            return match head.contains("authorization: Bearer sesame-2\r\n") {
                true => ("200 OK", String::new()),
                false => ("401 Unauthorized", String::new()),
            };
        }
        match asked.fetch_add(1, Ordering::SeqCst) {
            0 => ("503 Service Unavailable", String::new()),
            number => ("200 OK", format!(r#"{{"access_token":"sesame-{number}","expires_in":3600}}"#)),
        }
    });
    let folder = Folder::new("auth");
    let (cert, key) = clients.identity("hookferry");
    let file = |name: &str, text: &str| format!("'${{file:{}}}'", folder.file(name, text).display());
    let keys = format!(
        "tls: {{ ca: {}, cert: {}, key: {} }}, auth: {{ oauth2: {{ token_url: '{}', client_id: me, client_secret: {} }} }}, \
         concurrency: 4, breaker: 'off', retry: {{ attempts: 20, initial: 500ms, max_delay: 1s, jitter: none }}",
        file("ca.pem", &authority.pem),
        file("cert.pem", &cert),
        file("key.pem", &key),
        server.url("/token"),
        file("secret", "open-sesame"),
    );
    scene.publish((0..EVENTS).map(event));
    let bridge = Bridge::start(&scene.one_target(&server.url("/hooks"), &keys, ""));

    bridge.wait_metric("hookferry_attempts_total", &[("result", "2xx")], EVENTS as f64);
    wait::until(
        "the failure of the endpoint is counted",
        Duration::from_secs(10),
        || bridge.log(),
        || bridge.metric("hookferry_attempts_total", &[("result", "auth")]).filter(|count| *count >= 1.0),
    );
    assert_eq!(server.heads("POST /token ").len(), 3, "one fails, one is refused, one is right");
    let accepted = server.heads("POST /hooks ");
    let right = accepted.iter().filter(|head| head.contains("Bearer sesame-2\r\n"));
    assert_eq!(right.count(), EVENTS);
    assert!(!bridge.log().contains("sesame"), "{}", bridge.log());
    bridge.stop();
}
