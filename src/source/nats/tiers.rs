use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use async_nats::connection::State;
use async_nats::jetstream::consumer::{AckPolicy, Consumer, pull};
use async_nats::jetstream::stream::Stream;
use async_nats::jetstream::{self, Context};
use async_nats::{Client, StatusCode, Subject, Subscriber};
use futures_util::future::poll_fn;
use futures_util::{FutureExt, StreamExt};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::acks::Acks;
use super::book::{Arrival, Book};
use super::durable::created;
use super::jetstream::connection;
use super::message::{Delivered, message};
use super::patience::Patience;
use super::tenure::Tenure;
use super::tier_pace::{Pace, postponement};
use crate::broker::nats::{Link, Reachability, TierStream, client_name, connect};
use crate::domain::{Moment, Receipt, SourceId, Tier};
use crate::engine::Input;
use crate::plan::{Nats, OPEN_OF_A_TIER, Plan};
use crate::source::allowance::Allowance;
use crate::source::outbox::Outbox;
use crate::source::pressure::Pressure;
use crate::source::tier_intake::{TierIntake, TierMessage};
use crate::source::{Namespace, Report, SharedGrant, ToSource};

/// A record that is not acknowledged or in progress for so long comes again.
const ACK_WAIT: Duration = Duration::from_secs(60);
/// At most so many records are handed over together.
const BATCH: usize = 256;
const NAP: Duration = Duration::from_millis(20);
const LOOK_EVERY: Duration = Duration::from_secs(15);
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// After a pull that the server refused.
const PULL_AGAIN: Duration = Duration::from_millis(250);
/// Of the time to stop, what telling the server may take.
const FINISH: Duration = Duration::from_secs(4);

/// The thread that reads the retry tiers: one work-queue stream, with a durable for each tier, so that
/// none waits for another. Sequences are the stream's, so that one book holds what is open of all.
pub(super) struct Worker {
    plan: Arc<Plan>,
    source: SourceId,
    nats: Nats,
    stream: TierStream,
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
    /// Which stream was read last.
    created: Option<Box<str>>,
    attaching: bool,
    looking: bool,
    draining: bool,
    trouble: Option<String>,
    /// Due records that the grant had no room for.
    hands: VecDeque<(TierMessage, Receipt)>,
    clients: u64,
    pause: Duration,
    attach_at: Instant,
    look_at: Instant,
    progress_at: Instant,
}

/// The durables of all tiers, in their order.
struct Attached {
    stream: Arc<Stream>,
    intake: TierIntake,
    name: Arc<str>,
    tiers: Vec<TierReader>,
    /// The tier that comes first in the next turn.
    first: usize,
    /// Which of its connections the client had when it subscribed.
    connection: u64,
}

struct TierReader {
    consumer: Consumer<pull::Config>,
    subscriber: Subscriber,
    inbox: Subject,
    pace: Pace,
    heard: Instant,
}

/// The stream of the tiers, and the durable of each.
type Found = (Stream, Vec<Consumer<pull::Config>>);

enum News {
    Attached(Box<Result<Found, String>>),
    Looked(Look),
}

/// What the server was asked of all durables. It answers in order, so that it has heard all that went
/// out before.
struct Look {
    /// Records that were said to be in progress right before.
    sequences: Vec<u64>,
    at_us: u64,
    connection: u64,
    /// How many wait in each tier; `Err`: a durable is gone.
    answer: Result<Vec<u64>, String>,
}

enum Woken {
    Mail(Option<ToSource>),
    News(News),
    /// A message of the tier with this index; `None` if its subscription ended.
    Message(usize, Option<async_nats::Message>),
    Nap,
}

