use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use super::broker::{Broker, LARGEST_RECORD};
use super::receivers::{Mood, Receivers, place};
use super::replica::Replica;
use super::truth::Truth;
use crate::domain::{
    Attempt, Attempted, ConsumerId, DeadLetter, Event, Generation, Moment, Outcome, Reply, Settled, TargetId,
};
use crate::engine::{Command, Input, Note, StoreFault, WriteId};
use crate::plan::{self, Layers, Plan};

/// A fault put into the code on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// The highest settled offset is committed, not the lowest unsettled one.
    CommitHighest,
    /// A dead letter counts when it is sent.
    SkipDeadLetterConfirmation,
    /// What belongs to a lost generation stays alive.
    IgnoreGeneration,
    /// A held delivery is never attempted again.
    LoseHeldRetry,
    /// The sender does not look at the lease.
    IgnoreLease,
    /// The store does not look at the lease.
    WriteWithoutLease,
    /// A delivery that is to be discarded at last is so after its first failure.
    DiscardEarly,
}

/// Three targets: one that gives up, one that discards, one that never gives up.
const CONFIGURATION: &str = r"
limits: { in_flight: 6, max_event: 1200B, window: { bytes: 8000B, events: 9 } }
sources:
  events: { kafka: { brokers: localhost:9092, topics: [events] } }
targets:
  first:
    url: https://first.example.com/
    concurrency: 3
    retry: { attempts: 3, initial: 1s, factor: 2, jitter: full }
  second:
    url: https://second.example.com/
    concurrency: 4
    on_exhausted: discard
    retry: { schedule: [100ms, 5s] }
  third:
    url: https://third.example.com/
    concurrency: 2
    retry: { attempts: unlimited, initial: 1s, max_delay: 20s, jitter: 0.1 }
routes:
  - { types: ['a.*'], to: [first, second] }
  - { types: ['b.*', a.never], to: [second, third] }
";

/// As often may `second`, the one that discards, have failed before it does.
const ATTEMPTS_OF_SECOND: usize = 3;

static PLAN: LazyLock<Arc<Plan>> = LazyLock::new(|| {
    let plan = plan::load_text("simulation.yaml", CONFIGURATION, &Layers::default());
    Arc::new(plan.unwrap_or_else(|faults| panic!("{faults}")))
});

const REPLICAS: usize = 2;
/// Steps with faults, before the world heals.
const TROUBLED_STEPS: usize = 150;
/// Steps after which a healed world must have settled everything.
const HEALING_STEPS: usize = 20_000;
const GRACE: Duration = Duration::from_secs(10);
/// A replica that is silent for so long loses its partitions.
const SESSION: Duration = Duration::from_secs(10);

/// Something on its way to a replica.
#[derive(Debug)]
enum Landing {
    Attempted {
        attempt: Attempt,
        /// The sender saw that the lease had ended, and sent nothing.
        withheld: bool,
    },
    Stored {
        write: WriteId,
        letter: Box<DeadLetter>,
        /// The store saw that the lease had ended, and wrote nothing.
        withheld: bool,
    },
}

pub(super) struct World {
    plan: Arc<Plan>,
    random: fastrand::Rng,
    now: Moment,
    broker: Broker,
    truth: Truth,
    receivers: Receivers,
    replicas: Vec<Option<Replica>>,
    lives: u32,
    /// By time and number: replica, its life, and what lands.
    flights: BTreeMap<(u64, u64), (usize, u32, Landing)>,
    numbers: u64,
    generations: u64,
    healed: bool,
    fault: Option<Fault>,
    trace: bool,
    deadlines: BinaryHeap<Reverse<u64>>,
    /// When the session of a frozen replica ends.
    sessions: Vec<Option<u64>>,
}

type Check = Result<(), String>;

