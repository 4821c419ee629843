use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use super::consumer::{self, Mail, Member};
use super::membership::{Flow, Membership};
use super::probe::{Ask, News};
use super::read_ahead::ReadAhead;
use super::reading::Reading;
use super::topics::Topics;
use super::vanished::Vanished;
use crate::broker::kafka::refusal;
use crate::domain::Moment;
use crate::plan::{Consumer, Plan, Reads, Topic, Window};
use crate::source::allowance::Allowance;
use crate::source::outbox::Outbox;
use crate::source::pressure::Pressure;
use crate::source::tier_intake::TierIntake;
use crate::source::{Intake, Namespace, SharedGrant, ToSource};

/// While there is no grant, mail is waited for so long before polling again.
const NAP: Duration = Duration::from_millis(20);
const COMMIT_EVERY: Duration = Duration::from_secs(1);
/// While the window waits for a commit, how often one is made.
const COMMIT_SOON: Duration = Duration::from_millis(50);
const LAG_EVERY: Duration = Duration::from_secs(15);
const OLDEST_EVERY: Duration = Duration::from_secs(5);
/// What is done in the tiers is deleted so often.
const DELETE_EVERY: Duration = Duration::from_secs(30);
const READY_EVERY: Duration = Duration::from_millis(200);
/// After librdkafka gave the client up, a new one waits so long.
const REJOIN_AFTER: Duration = Duration::from_secs(10);
/// The last commit may take so long, and then closing.
const FINAL_COMMIT: Duration = Duration::from_secs(4);
const CLOSE: Duration = Duration::from_secs(4);

mod pump;

/// The consumer's thread.
pub(super) struct Worker {
    plan: Arc<Plan>,
    reader: Consumer,
    allowance: Allowance,
    outbox: Outbox,
    member: Member,
    asks: Sender<Ask>,
    /// `None` between librdkafka's giving up of one client and the next.
    membership: Option<Membership>,
    rejoin_at: Instant,
    /// The last membership was abandoned although something was settled and not committed.
    left_uncommitted: bool,
    /// Known once the group may be joined.
    reading: Option<Reading>,
    draining: bool,
    /// Received and not committed, as of this turn. All of it takes its place in the window, so that
    /// a crash repeats no more than the window.
    uncommitted: u64,
    /// What was read and is not handed over: what is not due yet, and what the grant had no room for.
    ahead: ReadAhead,
    pressure: Pressure,
    /// librdkafka can't use the client any more.
    gave_up: bool,
    topics: Topics,
    vanished: Vanished,
    questions: u64,
    awaits_ends: bool,
    due: Due,
}

/// When what happens now and then happens next.
struct Due {
    commit: Instant,
    lag: Instant,
    oldest: Instant,
    delete: Instant,
    ready: Instant,
}

impl Worker {
    pub(super) fn new(
        plan: Arc<Plan>,
        reader: Consumer,
        grant: Arc<SharedGrant>,
        outbox: Outbox,
        member: Member,
        membership: Membership,
        asks: Sender<Ask>,
    ) -> Worker {
        let now = Instant::now();
        Worker {
            allowance: Allowance::new(grant, plan.window(outbox.consumer())),
            plan,
            reader,
            outbox,
            member,
            asks,
            membership: Some(membership),
            rejoin_at: now,
            left_uncommitted: false,
            reading: None,
            draining: false,
            uncommitted: 0,
            ahead: ReadAhead::default(),
            gave_up: false,
            pressure: Pressure::default(),
            topics: Topics::default(),
            vanished: Vanished::default(),
            questions: 0,
            awaits_ends: false,
            due: Due { commit: now, lag: now, oldest: now, delete: now + DELETE_EVERY, ready: now },
        }
    }

    /// Runs until it is told to stop.
    pub(super) fn run(mut self, inbox: &Receiver<Mail>) {
        loop {
            if self.read_mail(inbox, Duration::ZERO).is_break() {
                return self.stop();
            }
            self.keep_membership();
            self.step();
            self.tick();
            let nap = self.pump();
            if !nap.is_zero() && self.read_mail(inbox, nap).is_break() {
                return self.stop();
            }
        }
    }

    // ---- Mail ----

    /// Reads all mail; waits for the first of it up to `patience`.
    fn read_mail(&mut self, inbox: &Receiver<Mail>, patience: Duration) -> ControlFlow<()> {
        let mut patience = patience;
        loop {
            match inbox.recv_timeout(patience) {
                Ok(Mail::Pipeline(ToSource::Stop)) | Err(RecvTimeoutError::Disconnected) => {
                    return ControlFlow::Break(());
                }
                Ok(Mail::Pipeline(message)) => self.obey(message),
                Ok(Mail::Probe(news)) => self.hear(news),
                Err(RecvTimeoutError::Timeout) => return ControlFlow::Continue(()),
            }
            patience = Duration::ZERO;
        }
    }

