use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use super::broker::Broker;
use super::commands::Landing;
use super::fault::Fault;
use super::receivers::Receivers;
use super::replica::Replica;
use super::truth::Truth;
use crate::domain::{Generation, Moment};
use crate::plan::{self, Layers, Plan};

const CONFIGURATION: &str = r"
limits: { in_flight: 14, max_event: 1200B, window: { bytes: 28000B, events: 16 } }
sources:
  events: { kafka: { brokers: localhost:9092, topics: [events] } }
targets:
  dead:
    url: https://dead.example.com/
    concurrency: 2
    retry: { schedule: [2s, 40s, 5m, 30m], hold: 5s, jitter: none }
    breaker: { failures: 3, probe: 10s }
  first:
    url: https://first.example.com/
    concurrency: 3
    retry: { attempts: 3, initial: 1s, factor: 2, jitter: full }
  healthy:
    url: https://healthy.example.com/
    concurrency: 4
  limited:
    url: https://limited.example.com/
    concurrency: 2
    rate: { limit: 2/s, burst: 3 }
    breaker: 'off'
    retry: { attempts: unlimited, initial: 1s, max_delay: 20s, jitter: 0.1, hold: 10s }
  ordered:
    url: https://ordered.example.com/
    ordering: ORDERING
    on_exhausted: EXHAUSTED
    retry: { schedule: [1s, 20s] }
  second:
    url: https://second.example.com/
    concurrency: 4
    on_exhausted: discard
    retry: { schedule: [100ms, 5s] }
routes:
  - { types: ['a.*'], to: [first, second, limited] }
  - { types: ['b.*', a.never], to: [second, healthy, ordered], priority: 2 }
  - { types: ['d.*'], to: [dead, healthy, ordered] }
";

const FIRST_TARGET: &str = "  first:
    url: https://first.example.com/
    concurrency: 3
    retry: { attempts: 3, initial: 1s, factor: 2, jitter: full }
";

/// A plan, and the plans that reloads bring in its place. Targets have the same numbers in all.
pub(super) struct Plans {
    base: Arc<Plan>,
    /// Without `first`, and with other settings of `dead`.
    others: [Arc<Plan>; 2],
}

/// One for each way to keep order, and to end what is exhausted.
static PLANS: LazyLock<Vec<Plans>> = LazyLock::new(|| {
    let examined = |text: &str| {
        plan::examine_text("simulation.yaml", text, &Layers::default())
            .unwrap_or_else(|faults| panic!("{faults}"))
    };
    let plans = |ordering: &str, exhausted: &str| {
        let text = CONFIGURATION.replace("ORDERING", ordering).replace("EXHAUSTED", exhausted);
        let base = examined(&text);
        let follow = |text: &str| {
            let next = plan::succeed(&base.plan, &base.settings, examined(text));
            Arc::new(next.unwrap_or_else(|keys| panic!("{keys}")).plan)
        };
        assert!(text.contains(FIRST_TARGET));
        let less = follow(&text.replace(FIRST_TARGET, "").replace("[first, ", "["));
        let changed =
            follow(&text.replace("dead.example", "still-dead.example").replace("probe: 10s", "probe: 20s"));
        Plans { others: [less, changed], base: Arc::new(base.plan) }
    };
    let all = ["strict", "by_key"].into_iter().flat_map(|ordering| {
        ["dead_letter", "block"].into_iter().map(move |exhausted| (ordering, exhausted))
    });
    all.map(|(ordering, exhausted)| plans(ordering, exhausted)).collect()
});

pub(super) const REPLICAS: usize = 2;
/// Steps with faults, before the world heals.
const TROUBLED_STEPS: usize = 150;
/// Steps after which a healed world must have settled everything.
const HEALING_STEPS: usize = 20_000;
const START: Moment = Moment { mono_us: 1, wall_ms: 1_700_000_000_000 };
const COMMIT_EVERY: Duration = Duration::from_secs(5);

pub(super) struct World {
    /// What replicas start with.
    pub(super) plan: Arc<Plan>,
    plans: &'static Plans,
    pub(super) random: fastrand::Rng,
    pub(super) now: Moment,
    pub(super) broker: Broker,
    pub(super) truth: Truth,
    pub(super) receivers: Receivers,
    pub(super) replicas: Vec<Option<Replica>>,
    pub(super) lives: u32,
    /// By time and number: replica, its life, and what lands.
    pub(super) flights: BTreeMap<(u64, u64), (usize, u32, Landing)>,
    pub(super) numbers: u64,
    pub(super) generations: u64,
    pub(super) healed: bool,
    pub(super) fault: Option<Fault>,
    pub(super) trace: bool,
    pub(super) deadlines: BinaryHeap<Reverse<u64>>,
    /// When the session of a frozen replica ends.
    pub(super) sessions: Vec<Option<u64>>,
    /// Until when the stores were down, or the world was otherwise in no state to go on.
    pub(super) store_down_until: Moment,
    committed_at: Moment,
}