impl World {
    pub(super) fn new(seed: u64, fault: Option<Fault>, trace: bool) -> World {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut truth = Truth::default();
        let partitions = random.usize(1..4);
        let broker = Broker::fill(&mut random, partitions, &mut truth);
        World {
            plan: PLAN.clone(),
            random,
            now: Moment { mono_us: 1, wall_ms: 1_700_000_000_000 },
            broker,
            truth,
            receivers: Receivers::default(),
            replicas: (0..REPLICAS).map(|_| None).collect(),
            lives: 0,
            flights: BTreeMap::new(),
            numbers: 0,
            generations: 0,
            healed: false,
            fault,
            trace,
            deadlines: BinaryHeap::new(),
            sessions: vec![None; REPLICAS],
        }
    }

    pub(super) fn run(mut self) -> Check {
        self.start_replica(0)?;
        for _ in 0..TROUBLED_STEPS {
            self.trouble()?;
            self.step()?;
        }
        self.heal()?;
        for _ in 0..HEALING_STEPS {
            self.step()?;
            self.commit_all()?;
            if self.is_done() {
                return Ok(());
            }
        }
        Err(format!("the world has not healed: committed {:?}", self.broker.committed))
    }

    fn say(&self, text: impl FnOnce() -> String) {
        if self.trace {
            println!("{:>12.3}s {}", self.now.mono_us as f64 / 1e6, text());
        }
    }

    /// Everything is committed up to the end, and nothing is owed.
    fn is_done(&self) -> bool {
        (0..self.broker.logs.len()).all(|partition| {
            self.broker.committed[partition] >= self.broker.end(partition)
                && self.broker.logs[partition]
                    .iter()
                    .all(|message| self.truth.owed((partition, message.offset)).is_none())
        })
    }

    /// One thing that an operator, a network or a kernel may do.
    fn trouble(&mut self) -> Check {
        let replica = self.random.usize(0..REPLICAS);
        match self.random.u8(0..40) {
            0 => self.crash(replica),
            1 => self.start_replica(replica),
            2 => self.freeze(replica),
            3 | 13 | 14 => self.thaw(replica),
            15..=18 => self.come_round(replica),
            4 | 5 => self.rebalance(),
            6 => {
                self.broker.store_up = !self.broker.store_up;
                self.say(|| format!("store up: {}", self.broker.store_up));
                Ok(())
            }
            7 => self.stop_gracefully(replica),
            8..=12 => self.commit_all(),
            _ => Ok(()),
        }
    }

    /// Lets the sources read, then moves the clock to whatever happens next.
    fn step(&mut self) -> Check {
        for replica in 0..REPLICAS {
            self.read(replica)?;
        }
        self.pass_time();
        self.end_sessions()?;
        for replica in self.replicas.iter().flatten() {
            replica.poll(self.now);
        }
        self.land()?;
        for replica in 0..REPLICAS {
            let now = self.now;
            if let Some(running) = self.running(replica) {
                running.engine.advance(now);
            }
            self.obey(replica)?;
            self.end_leavings(replica)?;
            self.check(replica)?;
        }
        Ok(())
    }

    fn running(&mut self, replica: usize) -> Option<&mut Replica> {
        self.replicas[replica].as_mut().filter(|replica| !replica.frozen)
    }

    fn read(&mut self, replica: usize) -> Check {
        let generations: Vec<Generation> = self
            .running(replica)
            .map(|running| running.assigned.keys().copied().collect())
            .unwrap_or_default();
        for generation in generations {
            for _ in 0..self.random.usize(0..4) {
                let now = self.now;
                let Some(running) = self.replicas[replica].as_mut() else { break };
                if !running.read(generation, &self.broker, now) {
                    break;
                }
                self.obey(replica)?;
            }
        }
        Ok(())
    }

    fn pass_time(&mut self) {
        let flight = self.flights.keys().next().map(|(due, _)| *due);
        let timers = self.replicas.iter().flatten().filter(|replica| !replica.frozen);
        let timer = timers.filter_map(|replica| replica.engine.next_deadline_us()).min();
        let leaving = self.deadlines.peek().map(|Reverse(due)| *due);
        let due = [flight, timer, leaving].into_iter().flatten().min();
        let due = due.unwrap_or(self.now.mono_us + 100_000).max(self.now.mono_us);
        while self.deadlines.peek().is_some_and(|Reverse(deadline)| *deadline <= due) {
            self.deadlines.pop();
        }
        self.now = self.now.after(Duration::from_micros(due - self.now.mono_us));
    }

