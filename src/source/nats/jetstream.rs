use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_nats::connection::State;
use async_nats::jetstream::consumer::{self, Consumer, pull};
use async_nats::jetstream::stream::{self, Stream};
use async_nats::jetstream::{self, Context};
use async_nats::{Client, Subject, Subscriber};
use futures_util::{FutureExt, StreamExt};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::acks::Acks;
use super::book::Book;
use super::durable::{Attachment, Begin, Durable, Trouble};
use super::gap::Gap;
use super::message::Delivered;
use super::ordered::Beside;
use super::patience::Patience;
use super::pull::{Allowed, Pull, Room};
use super::tenure::Tenure;
use crate::broker::nats::{Link, Reachability, client_name, connect};
use crate::domain::{Event, Moment, Receipt, SourceId};
use crate::engine::{Grant, Input};
use crate::plan::{self, Nats, Plan, Reads};
use crate::source::allowance::Allowance;
use crate::source::outbox::Outbox;
use crate::source::pressure::Pressure;
use crate::source::{Intake, Namespace, Report, SharedGrant, ToSource};

/// Without any news, a turn comes so often.
const NAP: Duration = Duration::from_millis(20);
/// Where the server is asked and what is asked for.
const LOOK_EVERY: Duration = Duration::from_secs(15);
const OLDEST_EVERY: Duration = Duration::from_secs(5);
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// After a pull that the server refused.
const PULL_AGAIN: Duration = Duration::from_millis(250);
/// Of the time to stop, what telling the server may take.
const FINISH: Duration = Duration::from_secs(4);

mod looking;
mod reading;

/// The thread of a source that reads a durable on a JetStream stream.
pub(super) struct Worker {
    plan: Arc<Plan>,
    source: SourceId,
    nats: Nats,
    durable: Arc<Durable>,
    /// Of the shared durable only.
    beside: Option<Arc<Beside>>,
    patience: Patience,
    allowance: Allowance,
    outbox: Outbox,
    mail: UnboundedReceiver<ToSource>,
    reachability: Arc<Reachability>,
    news: UnboundedReceiver<(u64, News)>,
    tell: UnboundedSender<(u64, News)>,
    tenure: Tenure,
    book: Book,
    acks: Acks,
    pressure: Pressure,
    attached: Option<Attached>,
    /// The stream that was read last, for a durable that is deleted under us.
    created: Option<Box<str>>,
    stream: Option<Arc<Stream>>,
    /// Everything up to here was acknowledged by all replicas.
    floor: u64,
    attaching: bool,
    looking: bool,
    draining: bool,
    trouble: Option<Trouble>,
    /// Events that the grant had no room for.
    hands: VecDeque<Hand>,
    /// The next message did not fit into so many bytes.
    too_few_bytes: Option<u64>,
    /// The stream was not there when it was looked for first.
    was_missing: bool,
    /// Counts the clients, so that what one of them answers late is not taken for another's.
    clients: u64,
    redelivered: u64,
    gap: Gap,
    pause: Duration,
    due: Due,
}

/// When what happens now and then happens next.
struct Due {
    attach: Instant,
    pull: Instant,
    look: Instant,
    oldest: Instant,
    progress: Instant,
}

/// A durable that is pulled from.
struct Attached {
    consumer: Consumer<pull::Config>,
    name: Arc<str>,
    intake: Intake,
    subscriber: Subscriber,
    inbox: Subject,
    allowed: Allowed,
    pull: Option<Pull>,
    /// Whether a message came since the server was asked last.
    moved: bool,
    heard: Instant,
    /// Which of its connections the client had when the pull was sent.
    connection: u64,
}

/// An event on its way to the pipeline.
struct Hand {
    event: Event,
    receipt: Receipt,
}

/// What tasks bring.
enum News {
    Attached(Box<Result<Attachment, Trouble>>),
    Looked(Look),
}

/// What the server was asked, and its answer. It answers in order, so that it has heard all that
/// went out before.
struct Look {
    /// Messages that were said to be in progress right before.
    sequences: Vec<u64>,
    at_us: u64,
    connection: u64,
    answer: Result<Box<(consumer::Info, stream::Info)>, Trouble>,
}

