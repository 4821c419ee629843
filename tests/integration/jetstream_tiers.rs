//! Retry tiers and the durables of ordered targets on a real JetStream.

use std::time::Duration;

use async_nats::jetstream::consumer::AckPolicy;
use async_nats::jetstream::stream::{Config, DiscardPolicy, RetentionPolicy, StorageType};
use hookferry::domain::{Moment, Tier};
use hookferry::engine::Input;
use hookferry::plan::Reads;

use crate::bridge::Bridge;
use crate::consumer::{Consumer, plan, waiting};
use crate::nats::Server;
use crate::nats_scene::NatsScene;
use crate::process::{Folder, hookferry, text};
use crate::receiver::Receiver;
use crate::scene::{event, events};
use crate::stage::Stage;

#[test]
fn a_tier_is_a_durable_of_one_work_queue_that_throws_nothing_out() {
    let scene = NatsScene::stream("tierset");
    let plan = plan(&scene, "");
    let mut tiers = Consumer::start(&plan, |reads| reads == Reads::Tiers);
    tiers.until("ready", |consumer| consumer.ready == Some(Ok(())));

    let name = format!("{}-retry", scene.name);
    let stream = scene.server.stream_config(&name).expect("it is made");
    assert_eq!(stream.subjects, [format!("{}.retry.*", scene.name)]);
    assert_eq!(
        (stream.retention, stream.discard, stream.storage),
        (RetentionPolicy::WorkQueue, DiscardPolicy::New, StorageType::File)
    );
    assert_eq!((stream.max_age, stream.max_messages, stream.max_bytes), (Duration::ZERO, -1, -1));
    for tier in Tier::all() {
        let durable = format!("{name}-{tier}");
        let info = scene.server.consumer(&name, &durable).unwrap_or_else(|| panic!("{durable} is made"));
        let config = info.config;
        assert_eq!(config.durable_name.as_deref(), Some(&*durable));
        assert_eq!(config.filter_subject, format!("{}.retry.{tier}", scene.name));
        assert_eq!((config.ack_policy, config.max_deliver), (AckPolicy::Explicit, -1));
        assert_eq!(config.ack_wait, Duration::from_secs(60));
        assert!(config.deliver_subject.is_none(), "it is pulled from");
    }
    tiers.stop();
}

#[test]
fn a_record_comes_when_it_is_due_and_is_gone_when_it_is_done() {
    let scene = NatsScene::stream("tierdue");
    let plan = plan(&scene, "");
    let mut tiers = Consumer::start(&plan, |reads| reads == Reads::Tiers);
    tiers.until("ready", |consumer| consumer.ready == Some(Ok(())));
    let now_ms = Moment::now().wall_ms;
    let (soon_ms, far_ms) = (now_ms + 2500, now_ms + 3_600_000);
    let subject = plan.tier_subject(Tier::ONE_MINUTE);
    scene.server.publish(&subject, [waiting(0), waiting(0), waiting(soon_ms), waiting(far_ms)]);

    tiers.until("what is due", |consumer| consumer.inputs.len() == 2);
    assert!(Moment::now().wall_ms < soon_ms, "the two that are due do not wait for the third");
    tiers.settle();
    scene.server.wait_count(&scene.tiers(), 2);
    tiers.until("what is due soon", |consumer| !consumer.inputs.is_empty());
    assert!(Moment::now().wall_ms >= soon_ms, "not before it is due");
    let [Input::Resumed { waiting: come, .. }] = &tiers.inputs[..] else { panic!("{:#?}", tiers.inputs) };
    assert_eq!(come.due_ms, soon_ms);
    // It is kept until it is settled.
    assert_eq!(scene.server.count(&scene.tiers()), 2);
    tiers.settle();
    scene.server.wait_count(&scene.tiers(), 1);
    assert!(tiers.inputs.is_empty());
    tiers.stop();
    assert_eq!(scene.waiting("1m").len(), 1, "what is not due stays");
}

#[test]
fn an_ordered_target_on_a_work_queue_is_refused_with_the_remedy() {
    let scene = NatsScene::named(Server::shared(), "queued");
    scene.server.create_stream(Config { retention: RetentionPolicy::WorkQueue, ..scene.stream_config() });
    scene.publish([event(0)]);
    let receiver = Receiver::ok();
    let config = scene.one_target(&receiver.url("/"), "ordering: strict", "");
    let said = "which gives each message to one durable only";
    let folder = Folder::new("queued");
    let path = folder.file("hookferry.yaml", &config);
    let checked = hookferry(&["check", "--connect", "-c", path.to_str().unwrap()]);
    assert_eq!(checked.status.code(), Some(2), "{}", text(&checked));
    assert!(text(&checked).contains(said), "{}", text(&checked));

    let bridge = Bridge::start(&config);
    bridge.wait_log(&["ERROR", &scene.stream, "one durable only", "take `ordering` out"]);
    bridge.wait_not_ready("one durable only");
    assert_eq!(receiver.count(), 0);
    bridge.kill();
    // Without the order it is delivered, for nothing was taken.
    let bridge = Bridge::ready(&scene.one_target(&receiver.url("/"), "", ""));
    receiver.wait_events(1);
    bridge.stop();
}

#[test]
fn a_strict_target_becomes_shared_again_without_loss_or_repetition() {
    let scene = NatsScene::stream("unordered");
    let strict = plan(&scene, "ordering: strict");
    let shared = plan(&scene, "");
    scene.publish(events(0..2, 1));
    let mut beside = Consumer::start(&strict, |reads| reads == Reads::Shared);
    beside.until("both", |consumer| consumer.inputs.len() == 2);
    beside.settle();
    beside.stop();
    let mut ordered = Consumer::start(&strict, |reads| matches!(reads, Reads::Ordered(_)));
    ordered.until("the first one", |consumer| consumer.inputs.len() == 1);
    ordered.settle();
    ordered.until("the second one", |consumer| consumer.inputs.len() == 1);
    ordered.stop();
    let own = format!("{}-sink", scene.durable);
    assert!(scene.server.consumer(&scene.stream, &own).is_some());

    // Back, while one message is not delivered: refused, with what helps.
    let mut back = Consumer::start(&shared, |reads| reads == Reads::Shared);
    back.until("refused", |consumer| matches!(&consumer.ready, Some(Err(why)) if why.contains("1 messages")));
    let why = back.ready.clone().expect("told").expect_err("refused");
    assert!(why.contains("nats consumer rm") && why.contains("strict"), "{why}");
    let mut ordered = Consumer::start(&strict, |reads| matches!(reads, Reads::Ordered(_)));
    ordered.until("the second one again", |consumer| consumer.inputs.len() == 1);
    ordered.settle();
    ordered.stop();
    // It heals by itself, and the target's own durable is gone.
    back.until("ready", |consumer| consumer.ready == Some(Ok(())));
    assert!(scene.server.consumer(&scene.stream, &own).is_none());
    scene.publish(events(2..3, 1));
    back.until("what is new", |consumer| !consumer.inputs.is_empty());
    assert_eq!(back.inputs.len(), 1, "and nothing again");
    back.settle();
    back.stop();
}
