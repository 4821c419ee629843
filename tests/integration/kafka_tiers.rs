//! Retry tiers and the groups of ordered targets on a real Kafka, at the level of `source` and `store`.

use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::Duration;

use hookferry::domain::{Moment, SourceId, Tier};
use hookferry::plan::{Plan, Reads};
use hookferry::store::{self, FromStore};

use crate::consumer::{Consumer, plan, waiting};
use crate::scene::{Scene, events};
use crate::stage::Stage;
use crate::wait;

const LIMIT: Duration = Duration::from_secs(60);

/// Waits until all topics of ours are there.
fn made(plan: &Arc<Plan>) -> store::Handle {
    let (say, said) = channel();
    let store = store::start(plan.clone(), SourceId(0), move |told| drop(say.send(told))).unwrap();
    while !said.recv_timeout(LIMIT).expect("the store is up").contains(&FromStore::Up(Ok(()))) {}
    store
}

#[test]
fn what_is_done_in_a_tier_is_deleted_and_what_waits_stays() {
    let scene = Scene::new("tierdelete", 1);
    let plan = plan(&scene, "");
    let _store = made(&plan);
    assert!(Tier::all().all(|tier| scene.cluster.has_topic(&plan.tier_topic(tier))));
    let topic = plan.tier_topic(Tier::ONE_MINUTE);
    let far_ms = Moment::now().wall_ms + 3_600_000;
    scene.cluster.produce(&topic, [waiting(0), waiting(0), waiting(far_ms)]);
    let mut tiers = Consumer::start(&plan, |reads| reads == Reads::Tiers);

    tiers.until("what is due", |consumer| consumer.inputs.len() == 2);
    tiers.settle();
    let marks = || {
        scene.cluster.ends(&topic).values().copied().fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1))
    };
    wait::until(
        "what is done is deleted",
        LIMIT,
        || format!("{:?}", marks()),
        || (marks() == (2, 3)).then_some(()),
    );
    assert!(tiers.inputs.is_empty());
    tiers.stop();
}

#[test]
fn a_target_becomes_ordered_and_shared_again_without_loss_or_repetition() {
    let scene = Scene::new("reordered", 1);
    let shared = plan(&scene, "");
    let strict = plan(&scene, "ordering: strict");
    let group = format!("{}.sink", scene.group);
    scene.publish(events(0..3, 1));
    let mut first = Consumer::start(&shared, |reads| reads == Reads::Shared);
    first.until("the first three", |consumer| consumer.inputs.len() == 3);
    first.settle();
    first.stop();

    // Ordered: from where the shared group is.
    scene.publish(events(3..5, 1));
    let mut ordered = Consumer::start(&strict, |reads| matches!(reads, Reads::Ordered(_)));
    ordered.until("the two that are new", |consumer| consumer.inputs.len() == 2);
    let mut beside = Consumer::start(&strict, |reads| reads == Reads::Shared);
    beside.until("the same two", |consumer| consumer.inputs.len() == 2);
    beside.settle();
    beside.stop();
    ordered.inputs.truncate(1);
    ordered.settle();
    ordered.stop();

    // Back, while one message is not delivered: refused, with what helps.
    let mut back = Consumer::start(&shared, |reads| reads == Reads::Shared);
    back.until("refused", |consumer| matches!(&consumer.ready, Some(Err(why)) if why.contains(&group)));
    let why = back.ready.clone().expect("told").expect_err("refused");
    assert!(why.contains("1 messages behind") && why.contains("--delete --group"), "{why}");
    let mut ordered = Consumer::start(&strict, |reads| matches!(reads, Reads::Ordered(_)));
    ordered.until("the last one", |consumer| consumer.inputs.len() == 1);
    ordered.settle();
    ordered.stop();
    // It heals by itself, and the old group is gone.
    back.until("ready", |consumer| consumer.ready == Some(Ok(())));
    assert!(scene.cluster.committed(&group, &scene.topic).is_empty());
    scene.publish(events(5..6, 1));
    back.until("what is new", |consumer| !consumer.inputs.is_empty());
    assert_eq!(back.inputs.len(), 1, "and nothing again");
    back.stop();
}
