//! Dead letters on a JetStream stream.

use std::collections::BTreeSet;
use std::time::Duration;

use async_nats::ConnectOptions;
use async_nats::jetstream::stream::Config;

use crate::bridge::Bridge;
use crate::nats::{PrivateServer, Server};
use crate::nats_scene::NatsScene;
use crate::receiver::{Answer, Receiver};
use crate::record::Record;
use crate::scene::{event, one_target};
use crate::stage::Stage;
use crate::wait;

/// A JSON event with a body of exactly so many bytes.
fn sized(id: &str, bytes: usize) -> Record {
    let shell = format!("{{\"event_id\":\"{id}\",\"type\":\"test.large\",\"x\":\"\"}}");
    let fill = "x".repeat(bytes - shell.len());
    Record::bytes(shell.replace("\"x\":\"\"", &format!("\"x\":\"{fill}\"")))
}

#[test]
fn each_target_has_a_subject_and_so_have_events_themselves() {
    let scene = NatsScene::stream("subjects");
    let receiver = Receiver::start(|_| Answer::Status(400));
    scene.publish([event(0), Record::bytes("{ not json")]);
    let config = scene.one_target(&receiver.url("/"), "", "").replace("types: ['*']", "types: [test.*]");
    let bridge = Bridge::ready(&config);
    let letters = scene.wait_letters(2);
    let subjects: BTreeSet<&str> = letters.iter().filter_map(|letter| letter.subject.as_deref()).collect();
    let wanted = ["sink", "_event"].map(|last| format!("{}.dlq.{last}", scene.name));
    assert_eq!(subjects, wanted.iter().map(String::as_str).collect());
    scene.wait_settled();
    bridge.stop();
}

#[test]
fn letters_of_one_event_to_two_targets_are_no_duplicates_of_each_other() {
    let scene = NatsScene::stream("twins");
    let receiver = Receiver::start(|_| Answer::Status(400));
    scene.publish([event(0)]);
    let url = receiver.url("");
    let bridge = Bridge::ready(&scene.config(&format!(
        "targets:
  one: {{ url: '{url}/one', egress: private }}
  two: {{ url: '{url}/two', egress: private }}
routes:
  - {{ types: ['*'], to: [one, two] }}"
    )));
    // Both within the two minutes in which the stream looks for duplicates.
    let letters = scene.wait_letters(2);
    let targets: BTreeSet<_> =
        letters.iter().filter_map(|letter| letter.header("hookferry-target")).collect();
    assert_eq!(targets, ["one", "two"].into());
    scene.wait_settled();
    bridge.stop();
}

#[test]
fn letters_of_two_messages_with_one_id_are_no_duplicates_of_each_other() {
    let scene = NatsScene::stream("same");
    let receiver = Receiver::start(|_| Answer::Status(400));
    scene.publish([event(0), event(0)]);
    let bridge = Bridge::ready(&scene.one_target(&receiver.url("/"), "", ""));
    scene.wait_letters(2);
    scene.wait_settled();
    bridge.stop();
}

#[test]
fn stream_and_subject_can_be_chosen() {
    let scene = NatsScene::stream("chosen");
    let receiver = Receiver::start(|_| Answer::Status(404));
    scene.publish([event(0)]);
    let (stream, subject) = (format!("{}-own", scene.name), format!("own.{}", scene.name));
    let rest = format!("dead_letters: {{ stream: '{stream}', subject: '{subject}' }}");
    let bridge = Bridge::ready(&scene.one_target(&receiver.url("/"), "", &rest));
    let letter = &scene.server.wait_records(&stream, 1)[0];
    assert_eq!(letter.subject.as_deref(), Some(format!("{subject}.sink").as_str()));
    assert!(scene.letters().is_empty());
    bridge.stop();
}

#[test]
fn a_stream_of_ones_own_that_does_not_take_them_is_an_error_and_is_not_altered() {
    let scene = NatsScene::stream("narrow");
    let receiver = Receiver::start(|_| Answer::Status(400));
    let own = format!("{}-own", scene.name);
    let subjects = vec![format!("{own}.other")];
    let stream = Config { name: own.clone(), subjects: subjects.clone(), ..Config::default() };
    scene.server.create_stream(stream.clone());
    scene.publish([event(0)]);
    let rest = format!("dead_letters: {{ stream: '{own}' }}");
    let bridge = Bridge::start(&scene.one_target(&receiver.url("/"), "", &rest));
    bridge.wait_log(&["ERROR", &own, "nats stream edit"]);
    bridge.wait_metric("hookferry_dead_letter_store_up", &[], 0.0);
    receiver.wait_count(1);
    wait::throughout(
        "nothing is acknowledged without its letter",
        Duration::from_secs(1),
        || format!("{:?}", scene.consumer()),
        || scene.is_untouched(),
    );
    // Once the stream takes them, the letter is written.
    let subjects = subjects.into_iter().chain([format!("{}.dlq.>", scene.name)]).collect();
    scene.server.update_stream(Config { subjects, ..stream });
    let letter = &scene.server.wait_records(&own, 1)[0];
    assert_eq!(letter.header("hookferry-event-id"), Some("e-0"));
    scene.wait_settled();
    bridge.stop();
}

