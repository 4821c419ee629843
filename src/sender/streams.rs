//! The task of one attempt over HTTP/2, and the connection that a target's attempts share.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use tokio::sync::Mutex;
use tokio::time::Instant;

use super::authority::Authority;
use super::desk::{Assignment, Desk, Peer};
use super::dial::{self, Step, fault, late};
use super::line::Progress;
use super::shared_line::SharedLine;
use crate::domain::{Fault, Reply};
use crate::plan::Target;

/// So often an attempt moves to a new connection because the old one had ended.
const MOST_MOVES: usize = 3;

/// A target's shared connection in one thread.
#[derive(Default)]
pub(super) struct Shared {
    line: RefCell<Option<Rc<SharedLine>>>,
    /// Held by whoever opens a connection.
    dialing: Mutex<()>,
    /// How often it was tried to open one, and why the last try failed.
    tries: Cell<u64>,
    failure: RefCell<Option<Reply>>,
}

impl Shared {
    fn open(&self) -> Option<Rc<SharedLine>> {
        self.line.borrow().as_ref().filter(|line| !line.is_closed()).cloned()
    }

    /// From now on attempts get another one; those under way go on.
    fn retire(&self, retired: &Rc<SharedLine>) {
        let mut line = self.line.borrow_mut();
        if line.as_ref().is_some_and(|line| Rc::ptr_eq(line, retired)) {
            *line = None;
        }
    }
}

/// Makes one attempt under its one deadline.
pub(super) async fn serve(desk: Rc<Desk>, peer: Rc<Peer>, mut assignment: Assignment) {
    let (target, peer) = (&*peer.target, &*peer);
    let Some(shared) = &peer.shared else {
        return assignment.answer(Reply::Unrenderable("this target does not speak HTTP/2".into()));
    };
    assignment.begin(Instant::now().into_std());
    let (step, progress) = (Cell::new(Step::Exchanging), Cell::new(Progress::Waiting));
    let work = Work {
        desk: &desk,
        target,
        peer,
        shared,
        step: &step,
        progress: &progress,
        watched: Cell::default(),
    };
    let reply = match tokio::time::timeout(target.timeout, work.deliver(&mut assignment)).await {
        Ok(reply) => reply,
        Err(_) => {
            work.doubt();
            late(target.timeout, step.get(), progress.get())
        }
    };
    assignment.answer(reply);
}

/// What one attempt goes by.
struct Work<'a> {
    desk: &'a Rc<Desk>,
    target: &'a Target,
    peer: &'a Peer,
    shared: &'a Shared,
    step: &'a Cell<Step>,
    progress: &'a Cell<Progress>,
    /// The connection that it uses, and how much had come over it before.
    watched: Cell<Option<(Rc<SharedLine>, u64)>>,
}

impl Work<'_> {
    async fn deliver(&self, assignment: &mut Assignment) -> Reply {
        let mut authority = Authority::of(&self.desk.names, self.target, self.peer);
        let reply = self.ask(&mut authority, assignment).await;
        authority.close(&reply);
        reply
    }

    async fn ask(&self, authority: &mut Authority<'_>, assignment: &mut Assignment) -> Reply {
        let mut moves = 0;
        loop {
            let request = match authority.request(assignment, self.step).await {
                Ok(request) => request,
                Err(reply) => return reply,
            };
            let (line, kept) = match self.line(assignment).await {
                Ok(found) => found,
                Err(reply) => return reply,
            };
            self.step.set(Step::Exchanging);
            self.watched.set(Some((line.clone(), line.received())));
            let cut = match line.slot().await {
                Err(cut) => cut,
                Ok(_) if !assignment.may_start() => return Reply::Withheld,
                Ok(slot) => {
                    assignment.mark_sent();
                    match slot.exchange(request, self.progress).await {
                        Ok(answer) => match authority.judge(&answer) {
                            Some(reply) => return reply,
                            None => continue,
                        },
                        Err(cut) => cut,
                    }
                }
            };
            if !cut.usable {
                self.shared.retire(&line);
            }
            moves += 1;
            if moves > MOST_MOVES || !(cut.unprocessed || (kept && cut.broken.silent)) {
                return fault(cut.broken.fault, cut.broken.text);
            }
        }
    }

    /// The target's connection, and whether it was there before; opened by one attempt for all. Who
    /// waited while that failed shares the failure.
    async fn line(&self, assignment: &Assignment) -> Result<(Rc<SharedLine>, bool), Reply> {
        let Work { desk, target, peer, shared, step, .. } = self;
        if let Some(line) = shared.open() {
            return Ok((line, true));
        }
        step.set(Step::Connecting);
        let tries = shared.tries.get();
        let _turn = shared.dialing.lock().await;
        if let Some(line) = shared.open() {
            return Ok((line, false));
        }
        if shared.tries.get() != tries
            && let Some(failure) = shared.failure.borrow().clone()
        {
            return Err(failure);
        }
        if !assignment.may_start() {
            return Err(Reply::Withheld);
        }
        let opened = match dial::dial(&desk.names, target, peer, step).await {
            Ok(transport) => SharedLine::over(transport)
                .await
                .map_err(|_| fault(Fault::Network, "the connection broke at once")),
            Err(reply) => Err(reply),
        };
        shared.tries.set(shared.tries.get() + 1);
        shared.failure.replace(opened.as_ref().err().cloned());
        let line = opened?;
        shared.line.replace(Some(line.clone()));
        Ok((line, false))
    }

    /// An attempt got no answer: a connection over which nothing at all came in all that time may be
    /// dead without a word, so that others get a new one.
    fn doubt(&self) {
        if let Some((line, before)) = self.watched.take()
            && line.received() == before
        {
            self.shared.retire(&line);
        }
    }
}