/// What a turn began with.
enum Woken {
    Mail(Option<ToSource>),
    News(News),
    Message(Option<async_nats::Message>),
    Nap,
}

impl Worker {
    #[expect(clippy::too_many_arguments, reason = "what a source is started with, and nothing else")]
    pub(super) fn new(
        plan: Arc<Plan>,
        reader: plan::Consumer,
        nats: Nats,
        settings: plan::JetStream,
        grant: Arc<SharedGrant>,
        outbox: Outbox,
        mail: UnboundedReceiver<ToSource>,
        reachability: Arc<Reachability>,
    ) -> Worker {
        let (durable, beside) = match reader.reads {
            Reads::Ordered(target) => {
                let target = plan.targets.get(target.0 as usize).map_or("", |target| &target.name);
                (Durable::ordered(&settings, &nats.subjects, target), None)
            }
            Reads::Shared | Reads::Tiers => {
                let beside = Beside::new(&plan, reader.source, &settings, &nats.subjects);
                (Durable::new(&settings, &nats.subjects), Some(Arc::new(beside)))
            }
        };
        let settings = durable.settings();
        let patience = Patience::new(settings.ack_wait);
        let (tell, news) = unbounded_channel();
        let now = Instant::now();
        Worker {
            durable: Arc::new(durable),
            beside,
            allowance: Allowance::new(grant, plan.window(outbox.consumer())),
            plan,
            source: reader.source,
            nats,
            patience,
            outbox,
            mail,
            reachability,
            news,
            tell,
            tenure: Tenure::new(patience),
            book: Book::default(),
            acks: Acks::new(),
            pressure: Pressure::default(),
            attached: None,
            created: None,
            stream: None,
            floor: 0,
            attaching: false,
            looking: false,
            draining: false,
            trouble: None,
            hands: VecDeque::new(),
            too_few_bytes: None,
            was_missing: false,
            clients: 0,
            redelivered: 0,
            gap: Gap::default(),
            pause: FIRST_PAUSE,
            due: Due { attach: now, pull: now, look: now, oldest: now, progress: now },
        }
    }

    /// Runs until it is told to stop.
    pub(super) async fn run(mut self) {
        loop {
            let Some(link) = self.connected().await else { return };
            if self.serve(&link).await.is_break() {
                return;
            }
        }
    }

    fn name(&self) -> &str {
        self.plan.sources.get(usize::from(self.source.0)).map_or("", |source| &source.name)
    }

    /// Waits for the servers; `None` if it was told to stop meanwhile.
    async fn connected(&mut self) -> Option<Link> {
        let name = client_name(&self.plan.name, self.name());
        let (nats, reachability) = (self.nats.clone(), self.reachability.clone());
        let connecting = connect(&name, &nats, &reachability);
        tokio::pin!(connecting);
        loop {
            let woken = tokio::select! {
                biased;
                link = &mut connecting => return Some(link),
                mail = self.mail.recv() => Woken::Mail(mail),
                () = tokio::time::sleep(NAP) => Woken::Nap,
            };
            self.keep_tenure();
            match woken {
                Woken::Mail(None | Some(ToSource::Stop)) => {
                    self.outbox.stopped(self.unsaid());
                    return None;
                }
                Woken::Mail(Some(mail)) => self.obey(mail),
                Woken::News(_) | Woken::Message(_) | Woken::Nap => self.tell_ready(),
            }
        }
    }

