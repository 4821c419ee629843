use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::domain::{Moment, SourceId};
use crate::plan::Plan;

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
    sources: Vec<SourceHealth>,
}

/// What one source waits for. Changes are rare, so a lock is cheap enough.
#[derive(Debug)]
struct SourceHealth {
    name: String,
    group: Mutex<Result<(), String>>,
    store: Mutex<Result<(), String>>,
}

impl Health {
    /// Alive as of now, and not ready until every source and store says that it is.
    pub fn new(plan: &Plan) -> Health {
        let sources = plan.sources.iter().map(|source| SourceHealth {
            name: source.name.clone(),
            group: Mutex::new(Err("is not read yet".to_owned())),
            store: Mutex::new(Err("not reached yet".to_owned())),
        });
        Health {
            beat_us: AtomicU64::new(Moment::now().mono_us),
            draining: AtomicBool::new(false),
            sources: sources.collect(),
        }
    }

    /// The loop made a turn. To be called at least every few seconds, also when nothing happens.
    pub fn beat(&self, now: Moment) {
        self.beat_us.store(now.mono_us, Ordering::Relaxed);
    }

    /// Whether a source joined its group, and why not. `reason` holds no secret.
    pub fn source_ready(&self, source: SourceId, state: Result<(), String>) {
        if let Some(source) = self.sources.get(usize::from(source.0)) {
            *source.group.lock().unwrap_or_else(PoisonError::into_inner) = state;
        }
    }

    /// Whether a source's dead-letter store takes writes, and why not. `reason` holds no secret.
    pub fn store_ready(&self, source: SourceId, state: Result<(), String>) {
        if let Some(source) = self.sources.get(usize::from(source.0)) {
            *source.store.lock().unwrap_or_else(PoisonError::into_inner) = state;
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
        for source in &self.sources {
            if let Err(reason) = &*source.group.lock().unwrap_or_else(PoisonError::into_inner) {
                reasons.push(format!("sources.{}: {reason}", source.name));
            }
            if let Err(reason) = &*source.store.lock().unwrap_or_else(PoisonError::into_inner) {
                reasons.push(format!("sources.{}: dead-letter store: {reason}", source.name));
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
            ["sources.orders: is not read yet", "sources.orders: dead-letter store: not reached yet",]
        );

        health.source_ready(SOURCE, Ok(()));
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
        health.source_ready(SOURCE, Ok(()));
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
