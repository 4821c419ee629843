use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_nats::{Client, Message, Subscriber};
use futures_util::stream::{SelectAll, select_all};
use futures_util::{FutureExt, StreamExt};
use tokio::sync::mpsc::UnboundedReceiver;

use super::message::message;
use crate::broker::nats::{CORE_WAITING, Link, Reachability, client_name, connect};
use crate::domain::{Generation, Lease, Moment, Receipt, SourceId};
use crate::engine::Input;
use crate::plan::{Nats, Plan};
use crate::source::allowance::Allowance;
use crate::source::outbox::Outbox;
use crate::source::{Intake, Namespace, Report, SharedGrant, ToSource, next_generation};

/// At most so many events are handed over together.
const BATCH: usize = 256;
const NAP: Duration = Duration::from_millis(50);
/// What was dropped is told this often.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// The thread of a source that listens to core NATS in a queue group. Nothing is acknowledged: what
/// comes while the window is full, or while nobody listens, is lost, and what can be is counted.
pub(super) struct Worker {
    plan: Arc<Plan>,
    source: SourceId,
    nats: Nats,
    queue: String,
    allowance: Allowance,
    outbox: Outbox,
    mail: UnboundedReceiver<ToSource>,
    reachability: Arc<Reachability>,
    generation: Generation,
    lease: Arc<Lease>,
    number: i64,
    /// Messages of the present client that were taken from its subscriptions, or counted as dropped.
    accounted: u64,
    /// Dropped and not told yet.
    dropped: u64,
    told_at: tokio::time::Instant,
    subscribed: bool,
    draining: bool,
}

/// What a turn began with.
enum Woken {
    Mail(Option<ToSource>),
    Message(Option<Message>),
    Nap,
}

impl Worker {
    #[expect(clippy::too_many_arguments, reason = "what a source is started with, and nothing else")]
    pub(super) fn new(
        plan: Arc<Plan>,
        source: SourceId,
        nats: Nats,
        queue: String,
        grant: Arc<SharedGrant>,
        outbox: Outbox,
        mail: UnboundedReceiver<ToSource>,
        reachability: Arc<Reachability>,
    ) -> Worker {
        Worker {
            allowance: Allowance::new(grant, plan.window(outbox.consumer())),
            plan,
            source,
            nats,
            queue,
            outbox,
            mail,
            reachability,
            generation: next_generation(),
            lease: Arc::new(Lease::unlimited()),
            number: 0,
            accounted: 0,
            dropped: 0,
            told_at: tokio::time::Instant::now(),
            subscribed: false,
            draining: false,
        }
    }

    /// Runs until it is told to stop.
    pub(super) async fn run(mut self) {
        let Some(source) = self.plan.sources.get(usize::from(self.source.0)).cloned() else { return };
        let mut intake = Intake::new(&self.plan, &source, self.source, Namespace::Nats);
        let name = client_name(&self.plan.name, &source.name);
        loop {
            let Some(link) = self.connected(&name, &mut intake).await else { return };
            if self.serve(&link, &mut intake).await.is_break() {
                return;
            }
        }
    }

    async fn connected(&mut self, name: &str, intake: &mut Intake) -> Option<Link> {
        let (nats, reachability) = (self.nats.clone(), self.reachability.clone());
        let connecting = connect(name, &nats, &reachability);
        tokio::pin!(connecting);
        loop {
            tokio::select! {
                biased;
                link = &mut connecting => return Some(link),
                mail = self.mail.recv() => match mail {
                    None | Some(ToSource::Stop) => {
                        self.outbox.stopped(Ok(()));
                        return None;
                    }
                    Some(ToSource::Adopt(plan)) => intake.adopt(&plan),
                    Some(ToSource::Settled(_) | ToSource::Released(_) | ToSource::Drain) => {}
                },
                () = tokio::time::sleep(NAP) => self.tell(),
            }
        }
    }