#[test]
fn a_letter_that_does_not_fit_is_written_without_its_value() {
    let scene = NatsScene::stream("limit");
    let receiver = Receiver::start(|_| Answer::Status(400));
    // The server takes 1 MiB with all headers; those of the letter come on top.
    scene.publish([sized("full", (1 << 20) - 50)]);
    let bridge = Bridge::ready(&scene.one_target(&receiver.url("/"), "", ""));
    let letter = &scene.wait_letters(1)[0];
    assert_eq!(letter.header("hookferry-value"), Some("omitted"));
    assert_eq!(letter.header("hookferry-event-id"), Some("full"));
    assert_eq!(letter.header("hookferry-reason"), Some("rejected"));
    assert_eq!(letter.value.as_deref(), Some(b"".as_slice()));
    assert_eq!(receiver.requests()[0].body.len(), (1 << 20) - 50, "the delivery had all of it");
    scene.wait_settled();
    bridge.stop();
}

#[test]
fn a_message_over_max_event_is_a_dead_letter_without_its_value() {
    let scene = NatsScene::stream("large");
    let receiver = Receiver::ok();
    scene.publish([sized("large", 300 << 10), event(1)]);
    let target = one_target(&receiver.url("/"), "", "limits: { max_event: 200KiB }");
    let bridge = Bridge::ready(&scene.config(&target));
    receiver.wait_events(1);
    let letter = &scene.wait_letters(1)[0];
    assert_eq!(letter.header("hookferry-reason"), Some("oversized"));
    assert_eq!(letter.header("hookferry-value"), Some("omitted"));
    assert!(letter.value.as_deref().unwrap_or_default().is_empty());
    scene.wait_settled();
    bridge.stop();
}

/// A client waits so long at least for a stream that does not answer.
const SILENCE: Duration = Duration::from_secs(10);

/// Runs on a server that never answers questions about one of our two streams, whose name ends so.
fn beside_a_silent_stream(ending: &str, status: u16, works: impl FnOnce(&NatsScene, &Bridge)) {
    let mut scene = NatsScene::named(Server::at("nats://127.0.0.1"), "silent");
    let silent = format!("$JS.API.STREAM.INFO.{}-{ending}", scene.name);
    let config = format!(
        "authorization {{ users: [
            {{ user: ferry, password: own, permissions: {{ publish: {{ deny: ['{silent}'] }} }} }}
            {{ user: test, password: own }}
        ] }}"
    );
    let options = ConnectOptions::with_user_and_password("test".into(), "own".into());
    let mut private = PrivateServer::with(&config, options);
    scene.server = private.start();
    scene.create(1);
    scene.publish([event(0)]);
    let receiver = Receiver::start(move |_| Answer::Status(status));
    let target = one_target(&receiver.url("/"), "retry: { schedule: [1h] }", "");
    let bridge = Bridge::start(&scene.nats_config("user: ferry, password: own", &target));
    receiver.wait_count(1);
    works(&scene, &bridge);
}

#[test]
fn a_stream_of_the_tiers_that_does_not_answer_keeps_no_letter() {
    beside_a_silent_stream("retry", 400, |scene, bridge| {
        wait::until(
            "the dead letter is there",
            SILENCE / 2,
            || bridge.log_end(),
            || (scene.server.count(&scene.dead_letters()) == 1).then_some(()),
        );
    });
}

#[test]
fn a_stream_of_letters_that_does_not_answer_keeps_no_move() {
    beside_a_silent_stream("dlq", 503, |_, bridge| {
        let moved = || bridge.metric("hookferry_moves_total", &[("target", "sink")]);
        wait::until(
            "the delivery was moved to a tier",
            SILENCE / 2,
            || bridge.log_end(),
            || moved().filter(|moved| *moved == 1.0),
        );
    });
}
