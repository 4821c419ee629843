//! The task of one connection: attempts one after another for as long as the connection lasts.

use std::cell::Cell;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use tokio::time::Instant;

use super::authority::Authority;
use super::desk::{Assignment, Desk, Peer, Seat};
use super::dial::{self, Step, fault, late};
use super::line::{Line, Progress};
use super::timer::Timer;
use crate::domain::{Fault, Reply};
use crate::plan::Target;

/// A connection that nobody needed for so long is closed.
const IDLE: Duration = Duration::from_secs(30);

/// Makes `first` and whatever is handed over after it; ends with its connection.
pub(super) async fn serve(desk: Rc<Desk>, peer: Rc<Peer>, first: Assignment) {
    let (target, peer) = (&*peer.target, &*peer);
    let seat = Rc::new(Seat::default());
    let mut work = Work { desk: &desk, target, peer, line: None, timer: Timer::new() };
    let mut next = Some(first);
    while let Some(mut assignment) = next {
        let reply = work.attempt(&mut assignment).await;
        assignment.answer(reply);
        next = work.rest(&seat).await;
    }
}

struct Work<'a> {
    desk: &'a Rc<Desk>,
    target: &'a Target,
    peer: &'a Peer,
    line: Option<Line>,
    timer: Timer,
}

impl Work<'_> {
    /// One attempt under its one deadline: DNS, connect, TLS, headers and body.
    async fn attempt(&mut self, assignment: &mut Assignment) -> Reply {
        let now = Instant::now();
        assignment.begin(now.into_std());
        self.timer.set(now, self.target.timeout);
        let (step, progress) = (Cell::new(Step::Exchanging), Cell::new(Progress::Waiting));
        let Work { desk, target, peer, line, timer } = self;
        let mut authority = Authority::of(&desk.names, target, peer);
        let work = deliver(&mut authority, line, assignment, &step, &progress);
        match timer.bound(work).await {
            Some(reply) => {
                authority.close(&reply);
                reply
            }
            None => {
                self.line = None;
                late(self.target.timeout, step.get(), progress.get())
            }
        }
    }

    /// Waits for the next attempt, with the connection open; `None` once it is closed.
    async fn rest(&mut self, seat: &Rc<Seat>) -> Option<Assignment> {
        let line = self.line.as_mut()?;
        self.timer.set(Instant::now(), IDLE);
        let mut offered = false;
        let (timer, peer) = (&mut self.timer, self.peer);
        std::future::poll_fn(|cx| {
            if let Some(assignment) = seat.take(cx.waker()) {
                return Poll::Ready(Some(assignment));
            }
            if line.poll_closed(cx).is_ready() || timer.poll(cx).is_ready() {
                peer.withdraw(seat);
                return Poll::Ready(None);
            }
            if !offered {
                peer.offer(seat);
                offered = true;
            }
            Poll::Pending
        })
        .await
    }
}

/// Renders, connects if need be, and asks.
///
/// A connection that the receiver closed while it was idle shows that only when it is used. If it
/// was used before and nothing at all came back, the request is made once more on a fresh
/// connection, as the same attempt. The receiver may have got the first one and fallen over it;
/// then it gets the event twice, which at-least-once delivery allows, with the same event id.
async fn deliver(
    authority: &mut Authority<'_>,
    line: &mut Option<Line>,
    assignment: &mut Assignment,
    step: &Cell<Step>,
    progress: &Cell<Progress>,
) -> Reply {
    loop {
        let request = match authority.request(assignment, step).await {
            Ok(request) => request,
            Err(reply) => return reply,
        };
        let kept = line.is_some();
        let open = match line {
            Some(open) => open,
            None if !assignment.may_start() => return Reply::Withheld,
            None => match open(authority, step).await {
                Ok(fresh) => line.insert(fresh),
                Err(reply) => return reply,
            },
        };
        step.set(Step::Exchanging);
        if !assignment.may_start() {
            return Reply::Withheld;
        }
        assignment.mark_sent();
        match open.exchange(request, progress).await {
            Ok(answer) => {
                if !answer.complete {
                    *line = None;
                }
                if let Some(reply) = authority.judge(&answer) {
                    return reply;
                }
            }
            Err(broken) => {
                *line = None;
                if !(kept && broken.silent) {
                    return fault(broken.fault, broken.text);
                }
            }
        }
    }
}

async fn open(authority: &Authority<'_>, step: &Cell<Step>) -> Result<Line, Reply> {
    let Authority { names, target, peer, .. } = *authority;
    let transport = dial::dial(names, target, peer, step).await?;
    Line::over(transport).await.map_err(|_| fault(Fault::Network, "the connection broke at once"))
}
