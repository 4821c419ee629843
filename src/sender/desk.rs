//! What one sender thread knows: its targets, their idle connections, and what has ended.

use std::cell::{Cell, RefCell};
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::Waker;
use std::time::Instant;

use super::authority::Rights;
use super::connection;
use super::contact::Contact;
use super::dial::fault;
use super::endpoint::Endpoint;
use super::names::Names;
use super::streams::{self, Shared};
use crate::domain::{Attempt, Attempted, Fault, Moment, Reply, TargetId};
use crate::plan::{HttpVersion, Target};

/// Attempts in flight in one thread, by target. The thread counts down, [`Senders`](super::Senders) up.
///
/// A reload may add targets, so the counts stand in rows, each twice as long as the one before it and
/// made when it is needed.
#[derive(Default)]
pub(super) struct Load([OnceLock<Box<[AtomicU32]>>; 32]);

impl Load {
    pub(super) fn of(&self, target: TargetId) -> u32 {
        self.count(target).load(Ordering::Relaxed)
    }

    pub(super) fn add(&self, target: TargetId) {
        self.count(target).fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn remove(&self, target: TargetId) {
        self.count(target).fetch_sub(1, Ordering::Relaxed);
    }

    fn count(&self, target: TargetId) -> &AtomicU32 {
        let number = target.0.saturating_add(1);
        let (row, length) = (number.ilog2(), 1 << number.ilog2());
        let row = self.0[row as usize].get_or_init(|| (0..length).map(|_| AtomicU32::new(0)).collect());
        &row[(number - length) as usize]
    }
}

/// One thread's state, shared by its tasks.
pub(super) struct Desk {
    pub(super) names: Rc<Names>,
    /// By target. A connection goes on with the one that it was made for, whatever stands here later.
    peers: RefCell<Vec<Rc<Peer>>>,
    load: Arc<Load>,
    ended: RefCell<Vec<Attempted>>,
    /// Wakes whoever hands over what has ended.
    reader: RefCell<Waker>,
    open: Cell<usize>,
    stopping: Cell<bool>,
}

/// One target, as this thread sees it.
pub(super) struct Peer {
    pub(super) target: Arc<Target>,
    pub(super) endpoint: Endpoint,
    /// The address that took the last connection.
    pub(super) proven: Cell<Option<IpAddr>>,
    /// Connections that wait for an attempt; the last one was used last.
    idle: RefCell<Vec<Rc<Seat>>>,
    /// Instead of those, the one that HTTP/2 has.
    pub(super) shared: Option<Shared>,
    pub(super) rights: Rights,
}

/// Where a resting connection is handed its next attempt.
#[derive(Default)]
pub(super) struct Seat {
    handed: RefCell<Option<Assignment>>,
    waker: RefCell<Option<Waker>>,
}

impl Desk {
    pub(super) fn new(names: Names, load: Arc<Load>) -> Desk {
        Desk {
            names: Rc::new(names),
            peers: RefCell::default(),
            load,
            ended: RefCell::default(),
            reader: RefCell::new(Waker::noop().clone()),
            open: Cell::new(0),
            stopping: Cell::new(false),
        }
    }

    /// Knows these targets from now on; `None` stays as it is known. What is under way goes on as it began.
    pub(super) fn adopt(&self, contacts: Vec<Option<Contact>>) {
        let mut peers = self.peers.borrow_mut();
        for (place, contact) in contacts.into_iter().enumerate() {
            let Some(contact) = contact else { continue };
            let peer = Rc::new(Peer::new(contact));
            match peers.get_mut(place) {
                Some(known) => *known = peer,
                None => peers.push(peer),
            }
        }
    }

    /// Takes an attempt over; from here on it is answered whatever happens.
    pub(super) fn accept(self: &Rc<Self>, attempt: Attempt) -> Assignment {
        self.open.set(self.open.get() + 1);
        Assignment { desk: self.clone(), attempt, began: None, sent: false, reply: None }
    }