    /// Everything that is due arrives, unless its process is gone; a frozen one gets it later.
    fn land(&mut self) -> Check {
        let later = self.flights.split_off(&(self.now.mono_us + 1, 0));
        for (_, (replica, life, landing)) in std::mem::replace(&mut self.flights, later) {
            match &self.replicas[replica] {
                Some(target) if target.life == life && target.frozen => {
                    self.fly(Duration::from_millis(500), replica, life, landing);
                    continue;
                }
                Some(target) if target.life == life => {}
                // The other side of the wire goes on without the process.
                _ => {
                    self.happen(landing);
                    continue;
                }
            }
            self.arrive(replica, landing)?;
        }
        Ok(())
    }

    fn arrive(&mut self, replica: usize, landing: Landing) -> Check {
        let (attempted, target) = match &landing {
            Landing::Attempted { attempt, .. } => (true, Some(attempt.target)),
            Landing::Stored { .. } => (false, None),
        };
        let input = self.happen(landing);
        let now = self.now;
        if let Some(running) = self.replicas[replica].as_mut() {
            if let (true, Some(target)) = (attempted, target) {
                running.attempt_ended(target);
            }
            running.engine.handle(input, now);
        }
        self.obey(replica)
    }

    /// What the receiver or the store does, and what it answers.
    fn happen(&mut self, landing: Landing) -> Input {
        match landing {
            Landing::Attempted { attempt, withheld } => {
                let reply = if withheld { Reply::Withheld } else { self.receive(&attempt) };
                let Attempt { delivery, target, number, .. } = attempt;
                let took = Duration::from_millis(1);
                Input::Attempted(Attempted { delivery, target, number, reply, took })
            }
            Landing::Stored { write, letter, withheld } => {
                let gone = || Err(StoreFault::Unavailable("the lease has ended".into()));
                let result = if withheld { gone() } else { self.store(&letter) };
                Input::Stored { write, result }
            }
        }
    }

    fn receive(&mut self, attempt: &Attempt) -> Reply {
        let mood = if self.healed { Mood::Healed } else { Mood::Troubled };
        self.receivers.receive(attempt, mood, &mut self.random, &mut self.truth)
    }

    fn store(&mut self, letter: &DeadLetter) -> Result<(), StoreFault> {
        if !letter.omit_value && letter.event.body.len() > LARGEST_RECORD {
            return Err(StoreFault::TooLarge);
        }
        let confirmed = self.broker.store_up;
        if confirmed || self.random.bool() {
            self.truth.ended(place(&letter.event), letter.target);
        }
        if confirmed { Ok(()) } else { Err(StoreFault::Unavailable("down".into())) }
    }

    fn fly(&mut self, after: Duration, replica: usize, life: u32, landing: Landing) {
        self.numbers += 1;
        let due = self.now.after(after).mono_us;
        self.flights.insert((due, self.numbers), (replica, life, landing));
    }

    /// Carries out all commands of a replica's engine.
    fn obey(&mut self, replica: usize) -> Check {
        let now = self.now;
        while let Some(command) = self.running(replica).and_then(|running| running.engine.next_command(now)) {
            self.carry_out(replica, command)?;
        }
        Ok(())
    }