    fn obey(&mut self, message: ToSource) {
        match (message, &mut self.membership) {
            (ToSource::Settled(settled), Some(membership)) => membership.settled(settled),
            (ToSource::Released(generation), Some(membership)) => membership.released(generation),
            (ToSource::Adopt(plan), _) => {
                if let Some(reading) = &mut self.reading {
                    reading.adopt(&plan);
                }
                self.plan = plan;
            }
            (ToSource::Drain, membership) => {
                self.draining = true;
                self.ahead.clear();
                if let Some(membership) = membership {
                    membership.set_flow(Flow::Paused);
                }
            }
            // Of what we do not hold any more, or told to the caller.
            (ToSource::Settled(_) | ToSource::Released(_) | ToSource::Stop, _) => {}
        }
    }

    fn hear(&mut self, news: News) {
        match news {
            News::Open { cluster } => {
                self.reading = self.reading_of(Namespace::Kafka { cluster: cluster.into() });
                self.join();
            }
            News::Topics(topics) => {
                let gone = self.vanished.look(&self.topics, &topics);
                if let Some(membership) = &mut self.membership {
                    membership.left.still_there(&topics);
                    membership.topics_gone(&gone, &self.outbox);
                }
                if !self.topics.faults.is_empty() && topics.faults.is_empty() {
                    self.member.reachability.topics_admitted();
                }
                self.topics = topics;
            }
            News::Standing(number, standings) => {
                if let Some(membership) = &mut self.membership {
                    membership.standing(number, &standings, &self.outbox);
                }
                self.due.lag = Instant::now();
            }
            News::Ends(ends) => {
                self.awaits_ends = false;
                let Some(membership) = &mut self.membership else { return };
                membership.ends(&ends);
                match self.reader.reads {
                    Reads::Tiers => membership.report_waiting(&self.plan, &ends, &self.outbox),
                    Reads::Shared | Reads::Ordered(_) => membership.report_lag(&ends, &self.outbox),
                }
            }
            News::Deleted(below) => {
                if let Some(membership) = &mut self.membership {
                    membership.deleted(&below);
                }
            }
        }
    }

    fn reading_of(&self, namespace: Namespace) -> Option<Reading> {
        let Consumer { source, reads } = self.reader;
        let settings = self.plan.sources.get(usize::from(source.0))?;
        Some(match reads {
            Reads::Shared | Reads::Ordered(_) => {
                Reading::Messages(Box::new(Intake::new(&self.plan, settings, source, namespace)))
            }
            Reads::Tiers => Reading::Tiers(Box::new(TierIntake::new(self.plan.clone(), source, namespace))),
        })
    }

    fn ask(&self, ask: Ask) {
        // Without its probe this thread goes on; the group's own offsets count then.
        drop(self.asks.send(ask));
    }

    // ---- Membership ----

    /// Notices a freeze: then everything belongs to others by now, and the group is joined anew,
    /// unless that would only be to leave it.
    fn keep_membership(&mut self) {
        if std::mem::take(&mut self.gave_up) {
            self.abandon(REJOIN_AFTER);
        }
        let now = Moment::now();
        match &self.membership {
            Some(membership) if membership.frozen(now) => {
                tracing::warn!(
                    source = self.name(),
                    "this process stood still for longer than its session lasts; it gives its partitions up \
                     and joins the group anew",
                );
                self.abandon(Duration::ZERO);
            }
            Some(membership) => membership.renew(now),
            None => {}
        }
        if self.membership.is_none() && !self.draining && Instant::now() >= self.rejoin_at {
            match self.member.create() {
                Ok(membership) => {
                    self.left_uncommitted = false;
                    self.membership = Some(membership);
                    self.join();
                }
                Err(error) => {
                    tracing::error!(source = self.name(), "no new Kafka client: {}", refusal(&error));
                    self.rejoin_at = Instant::now() + REJOIN_AFTER;
                }
            }
        }
    }

    fn abandon(&mut self, wait: Duration) {
        self.ahead.clear();
        self.rejoin_at = Instant::now() + wait;
        if let Some(membership) = self.membership.take() {
            self.left_uncommitted = membership.has_to_commit() || membership.went_uncommitted;
            membership.abandon(&self.outbox);
        }
    }

    /// Joins the group, as soon as that is allowed.
    fn join(&mut self) {
        let (Some(membership), true) = (&mut self.membership, self.reading.is_some()) else { return };
        let topics = consumer::topics(&self.plan, self.reader);
        let topics: Vec<&str> = topics
            .iter()
            .map(|topic| match topic {
                Topic::Name(name) | Topic::Regex(name) => name.as_str(),
            })
            .collect();
        if self.draining {
            membership.set_flow(Flow::Paused);
        }
        if let Err(error) = membership.join(&topics) {
            tracing::error!(source = self.name(), "the topics can't be subscribed to: {error}");
        }
    }