impl Worker {
    pub(super) fn new(
        plan: Arc<Plan>,
        source: SourceId,
        nats: Nats,
        grant: Arc<SharedGrant>,
        outbox: Outbox,
        mail: UnboundedReceiver<ToSource>,
        reachability: Arc<Reachability>,
    ) -> Worker {
        let patience = Patience::new(ACK_WAIT);
        let (tell, news) = unbounded_channel();
        let now = Instant::now();
        Worker {
            stream: TierStream::new(&plan),
            allowance: Allowance::new(grant, plan.window(outbox.consumer())),
            plan,
            source,
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
            attaching: false,
            looking: false,
            draining: false,
            trouble: None,
            hands: VecDeque::new(),
            clients: 0,
            pause: FIRST_PAUSE,
            attach_at: now,
            look_at: now,
            progress_at: now,
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
            let mail = tokio::select! {
                biased;
                link = &mut connecting => return Some(link),
                mail = self.mail.recv() => Some(mail),
                () = tokio::time::sleep(NAP) => None,
            };
            self.keep_tenure();
            match mail {
                Some(None | Some(ToSource::Stop)) => {
                    self.outbox.stopped(match self.acks.is_empty() {
                        true => Ok(()),
                        false => {
                            Err("the servers can't be told what is settled; it is sent again".to_owned())
                        }
                    });
                    return None;
                }
                Some(Some(mail)) => self.obey(mail),
                None => self.tell_ready(),
            }
        }
    }

    /// Works with a connection until it is told to stop, or the client has ended.
    async fn serve(&mut self, link: &Link) -> ControlFlow<()> {
        let client = &link.client;
        self.clients += 1;
        (self.attaching, self.looking) = (false, false);
        let context = jetstream::new(client.clone());
        loop {
            let woken = tokio::select! {
                biased;
                mail = self.mail.recv() => Woken::Mail(mail),
                Some((of, news)) = self.news.recv() => match of == self.clients {
                    true => Woken::News(news),
                    false => Woken::Nap,
                },
                (tier, message) = next(&mut self.attached) => Woken::Message(tier, message),
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
                Woken::Message(tier, Some(message)) => self.read(tier, &message),
                Woken::Message(_, None) => self.detach(),
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
            ToSource::Released(_) | ToSource::Stop => {}
        }
    }

    fn drain(&mut self) {
        self.draining = true;
        self.hands.clear();
        let Some(attached) = self.attached.take() else { return };
        for mut tier in attached.tiers {
            while let Some(Some(message)) = tier.subscriber.next().now_or_never() {
                if let Some(reply) = message.reply.filter(|reply| Delivered::of(reply).is_some()) {
                    self.acks.refused(reply);
                }
            }
        }
    }

    fn keep_tenure(&mut self) {
        let now = Moment::now();
        let oldest = self.book.oldest_sign_us().unwrap_or(now.mono_us);
        if self.tenure.keep(now.mono_us, oldest) {
            return;
        }
        tracing::warn!(
            source = self.name(),
            "what was read of the retry tiers could not be kept, because this process stood still or the servers \
             were away; it is given up and comes again",
        );
        self.hands.clear();
        self.book.release();
        let lost = self.tenure.renew();
        self.outbox.inputs(vec![Input::Lost(lost)]);
        self.detach();
    }

    fn detach(&mut self) {
        self.attached = None;
        self.attach_at = Instant::now() + self.pause;
    }

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
        self.keep_progress(client).await;
        if self.attached.is_none() {
            if !self.draining && !self.attaching && now >= self.attach_at {
                self.attach(client, context);
            }
            return;
        }
        self.keep_pulls(client, now).await;
        if now >= self.look_at && !self.looking {
            self.look(Vec::new(), Moment::now().mono_us, connection(client));
        }
    }

    // ---- The durables ----

    fn attach(&mut self, client: &Client, context: &Context) {
        self.attaching = true;
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        self.attach_at = Instant::now() + self.pause;
        let (clients, tell, tiers) = (self.clients, self.tell.clone(), self.stream.clone());
        let (context, client, plan) = (context.clone(), client.clone(), self.plan.clone());
        tokio::spawn(async move {
            let found = async {
                if !client.is_server_compatible(2, 10, 0) {
                    return Err(format!(
                        "retries on JetStream need NATS 2.10 or later, and the server has version {}; or name a \
                         source with another broker in `dead_letters.on`",
                        client.server_info().version
                    ));
                }
                let stream = tiers.ensure(&context).await?;
                let mut consumers = Vec::new();
                for tier in Tier::all() {
                    let made = stream.create_consumer(durable(&plan, tier)).await;
                    consumers.push(made.map_err(|error| {
                        let name = durable_name(&plan, tier);
                        format!("the durable {name} of the retry tier {tier} can't be used: {error}")
                    })?);
                }
                Ok((stream, consumers))
            };
            // The worker may have gone.
            let _ = tell.send((clients, News::Attached(Box::new(found.await))));
        });
    }