    fn carry_out(&mut self, replica: usize, command: Command) -> Check {
        self.say(|| format!("replica {replica}: {command:?}").chars().take(160).collect());
        let (now, fault) = (self.now, self.fault);
        let latency = Duration::from_millis(self.random.u64(1..3_000));
        let Some(running) = self.replicas[replica].as_mut() else { return Ok(()) };
        let life = running.life;
        match command {
            Command::Attempt(attempt) => {
                let generation = attempt.event.generation;
                known(running, generation, "an attempt was made")?;
                running.attempt_started(attempt.target);
                let withheld = fault != Some(Fault::IgnoreLease) && !attempt.event.lease.holds(now);
                if !withheld {
                    self.owned(replica, &attempt.event, "a request started")?;
                }
                self.fly(latency, replica, life, Landing::Attempted { attempt, withheld });
            }
            Command::DeadLetter { write, letter } => {
                known(running, letter.event.generation, "a dead letter was written")?;
                let withheld = fault != Some(Fault::WriteWithoutLease) && !letter.event.lease.holds(now);
                if !withheld {
                    self.owned(replica, &letter.event, "a dead letter was written")?;
                }
                self.fly(latency, replica, life, Landing::Stored { write, letter, withheld });
            }
            Command::Settle(Settled { receipt, .. }) => {
                known(running, receipt.generation, "a receipt was given back")?;
                running.settle(&receipt);
            }
            Command::Released(_, generation) => self.leave(replica, generation)?,
            Command::Note(Note::Ended { target, outcome: Outcome::Discarded(_), event, .. }) => {
                self.discarded(&event, target)?;
            }
            // TODO(5)
            Command::Move { .. } | Command::Note(_) => {}
        }
        Ok(())
    }

    fn owned(&self, replica: usize, event: &Event, what: &str) -> Check {
        let (partition, _) = place(event);
        match self.broker.owners[partition] == Some((replica, event.generation)) {
            true => Ok(()),
            false => Err(format!("{what} for {partition} while another replica owns it")),
        }
    }

    fn discarded(&mut self, event: &Event, target: TargetId) -> Check {
        let (partition, offset) = place(event);
        if target != TargetId(1) || !self.receivers.have_refused(event, target, ATTEMPTS_OF_SECOND) {
            return Err(format!("{partition}/{offset} was discarded although {target:?} has attempts left"));
        }
        self.truth.ended((partition, offset), Some(target));
        Ok(())
    }

    /// The rules that hold at every moment.
    fn check(&mut self, replica: usize) -> Check {
        let (limits, now) = (self.plan.limits, self.now);
        let plan = self.plan.clone();
        let Some(running) = self.running(replica) else { return Ok(()) };
        let (open, alive) = (running.engine.open(ConsumerId(0)), running.alive());
        for counted in [open, alive] {
            if counted.events > limits.window.events || counted.bytes > limits.window.bytes {
                return Err(format!("replica {replica} has {counted:?} open, over its window"));
            }
        }
        let made: usize = running.in_flight.iter().sum();
        if made > limits.in_flight {
            return Err(format!("replica {replica} makes more attempts than limits.in_flight"));
        }
        // One for each is kept, and there are enough for all.
        let resting = running.in_flight.iter().filter(|made| **made == 0).count();
        if made + resting > limits.in_flight {
            return Err(format!("replica {replica} has no permit left for a target that makes no attempt"));
        }
        for (target, in_flight) in plan.targets.iter().zip(&running.in_flight) {
            if *in_flight > target.concurrency {
                return Err(format!(
                    "replica {replica} makes more attempts to {} than its concurrency",
                    target.name
                ));
            }
        }
        for (index, lane) in running.engine.lanes(now).iter().enumerate() {
            if lane.in_flight != running.in_flight[index] {
                return Err(format!(
                    "lane {index} counts {} permits, {} are out",
                    lane.in_flight, running.in_flight[index]
                ));
            }
            if lane.in_flight == 0 && lane.ready > 0 {
                return Err(format!("lane {index} waits although a permit is kept for it"));
            }
        }
        Ok(())
    }

    fn commit_all(&mut self) -> Check {
        for replica in 0..REPLICAS {
            let generations: Vec<Generation> = self
                .running(replica)
                .map(|running| running.assigned.keys().copied().collect())
                .unwrap_or_default();
            for generation in generations {
                self.commit(replica, generation)?;
            }
        }
        Ok(())
    }

