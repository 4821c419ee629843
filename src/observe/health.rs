use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::domain::{ConsumerId, Moment, SourceId};
use crate::plan::{Plan, Reads};

/// How long the loop may be silent before the process counts as stalled (PRODUCT.md §3).
const STALLED_AFTER: Duration = Duration::from_secs(30);

/// Whether the process is alive and ready. The pipeline writes it, the probes read it.
///
/// It exists only once a plan is loaded, so a readable `Health` already says that much.
#[derive(Debug)]
pub struct Health {
    /// Monotonic microseconds of the loop's last turn.
    beat_us: AtomicU64,
    draining: AtomicBool,
    consumers: Vec<Standing>,
    stores: Vec<Standing>,
}

/// What is waited for. Changes are rare, so a lock is cheap enough.
#[derive(Debug)]
struct Standing {
    /// What it is, for people.
    what: String,
    state: Mutex<Result<(), String>>,
}

impl Standing {
    fn new(what: String, reason: &str) -> Standing {
        Standing { what, state: Mutex::new(Err(reason.to_owned())) }
    }

    fn set(&self, state: Result<(), String>) {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = state;
    }
}

impl Health {
    /// Alive as of now, and not ready until every source and store says that it is.
    pub fn new(plan: &Plan) -> Health {
        let source_name =
            |source: SourceId| plan.sources.get(usize::from(source.0)).map_or("", |source| &source.name);
        let consumers = plan.consumers.iter().map(|consumer| {
            let source = source_name(consumer.source);
            let what = match consumer.reads {
                Reads::Shared => format!("sources.{source}"),
                Reads::Ordered(_) => {
                    format!("sources.{source}: the group of {}", plan.consumer_name(consumer))
                }
                Reads::Tiers => format!("sources.{source}: retry tiers"),
            };
            Standing::new(what, "is not read yet")
        });
        let stores = plan.sources.iter().map(|source| {
            Standing::new(format!("sources.{}: dead-letter store", source.name), "not reached yet")
        });
        Health {
            beat_us: AtomicU64::new(Moment::now().mono_us),
            draining: AtomicBool::new(false),
            consumers: consumers.collect(),
            stores: stores.collect(),
        }
    }

    /// The loop made a turn. To be called at least every few seconds, also when nothing happens.
    pub fn beat(&self, now: Moment) {
        self.beat_us.store(now.mono_us, Ordering::Relaxed);
    }

    /// Whether a consumer joined its group, and why not. `reason` holds no secret.
    pub fn consumer_ready(&self, consumer: ConsumerId, state: Result<(), String>) {
        if let Some(consumer) = self.consumers.get(usize::from(consumer.0)) {
            consumer.set(state);
        }
    }

    /// Whether a source's dead-letter store takes writes, and why not. `reason` holds no secret.
    pub fn store_ready(&self, source: SourceId, state: Result<(), String>) {
        if let Some(store) = self.stores.get(usize::from(source.0)) {
            store.set(state);
        }
    }

    /// The process is stopping: not ready from now on, for good.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// Whether the loop still turns, for `/healthz`.
    ///
    /// # Errors
    /// For how long it has not.
    pub fn alive(&self, now: Moment) -> Result<(), String> {
        let silent_us = now.mono_us.saturating_sub(self.beat_us.load(Ordering::Relaxed));
        let silent = Duration::from_micros(silent_us);
        if silent < STALLED_AFTER {
            return Ok(());
        }
        Err(format!("the delivery loop has not turned for {} s", silent.as_secs()))
    }

    /// Whether the process does its work, for `/readyz`.
    ///
    /// # Errors
    /// Every reason why not, one line each.
    pub fn ready(&self) -> Result<(), Vec<String>> {
        let mut reasons = Vec::new();
        if self.draining.load(Ordering::Relaxed) {
            reasons.push("draining: the process is stopping".to_owned());
        }
        for standing in self.consumers.iter().chain(&self.stores) {
            if let Err(reason) = &*standing.state.lock().unwrap_or_else(PoisonError::into_inner) {
                reasons.push(format!("{}: {reason}", standing.what));
            }
        }
        if reasons.is_empty() { Ok(()) } else { Err(reasons) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::testing::plan;

    const SOURCE: SourceId = SourceId(0);

    #[test]
    fn readiness_names_everything_that_is_missing() {
        let health = Health::new(&plan());
        let reasons = health.ready().expect_err("nothing has joined");
        assert_eq!(
            reasons,
            [
                "sources.orders: is not read yet",
                "sources.orders: retry tiers: is not read yet",
                "sources.orders: dead-letter store: not reached yet",
            ]
        );

        health.consumer_ready(ConsumerId(0), Ok(()));
        health.consumer_ready(ConsumerId(1), Ok(()));
        health.store_ready(SOURCE, Ok(()));
        assert_eq!(health.ready(), Ok(()));

        health.store_ready(SOURCE, Err("broker localhost:9092 refuses connections".to_owned()));
        assert_eq!(
            health.ready(),
            Err(vec![
                "sources.orders: dead-letter store: broker localhost:9092 refuses connections".to_owned()
            ])
        );
    }

    #[test]
    fn a_draining_process_is_not_ready_although_everything_is_up() {
        let health = Health::new(&plan());
        health.consumer_ready(ConsumerId(0), Ok(()));
        health.consumer_ready(ConsumerId(1), Ok(()));
        health.store_ready(SOURCE, Ok(()));
        health.drain();
        assert_eq!(health.ready(), Err(vec!["draining: the process is stopping".to_owned()]));
    }

    #[test]
    fn a_loop_that_is_silent_for_thirty_seconds_is_stalled() {
        let health = Health::new(&plan());
        let start = Moment::now();
        health.beat(start);
        assert_eq!(health.alive(start.after(Duration::from_millis(29_999))), Ok(()));
        let stalled = health.alive(start.after(Duration::from_secs(31)));
        assert_eq!(stalled, Err("the delivery loop has not turned for 31 s".to_owned()));
        health.beat(start.after(Duration::from_secs(30)));
        assert_eq!(health.alive(start.after(Duration::from_secs(31))), Ok(()));
    }
}