    /// Works with a connection until the source is told to stop, or the client has ended.
    async fn serve(&mut self, link: &Link) -> ControlFlow<()> {
        let client = &link.client;
        self.clients += 1;
        (self.stream, self.attaching, self.looking) = (None, false, false);
        let context = jetstream::new(client.clone());
        loop {
            let woken = tokio::select! {
                biased;
                mail = self.mail.recv() => Woken::Mail(mail),
                Some((of, news)) = self.news.recv() => match of == self.clients {
                    true => Woken::News(news),
                    false => Woken::Nap,
                },
                message = next(&mut self.attached) => Woken::Message(message),
                () = tokio::time::sleep(NAP) => Woken::Nap,
            };
            self.keep_tenure();
            match woken {
                Woken::Mail(None | Some(ToSource::Stop)) => {
                    self.stop(client).await;
                    return ControlFlow::Break(());
                }
                Woken::Mail(Some(mail)) => self.obey(mail),
                Woken::News(News::Attached(result)) => self.attached(client, *result).await,
                Woken::News(News::Looked(look)) => self.looked(client, look),
                Woken::Message(Some(message)) => self.read(message),
                Woken::Message(None) => self.detach(),
                Woken::Nap => {}
            }
            if link.is_closed() {
                self.detach();
                return ControlFlow::Continue(());
            }
            self.turn(client, &context).await;
        }
    }

    fn obey(&mut self, mail: ToSource) {
        match mail {
            ToSource::Settled(settled) => {
                self.acks.all_settled(settled, self.tenure.generation(), &mut self.book)
            }
            ToSource::Drain => self.drain(),
            // There are no partitions to be given up; stopping is the caller's.
            ToSource::Released(_) | ToSource::Stop => {}
        }
    }

    /// Reads nothing more: what comes from now on shall go to another replica.
    fn drain(&mut self) {
        self.draining = true;
        self.hands.clear();
        let Some(mut attached) = self.attached.take() else { return };
        while let Some(Some(message)) = attached.subscriber.next().now_or_never() {
            if let Some(reply) = message.reply.filter(|reply| Delivered::of(reply).is_some()) {
                self.acks.refused(reply);
            }
        }
    }

    // ---- What is ours ----

    /// Renews the lease of all that is open as far as the server has heard of it; gives all of it up
    /// after a standstill, or when the server has not been told of it in time.
    fn keep_tenure(&mut self) {
        let now = Moment::now();
        let oldest = self.book.oldest_sign_us().unwrap_or(now.mono_us);
        if self.tenure.keep(now.mono_us, oldest) {
            return;
        }
        tracing::warn!(
            source = self.name(),
            "what was read could not be kept for longer than `ack_wait`, because this process stood still or the \
             servers were away; it is given up and comes again",
        );
        self.hands.clear();
        // The server still counts them; they come again when it has waited long enough.
        self.book.release();
        let lost = self.tenure.renew();
        self.outbox.inputs(vec![Input::Lost(lost)]);
        self.detach();
    }

    /// Drops the subscription with everything that is still on its way through it.
    fn detach(&mut self) {
        self.attached = None;
        self.due.attach = Instant::now() + self.pause;
    }

    // ---- Turns ----

    async fn turn(&mut self, client: &Client, context: &Context) {
        let now = Instant::now();
        self.offer_hands();
        if self.acks.is_due() && self.acks.flush(client).await {
            self.outbox.report(Report::Committed(Ok(())));
        }
        self.tell_ready();
        if client.connection_state() != State::Connected {
            return;
        }
        self.acks.go_on(client);
        // Also while it drains, or between two subscriptions.
        self.keep_progress(client, connection(client)).await;
        if self.attached.is_none() {
            if !self.draining && !self.attaching && now >= self.due.attach {
                self.attach(context);
            }
            return;
        }
        self.keep_pull(client, now).await;
        if now >= self.due.look && !self.looking {
            self.look(Vec::new(), connection(client));
        }
        if now >= self.due.oldest {
            self.due.oldest = now + OLDEST_EVERY;
            self.report_oldest();
        }
    }

    fn attach(&mut self, context: &Context) {
        self.attaching = true;
        let (context, durable, tell) = (context.clone(), self.durable.clone(), self.tell.clone());
        // What other replicas have open lies above the floor.
        let sequence = match self.plan.replicas {
            1 => self.book.position(self.floor),
            _ => self.floor + 1,
        };
        let begin = match &self.created {
            Some(created) => Begin::Resumed { created: created.clone(), sequence },
            None if self.was_missing => Begin::Beginning,
            None => Begin::Configured,
        };
        let (client, beside) = (self.clients, self.beside.clone());
        tokio::spawn(async move {
            let attaching = async {
                if let Some(beside) = beside {
                    let stream = durable.stream(&context).await?;
                    beside.settle(&stream, &durable, &begin).await?;
                }
                durable.attach(&context, &begin).await
            };
            let result = attaching.await;
            // The worker may have gone.
            let _ = tell.send((client, News::Attached(Box::new(result))));
        });
    }

