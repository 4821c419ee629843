use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::receiver::{OK, Receiver};
use super::*;

#[test]
fn a_thousand_attempts_over_two_threads_are_answered_once_each() {
    const AT_ONCE: usize = 32;
    let receiver = Receiver::answering(OK);
    let mut rig = Rig::with(vec![target(&receiver.url())], 2, Dns::Fails, RootCertStore::empty());
    let mut answers: BTreeMap<DeliveryId, usize> = BTreeMap::new();
    let mut threads = BTreeSet::new();
    let (mut open, mut left) = (0, 1000);

    while left + open > 0 {
        let more = left.min(AT_ONCE - open);
        let attempts = (0..more).map(|_| rig.attempt(0)).collect();
        rig.submit(attempts);
        (open, left) = (open + more, left - more);
        let (thread, batch) = rig.batch();
        threads.insert(thread);
        open -= batch.len();
        for attempted in batch {
            assert_status(&attempted, 200);
            *answers.entry(attempted.delivery).or_default() += 1;
        }
    }

    assert_eq!((answers.len(), answers.values().sum::<usize>()), (1000, 1000));
    assert_eq!(receiver.requests().len(), 1000);
    assert!(receiver.accepts() <= AT_ONCE, "{} connections", receiver.accepts());
    assert_eq!(threads, BTreeSet::from(["sender-0".to_owned(), "sender-1".to_owned()]));
    assert!(rig.stop(PATIENCE).is_empty());
}

#[test]
fn nothing_is_sent_under_an_ended_lease() {
    let receiver = Receiver::answering(OK);
    let mut rig = Rig::new(vec![target(&receiver.url())]);
    let ended = Lease::unlimited();
    ended.end();

    let attempt = rig.attempt_of(0, event(BODY, ended));
    assert_eq!(rig.make_this(attempt).reply, Reply::Withheld);
    assert_eq!(receiver.accepts(), 0);

    assert_status(&rig.make(), 200);
    let frozen = Lease::new(Arc::new(AtomicU64::new(0)), Duration::ZERO);
    let attempt = rig.attempt_of(0, event(BODY, frozen));
    assert_eq!(rig.make_this(attempt).reply, Reply::Withheld);
    assert_status(&rig.make(), 200);
    assert_eq!((receiver.accepts(), receiver.requests().len()), (1, 2));
}

#[test]
fn a_lease_that_ends_while_connecting_withholds_the_request() {
    /// Ends the lease as if the name had taken that long.
    struct Slow(AtomicU64, Arc<AtomicU64>);
    impl Lookup for Slow {
        fn lookup(&self, _name: &str) -> Answer {
            self.1.store(self.0.load(Ordering::SeqCst), Ordering::SeqCst);
            Box::pin(async { Ok(vec![IpAddr::from([127, 0, 0, 1])]) })
        }
    }
    let receiver = Receiver::answering(OK);
    let renewed = Arc::new(AtomicU64::new(u64::MAX));
    let slow = Arc::new(Slow(AtomicU64::new(0), renewed.clone()));
    let targets = vec![target(&receiver.url_named("http", "hooks.example.com"))];
    let mut rig = Rig::resolving(targets, 1, Resolver::Given(slow), RootCertStore::empty());

    let lease = Lease::new(renewed, Duration::from_nanos(1));
    let attempt = rig.attempt_of(0, event(BODY, lease));
    assert_eq!(rig.make_this(attempt).reply, Reply::Withheld);
    assert!(rig.stop(PATIENCE).is_empty());
    assert!(receiver.requests().is_empty());
}

#[test]
fn a_panic_answers_for_its_attempt_and_the_thread_goes_on() {
    let receiver = Receiver::answering(OK);
    let targets = vec![target("http://hooks.example.com/hooks?key=sesame"), target(&receiver.url())];
    let mut rig = Rig::with(targets, 1, Dns::Panics, RootCertStore::empty());

    assert_fault(&rig.make(), Fault::Network, "inside hookferry");
    let attempt = rig.attempt(1);
    assert_status(&rig.make_this(attempt), 200);
}

#[test]
fn stopping_answers_for_all() {
    let silent = Receiver::playing(|mut caller| {
        caller.request();
        caller.hang();
    });
    let targets = vec![target(&silent.url()), target("http://hooks.example.com/hooks?key=sesame")];
    let mut rig = Rig::with(targets, 2, Dns::Never, RootCertStore::empty());
    let attempts = [0, 1, 0, 1, 0].map(|target| rig.attempt(target));
    rig.submit(attempts.into());
    silent.wait_for_requests(3);

    let answers = rig.stop(Duration::from_millis(50));

    let sent = |attempted: &&Attempted| attempted.target == TargetId(0);
    assert_eq!((answers.len(), answers.iter().filter(sent).count()), (5, 3));
    for attempted in &answers {
        match attempted.target {
            TargetId(0) => assert_fault(attempted, Fault::Network, "stopped before the answer"),
            _ => assert_eq!(attempted.reply, Reply::Withheld),
        }
    }
}

#[test]
fn stopping_lets_what_is_in_flight_finish() {
    let (release, gate) = mpsc::channel::<()>();
    let gate = std::sync::Mutex::new(gate);
    let receiver = Receiver::playing(move |mut caller| {
        caller.request();
        let _ = gate.lock().unwrap().recv();
        caller.say(OK);
    });
    let mut rig = Rig::new(vec![target(&receiver.url())]);
    let attempt = rig.attempt(0);
    rig.submit(vec![attempt]);
    receiver.wait_for_requests(1);

    let begun = Instant::now();
    let stopping = std::thread::spawn(move || rig.stop(PATIENCE));
    release.send(()).unwrap();
    let answers = stopping.join().unwrap();

    assert_status(&answers[0], 200);
    assert!(begun.elapsed() < PATIENCE / 2, "it ends as soon as nothing is in flight");
}

/// The call-back may wait for whoever submits.
#[test]
fn what_no_thread_takes_any_more_is_answered_by_the_submission() {
    let mut rig = Rig::new(vec![target("http://127.0.0.1:9/")]);
    rig.senders.end(Instant::now());
    let attempt = rig.attempt(0);

    let refused = rig.senders.submit(vec![attempt.clone()]);

    assert_eq!(refused.len(), 1);
    assert_eq!((refused[0].delivery, &refused[0].reply), (attempt.delivery, &Reply::Withheld));
    assert!(rig.answers.try_recv().is_err(), "and nowhere else");
}

#[test]
fn a_target_that_this_plan_lacks_is_answered_too() {
    let mut rig = Rig::new(Vec::new());

    assert!(matches!(rig.make().reply, Reply::Unrenderable(_)));
}

#[test]
fn an_unusable_url_is_refused_at_the_start() {
    let start = |url: &str| {
        let plan = Arc::new(plan(vec![target(url)]));
        Senders::start(plan, 1, Resolver::System, |_| {}).err().map(|fault| fault.to_string())
    };

    assert_eq!(
        start("ftp://hooks.example.com/hooks"),
        Some("targets.crm.url: the URL must start with https:// or http://".into())
    );
    assert_eq!(start("http://hooks.example.com/hooks"), None);
}
