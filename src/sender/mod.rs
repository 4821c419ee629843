//! Floor 4: makes attempts. N threads, each a current-thread runtime that owns its connections;
//! rendering, signing and I/O happen there. Nothing here names the HTTP library to the outside.
//!
//! An [`Attempt`] comes in through [`Senders::submit`], goes to one thread's `inbox`, from there
//! to a resting connection of its target or a new one (`desk`), and is made there (`connection`,
//! `dial`, `line`). What came of it goes back in batches. There is one task for each connection
//! and none for a delivery, and every attempt is answered exactly once, whatever happens: at once
//! if no thread takes it, else through the call-back.
//!
//! Whom a connection may go to is judged in `reach`; a proxy opens a way there (`tunnel`).
//!
//! `check --connect` tries targets without sending them anything (`probe`).
//!
//! With HTTP/2 the attempts of a target share one connection (`streams`, `shared_line`), each with a
//! task of its own. What has to be had before a request, one attempt gets for all threads
//! (`authority`): a token (`token`, `token_request`), and the receiver's word that it takes webhooks (`handshake`).

mod authority;
mod connection;
mod contact;
mod desk;
mod dial;
pub mod egress;
mod endpoint;
mod handshake;
mod inbox;
mod line;
mod names;
mod probe;
mod reach;
mod shared_line;
mod streams;
#[cfg(test)]
mod tests;
mod thread;
mod timer;
mod token;
mod token_request;
pub(crate) mod trust;
mod tunnel;

use std::io;
use std::sync::{Arc, mpsc};
use std::time::Instant;

#[cfg(test)]
use rustls::RootCertStore;

use crate::domain::{Attempt, Attempted, Reply};
use crate::plan::Plan;
pub use contact::Contacts;
use desk::Load;
pub use endpoint::AddressFault;
use inbox::Inbox;
pub use names::{Answer, Lookup, LookupFault, Resolver};
pub use probe::{Probed, probe};
use thread::Thread;

/// The threads that make attempts.
pub struct Senders {
    threads: Vec<Handle>,
    /// By target: whether all of its attempts go over one connection, so to one thread.
    shared: Box<[bool]>,
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
        let contacts = Contacts::new(&plan, None, threads)?;
        Senders::knowing(contacts, threads, resolver, emit)
    }

    /// Knows these targets from now on. Attempts under way go on as they began, and connections of
    /// targets that did not change stay.
    pub fn adopt(&mut self, contacts: Contacts) {
        self.shared = contacts.shared;
        for (thread, contacts) in self.threads.iter().zip(contacts.of_threads) {
            thread.inbox.adopt(contacts);
        }
    }

    #[cfg(test)]
    fn trusting(
        roots: RootCertStore,
        plan: Arc<Plan>,
        threads: usize,
        resolver: Resolver,
        emit: impl Fn(Vec<Attempted>) + Send + Clone + 'static,
    ) -> Result<Senders, StartFault> {
        Senders::knowing(Contacts::trusting(&roots, &plan, None, threads)?, threads, resolver, emit)
    }

    fn knowing(
        contacts: Contacts,
        threads: usize,
        resolver: Resolver,
        emit: impl Fn(Vec<Attempted>) + Send + Clone + 'static,
    ) -> Result<Senders, StartFault> {
        let mut senders = Senders { threads: Vec::new(), shared: Box::default() };
        for number in 0..threads.max(1) {
            let thread = Thread { inbox: Arc::default(), load: Arc::default(), resolver: resolver.clone() };
            senders.threads.push(launch(number, thread, emit.clone())?);
        }
        senders.adopt(contacts);
        Ok(senders)
    }

    /// Takes attempts over; each is answered exactly once through `emit`. Those of a thread that has
    /// ended come back at once, as [`Reply::Withheld`]: `emit` may wait for whoever calls this, so it
    /// is not called from here. An attempt goes to the thread with the fewest attempts of its target in flight; among equals to the target's own
    /// one, so that quiet targets keep their connections and are spread all the same. With HTTP/2 it
    /// always goes to the target's own.
    #[must_use = "these attempts are answered nowhere else"]
    pub fn submit(&mut self, attempts: Vec<Attempt>) -> Vec<Attempted> {
        for attempt in attempts {
            let count = self.threads.len();
            let home = attempt.target.0 as usize % count.max(1);
            let shares = self.shared.get(attempt.target.0 as usize).copied().unwrap_or_default();
            let order = (0..if shares { count.min(1) } else { count }).map(|step| (home + step) % count);
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
    thread: Thread,
    emit: impl Fn(Vec<Attempted>) + Send + 'static,
) -> Result<Handle, StartFault> {
    let (inbox, load) = (thread.inbox.clone(), thread.load.clone());
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
