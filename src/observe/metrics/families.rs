//! The families of metrics: names, labels, help and buckets (PRODUCT.md §4).

use prometheus::core::Collector;
use prometheus::process_collector::ProcessCollector;
use prometheus::{
    GaugeVec, HistogramOpts, HistogramVec, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
};

use super::{AttemptCounters, DISABLED, SourceMetrics, TargetMetrics, clamped};
use crate::domain::{DeadLetterReason, Fault, ReleaseReason, TargetState, Tier};
use crate::plan::Plan;

/// Upper bounds of `attempt_duration_seconds`: 5 ms to 60 s.
const ATTEMPT_BUCKETS: [f64; 12] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 30.0, 60.0];
/// Upper bounds of `delivery_duration_seconds`: 10 ms to 24 h.
const DELIVERY_BUCKETS: [f64; 12] =
    [0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0, 60.0, 600.0, 3_600.0, 21_600.0, 86_400.0];

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

/// Names, labels and buckets are constants of this file, so declaring them can't fail.
pub(super) const CONSTANT: &str = "declared once, with constant names";

/// The families with labels; a plan's handles are taken from them.
#[derive(Debug)]
pub(super) struct Families {
    pub(super) registry: Registry,
    pub(super) events: IntCounterVec,
    pub(super) events_lost: IntCounterVec,
    pub(super) commits: IntCounterVec,
    pub(super) rebalances: IntCounterVec,
    pub(super) redeliveries: IntCounterVec,
    pub(super) source_up: IntGaugeVec,
    pub(super) store_up: IntGaugeVec,
    pub(super) lag: IntGaugeVec,
    pub(super) oldest_unsettled: GaugeVec,
    pub(super) waiting: IntGaugeVec,
    pub(super) dead_letters: IntCounterVec,
    pub(super) pending: GaugeVec,
    pub(super) opened: IntCounterVec,
    pub(super) deliveries: IntCounterVec,
    pub(super) moves: IntCounterVec,
    pub(super) resumed: IntCounterVec,
    pub(super) redriven: IntCounterVec,
    pub(super) rate_limited: IntCounterVec,
    pub(super) released: IntCounterVec,
    pub(super) attempts: IntCounterVec,
    pub(super) attempt_duration: HistogramVec,
    pub(super) delivery_duration: HistogramVec,
    pub(super) queue: IntGaugeVec,
    pub(super) queue_bytes: IntGaugeVec,
    pub(super) oldest_delivery_age: GaugeVec,
    pub(super) state: IntGaugeVec,
    pub(super) enabled: IntGaugeVec,
}

impl Families {
    pub(super) fn new() -> Families {
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
                "Events that were lost before they were read. retention: the broker deleted the oldest of a log; \
                 deleted: the log itself was deleted or made anew, as far as it was known to reach at the last look; \
                 slow_consumer: core NATS sent them while the window was full. One that several consumers of a source \
                 would have read counts for each.",
                &["source", "reason"],
            ),
            commits: add.counters("commits_total", "Commits of a source's group.", &["source", "result"]),
            rebalances: add.counters("rebalances_total", "Rebalances of a source's group.", &["source"]),
            redeliveries: add.counters(
                "redeliveries_total",
                "Messages that came again although they were not settled (JetStream).",
                &["source"],
            ),
            source_up: add.gauges(
                "source_up",
                "Whether a consumer of a source is ready: in the group or bound to the durable, and nothing of what it \
                 is to read is missing.",
                &["source", "consumer"],
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
            enabled: add.gauges(
                "target_enabled",
                "Whether the configuration lets a target be used.",
                &["target"],
            ),
            registry,
        }
    }

    pub(super) fn source(&self, name: &str) -> SourceMetrics {
        let events = |result| self.events.with_label_values(&[name, result]);
        SourceMetrics {
            name: name.to_owned(),
            routed: events("routed"),
            unrouted: events("unrouted"),
            tombstones: events("tombstone"),
            poisoned: events("poisoned"),
            expired: self.events_lost.with_label_values(&[name, "retention"]),
            deleted: self.events_lost.with_label_values(&[name, "deleted"]),
            dropped: self.events_lost.with_label_values(&[name, "slow_consumer"]),
            redelivered: self.redeliveries.with_label_values(&[name]),
            committed: self.commits.with_label_values(&[name, "ok"]),
            commit_failed: self.commits.with_label_values(&[name, "failed"]),
            rebalances: self.rebalances.with_label_values(&[name]),
            store_up: self.store_up.with_label_values(&[name]),
        }
    }

    pub(super) fn target(&self, name: &str, enabled: bool) -> TargetMetrics {
        let deliveries = |outcome| self.deliveries.with_label_values(&[name, outcome]);
        let released = |reason: ReleaseReason| self.released.with_label_values(&[name, reason.as_str()]);
        let by_tier = |counters: &IntCounterVec| {
            Tier::all().map(|tier| counters.with_label_values(&[name, tier.name()])).collect()
        };
        let queue = |state| self.queue.with_label_values(&[name, state]);
        self.enabled.with_label_values(&[name]).set(i64::from(enabled));
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
    pub(super) fn forget_state(&self, target: &mut TargetMetrics) {
        if !std::mem::replace(&mut target.removed, true) {
            // They were there, and nobody needs to know if they were not.
            let _ = self.enabled.remove_label_values(&[&*target.name]);
            for (state, _) in &target.states {
                let _ = self.state.remove_label_values(&[&*target.name, state]);
            }
        }
    }

    pub(super) fn attempt_counters(&self, target: &str) -> AttemptCounters {
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

    pub(super) fn declare_dead_letters(&self, plan: &Plan) {
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
    pub(super) fn declare_memory(&self, plan: &Plan) -> IntGauge {
        let add = Declare { registry: &self.registry };
        add.gauge("memory_budget_bytes", "`limits.memory`, or what it is by default.")
            .set(clamped(plan.limits.memory));
        add.gauge("memory_used_bytes", "The resident memory of the process.")
    }

    pub(super) fn declare_build(&self) {
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
pub(super) struct Declare<'a> {
    pub(super) registry: &'a Registry,
}

impl Declare<'_> {
    pub(super) fn counters(&self, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
        self.added(IntCounterVec::new(opts(name, help), labels).expect(CONSTANT))
    }

    pub(super) fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
        self.added(IntGaugeVec::new(opts(name, help), labels).expect(CONSTANT))
    }

    pub(super) fn gauge(&self, name: &str, help: &str) -> IntGauge {
        self.added(IntGauge::with_opts(opts(name, help)).expect(CONSTANT))
    }

    pub(super) fn float_gauges(&self, name: &str, help: &str, labels: &[&str]) -> GaugeVec {
        self.added(GaugeVec::new(opts(name, help), labels).expect(CONSTANT))
    }

    pub(super) fn histograms(&self, name: &str, help: &str, buckets: &[f64]) -> HistogramVec {
        let options = HistogramOpts { common_opts: opts(name, help), buckets: buckets.to_vec() };
        self.added(HistogramVec::new(options, &["target"]).expect(CONSTANT))
    }

    pub(super) fn added<C: Collector + Clone + 'static>(&self, collector: C) -> C {
        self.register(collector.clone());
        collector
    }

    pub(super) fn register(&self, collector: impl Collector + 'static) {
        self.registry.register(Box::new(collector)).expect(CONSTANT);
    }
}

pub(super) fn opts(name: &str, help: &str) -> Opts {
    Opts::new(name, help).namespace("hookferry")
}