pub(super) type Check = Result<(), String>;

impl World {
    pub(super) fn new(seed: u64, fault: Option<Fault>, trace: bool) -> World {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut truth = Truth::default();
        let partitions = random.usize(1..4);
        let broker = Broker::fill(&mut random, partitions, &mut truth, START);
        let plans = &PLANS[random.usize(0..PLANS.len())];
        World {
            plan: plans.base.clone(),
            plans,
            random,
            now: START,
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
            store_down_until: START,
            committed_at: START,
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

    pub(super) fn say(&self, text: impl FnOnce() -> String) {
        if self.trace {
            println!("{:>12.3}s {}", self.now.mono_us as f64 / 1e6, text());
        }
    }

    /// Everything is committed up to the end, and nothing is owed.
    fn is_done(&self) -> bool {
        let mut slots = self.broker.slots.iter().zip(&self.broker.committed);
        slots.all(|(slot, committed)| *committed >= self.broker.end(*slot)) && self.truth.is_paid()
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
            19 | 20 => {
                let [less, changed] = &self.plans.others;
                let plan = [&self.plans.base, less, changed][self.random.usize(0..3)].clone();
                self.reload(replica, plan)
            }
            _ => Ok(()),
        }
    }

    /// Lets the sources read, then moves the clock to whatever happens next.
    fn step(&mut self) -> Check {
        for replica in 0..REPLICAS {
            self.read(replica)?;
            self.check_progress(replica)?;
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
        if self.now.since(self.committed_at) >= COMMIT_EVERY {
            self.committed_at = self.now;
            self.commit_all()?;
        }
        Ok(())
    }

    pub(super) fn running(&mut self, replica: usize) -> Option<&mut Replica> {
        self.replicas[replica].as_mut().filter(|replica| !replica.frozen)
    }

    fn read(&mut self, replica: usize) -> Check {
        let generations: Vec<Generation> = self
            .running(replica)
            .map(|running| running.assigned.keys().copied().collect())
            .unwrap_or_default();
        for generation in generations {
            for _ in 0..self.random.usize(1..5) {
                let now = self.now;
                let Some(running) = self.replicas[replica].as_mut() else { break };
                let has_read = running.read(generation, &self.broker, &mut self.truth, now);
                self.obey(replica)?;
                if !has_read {
                    break;
                }
            }
        }
        Ok(())
    }

    fn pass_time(&mut self) {
        let flight = self.flights.keys().next().map(|(due, _)| *due);
        let timers = self.replicas.iter().flatten().filter(|replica| !replica.frozen);
        let timer = timers.filter_map(|replica| replica.engine.next_deadline_us()).min();
        let owners = self.replicas.iter().flatten().filter(|replica| replica.can_own());
        let record = owners.filter_map(|replica| replica.next_due_us(&self.broker, self.now)).min();
        let owners = self.replicas.iter().flatten().filter(|replica| replica.can_own());
        let press = owners.filter_map(|replica| replica.next_press_us(self.now)).min();
        let leaving = self.deadlines.peek().map(|Reverse(due)| *due);
        let due = [flight, timer, record, press, leaving].into_iter().flatten().min();
        let due = due.unwrap_or(self.now.mono_us + 100_000).max(self.now.mono_us);
        while self.deadlines.peek().is_some_and(|Reverse(deadline)| *deadline <= due) {
            self.deadlines.pop();
        }
        self.now = Moment { mono_us: due, wall_ms: START.wall_ms + ((due - START.mono_us) / 1000) as i64 };
        if !self.broker.store_up {
            self.store_down_until = self.now;
        }
    }

    /// Everything that is due arrives, unless its process is gone; a frozen one gets it later.
    fn land(&mut self) -> Check {
        let later = self.flights.split_off(&(self.now.mono_us + 1, 0));
        for (_, (replica, life, landing)) in std::mem::replace(&mut self.flights, later) {
            match &self.replicas[replica] {
                Some(target) if target.life == life && target.frozen => {
                    self.fly(Duration::from_millis(500), replica, landing);
                    continue;
                }
                Some(target) if target.life == life => {}
                // The other side of the wire goes on without the process.
                _ => {
                    drop(self.happen(landing));
                    continue;
                }
            }
            self.arrive(replica, landing)?;
        }
        Ok(())
    }
}
