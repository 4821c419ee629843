//! What an assignment takes over from the one before it, and what it leaves behind.

use rdkafka::consumer::CommitMode;

use super::*;

/// librdkafka keeps a partition's pause when it is given up.
#[test]
fn a_partition_that_was_given_up_while_paused_is_read_when_it_comes_back() {
    let cluster = cluster("events", 2);
    publish(&cluster, "events", 2, 0..40);
    let mut plan = test_plan::plan(&cluster.bootstrap_servers(), &["events"], Start::Earliest);
    plan.limits.window.events = 100;
    let plan = Arc::new(plan);
    let mut first = Running::start(&plan, Grant { events: 1, ..PLENTY });
    first.until("one event", |running| running.events.len() == 1);
    // Joining takes longer than it takes until fetching is paused.
    let mut second = Running::start(&plan, PLENTY);
    first.until("a revocation", |running| !running.revoked.is_empty());
    let leaving = first.revoked[0];
    first.handle.send(ToSource::Released(leaving));
    first.until("one partition less", |running| running.assigned == 1);
    second.until("its events", |running| running.events.len() == 20);

    first.grant.publish(PLENTY);
    first.until("the rest of the partition that stays", |running| running.events.len() >= 20);
    second.stop();
    first.until("both partitions", |running| running.assigned == 2);
    first.until("the events of the one that came back", |running| running.ids() == numbers(0..40));
    first.stop();
}

/// Otherwise the group would skip what is written up to its old offset.
#[test]
fn an_offset_after_the_end_is_replaced_by_where_reading_begins_again() {
    let cluster = cluster("events", 1);
    publish(&cluster, "events", 1, 0..3);
    let plan = Arc::new(test_plan::plan(&cluster.bootstrap_servers(), &["events"], Start::Earliest));
    let observer: BaseConsumer = test_plan::connection(&plan).observer().create().expect("an observer");
    let name = PartitionName { topic: "events".into(), number: 0 };
    let beyond = list([(&name, Offset::Offset(1000))]);
    observer.commit(&beyond, CommitMode::Sync).expect("a commit");

    let mut running = Running::start(&plan, PLENTY);
    running.until("all events", |running| running.events.len() == 3);
    running.until_committed("where it begins", &plan, "events", 1, 0);
    running.settle();
    running.stop();
    assert_eq!(committed(&plan, "events", 1), 3);
}

#[test]
fn no_request_starts_once_the_group_is_left() {
    let cluster = cluster("events", 1);
    publish(&cluster, "events", 1, 0..2);
    let plan = Arc::new(test_plan::plan(&cluster.bootstrap_servers(), &["events"], Start::Earliest));
    let mut running = Running::start(&plan, PLENTY);
    running.until("all events", |running| running.events.len() == 2);
    let event = running.events[0].clone();

    assert!(event.lease.holds(Moment::now()));
    running.stop();
    assert!(!event.lease.holds(Moment::now()), "it belongs to others now");
}

/// Others own the partitions by then, so the last commit may not be made.
#[test]
fn a_freeze_while_stopping_is_no_clean_end() {
    let cluster = cluster("events", 1);
    publish(&cluster, "events", 1, 0..2);
    let mut plan = test_plan::plan(&cluster.bootstrap_servers(), &["events"], Start::Earliest);
    test_plan::kafka(&mut plan).properties.push(("session.timeout.ms".to_owned(), "3000".to_owned().into()));
    let plan = Arc::new(plan);
    let gate = Arc::new(Mutex::new(()));
    let mut running = Running::start_behind(&plan, PLENTY, gate.clone());
    running.until("all events", |running| running.events.len() == 2);

    // It stands still where it tells that its last commit failed.
    let frozen = gate.lock().expect("the gate");
    let refused = RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED;
    cluster.request_errors(RDKafkaApiKey::OffsetCommit, &[refused]);
    running.settle();
    running.handle.send(ToSource::Drain);
    running.handle.send(ToSource::Stop);
    let thawed = Instant::now() + Duration::from_secs(4);
    while Instant::now() < thawed {
        running.listen(thawed.saturating_duration_since(Instant::now()));
    }
    drop(frozen);
    running.until("stopped", |running| running.stopped.is_some());
    assert!(matches!(running.stopped, Some(Err(_))), "{:?}", running.stopped);
    assert_eq!(committed(&plan, "events", 1), 0);
}

/// To join again would only be to leave again, and what was not committed comes again elsewhere.
#[test]
fn a_freeze_while_draining_is_no_clean_end() {
    let cluster = cluster("events", 1);
    publish(&cluster, "events", 1, 0..2);
    let mut plan = test_plan::plan(&cluster.bootstrap_servers(), &["events"], Start::Earliest);
    test_plan::kafka(&mut plan).properties.push(("session.timeout.ms".to_owned(), "3000".to_owned().into()));
    let plan = Arc::new(plan);
    let gate = Arc::new(Mutex::new(()));
    let mut running = Running::start_behind(&plan, PLENTY, gate.clone());
    running.until("all events", |running| running.events.len() == 2);
    let before = running.events[0].generation;

    // It stands still where it tells that a commit failed.
    let frozen = gate.lock().expect("the gate");
    let refused = RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED;
    cluster.request_errors(RDKafkaApiKey::OffsetCommit, &[refused]);
    running.handle.send(ToSource::Drain);
    running.settle();
    let thawed = Instant::now() + Duration::from_secs(4);
    while Instant::now() < thawed {
        running.listen(thawed.saturating_duration_since(Instant::now()));
    }
    drop(frozen);
    running.until("void", |running| running.lost == [before]);
    // Longer than it takes to join again.
    let quiet = Instant::now() + Duration::from_secs(5);
    while Instant::now() < quiet {
        running.listen(quiet.saturating_duration_since(Instant::now()));
    }
    running.handle.send(ToSource::Stop);
    running.until("stopped", |running| running.stopped.is_some());
    assert!(matches!(running.stopped, Some(Err(_))), "{:?}", running.stopped);
}

/// Each commit makes room for as many events as it covers, and what is open behind it takes room.
#[test]
fn what_is_not_committed_takes_its_place_in_the_window() {
    let cluster = cluster("events", 1);
    publish(&cluster, "events", 1, 0..40);
    let mut plan = test_plan::plan(&cluster.bootstrap_servers(), &["events"], Start::Earliest);
    plan.limits.window.events = 10;
    let plan = Arc::new(plan);
    let mut running = Running::start(&plan, PLENTY);
    running.until("a window", |running| running.events.len() >= 10);

    // All but the first: nothing can be committed, so nothing more may come.
    let first = running.receipts.remove(0);
    running.settle();
    let quiet = Instant::now() + Duration::from_millis(1500);
    while Instant::now() < quiet {
        running.listen(quiet.saturating_duration_since(Instant::now()));
        assert_eq!(running.events.len(), 10);
    }
    running.receipts.push(first);
    while running.events.len() < 40 {
        let before = running.events.len();
        running.settle();
        running.until("more", |running| running.events.len() > before);
    }
    running.settle();
    running.until_committed("all", &plan, "events", 1, 40);
    running.stop();
}
