//! The handshake of CloudEvents' web hooks (HTTP 1.1 Web Hooks for Event Delivery, §4): one delivery asks the
//! receiver for all whether it takes them.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use tokio::sync::{Mutex as Turns, MutexGuard};

use super::dial::fault;
use super::line::Answer;
use crate::domain::{Fault, Reply};
use crate::plan::Target;

const REQUEST_ORIGIN: HeaderName = HeaderName::from_static("webhook-request-origin");
const REQUEST_RATE: HeaderName = HeaderName::from_static("webhook-request-rate");
const ALLOWED_ORIGIN: HeaderName = HeaderName::from_static("webhook-allowed-origin");
const ALLOWED_RATE: HeaderName = HeaderName::from_static("webhook-allowed-rate");

/// What one target's receiver said, for all sender threads.
pub(super) struct Handshake {
    target: Arc<str>,
    origin: HeaderValue,
    /// Requests a minute that all replicas together may make; `None` has no limit.
    rate: Option<u64>,
    granted: AtomicBool,
    /// Held by the attempt that asks.
    turns: Turns<()>,
    failures: Mutex<Failures>,
}

/// How often it was asked in vain, and what came of the last time.
#[derive(Default, Clone)]
struct Failures {
    count: u64,
    last: Option<Reply>,
}

/// The right, and the duty, to ask.
pub(super) struct Turn<'a> {
    handshake: &'a Handshake,
    _guard: MutexGuard<'a, ()>,
}

impl Handshake {
    /// `None`: the target is not asked.
    pub(super) fn of(target: &Target, replicas: u32) -> Option<Arc<Handshake>> {
        let origin = HeaderValue::from_str(&target.handshake.as_ref()?.origin).ok()?;
        let all = |per_second: f64| (per_second * 60.0 * f64::from(replicas)).round().max(1.0) as u64;
        Some(Arc::new(Handshake {
            target: target.name.clone(),
            origin,
            rate: target.rate.map(|rate| all(rate.per_second)),
            granted: AtomicBool::new(false),
            turns: Turns::default(),
            failures: Mutex::default(),
        }))
    }

    /// `None` once the receiver takes webhooks. Who waited for another attempt to ask, in vain, shares what
    /// came of it.
    pub(super) async fn turn(&self) -> Result<Option<Turn<'_>>, Reply> {
        if self.is_granted() {
            return Ok(None);
        }
        let before = self.failures().count;
        let guard = self.turns.lock().await;
        let Failures { count, last } = self.failures();
        match last {
            _ if self.is_granted() => Ok(None),
            Some(failure) if count != before => Err(failure),
            _ => Ok(Some(Turn { handshake: self, _guard: guard })),
        }
    }

    fn is_granted(&self) -> bool {
        self.granted.load(Ordering::Acquire)
    }

    fn failures(&self) -> Failures {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Turn<'_> {
    /// Writes the question into the headers of a request.
    pub(super) fn ask(&self, headers: &mut HeaderMap) {
        headers.insert(REQUEST_ORIGIN, self.handshake.origin.clone());
        if let Some(rate) = self.handshake.rate {
            headers.insert(REQUEST_RATE, rate.into());
        }
    }

    /// Takes the answer: the receiver takes webhooks, or this is why not.
    pub(super) fn judge(&self, answer: &Answer) -> Result<(), Reply> {
        let Handshake { target, origin, rate, granted, .. } = self.handshake;
        let refused = |text: String| Err(fault(Fault::Auth, text));
        if !(200..300).contains(&answer.status) {
            return refused(format!(
                "the receiver answered the OPTIONS request of `handshake` with {}",
                answer.status
            ));
        }
        match answer.headers.get(ALLOWED_ORIGIN) {
            Some(allowed) if allowed == "*" || allowed.as_bytes().eq_ignore_ascii_case(origin.as_bytes()) => {
            }
            Some(_) => {
                return refused(
                    "the receiver takes webhooks from another origin than `handshake.origin`".into(),
                );
            }
            None => {
                return refused(
                    "the receiver's answer to OPTIONS has no WebHook-Allowed-Origin: it takes no webhooks"
                        .into(),
                );
            }
        }
        let allowed =
            answer.headers.get(ALLOWED_RATE).and_then(|rate| rate.to_str().ok()?.trim().parse::<u64>().ok());
        if let Some(allowed) = allowed.filter(|allowed| rate.is_none_or(|rate| rate > *allowed)) {
            tracing::warn!(
                target = &**target,
                "the receiver allows fewer webhooks than `rate` lets through; write `rate: {{ limit: {allowed}/m }}`"
            );
        }
        granted.store(true, Ordering::Release);
        Ok(())
    }

    /// Shares what came of it with those who wait.
    pub(super) fn fail(self, reply: Reply) {
        let mut failures = self.handshake.failures.lock().unwrap_or_else(PoisonError::into_inner);
        failures.count += 1;
        failures.last = Some(reply);
    }
}
