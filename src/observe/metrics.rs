use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Mutex, PoisonError, RwLock};

use prometheus::{Gauge, Histogram, IntCounter, IntGauge, TextEncoder};

use crate::domain::{
    Attempted, ConsumerId, DeadLetterReason, Event, Fault, Moment, Outcome, ReleaseReason, Reply, SourceId,
    TargetId, TargetState, Tier,
};
use crate::engine::{LaneState, Note};
use crate::plan::Plan;
use crate::source::{Loss, Report};
use crate::store::Pending;

mod config;
mod families;
#[cfg(test)]
mod reference;
#[cfg(test)]
mod tests;

use config::ConfigMetrics;
use families::{Declare, Families};

const DISABLED: &str = TargetState::NAMES[4];

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
    expired: IntCounter,
    deleted: IntCounter,
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
        for (source, consumer) in &metrics.consumers {
            let source = metrics.sources.get(usize::from(source.0)).map_or("", |source| &source.name);
            metrics.families.source_up.with_label_values(&[source, consumer]).set(0);
        }
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
            Report::Ready(ready) => {
                let up = self.families.source_up.with_label_values(&[&*metrics.name, consumer]);
                up.set(i64::from(ready.is_ok()));
            }
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
            Report::Lost { loss: Loss::Retention, messages, .. } => metrics.expired.inc_by(*messages),
            Report::Lost { loss: Loss::Deleted, messages, .. } => metrics.deleted.inc_by(*messages),
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
