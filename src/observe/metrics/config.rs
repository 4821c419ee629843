use prometheus::{Gauge, IntGauge, IntGaugeVec};

use super::families::{CONSTANT, Declare, opts};
use crate::domain::Moment;
use crate::plan::Plan;

/// What is said of the configuration.
#[derive(Debug)]
pub(super) struct ConfigMetrics {
    successful: IntGauge,
    loaded_at: Gauge,
    info: IntGaugeVec,
}

impl ConfigMetrics {
    pub(super) fn new(add: &Declare<'_>) -> ConfigMetrics {
        let loaded_at = opts(
            "config_last_reload_success_timestamp_seconds",
            "When the configuration in force was loaded, in seconds since 1970.",
        );
        ConfigMetrics {
            successful: add.gauge(
                "config_last_reload_successful",
                "Whether the configuration that was read last is in force.",
            ),
            loaded_at: add.added(Gauge::with_opts(loaded_at).expect(CONSTANT)),
            info: add.gauges("config_info", "The configuration that is in force.", &["hash"]),
        }
    }

    /// A plan is in force from now on.
    pub(super) fn loaded(&self, plan: &Plan, now: Moment) {
        self.info.reset();
        self.info.with_label_values(&[&plan.hash]).set(1);
        self.successful.set(1);
        self.loaded_at.set(now.wall_ms as f64 / 1000.0);
    }

    /// A configuration was refused.
    pub(super) fn refused(&self) {
        self.successful.set(0);
    }
}
