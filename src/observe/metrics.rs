use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Mutex, PoisonError, RwLock};

use prometheus::core::Collector;
use prometheus::process_collector::ProcessCollector;
use prometheus::{
    Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge,
    IntGaugeVec, Opts, Registry, TextEncoder,
};

use crate::domain::{
    Attempted, ConsumerId, DeadLetterReason, Event, Fault, Moment, Outcome, ReleaseReason, Reply, SourceId,
    TargetId, TargetState, Tier,
};
use crate::engine::{LaneState, Note};
use crate::plan::Plan;
use crate::source::Report;
use crate::store::Pending;

mod config;
#[cfg(test)]
mod tests;

use config::ConfigMetrics;

/// Upper bounds of `attempt_duration_seconds`: 5 ms to 60 s.
const ATTEMPT_BUCKETS: [f64; 12] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 30.0, 60.0];
/// Upper bounds of `delivery_duration_seconds`: 10 ms to 24 h.
const DELIVERY_BUCKETS: [f64; 12] =
    [0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0, 60.0, 600.0, 3_600.0, 21_600.0, 86_400.0];

const DISABLED: &str = TargetState::NAMES[4];

/// Why a target's delivery can be in the dead letters.
const TARGET_REASONS: [DeadLetterReason; 8] = [
    DeadLetterReason::Rejected,
    DeadLetterReason::Exhausted,
    DeadLetterReason::Expired,
    DeadLetterReason::Template,
    DeadLetterReason::Oversized,
    DeadLetterReason::Blocked,
    DeadLetterReason::TargetUnknown,
    DeadLetterReason::TargetDisabled,
];
/// Why an event itself can be there.
const EVENT_REASONS: [DeadLetterReason; 4] = [
    DeadLetterReason::Poisoned,
    DeadLetterReason::Oversized,
    DeadLetterReason::Tombstone,
    DeadLetterReason::Schema,
];

/// The metrics of one process (PRODUCT.md §4), in a registry of their own.
///
/// All that is counted for every event or attempt is resolved when the plan is known, so counting
/// is an atomic addition. Every counter that can ever move is there from the start, at 0.
#[derive(Debug)]
pub struct Metrics {
    families: Families,
    sources: Vec<SourceMetrics>,
    /// The source of each consumer, and its name.
    consumers: Vec<(SourceId, String)>,
    /// Written by reloads only.
    targets: RwLock<Vec<TargetMetrics>>,
    /// Read whenever it is asked for.
    memory_used: IntGauge,
    config: ConfigMetrics,
    /// What each keeper of dead letters told last.
    pending_by_keeper: Mutex<BTreeMap<SourceId, Pending>>,
    /// One for each tier.
    waiting: Vec<IntGauge>,
    /// What each consumer said last of each tier.
    waiting_parts: Vec<Vec<AtomicI64>>,
}

#[derive(Debug)]
struct SourceMetrics {
    name: String,
    routed: IntCounter,
    unrouted: IntCounter,
    tombstones: IntCounter,
    poisoned: IntCounter,
    lost: IntCounter,
    dropped: IntCounter,
    redelivered: IntCounter,
    committed: IntCounter,
    commit_failed: IntCounter,
    rebalances: IntCounter,
    store_up: IntGauge,
}