    async fn attached(&mut self, client: &Client, result: Result<Attachment, Trouble>) {
        self.attaching = false;
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        self.due.attach = Instant::now() + self.pause;
        let attachment = match result {
            Ok(attachment) => attachment,
            Err(trouble) => return self.troubled(trouble),
        };
        let inbox = Subject::from(client.new_inbox());
        let Ok(subscriber) = client.subscribe(inbox.clone()).await else { return };
        let Attachment { consumer, stream, created, .. } = attachment;
        if self.created.as_ref().is_some_and(|known| *known != created) {
            tracing::error!(
                source = self.name(),
                "the stream was deleted and made anew; what is open of the old one is still delivered",
            );
            self.leave_stream();
        }
        self.floor = self.floor.max(consumer.cached_info().ack_floor.stream_sequence);
        let namespace = Namespace::JetStream { created: created.clone() };
        self.gap.look(consumer.cached_info(), stream.cached_info());
        let config = &consumer.cached_info().config;
        let limit = |limit: i64| u64::try_from(limit).unwrap_or_default();
        let allowed = Allowed {
            batch: limit(config.max_batch),
            bytes: limit(config.max_bytes),
            expires: config.max_expires,
        };
        let Some(source) = self.plan.sources.get(usize::from(self.source.0)) else { return };
        let name = stream.cached_info().config.name.as_str().into();
        self.stream = Some(Arc::new(stream));
        self.attached = Some(Attached {
            name,
            consumer,
            intake: Intake::new(&self.plan, source, self.source, namespace),
            subscriber,
            inbox,
            allowed,
            pull: None,
            moved: false,
            heard: Instant::now(),
            connection: connection(client),
        });
        self.created = Some(created);
        self.was_missing = false;
        self.trouble = None;
        self.due.look = Instant::now();
        self.tell_ready();
    }

    /// The stream is gone. What is open of it can't be acknowledged any more, and is nobody else's;
    /// another stream's sequences begin anew.
    fn leave_stream(&mut self) {
        self.book.clear();
        self.acks = Acks::new();
        self.tenure.retire();
        (self.gap, self.floor, self.created) = (Gap::default(), 0, None);
    }

    /// One line for each new trouble.
    pub(super) fn troubled(&mut self, trouble: Trouble) {
        if let Trouble::NoStream(_) = trouble {
            self.was_missing = true;
            if self.created.is_some() {
                self.leave_stream();
            }
        }
        if self.trouble.as_ref() != Some(&trouble) {
            match &trouble {
                Trouble::NoAnswer(text) => tracing::debug!(source = self.name(), "NATS: {text}"),
                Trouble::Refused(text) => tracing::error!(source = self.name(), "{text}"),
                Trouble::NoStream(text) => tracing::warn!(source = self.name(), "{text}"),
            }
            self.trouble = Some(trouble);
        }
    }

    /// Keeps one pull at the server while there is room.
    async fn keep_pull(&mut self, client: &Client, now: Instant) {
        let connection = connection(client);
        let (granted, window) = (self.allowance.left(), self.allowance.window());
        let Some(attached) = &mut self.attached else { return };
        if attached.connection != connection {
            // The server of the old connection has forgotten it.
            attached.connection = connection;
            attached.pull = None;
        }
        if attached.pull.is_some() {
            if attached.heard.elapsed() > self.patience.silence {
                tracing::debug!(
                    source = self.name(),
                    "the server is silent although a pull waits; it is made anew"
                );
                self.detach();
            }
            // What came of it may have no room although it was asked for.
            return match self.hands.is_empty() {
                true => self.pressure.ease(),
                false => self.pressure.press(&self.outbox, now),
            };
        }
        if now < self.due.pull {
            return;
        }
        let room = Room {
            granted,
            window: Grant { events: window.events, bytes: window.bytes },
            open: self.book.open() as u64,
            too_few_bytes: self.too_few_bytes,
        };
        let pull = room.pull(attached.allowed, self.patience, Moment::now().mono_us);
        let Some((pull, config)) = pull.filter(|_| self.hands.is_empty()) else {
            return self.pressure.press(&self.outbox, now);
        };
        self.pressure.ease();
        match attached.consumer.request_batch(config, attached.inbox.clone()).await {
            Ok(()) => {
                attached.pull = Some(pull);
                attached.heard = Instant::now();
            }
            Err(error) => {
                tracing::debug!("a pull could not be sent: {error}");
                self.due.pull = now + PULL_AGAIN;
            }
        }
    }