    /// Gives an attempt to the connection that was used last, or to a new one.
    pub(super) fn dispatch(self: &Rc<Self>, assignment: Assignment) {
        let target = assignment.attempt.target;
        if self.stopping.get() {
            return assignment.answer(Reply::Withheld);
        }
        let peer = self.peers.borrow().get(target.0 as usize).cloned();
        let Some(peer) = peer else {
            return assignment.answer(Reply::Unrenderable("no such target in this plan".into()));
        };
        if peer.shared.is_some() {
            tokio::task::spawn_local(streams::serve(self.clone(), peer, assignment));
            return;
        }
        match peer.take_idle() {
            Some(seat) => seat.hand(assignment),
            None => {
                tokio::task::spawn_local(connection::serve(self.clone(), peer, assignment));
            }
        }
    }

    /// From now on nothing is started any more.
    pub(super) fn stop(&self) {
        self.stopping.set(true);
    }

    /// Attempts taken over and not answered yet.
    pub(super) fn open(&self) -> usize {
        self.open.get()
    }

    /// What has ended since the last call; `reader` is woken when there is more.
    pub(super) fn collect(&self, reader: &Waker) -> Vec<Attempted> {
        self.reader.borrow_mut().clone_from(reader);
        self.take_ended()
    }

    pub(super) fn take_ended(&self) -> Vec<Attempted> {
        self.ended.take()
    }

    fn end(&self, attempted: Attempted) {
        self.load.remove(attempted.target);
        self.open.set(self.open.get().saturating_sub(1));
        let first = {
            let mut ended = self.ended.borrow_mut();
            ended.push(attempted);
            ended.len() == 1
        };
        if first {
            self.reader.borrow().wake_by_ref();
        }
    }
}

impl Peer {
    pub(super) fn new(contact: Contact) -> Peer {
        let Contact { target, endpoint, rights } = contact;
        Peer {
            endpoint,
            proven: Cell::new(None),
            idle: RefCell::default(),
            shared: (target.http == HttpVersion::Two).then(Shared::default),
            rights,
            target,
        }
    }

    fn take_idle(&self) -> Option<Rc<Seat>> {
        self.idle.borrow_mut().pop()
    }

    /// Offers a connection for attempts.
    pub(super) fn offer(&self, seat: &Rc<Seat>) {
        self.idle.borrow_mut().push(seat.clone());
    }

    /// Takes the offer back, if it still stands.
    pub(super) fn withdraw(&self, seat: &Rc<Seat>) {
        self.idle.borrow_mut().retain(|offered| !Rc::ptr_eq(offered, seat));
    }
}

impl Seat {
    fn hand(&self, assignment: Assignment) {
        self.handed.replace(Some(assignment));
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    /// What was handed over; `waker` is woken once there is something.
    pub(super) fn take(&self, waker: &Waker) -> Option<Assignment> {
        let handed = self.handed.take();
        if handed.is_none() {
            self.waker.replace(Some(waker.clone()));
        }
        handed
    }
}

/// An attempt that this thread owes an answer to. Dropped without one, by a panic or at the end of
/// the thread, it answers for itself, so that no attempt is ever lost.
pub(super) struct Assignment {
    desk: Rc<Desk>,
    attempt: Attempt,
    began: Option<Instant>,
    sent: bool,
    reply: Option<Reply>,
}

impl Assignment {
    pub(super) fn attempt(&self) -> &Attempt {
        &self.attempt
    }

    /// The clock of [`Attempted::took`] starts.
    pub(super) fn begin(&mut self, now: Instant) {
        self.began = Some(now);
    }

    /// Whether the request may start now (DESIGN.md §4.7).
    pub(super) fn may_start(&self) -> bool {
        !self.desk.stopping.get() && self.attempt.event.lease.holds(Moment::now())
    }

    /// From now on something of the request may have reached the receiver.
    pub(super) fn mark_sent(&mut self) {
        self.sent = true;
    }

    pub(super) fn answer(mut self, reply: Reply) {
        self.reply = Some(reply);
    }

    fn abandoned(&self) -> Reply {
        match (self.desk.stopping.get(), self.sent) {
            (true, false) => Reply::Withheld,
            (true, true) => fault(Fault::Network, "hookferry stopped before the answer came"),
            (false, _) => fault(Fault::Network, "the attempt broke off inside hookferry"),
        }
    }
}

impl Drop for Assignment {
    fn drop(&mut self) {
        let reply = self.reply.take().unwrap_or_else(|| self.abandoned());
        self.desk.end(Attempted {
            delivery: self.attempt.delivery,
            target: self.attempt.target,
            number: self.attempt.number,
            reply,
            took: self.began.map(|began| began.elapsed()).unwrap_or_default(),
        });
    }
}
