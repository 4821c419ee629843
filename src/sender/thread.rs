//! One sender thread, from its start to its last answer.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::task::{Context, Poll};

use tokio::runtime::{Builder, LocalOptions};
use tokio::time::{Sleep, sleep_until};

use super::desk::{Assignment, Desk, Load};
use super::inbox::{Inbox, Phase};
use super::names::{Names, Resolver};
use super::withheld;
use crate::domain::{Attempt, Attempted};

/// What a thread is given.
pub(super) struct Thread {
    pub(super) inbox: Arc<Inbox>,
    pub(super) load: Arc<Load>,
    pub(super) resolver: Resolver,
}

impl Thread {
    /// Runs until it is stopped. Says on `started` whether it could start.
    pub(super) fn run<E: Fn(Vec<Attempted>)>(self, emit: E, started: &SyncSender<io::Result<()>>) {
        let Thread { inbox, load, resolver } = self;
        let desk = Rc::new(Desk::new(Names::new(&resolver), load.clone()));
        // Declared before the runtime, so dropped after it and its tasks, also by a panic.
        let last = LastWords { desk: desk.clone(), inbox: inbox.clone(), load, emit };
        let runtime = match Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .build_local(LocalOptions::default())
        {
            Ok(runtime) => runtime,
            Err(error) => return drop(started.send(Err(error))),
        };
        drop(started.send(Ok(())));
        let shift = Shift { desk, inbox: &inbox, emit: &last.emit, batch: Vec::new(), end: None };
        runtime.block_on(shift);
    }
}

/// The thread's own work between its connections: takes attempts in, hands out what has ended.
/// It runs after whatever tasks were ready, so that both directions come in batches by themselves.
struct Shift<'a, E> {
    desk: Rc<Desk>,
    inbox: &'a Inbox,
    emit: &'a E,
    batch: Vec<Attempt>,
    end: Option<Pin<Box<Sleep>>>,
}

impl<E: Fn(Vec<Attempted>)> Future for Shift<'_, E> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        let (phase, contacts) = this.inbox.collect(cx.waker(), &mut this.batch);
        this.desk.adopt(contacts);
        if let (Phase::Stopping(deadline), None) = (phase, &this.end) {
            this.desk.stop();
            this.end = Some(Box::pin(sleep_until(deadline)));
        }
        if !this.batch.is_empty() {
            let desk = &this.desk;
            let accepted: Vec<Assignment> =
                this.batch.drain(..).map(|attempt| desk.accept(attempt)).collect();
            accepted.into_iter().for_each(|assignment| desk.dispatch(assignment));
        }
        let ended = this.desk.collect(cx.waker());
        if !ended.is_empty() {
            (this.emit)(ended);
        }
        match &mut this.end {
            Some(_) if this.desk.open() == 0 => Poll::Ready(()),
            Some(end) => end.as_mut().poll(cx),
            None => Poll::Pending,
        }
    }
}

/// Answers for everything that the thread leaves behind.
struct LastWords<E: Fn(Vec<Attempted>)> {
    desk: Rc<Desk>,
    inbox: Arc<Inbox>,
    load: Arc<Load>,
    emit: E,
}

impl<E: Fn(Vec<Attempted>)> Drop for LastWords<E> {
    fn drop(&mut self) {
        let mut ended = self.desk.take_ended();
        let left = self.inbox.close().into_iter().inspect(|attempt| self.load.remove(attempt.target));
        ended.extend(left.map(withheld));
        if !ended.is_empty() {
            (self.emit)(ended);
        }
    }
}