    /// Tells the server of messages that have been open for long, and then asks something: its answer
    /// confirms that it has heard.
    async fn keep_progress(&mut self, client: &Client, connection: u64) {
        let now_us = Moment::now().mono_us;
        let before_us = now_us.saturating_sub(self.patience.progress.as_micros() as u64);
        // Not more often than that, also where nothing confirms it.
        let now = Instant::now();
        if self.looking
            || now < self.due.progress
            || self.book.oldest_sign_us().is_none_or(|oldest| oldest >= before_us)
        {
            return;
        }
        self.due.progress = now + self.patience.heartbeat;
        let mut told = Vec::new();
        for (sequence, reply) in self.book.silent(before_us) {
            let publish = client.publish(reply, "+WPI".into());
            if !matches!(tokio::time::timeout(self.patience.heartbeat, publish).await, Ok(Ok(()))) {
                break;
            }
            told.push(sequence);
        }
        if !told.is_empty() {
            self.look_at(told, now_us, connection);
        }
    }

    fn tell_ready(&mut self) {
        let ready = match (self.reachability.fault(), &self.attached, &self.trouble) {
            (Some(fault), ..) => Err(fault),
            (None, Some(_), _) => Ok(()),
            (None, None, Some(trouble)) => Err(trouble.text().to_owned()),
            (None, None, None) => Err("the durable is not known yet".to_owned()),
        };
        if ready.is_ok() {
            self.pause = FIRST_PAUSE;
        }
        self.outbox.ready(ready);
    }

    // ---- The end ----

    /// Acknowledges what is settled, gives back what is not, and says so; all in bounded time.
    async fn stop(&mut self, client: &Client) {
        self.tenure.end();
        self.drain();
        let before = connection(client);
        for reply in self.book.release() {
            self.acks.refused(reply);
        }
        let until = Instant::now() + FINISH;
        let said = self.acks.finish(client, until).await;
        let heard = self.round_trip(client, until).await && connection(client) == before;
        self.outbox.stopped(match said && heard {
            true => Ok(()),
            false => Err("the last acknowledgements may not have reached the server; what they were of is \
                          acknowledged or sent again"
                .to_owned()),
        });
    }

    /// Asks something of the server, which answers in order: so it has heard all that went before.
    async fn round_trip(&self, client: &Client, until: Instant) -> bool {
        let asked = async {
            client.flush().await.ok()?;
            match &self.stream {
                Some(stream) => self.durable.found(stream).await.ok().map(drop),
                None => Some(()),
            }
        };
        let left = until.saturating_duration_since(Instant::now());
        matches!(tokio::time::timeout(left, asked).await, Ok(Some(())))
    }

    /// Whether the server has been told all that is settled.
    fn unsaid(&self) -> Result<(), String> {
        match self.acks.is_empty() {
            true => Ok(()),
            false => Err("the servers can't be told what is settled; it is sent again".to_owned()),
        }
    }
}

/// The next message, or never while there is nothing to read from.
async fn next(attached: &mut Option<Attached>) -> Option<async_nats::Message> {
    match attached {
        Some(attached) => attached.subscriber.next().await,
        None => std::future::pending().await,
    }
}

/// Counts the connections that a client has had.
pub(super) fn connection(client: &Client) -> u64 {
    client.statistics().connects.load(std::sync::atomic::Ordering::Relaxed)
}