    /// The broker takes a commit only from the owner. Nothing may be committed that isn't settled.
    fn commit(&mut self, replica: usize, generation: Generation) -> Check {
        let Some(running) = self.replicas[replica].as_ref() else { return Ok(()) };
        let Some(partition) = running.assigned.get(&generation).map(|assigned| assigned.partition) else {
            return Ok(());
        };
        let Some(offset) = running.committable(generation) else { return Ok(()) };
        if self.broker.owners[partition] != Some((replica, generation)) {
            return Ok(());
        }
        for message in self.broker.logs[partition].iter().take_while(|message| message.offset < offset) {
            if let Some(owed) = self.truth.owed((partition, message.offset)) {
                return Err(format!(
                    "{partition}/{offset} was committed although {partition}/{} owes {owed:?}",
                    message.offset
                ));
            }
        }
        if offset < self.broker.committed[partition] {
            return Err(format!(
                "{partition} was committed back from {} to {offset}",
                self.broker.committed[partition]
            ));
        }
        self.broker.committed[partition] = offset;
        let owner = self.replicas[replica].as_mut().and_then(|running| running.assigned.get_mut(&generation));
        if let Some(assigned) = owner {
            assigned.frontier.committed(offset);
        }
        Ok(())
    }

    fn start_replica(&mut self, replica: usize) -> Check {
        if self.replicas[replica].is_some() {
            return Ok(());
        }
        self.lives += 1;
        self.say(|| format!("replica {replica} starts"));
        let seed = self.random.u64(..);
        self.replicas[replica] = Some(Replica::new(&self.plan, self.lives, seed, self.fault));
        self.adopt_orphans()
    }

    fn crash(&mut self, replica: usize) -> Check {
        if self.replicas[replica].take().is_none() {
            return Ok(());
        }
        self.say(|| format!("replica {replica} crashes"));
        self.sessions[replica] = None;
        self.disown(replica);
        self.adopt_orphans()
    }

    fn freeze(&mut self, replica: usize) -> Check {
        let session_ends = self.now.after(SESSION).mono_us;
        let Some(running) = self.running(replica) else { return Ok(()) };
        running.frozen = true;
        self.sessions[replica] = Some(session_ends);
        self.deadlines.push(Reverse(session_ends));
        self.say(|| format!("replica {replica} freezes"));
        Ok(())
    }

    /// The broker has not heard of a frozen replica for too long: others get its partitions, and
    /// it does not know.
    fn end_sessions(&mut self) -> Check {
        for replica in 0..REPLICAS {
            if self.sessions[replica].is_some_and(|ends| ends <= self.now.mono_us) {
                self.sessions[replica] = None;
                self.say(|| format!("the session of replica {replica} ends"));
                self.disown(replica);
            }
        }
        self.adopt_orphans()
    }

    fn thaw(&mut self, replica: usize) -> Check {
        let Some(frozen) = self.replicas[replica].as_mut().filter(|replica| replica.frozen) else {
            return Ok(());
        };
        frozen.frozen = false;
        frozen.dazed = true;
        self.say(|| format!("replica {replica} thaws"));
        self.obey(replica)
    }

    /// The source notices how long it was away: everything that it held is void.
    fn come_round(&mut self, replica: usize) -> Check {
        let now = self.now;
        let dazed = self.replicas[replica].as_mut().filter(|replica| replica.dazed && !replica.frozen);
        let Some(dazed) = dazed else { return Ok(()) };
        dazed.dazed = false;
        let generations: Vec<Generation> = dazed.assigned.keys().copied().collect();
        for generation in generations {
            dazed.forget(generation, now);
        }
        self.sessions[replica] = None;
        self.say(|| format!("replica {replica} has noticed its absence"));
        self.disown(replica);
        self.obey(replica)?;
        self.adopt_orphans()
    }

    fn stop_gracefully(&mut self, replica: usize) -> Check {
        let now = self.now;
        let Some(running) = self.running(replica) else { return Ok(()) };
        running.stopping = true;
        running.engine.handle(Input::Shutdown, now);
        self.say(|| format!("replica {replica} stops"));
        self.obey(replica)?;
        let Some(running) = self.running(replica) else { return Ok(()) };
        if running.engine.is_idle() {
            self.commit_all()?;
            return self.crash(replica);
        }
        Ok(())
    }