    fn step(&mut self) {
        let Some(membership) = &mut self.membership else { return };
        let was_joined = membership.joined();
        self.questions += 1;
        let ask = membership.step(&self.outbox, self.questions);
        if let Some((number, partitions)) = ask {
            self.ask(Ask::Standing(number, partitions));
        }
        if !was_joined && self.membership.as_ref().is_some_and(Membership::joined) {
            self.member.reachability.admitted();
            self.due.ready = Instant::now();
        }
    }

    // ---- Now and then ----

    fn tick(&mut self) {
        let now = Instant::now();
        if now >= self.due.ready {
            self.due.ready = now + READY_EVERY;
            self.outbox.ready(self.ready());
        }
        self.uncommitted = self.membership.as_ref().map_or(0, Membership::uncommitted);
        let window = self.window();
        let Some(membership) = &mut self.membership else { return };
        let waits = self.pressure.is_on() || membership.covered() >= window.events.div_ceil(2);
        let soon = waits && !membership.commit_failed();
        if now >= self.due.commit || soon && now + COMMIT_EVERY >= self.due.commit + COMMIT_SOON {
            self.due.commit = now + COMMIT_EVERY;
            membership.commit_all(&self.outbox);
        }
        if now >= self.due.oldest && self.reader.reads != Reads::Tiers {
            self.due.oldest = now + OLDEST_EVERY;
            membership.report_oldest(&self.outbox);
        }
        if now >= self.due.lag {
            self.due.lag = now + LAG_EVERY;
            let partitions = membership.names();
            if partitions.is_empty() && self.reader.reads == Reads::Tiers {
                membership.report_waiting(&self.plan, &[], &self.outbox);
            }
            if !partitions.is_empty() && !self.awaits_ends {
                self.awaits_ends = true;
                self.ask(Ask::Ends(partitions));
            }
        }
        if now >= self.due.delete && self.reader.reads == Reads::Tiers {
            self.due.delete = now + DELETE_EVERY;
            let done = self.membership.as_ref().map(Membership::to_delete).unwrap_or_default();
            if !done.is_empty() {
                self.ask(Ask::Delete(done));
            }
        }
    }

    fn ready(&self) -> Result<(), String> {
        let mut faults: Vec<String> = self.member.reachability.fault().into_iter().collect();
        faults.extend_from_slice(&self.topics.faults);
        if !faults.is_empty() {
            return Err(faults.join("; "));
        }
        if self.reading.is_none() {
            return Err("the Kafka brokers have not answered yet".to_owned());
        }
        // A pattern that matches nothing gives nothing to join for.
        let joined = self.membership.as_ref().is_some_and(Membership::joined);
        if joined || self.topics.found.is_empty() {
            return Ok(());
        }
        Err("the consumer group has not been joined yet".to_owned())
    }

    fn window(&self) -> Window {
        self.allowance.window()
    }

    fn name(&self) -> &str {
        self.outbox.source()
    }

    // ---- The end ----

    /// Commits what is settled, closes and says so; all in bounded time.
    fn stop(mut self) {
        let Some(mut membership) = self.membership.take() else {
            return self.outbox.stopped(ended(self.left_uncommitted, Closed::InTime));
        };
        // Others may have the partitions as soon as the group is left.
        membership.end_leases(&membership.generations());
        membership.went_uncommitted = false;
        let until = Instant::now() + FINAL_COMMIT;
        while membership.has_to_commit() && Instant::now() < until && !self.gave_up {
            let now = Moment::now();
            if membership.frozen(now) {
                break;
            }
            membership.renew(now);
            // It may ask where the group stands; nothing is taken over any more.
            membership.step(&self.outbox, 0);
            membership.commit_all(&self.outbox);
            if let Some(Err(error)) = membership.consumer().poll(NAP) {
                self.poll_failed(&error);
            }
        }
        let uncommitted = membership.has_to_commit() || membership.went_uncommitted;
        let closed = membership.close().recv_timeout(CLOSE).map_or(Closed::Late, |()| Closed::InTime);
        self.outbox.stopped(ended(uncommitted, closed));
    }
}

/// Whether a consumer closed within its time.
#[derive(Clone, Copy)]
enum Closed {
    InTime,
    Late,
}

fn ended(uncommitted: bool, closed: Closed) -> Result<(), String> {
    match (uncommitted, closed) {
        (false, Closed::InTime) => Ok(()),
        (true, _) => Err("the last offsets could not be committed; their events come again".to_owned()),
        (false, Closed::Late) => Err("the Kafka consumer could not be closed in time".to_owned()),
    }
}