    async fn attached(&mut self, client: &Client, result: Result<Found, String>) {
        self.attaching = false;
        let (stream, consumers) = match result {
            Ok(found) => found,
            Err(trouble) => {
                if self.trouble.as_ref() != Some(&trouble) {
                    tracing::error!(source = self.name(), "{trouble}");
                    self.trouble = Some(trouble);
                }
                return;
            }
        };
        let created = created(stream.cached_info());
        if self.created.as_ref().is_some_and(|known| *known != created) {
            tracing::error!(
                source = self.name(),
                "the stream {} of the retry tiers was deleted and made anew; what waited in it is lost",
                self.stream.name(),
            );
            self.book.clear();
            self.acks = Acks::new();
            self.tenure.retire();
        }
        let mut tiers = Vec::new();
        for consumer in consumers {
            let inbox = Subject::from(client.new_inbox());
            let Ok(subscriber) = client.subscribe(inbox.clone()).await else { return };
            let (pace, heard) = (Pace::default(), Instant::now());
            tiers.push(TierReader { consumer, subscriber, inbox, pace, heard });
        }
        let namespace = Namespace::JetStream { created: created.clone() };
        self.attached = Some(Attached {
            stream: Arc::new(stream),
            intake: TierIntake::new(self.plan.clone(), self.source, namespace),
            name: self.stream.name().into(),
            tiers,
            first: 0,
            connection: connection(client),
        });
        self.created = Some(created);
        self.trouble = None;
        self.look_at = Instant::now();
        self.tell_ready();
    }

    /// Keeps a pull at the server for each tier whose first record may be due, while there is room.
    async fn keep_pulls(&mut self, client: &Client, now: Instant) {
        let connection = connection(client);
        let (left, window) = (self.allowance.left(), self.allowance.window());
        let blocked = !self.hands.is_empty();
        let mut is_full = blocked || !self.allowance.is_roomy();
        let mut silent = false;
        let Some(attached) = &mut self.attached else { return };
        if attached.connection != connection {
            // The server of the old connection has forgotten the pulls.
            attached.connection = connection;
            attached.tiers.iter_mut().for_each(|tier| tier.pace.ended());
        }
        let alone = self.book.open() == 0 && left.bytes >= window.bytes;
        let count = attached.tiers.len().max(1) as u64;
        for tier in &mut attached.tiers {
            if tier.pace.is_pulling() {
                silent |= tier.heard.elapsed() > self.patience.silence;
                continue;
            }
            if blocked {
                continue;
            }
            let pull = tier.pace.pull(left, count, window.bytes, alone, now);
            let Some((batch, max_bytes)) = pull else {
                is_full |= tier.pace.needs_more();
                continue;
            };
            let config = pull::BatchConfig {
                batch,
                max_bytes,
                expires: Some(self.patience.expires),
                idle_heartbeat: self.patience.heartbeat,
                ..pull::BatchConfig::default()
            };
            tier.heard = now;
            if let Err(error) = tier.consumer.request_batch(config, tier.inbox.clone()).await {
                tracing::debug!("a pull could not be sent: {error}");
                tier.pace.ended();
                tier.pace.not_before(now + PULL_AGAIN);
            }
        }
        match is_full {
            true => self.pressure.press(&self.outbox, now),
            false => self.pressure.ease(),
        }
        if silent {
            tracing::debug!(
                source = self.name(),
                "the server is silent although a pull waits; it is made anew"
            );
            self.detach();
        }
    }

    // ---- Records ----

    /// Takes in a record of a tier and those that came with it, and hands over what is due.
    fn read(&mut self, index: usize, first: &async_nats::Message) {
        let mut batch = Vec::new();
        self.take(index, first, &mut batch);
        for _ in 1..BATCH {
            let tier = self.attached.as_mut().and_then(|attached| attached.tiers.get_mut(index));
            let Some(Some(Some(message))) = tier.map(|tier| tier.subscriber.next().now_or_never()) else {
                break;
            };
            self.take(index, &message, &mut batch);
        }
        self.outbox.inputs(batch);
    }