    /// Listens until it is told to stop, or the client has ended.
    async fn serve(&mut self, link: &Link, intake: &mut Intake) -> ControlFlow<()> {
        let client = &link.client;
        self.accounted = 0;
        let mut messages = match self.subscribe(client).await {
            Ok(messages) => messages,
            Err(_) => return ControlFlow::Continue(()),
        };
        // Ready once the server has been told.
        if client.flush().await.is_err() {
            return ControlFlow::Continue(());
        }
        self.subscribed = true;
        loop {
            let woken = tokio::select! {
                biased;
                mail = self.mail.recv() => Woken::Mail(mail),
                message = messages.next(), if !messages.is_empty() => Woken::Message(message),
                () = tokio::time::sleep(NAP) => Woken::Nap,
            };
            match woken {
                Woken::Mail(None | Some(ToSource::Stop)) => {
                    self.tell_dropped();
                    self.outbox.stopped(Ok(()));
                    return ControlFlow::Break(());
                }
                Woken::Mail(Some(ToSource::Drain)) => {
                    // The other members of the group get what comes from now on.
                    self.draining = true;
                    messages.clear();
                    self.account(client, 0);
                }
                Woken::Mail(Some(ToSource::Adopt(plan))) => intake.adopt(&plan),
                // There is nobody to tell of it.
                Woken::Mail(Some(ToSource::Settled(_) | ToSource::Released(_))) => {}
                Woken::Message(Some(first)) => {
                    self.read(first, &mut messages, intake);
                    self.account(client, CORE_WAITING as u64 * self.nats.subjects.len() as u64);
                }
                // Nothing came for a while, so that nothing waits.
                Woken::Nap => self.account(client, 0),
                Woken::Message(None) => {}
            }
            if link.is_closed() || (messages.is_empty() && !self.draining) {
                self.subscribed = false;
                return ControlFlow::Continue(());
            }
            self.tell();
        }
    }

    async fn subscribe(&self, client: &Client) -> Result<SelectAll<Subscriber>, async_nats::SubscribeError> {
        let mut subscribers = Vec::with_capacity(self.nats.subjects.len());
        for subject in &self.nats.subjects {
            subscribers.push(client.queue_subscribe(subject.to_string(), self.queue.clone()).await?);
        }
        Ok(select_all(subscribers))
    }

    fn read(&mut self, first: Message, messages: &mut SelectAll<Subscriber>, intake: &Intake) {
        let mut batch = Vec::new();
        self.take(&first, intake, &mut batch);
        for _ in 1..BATCH {
            let Some(Some(message)) = messages.next().now_or_never() else { break };
            self.take(&message, intake, &mut batch);
        }
        self.outbox.inputs(batch);
    }

    /// At most `waiting` messages wait in the subscriptions: what else came and was not taken, the client
    /// has dropped.
    fn account(&mut self, client: &Client, waiting: u64) {
        let came = client.statistics().in_messages.load(Ordering::Relaxed);
        let dropped = came.saturating_sub(self.accounted).saturating_sub(waiting);
        self.dropped += dropped;
        self.accounted += dropped;
    }

    fn take(&mut self, native: &Message, intake: &Intake, batch: &mut Vec<Input>) {
        self.number += 1;
        self.accounted += 1;
        let subject: Arc<str> = native.subject.as_str().into();
        let mut message = message(native, subject, None, Moment::now().wall_ms);
        message.position = self.number;
        let event = intake.read(message, self.generation, self.lease.clone());
        if !self.allowance.fits(&event) {
            self.dropped += 1;
            return;
        }
        let receipt = Receipt {
            consumer: self.outbox.consumer(),
            generation: self.generation,
            position: event.origin.position,
        };
        batch.push(self.allowance.hand_over(event, receipt));
    }

    fn tell(&mut self) {
        self.outbox.ready(match self.reachability.fault() {
            Some(fault) => Err(fault),
            None if self.subscribed => Ok(()),
            None => Err("the subjects are not subscribed to yet".to_owned()),
        });
        if self.told_at.elapsed() >= TELL_EVERY {
            self.tell_dropped();
        }
    }

    fn tell_dropped(&mut self) {
        self.told_at = tokio::time::Instant::now();
        if self.dropped > 0 {
            let dropped = std::mem::take(&mut self.dropped);
            tracing::error!(
                source = self.outbox.source(),
                "{dropped} messages were lost, because they came faster than they were delivered and the window was \
                 full; a larger `limits.window`, more replicas, or a `stream` help",
            );
            self.outbox.report(Report::Dropped(dropped));
        }
    }
}
