//! Floor 4: makes attempts. N threads, each a current-thread runtime that owns its connections;
//! rendering, signing and I/O happen there. Nothing here names the HTTP library to the outside.
//!
//! An [`Attempt`] comes in through [`Senders::submit`], goes to one thread's `inbox`, from there
//! to a resting connection of its target or a new one (`desk`), and is made there (`connection`,
//! `dial`, `line`). What came of it goes back in batches. There is one task for each connection
//! and none for a delivery, and every attempt is answered exactly once, whatever happens: at once
//! if no thread takes it, else through the call-back.

mod connection;
mod desk;
mod dial;
pub mod egress;
mod endpoint;
mod inbox;
mod line;
mod names;
#[cfg(test)]
mod tests;
mod thread;
mod timer;
mod trust;

use std::io;
use std::sync::{Arc, mpsc};
use std::time::Instant;

use rustls::{ClientConfig, RootCertStore};

use crate::domain::{Attempt, Attempted, Reply};
use crate::plan::Plan;
use desk::Load;
pub use endpoint::AddressFault;
use endpoint::Endpoint;
use inbox::Inbox;
pub use names::{Answer, Lookup, LookupFault, Resolver};
use thread::Thread;

/// The threads that make attempts.
pub struct Senders {
    threads: Vec<Handle>,
}

/// One thread, seen from outside.
struct Handle {
    inbox: Arc<Inbox>,
    load: Arc<Load>,
    batch: Vec<Attempt>,
    join: Option<std::thread::JoinHandle<()>>,
}

/// Why the senders can't start.
#[derive(Debug, thiserror::Error)]
pub enum StartFault {
    /// The machine refuses a thread or what its runtime needs.
    #[error("a sender thread can't be started: {0}")]
    Thread(#[from] io::Error),
    /// A target's URL can't be used.
    #[error("targets.{target}.url: {fault}")]
    Address {
        /// The target's name.
        target: Arc<str>,
        /// What is wrong with it.
        fault: AddressFault,
    },
    /// There are https targets, and this machine trusts nobody.
    #[error(
        "no certificate authority was found for the https target {0}: install the package ca-certificates or set SSL_CERT_FILE"
    )]
    NoAuthorities(Arc<str>),
    /// The TLS library refuses its own defaults.
    #[error("TLS can't be set up: {0}")]
    Tls(rustls::Error),
}

impl Senders {
    /// Starts `threads` threads (at least one). `emit` is called on them with what has ended, a
    /// batch at a time; it must not block.
    ///
    /// Proxy settings of the environment are not looked at.
    ///
    /// # Errors
    /// A target's URL can't be used, no certificate authority is known although there is an https
    /// target, or the machine refuses a thread.
    pub fn start(
        plan: Arc<Plan>,
        threads: usize,
        resolver: Resolver,
        emit: impl Fn(Vec<Attempted>) + Send + Clone + 'static,
    ) -> Result<Senders, StartFault> {
        let secure = plan.targets.iter().find(|target| target.url.0.scheme() == "https");
        let roots = secure.map_or_else(RootCertStore::empty, |_| trust::system_roots());
        if let (Some(target), true) = (secure, roots.is_empty()) {
            return Err(StartFault::NoAuthorities(target.name.clone()));
        }
        Senders::trusting(roots, plan, threads, resolver, emit)
    }

    fn trusting(
        roots: RootCertStore,
        plan: Arc<Plan>,
        threads: usize,
        resolver: Resolver,
        emit: impl Fn(Vec<Attempted>) + Send + Clone + 'static,
    ) -> Result<Senders, StartFault> {
        let tls = trust::client(roots).map_err(StartFault::Tls)?;
        let mut senders = Senders { threads: Vec::new() };
        for number in 0..threads.max(1) {
            senders.threads.push(launch(number, &plan, &tls, &resolver, emit.clone())?);
        }
        Ok(senders)
    }

    /// Takes attempts over; each is answered exactly once through `emit`. Those of a thread that has
    /// ended come back at once, as [`Reply::Withheld`]: `emit` may wait for whoever calls this, so it
    /// is not called from here. An attempt goes to the thread with the fewest attempts of its target in flight; among equals to the target's own
    /// one, so that quiet targets keep their connections and are spread all the same.
    #[must_use = "these attempts are answered nowhere else"]
    pub fn submit(&mut self, attempts: Vec<Attempt>) -> Vec<Attempted> {
        for attempt in attempts {
            let count = self.threads.len();
            let home = attempt.target.0 as usize % count.max(1);
            let order = (0..count).map(|step| (home + step) % count);
            let Some(best) = order.min_by_key(|index| self.threads[*index].load.of(attempt.target)) else {
                return Vec::new();
            };
            let thread = &mut self.threads[best];
            thread.load.add(attempt.target);
            thread.batch.push(attempt);
        }
        let mut answers = Vec::new();
        for thread in self.threads.iter_mut().filter(|thread| !thread.batch.is_empty()) {
            if thread.inbox.put(&mut thread.batch).is_err() {
                let refused = thread.batch.drain(..).inspect(|attempt| thread.load.remove(attempt.target));
                answers.extend(refused.map(withheld));
            }
        }
        answers
    }

    /// Starts nothing more, lets what is in flight finish until `deadline`, and ends the threads.
    /// What had not been started is answered [`Reply::Withheld`], what was cut off is a fault.
    /// Blocks until all is answered.
    pub fn stop(mut self, deadline: Instant) {
        self.end(deadline);
    }

    fn end(&mut self, deadline: Instant) {
        for thread in &self.threads {
            thread.inbox.stop(deadline.into());
        }
        for join in self.threads.iter_mut().filter_map(|thread| thread.join.take()) {
            // A thread that panicked has answered for its attempts while it fell.
            let _ = join.join();
        }
    }
}

impl Drop for Senders {
    fn drop(&mut self) {
        self.end(Instant::now());
    }
}

fn launch(
    number: usize,
    plan: &Arc<Plan>,
    tls: &Arc<ClientConfig>,
    resolver: &Resolver,
    emit: impl Fn(Vec<Attempted>) + Send + 'static,
) -> Result<Handle, StartFault> {
    let endpoint = |target: &crate::plan::Target| {
        Endpoint::new(&target.url.0)
            .map_err(|fault| StartFault::Address { target: target.name.clone(), fault })
    };
    let endpoints = plan.targets.iter().map(endpoint).collect::<Result<Vec<_>, _>>()?;
    let inbox = Arc::new(Inbox::default());
    let load = Arc::new(Load::new(plan.targets.len()));
    let thread = Thread {
        inbox: inbox.clone(),
        load: load.clone(),
        plan: plan.clone(),
        endpoints,
        tls: tls.clone(),
        resolver: resolver.clone(),
    };
    let (started, waiting) = mpsc::sync_channel(1);
    let join = std::thread::Builder::new()
        .name(format!("sender-{number}"))
        .spawn(move || thread.run(emit, &started))?;
    waiting.recv().unwrap_or_else(|_| Err(io::Error::other("it ended at once")))?;
    Ok(Handle { inbox, load, batch: Vec::new(), join: Some(join) })
}

fn withheld(attempt: Attempt) -> Attempted {
    Attempted {
        delivery: attempt.delivery,
        target: attempt.target,
        number: attempt.number,
        reply: Reply::Withheld,
        took: std::time::Duration::ZERO,
    }
}