#[derive(Debug)]
struct TargetMetrics {
    name: String,
    opened: IntCounter,
    delivered: IntCounter,
    dead_lettered: IntCounter,
    discarded: IntCounter,
    /// One for each tier.
    moves: Vec<IntCounter>,
    /// One for each tier.
    resumed: Vec<IntCounter>,
    redriven: IntCounter,
    rate_limited: IntCounter,
    revoked: IntCounter,
    shut_down: IntCounter,
    attempts: AttemptCounters,
    attempt_duration: Histogram,
    delivery_duration: Histogram,
    ready: IntGauge,
    retrying: IntGauge,
    in_flight: IntGauge,
    bytes: IntGauge,
    oldest: Gauge,
    enabled: bool,
    removed: bool,
    states: [(&'static str, IntGauge); 5],
}

/// `attempts_total` of one target, one for each `result`.
#[derive(Debug)]
struct AttemptCounters {
    success: IntCounter,
    redirect: IntCounter,
    client_error: IntCounter,
    too_large: IntCounter,
    too_many: IntCounter,
    server_error: IntCounter,
    timeout: IntCounter,
    dns: IntCounter,
    network: IntCounter,
    tls: IntCounter,
    auth: IntCounter,
    blocked: IntCounter,
}

impl Metrics {
    /// Declares all metrics and their labels for this plan, and counts the plan as loaded at `now`.
    pub fn new(plan: &Plan, now: Moment) -> Metrics {
        let families = Families::new();
        let sources = plan.sources.iter().map(|source| families.source(&source.name)).collect();
        let named =
            plan.consumers.iter().map(|consumer| (consumer.source, plan.consumer_name(consumer).to_owned()));
        let targets =
            plan.targets.iter().map(|target| families.target(&target.name, target.enabled)).collect();
        families.declare_dead_letters(plan);
        families.declare_build();
        let memory_used = families.declare_memory(plan);
        let metrics = Metrics {
            sources,
            consumers: named.collect(),
            targets: RwLock::new(targets),
            memory_used,
            config: ConfigMetrics::new(&Declare { registry: &families.registry }),
            pending_by_keeper: Mutex::default(),
            waiting: Tier::all().map(|tier| families.waiting.with_label_values(&[tier.name()])).collect(),
            waiting_parts: plan.consumers.iter().map(|_| no_parts()).collect(),
            families,
        };
        metrics.config.loaded(plan, now);
        metrics
    }

    /// Goes on with another plan: declares what is new of it. What was counted of a target that is no longer
    /// there stays counted; it is in no state any more.
    pub fn adopt(&self, plan: &Plan, now: Moment) {
        self.families.declare_dead_letters(plan);
        let mut targets = self.targets.write().unwrap_or_else(PoisonError::into_inner);
        for (id, target) in (0..).map(TargetId).zip(&plan.targets) {
            let is_same = targets
                .get(id.0 as usize)
                .is_some_and(|known| known.enabled == target.enabled && !known.removed);
            if plan.removed.contains(&id) {
                if let Some(known) = targets.get_mut(id.0 as usize) {
                    self.families.forget_state(known);
                }
            } else if !is_same {
                let metrics = self.families.target(&target.name, target.enabled);
                match targets.get_mut(id.0 as usize) {
                    Some(known) => *known = metrics,
                    None => targets.push(metrics),
                }
            }
        }
        drop(targets);
        self.config.loaded(plan, now);
    }

    /// A configuration was refused, and the one before it stays in force.
    pub fn reload_refused(&self) {
        self.config.refused();
    }

    /// Counts what the engine says. `now` ends the duration of a delivery that ended.
    pub fn note(&self, note: &Note, now: Moment) {
        match note {
            Note::Routed(source) => self.source(*source, |source| source.routed.inc()),
            Note::Unrouted(source) => self.source(*source, |source| source.unrouted.inc()),
            Note::Tombstone(source) => self.source(*source, |source| source.tombstones.inc()),
            Note::Poisoned(source) => self.source(*source, |source| source.poisoned.inc()),
            Note::Opened(target) => self.target(*target, |target| target.opened.inc()),
            Note::Ended { target, outcome, event, .. } => self.ended(*target, *outcome, event, now),
            Note::EventDeadLettered { event, reason } => self.dead_letter(event.source, None, *reason),
            Note::Moved { target, tier } => self.target(*target, |target| target.moves[tier.index()].inc()),
            Note::Resumed { target, tier } => {
                self.target(*target, |target| {
                    target.resumed[tier.index()].inc();
                    if *tier == Tier::NOW {
                        target.redriven.inc();
                    }
                });
            }
            Note::Misfit { .. } => {}
            Note::RateLimited(target) => self.target(*target, |target| target.rate_limited.inc()),
            Note::Retrying { .. } | Note::Stands { .. } => {}
            Note::Released { target, reason, .. } => self.target(*target, |target| match reason {
                ReleaseReason::Revoked => target.revoked.inc(),
                ReleaseReason::Shutdown => target.shut_down.inc(),
            }),
        }
    }

    fn ended(&self, target: TargetId, outcome: Outcome, event: &Event, now: Moment) {
        let took_ms = now.wall_ms.saturating_sub(event.origin.stored_ms).max(0);
        self.target(target, |metrics| {
            metrics.delivery_duration.observe(took_ms as f64 / 1000.0);
            match outcome {
                Outcome::Delivered => metrics.delivered.inc(),
                Outcome::DeadLettered(_) => metrics.dead_lettered.inc(),
                Outcome::Discarded(_) => metrics.discarded.inc(),
            }
        });
        if let Outcome::DeadLettered(reason) = outcome {
            self.dead_letter(event.source, Some(target), reason);
        }
    }

    fn dead_letter(&self, source: SourceId, target: Option<TargetId>, reason: DeadLetterReason) {
        let source = self.sources.get(usize::from(source.0)).map_or("", |source| &source.name);
        let targets = self.targets.read().unwrap_or_else(PoisonError::into_inner);
        let target =
            target.and_then(|target| targets.get(target.0 as usize)).map_or("", |target| &target.name);
        self.families.dead_letters.with_label_values(&[source, target, reason.as_str()]).inc();
    }

    /// Counts an attempt. What was withheld or could not be rendered sent nothing and is none.
    pub fn attempted(&self, attempted: &Attempted) {
        self.target(attempted.target, |target| {
            if let Some(counter) = target.attempts.of(&attempted.reply) {
                counter.inc();
                target.attempt_duration.observe(attempted.took.as_secs_f64());
            }
        });
    }

    /// Takes over what a source says of itself.
    pub fn report(&self, consumer: ConsumerId, report: &Report, now: Moment) {
        let id = usize::from(consumer.0);
        let Some((source, consumer)) = self.consumers.get(id) else { return };
        let Some(metrics) = self.sources.get(usize::from(source.0)) else { return };
        match report {
            Report::Ready(_) => {}
            Report::Lag { topic, partition, messages } => {
                let partition = partition.to_string();
                let labels = [&*metrics.name, consumer, topic, &partition];
                match messages {
                    Some(messages) => self.families.lag.with_label_values(&labels).set(clamped(*messages)),
                    None => self.forget_partition(&labels),
                }
            }
            Report::OldestUnsettled { topic, partition, stored_ms } => {
                let partition = partition.to_string();
                let age_ms = stored_ms.map_or(0, |stored_ms| now.wall_ms.saturating_sub(stored_ms).max(0));
                self.families
                    .oldest_unsettled
                    .with_label_values(&[&*metrics.name, consumer, topic, &partition])
                    .set(age_ms as f64 / 1000.0);
            }
            Report::Waiting { tier, deliveries } => {
                let part = self.waiting_parts.get(id).and_then(|parts| parts.get(tier.index()));
                if let (Some(part), Some(gauge)) = (part, self.waiting.get(tier.index())) {
                    let now = clamped(*deliveries);
                    gauge.add(now - part.swap(now, Ordering::Relaxed));
                }
            }
            Report::Lost { messages, .. } => metrics.lost.inc_by(*messages),
            Report::Dropped(messages) => metrics.dropped.inc_by(*messages),
            Report::Redelivered(messages) => metrics.redelivered.inc_by(*messages),
            Report::Committed(Ok(())) => metrics.committed.inc(),
            Report::Committed(Err(_)) => metrics.commit_failed.inc(),
            Report::Rebalanced { .. } => metrics.rebalances.inc(),
        }
    }

    /// Another replica reports the partition from now on.
    fn forget_partition(&self, labels: &[&str; 4]) {
        // What was never set can't be removed, and need not be.
        let _ = self.families.lag.remove_label_values(labels);
        let _ = self.families.oldest_unsettled.remove_label_values(labels);
    }

    /// How many dead letters wait for a person on the broker of `keeper`.
    pub fn dead_letters_pending(&self, keeper: SourceId, pending: &Pending) {
        let mut told = self.pending_by_keeper.lock().unwrap_or_else(PoisonError::into_inner);
        told.insert(keeper, pending.clone());
        let targets = self.targets.read().unwrap_or_else(PoisonError::into_inner);
        for (target, _) in pending {
            let of_target = told.values().flatten().filter(|(other, _)| other == target);
            let name = target.and_then(|target| targets.get(target.0 as usize));
            let name = name.map_or("", |target| &target.name);
            self.families.pending.with_label_values(&[name]).set(of_target.map(|(_, letters)| letters).sum());
        }
    }

    /// Whether a source's dead-letter store takes writes.
    pub fn store_up(&self, source: SourceId, up: bool) {
        self.source(source, |source| source.store_up.set(i64::from(up)));
    }

    /// How the lane of one target stands now.
    pub fn lane(&self, target: TargetId, lane: &LaneState, now: Moment) {
        self.target(target, |target| {
            target.ready.set(clamped(lane.ready as u64));
            target.retrying.set(clamped(lane.retrying as u64));
            target.in_flight.set(clamped(lane.in_flight as u64));
            target.bytes.set(clamped(lane.bytes));
            let oldest = lane.oldest.map(|opened| now.since(opened)).unwrap_or_default();
            target.oldest.set(oldest.as_secs_f64());
            // One that is switched off by configuration has no lane that could say so.
            let state = if target.enabled { lane.standing.state.as_str() } else { DISABLED };
            for (name, gauge) in &target.states {
                gauge.set(i64::from(*name == state));
            }
        });
    }

    /// Everything, in the Prometheus text format 0.0.4.
    ///
    /// # Errors
    /// A metric could not be written as text.
    pub fn render(&self) -> prometheus::Result<String> {
        self.memory_used.set(clamped(resident_bytes().unwrap_or_default()));
        TextEncoder::new().encode_to_string(&self.families.registry.gather())
    }

    fn source(&self, source: SourceId, change: impl FnOnce(&SourceMetrics)) {
        self.sources.get(usize::from(source.0)).map(change).unwrap_or_default();
    }

    fn target(&self, target: TargetId, change: impl FnOnce(&TargetMetrics)) {
        let targets = self.targets.read().unwrap_or_else(PoisonError::into_inner);
        targets.get(target.0 as usize).map(change).unwrap_or_default();
    }
}

impl AttemptCounters {
    fn of(&self, reply: &Reply) -> Option<&IntCounter> {
        Some(match reply {
            Reply::Status { status, .. } => match status {
                200..=299 => &self.success,
                300..=399 => &self.redirect,
                413 => &self.too_large,
                429 => &self.too_many,
                400..=499 => &self.client_error,
                _ => &self.server_error,
            },
            Reply::Fault { fault: Fault::Timeout, .. } => &self.timeout,
            Reply::Fault { fault: Fault::Dns, .. } => &self.dns,
            Reply::Fault { fault: Fault::Network, .. } => &self.network,
            Reply::Fault { fault: Fault::Tls, .. } => &self.tls,
            Reply::Fault { fault: Fault::Auth, .. } => &self.auth,
            Reply::Fault { fault: Fault::Blocked, .. } => &self.blocked,
            Reply::Unrenderable(_) | Reply::Withheld => return None,
        })
    }
}

fn no_parts() -> Vec<AtomicI64> {
    Tier::all().map(|_| AtomicI64::new(0)).collect()
}

/// The process's resident memory, as the system counts it (proc_pid_status(5)); `None` where it doesn't.
fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// Gauges are signed; nothing that is counted here comes near the end of them.
fn clamped(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// Names, labels and buckets are constants of this file, so declaring them can't fail.
const CONSTANT: &str = "declared once, with constant names";

/// The families with labels; a plan's handles are taken from them.
#[derive(Debug)]
struct Families {
    registry: Registry,
    events: IntCounterVec,
    events_lost: IntCounterVec,
    commits: IntCounterVec,
    rebalances: IntCounterVec,
    redeliveries: IntCounterVec,
    store_up: IntGaugeVec,
    lag: IntGaugeVec,
    oldest_unsettled: GaugeVec,
    waiting: IntGaugeVec,
    dead_letters: IntCounterVec,
    pending: GaugeVec,
    opened: IntCounterVec,
    deliveries: IntCounterVec,
    moves: IntCounterVec,
    resumed: IntCounterVec,
    redriven: IntCounterVec,
    rate_limited: IntCounterVec,
    released: IntCounterVec,
    attempts: IntCounterVec,
    attempt_duration: HistogramVec,
    delivery_duration: HistogramVec,
    queue: IntGaugeVec,
    queue_bytes: IntGaugeVec,
    oldest_delivery_age: GaugeVec,
    state: IntGaugeVec,
}

impl Families {
    fn new() -> Families {
        let registry = Registry::new();
        let add = Declare { registry: &registry };
        Families {
            events: add.counters(
                "events_total",
                "Events read, by what routing made of them.",
                &["source", "result"],
            ),
            events_lost: add.counters(
                "events_lost_total",
                "Events that were lost before they were read: deleted by the broker, or dropped.",
                &["source", "reason"],
            ),
            commits: add.counters("commits_total", "Commits of a source's group.", &["source", "result"]),
            rebalances: add.counters("rebalances_total", "Rebalances of a source's group.", &["source"]),
            redeliveries: add.counters(
                "redeliveries_total",
                "Messages that came again although they were not settled (JetStream).",
                &["source"],
            ),
            store_up: add.gauges(
                "dead_letter_store_up",
                "Whether the dead letters of a source can be written.",
                &["source"],
            ),
            lag: add.gauges(
                "source_lag_messages",
                "Messages after the last settled one, by the partition's owner.",
                &PARTITION,
            ),
            oldest_unsettled: add.float_gauges(
                "oldest_unsettled_age_seconds",
                "How long ago the broker stored the oldest message that is not settled.",
                &PARTITION,
            ),
            waiting: add.gauges(
                "waiting_deliveries",
                "Deliveries that wait in a retry tier, by the partition's owner.",
                &["tier"],
            ),
            dead_letters: add.counters(
                "dead_letters_total",
                "Confirmed dead letters; an event's own have an empty target.",
                &["source", "target", "reason"],
            ),
            pending: add.float_gauges(
                "dead_letters_pending",
                "Dead letters that are neither redriven nor purged; events' own have an empty target.",
                &["target"],
            ),
            opened: add.counters("deliveries_opened_total", "Deliveries opened.", &["target"]),
            deliveries: add.counters(
                "deliveries_total",
                "Deliveries that reached a terminal outcome.",
                &["target", "outcome"],
            ),
            moves: add.counters(
                "moves_total",
                "Deliveries moved to a retry tier, confirmed by the broker.",
                &["target", "tier"],
            ),
            resumed: add.counters(
                "deliveries_resumed_total",
                "Deliveries that came back from a retry tier.",
                &["target", "tier"],
            ),
            redriven: add.counters(
                "redriven_total",
                "Deliveries of dead letters that were redriven, when they came back.",
                &["target"],
            ),
            rate_limited: add.counters(
                "rate_limited_total",
                "Deliveries that were ready and had to wait for the rate of their target.",
                &["target"],
            ),
            released: add.counters(
                "deliveries_released_total",
                "Deliveries that left this process unfinished; their events come again.",
                &["target", "reason"],
            ),
            attempts: add.counters("attempts_total", "HTTP requests made.", &["target", "result"]),
            attempt_duration: add.histograms(
                "attempt_duration_seconds",
                "From the start of a request to the end of its response.",
                &ATTEMPT_BUCKETS,
            ),
            delivery_duration: add.histograms(
                "delivery_duration_seconds",
                "From the broker's timestamp of an event to the end of a delivery.",
                &DELIVERY_BUCKETS,
            ),
            queue: add.gauges("queue_deliveries", "Open deliveries.", &["target", "state"]),
            queue_bytes: add.gauges("queue_bytes", "Bytes of the events of open deliveries.", &["target"]),
            oldest_delivery_age: add.float_gauges(
                "oldest_delivery_age_seconds",
                "For how long the oldest open delivery has been open; 0 if none is.",
                &["target"],
            ),
            state: add.gauges("target_state", "1 for the state that a target is in.", &["target", "state"]),
            registry,
        }
    }

    fn source(&self, name: &str) -> SourceMetrics {
        let events = |result| self.events.with_label_values(&[name, result]);
        SourceMetrics {
            name: name.to_owned(),
            routed: events("routed"),
            unrouted: events("unrouted"),
            tombstones: events("tombstone"),
            poisoned: events("poisoned"),
            lost: self.events_lost.with_label_values(&[name, "retention"]),
            dropped: self.events_lost.with_label_values(&[name, "slow_consumer"]),
            redelivered: self.redeliveries.with_label_values(&[name]),
            committed: self.commits.with_label_values(&[name, "ok"]),
            commit_failed: self.commits.with_label_values(&[name, "failed"]),
            rebalances: self.rebalances.with_label_values(&[name]),
            store_up: self.store_up.with_label_values(&[name]),
        }
    }

    fn target(&self, name: &str, enabled: bool) -> TargetMetrics {
        let deliveries = |outcome| self.deliveries.with_label_values(&[name, outcome]);
        let released = |reason: ReleaseReason| self.released.with_label_values(&[name, reason.as_str()]);
        let by_tier = |counters: &IntCounterVec| {
            Tier::all().map(|tier| counters.with_label_values(&[name, tier.name()])).collect()
        };
        let queue = |state| self.queue.with_label_values(&[name, state]);
        let initial = if enabled { TargetState::Active.as_str() } else { DISABLED };
        let states = TargetState::NAMES.map(|state| {
            let gauge = self.state.with_label_values(&[name, state]);
            gauge.set(i64::from(state == initial));
            (state, gauge)
        });
        TargetMetrics {
            name: name.to_owned(),
            opened: self.opened.with_label_values(&[name]),
            delivered: deliveries("delivered"),
            dead_lettered: deliveries("dead_lettered"),
            discarded: deliveries("discarded"),
            moves: by_tier(&self.moves),
            resumed: by_tier(&self.resumed),
            redriven: self.redriven.with_label_values(&[name]),
            rate_limited: self.rate_limited.with_label_values(&[name]),
            revoked: released(ReleaseReason::Revoked),
            shut_down: released(ReleaseReason::Shutdown),
            attempts: self.attempt_counters(name),
            attempt_duration: self.attempt_duration.with_label_values(&[name]),
            delivery_duration: self.delivery_duration.with_label_values(&[name]),
            ready: queue("ready"),
            retrying: queue("retrying"),
            in_flight: queue("in_flight"),
            bytes: self.queue_bytes.with_label_values(&[name]),
            oldest: self.oldest_delivery_age.with_label_values(&[name]),
            enabled,
            removed: false,
            states,
        }
    }

    /// A target that is no longer in the configuration is in no state.
    fn forget_state(&self, target: &mut TargetMetrics) {
        if !std::mem::replace(&mut target.removed, true) {
            for (state, _) in &target.states {
                // It was there, and nobody needs to know if it was not.
                let _ = self.state.remove_label_values(&[&*target.name, state]);
            }
        }
    }

    fn attempt_counters(&self, target: &str) -> AttemptCounters {
        let attempts = |result| self.attempts.with_label_values(&[target, result]);
        AttemptCounters {
            success: attempts("2xx"),
            redirect: attempts("3xx"),
            client_error: attempts("4xx"),
            too_large: attempts("413"),
            too_many: attempts("429"),
            server_error: attempts("5xx"),
            timeout: attempts(Fault::Timeout.as_str()),
            dns: attempts(Fault::Dns.as_str()),
            network: attempts(Fault::Network.as_str()),
            tls: attempts(Fault::Tls.as_str()),
            auth: attempts(Fault::Auth.as_str()),
            blocked: attempts(Fault::Blocked.as_str()),
        }
    }

    fn declare_dead_letters(&self, plan: &Plan) {
        for target in plan.targets.iter().map(|target| &*target.name).chain([""]) {
            self.pending.with_label_values(&[target]);
        }
        for source in &plan.sources {
            for reason in EVENT_REASONS {
                self.dead_letters.with_label_values(&[&*source.name, "", reason.as_str()]);
            }
            for target in &plan.targets {
                for reason in TARGET_REASONS {
                    self.dead_letters.with_label_values(&[&*source.name, &target.name, reason.as_str()]);
                }
            }
        }
    }

    /// The budget, and what is used.
    fn declare_memory(&self, plan: &Plan) -> IntGauge {
        let add = Declare { registry: &self.registry };
        add.gauge("memory_budget_bytes", "`limits.memory`, or what it is by default.")
            .set(clamped(plan.limits.memory));
        add.gauge("memory_used_bytes", "The resident memory of the process.")
    }

    fn declare_build(&self) {
        let add = Declare { registry: &self.registry };
        add.gauges("build_info", "The program.", &["version"])
            .with_label_values(&[env!("CARGO_PKG_VERSION")])
            .set(1);
        add.register(ProcessCollector::for_self());
    }
}

/// The labels of what is measured for each partition.
const PARTITION: [&str; 4] = ["source", "consumer", "topic", "partition"];

/// Declares families in a registry.
struct Declare<'a> {
    registry: &'a Registry,
}

impl Declare<'_> {
    fn counters(&self, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
        self.added(IntCounterVec::new(opts(name, help), labels).expect(CONSTANT))
    }

    fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
        self.added(IntGaugeVec::new(opts(name, help), labels).expect(CONSTANT))
    }

    fn gauge(&self, name: &str, help: &str) -> IntGauge {
        self.added(IntGauge::with_opts(opts(name, help)).expect(CONSTANT))
    }

    fn float_gauges(&self, name: &str, help: &str, labels: &[&str]) -> GaugeVec {
        self.added(GaugeVec::new(opts(name, help), labels).expect(CONSTANT))
    }

    fn histograms(&self, name: &str, help: &str, buckets: &[f64]) -> HistogramVec {
        let options = HistogramOpts { common_opts: opts(name, help), buckets: buckets.to_vec() };
        self.added(HistogramVec::new(options, &["target"]).expect(CONSTANT))
    }

    fn added<C: Collector + Clone + 'static>(&self, collector: C) -> C {
        self.register(collector.clone());
        collector
    }

    fn register(&self, collector: impl Collector + 'static) {
        self.registry.register(Box::new(collector)).expect(CONSTANT);
    }
}

fn opts(name: &str, help: &str) -> Opts {
    Opts::new(name, help).namespace("hookferry")
}