    fn take(&mut self, index: usize, native: &async_nats::Message, batch: &mut Vec<Input>) {
        let Some(attached) = &mut self.attached else { return };
        let Some(tier) = attached.tiers.get_mut(index) else { return };
        tier.heard = Instant::now();
        if let Some(status) = native.status {
            return self.status(index, status, native.description.as_deref().unwrap_or_default());
        }
        let delivered = native.reply.as_ref().and_then(|reply| Some((reply, Delivered::of(reply)?)));
        let Some((reply, delivered)) = delivered else { return };
        tier.pace.came();
        let now = Moment::now();
        let (generation, lease) = (self.tenure.generation(), self.tenure.lease());
        let record = message(native, attached.name.clone(), Some(delivered), now.wall_ms);
        let position = record.position;
        let record = attached.intake.read(record, generation, lease);
        let early_ms = record.due_ms().saturating_sub(now.wall_ms);
        if early_ms > 0 && !self.book.knows(delivered.sequence) {
            let early = Duration::from_millis(early_ms.unsigned_abs());
            tier.pace.early(early, Instant::now());
            return self.acks.postponed(reply.clone(), postponement(early));
        }
        tier.pace.due();
        match self.book.received(delivered.sequence, reply, delivered.stored_ms, now.mono_us) {
            Arrival::Settled(ending) => return self.acks.settled(reply.clone(), ending),
            Arrival::Joins => return,
            Arrival::New => {}
        }
        let receipt = Receipt { consumer: self.outbox.consumer(), generation, position };
        match self.hands.is_empty() && self.allowance.fits(record.event()) {
            true => batch.push(self.allowance.resume(record, receipt)),
            false => self.hands.push_back((record, receipt)),
        }
    }

    /// What the server says of a pull instead of a record.
    fn status(&mut self, index: usize, status: StatusCode, description: &str) {
        let tier = self.attached.as_mut().and_then(|attached| attached.tiers.get_mut(index));
        let Some(TierReader { pace, .. }) = tier else { return };
        match status {
            StatusCode::IDLE_HEARTBEAT => {}
            StatusCode::TIMEOUT | StatusCode::NOT_FOUND => pace.ended(),
            StatusCode::REQUEST_TERMINATED => {
                let text = description.to_ascii_lowercase();
                if text.contains("batch completed") {
                    return;
                }
                if text.contains("message size") && text.contains("maxbytes") {
                    pace.too_large();
                } else if text.contains("consumer deleted") {
                    tracing::error!(
                        source = self.name(),
                        "a durable of the retry tiers was deleted; it is made anew"
                    );
                    self.detach();
                } else {
                    tracing::debug!("the server ended a pull: {description}");
                    pace.ended();
                    pace.not_before(Instant::now() + PULL_AGAIN);
                }
            }
            _ => {
                tracing::debug!(source = self.name(), "the server refused a pull: {status} {description}");
                self.detach();
            }
        }
    }

    /// Hands over records that had no room, as far as they have it now.
    fn offer_hands(&mut self) {
        let mut batch = Vec::new();
        while let Some((record, receipt)) = self.hands.pop_front() {
            if !self.allowance.fits(record.event()) {
                self.hands.push_front((record, receipt));
                break;
            }
            batch.push(self.allowance.resume(record, receipt));
        }
        self.outbox.inputs(batch);
    }

    // ---- What the server is asked and told ----

    /// Tells the server of records that have been open for long; the look that follows confirms it.
    async fn keep_progress(&mut self, client: &Client) {
        let now_us = Moment::now().mono_us;
        let before_us = now_us.saturating_sub(self.patience.progress.as_micros() as u64);
        let now = Instant::now();
        if self.looking
            || now < self.progress_at
            || self.book.oldest_sign_us().is_none_or(|oldest| oldest >= before_us)
        {
            return;
        }
        self.progress_at = now + self.patience.heartbeat;
        let mut told = Vec::new();
        for (sequence, reply) in self.book.silent(before_us) {
            let publish = client.publish(reply, "+WPI".into());
            if !matches!(tokio::time::timeout(self.patience.heartbeat, publish).await, Ok(Ok(()))) {
                break;
            }
            told.push(sequence);
        }
        if !told.is_empty() {
            self.look(told, now_us, connection(client));
        }
    }