    /// The group takes a partition away from its owner, who may finish what is in flight.
    fn rebalance(&mut self) -> Check {
        let now = self.now;
        let partition = self.random.usize(0..self.broker.logs.len());
        let Some((owner, generation)) = self.broker.owners[partition] else { return self.adopt_orphans() };
        let until = now.after(GRACE);
        let Some(running) = self.running(owner) else { return Ok(()) };
        let Some(assigned) = running.assigned.get_mut(&generation) else { return Ok(()) };
        if assigned.leaving.is_some() {
            return Ok(());
        }
        assigned.leaving = Some(until);
        running.engine.handle(Input::Revoked(ConsumerId(0), generation), now);
        self.deadlines.push(Reverse(until.mono_us));
        self.say(|| format!("partition {partition} is revoked from {owner}"));
        self.obey(owner)
    }

    /// A revocation that took too long ends without waiting further.
    fn end_leavings(&mut self, replica: usize) -> Check {
        let now = self.now;
        let Some(running) = self.running(replica) else { return Ok(()) };
        let late: Vec<Generation> = (running.assigned.iter())
            .filter(|(_, assigned)| assigned.leaving.is_some_and(|until| until <= now))
            .map(|(generation, _)| *generation)
            .collect();
        for generation in late {
            self.leave(replica, generation)?;
        }
        Ok(())
    }

    /// The owner commits what is settled and lets the partition go; another one takes it over.
    fn leave(&mut self, replica: usize, generation: Generation) -> Check {
        let now = self.now;
        self.commit(replica, generation)?;
        let Some(running) = self.replicas[replica].as_mut() else { return Ok(()) };
        let Some(assigned) = running.assigned.get(&generation) else { return Ok(()) };
        let partition = assigned.partition;
        running.forget(generation, now);
        if self.broker.owners[partition] == Some((replica, generation)) {
            self.broker.owners[partition] = None;
        }
        self.obey(replica)?;
        self.adopt_orphans()
    }

    fn disown(&mut self, replica: usize) {
        for owner in &mut self.broker.owners {
            if owner.is_some_and(|(owner, _)| owner == replica) {
                *owner = None;
            }
        }
    }

    /// Partitions without an owner go to any replica that runs.
    fn adopt_orphans(&mut self) -> Check {
        for partition in 0..self.broker.logs.len() {
            let able: Vec<usize> = (0..REPLICAS)
                .filter(|replica| self.replicas[*replica].as_ref().is_some_and(Replica::can_own))
                .collect();
            if self.broker.owners[partition].is_some() || able.is_empty() {
                continue;
            }
            let replica = able[self.random.usize(0..able.len())];
            self.generations += 1;
            let generation = Generation(self.generations);
            self.broker.owners[partition] = Some((replica, generation));
            let committed = self.broker.committed[partition];
            if let Some(running) = self.replicas[replica].as_mut() {
                running.assign(generation, partition, committed);
            }
            self.say(|| format!("partition {partition} goes to {replica} at {committed}"));
        }
        Ok(())
    }

    /// From here on everything works again.
    fn heal(&mut self) -> Check {
        self.say(|| "the world heals".to_owned());
        self.healed = true;
        self.broker.store_up = true;
        for replica in 0..REPLICAS {
            self.thaw(replica)?;
            self.come_round(replica)?;
            if self.replicas[replica].as_ref().is_some_and(|replica| replica.stopping) {
                self.crash(replica)?;
            }
            self.start_replica(replica)?;
        }
        self.adopt_orphans()
    }
}

/// Nothing may happen for a generation after the engine was told that it is gone.
fn known(replica: &Replica, generation: Generation, what: &str) -> Check {
    match replica.assigned.contains_key(&generation) {
        true => Ok(()),
        false => Err(format!("{what} of a generation that is gone")),
    }
}