    /// Asks the server where the durables stand.
    fn look(&mut self, sequences: Vec<u64>, at_us: u64, connection: u64) {
        let Some(stream) = self.attached.as_ref().map(|attached| attached.stream.clone()) else { return };
        self.looking = true;
        self.look_at = Instant::now() + LOOK_EVERY;
        let (plan, tell, clients) = (self.plan.clone(), self.tell.clone(), self.clients);
        tokio::spawn(async move {
            let answer = async {
                let mut waiting = Vec::new();
                for tier in Tier::all() {
                    let info = stream.consumer_info(durable_name(&plan, tier)).await;
                    let info = info.map_err(|error| error.to_string())?;
                    waiting.push(info.num_pending + info.num_ack_pending as u64);
                }
                Ok(waiting)
            };
            let answer = answer.await;
            // The worker may have gone.
            let _ = tell.send((clients, News::Looked(Look { sequences, at_us, connection, answer })));
        });
    }

    fn looked(&mut self, client: &Client, look: Look) {
        self.looking = false;
        let waiting = match look.answer {
            Ok(waiting) => waiting,
            Err(reason) => {
                tracing::debug!(
                    source = self.name(),
                    "the durables of the retry tiers were not seen: {reason}"
                );
                return self.detach();
            }
        };
        if look.connection == connection(client) {
            self.book.heard(&look.sequences, look.at_us);
        }
        let memory_us = self.patience.memory.as_micros() as u64;
        self.book.forget_settled(Moment::now().mono_us.saturating_sub(memory_us));
        // All replicas see the same number; each tells its part, so that the sum is right.
        let replicas = u64::from(self.plan.replicas.max(1));
        for (tier, deliveries) in Tier::all().zip(waiting) {
            self.outbox.report(Report::Waiting { tier, deliveries: deliveries.div_ceil(replicas) });
        }
    }

    fn tell_ready(&mut self) {
        let ready = match (self.reachability.fault(), &self.attached, &self.trouble) {
            (Some(fault), ..) => Err(fault),
            (None, Some(_), _) => Ok(()),
            (None, None, Some(trouble)) => Err(trouble.clone()),
            (None, None, None) => Err("the retry tiers are not known yet".to_owned()),
        };
        if ready.is_ok() {
            self.pause = FIRST_PAUSE;
        }
        self.outbox.ready(ready);
    }

    /// Acknowledges what is settled, gives back what is not, and says so; all in bounded time.
    async fn stop(&mut self, client: &Client) {
        self.tenure.end();
        self.drain();
        for reply in self.book.release() {
            self.acks.refused(reply);
        }
        let until = Instant::now() + FINISH;
        let before = connection(client);
        let said = self.acks.finish(client, until).await;
        let left = until.saturating_duration_since(Instant::now());
        let heard = matches!(tokio::time::timeout(left, client.flush()).await, Ok(Ok(())));
        self.outbox.stopped(match said && heard && connection(client) == before {
            true => Ok(()),
            false => Err(
                "the last acknowledgements of retries may not have reached the server; what they were of is \
                          acknowledged or sent again"
                    .to_owned(),
            ),
        });
    }
}

fn durable_name(plan: &Plan, tier: Tier) -> String {
    format!("{}-{tier}", plan.tier_stream())
}

/// The durable of a tier. All of it is ours, so that one of an earlier version is brought in line.
fn durable(plan: &Plan, tier: Tier) -> pull::Config {
    pull::Config {
        durable_name: Some(durable_name(plan, tier)),
        description: Some("made by hookferry".to_owned()),
        filter_subject: plan.tier_subject(tier),
        ack_policy: AckPolicy::Explicit,
        ack_wait: ACK_WAIT,
        max_deliver: -1,
        max_ack_pending: i64::from(OPEN_OF_A_TIER),
        ..pull::Config::default()
    }
}

/// The next message of any tier, and which; each comes first in its turn.
async fn next(attached: &mut Option<Attached>) -> (usize, Option<async_nats::Message>) {
    let Some(Attached { tiers, first, .. }) = attached else { return std::future::pending().await };
    *first = (*first + 1) % tiers.len().max(1);
    let order: Vec<usize> = (*first..tiers.len()).chain(0..*first).collect();
    poll_fn(|context| {
        for index in &order {
            if let Poll::Ready(message) = tiers[*index].subscriber.poll_next_unpin(context) {
                return Poll::Ready((*index, message));
            }
        }
        Poll::Pending
    })
    .await
}
