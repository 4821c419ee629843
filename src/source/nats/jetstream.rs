use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_nats::connection::State;
use async_nats::jetstream::consumer::{self, Consumer, pull};
use async_nats::jetstream::stream::{self, Stream};
use async_nats::jetstream::{self, Context};
use async_nats::{Client, StatusCode, Subject, Subscriber};
use futures_util::{FutureExt, StreamExt};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::acks::Acks;
use super::book::{Arrival, Book};
use super::durable::{Attachment, Durable, Resume, Trouble};
use super::message::{Delivered, message};
use super::patience::Patience;
use super::pull::{Allowed, Pull, Room};
use super::tenure::Tenure;
use crate::broker::nats::{Reachability, client_name, connect};
use crate::domain::{Event, Moment, Receipt, Settled, SourceId};
use crate::engine::{Grant, Input};
use crate::plan::{self, Nats, Plan};
use crate::source::outbox::Outbox;
use crate::source::{Intake, Namespace, Report, SharedGrant, ToSource};

/// At most so many events are handed over together.
const BATCH: usize = 256;
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

/// The thread of a source that reads a durable on a JetStream stream.
pub(super) struct Worker {
    plan: Arc<Plan>,
    source: SourceId,
    nats: Nats,
    durable: Arc<Durable>,
    patience: Patience,
    /// This process's part of `max_ack_pending`.
    most_open: u64,
    grant: Arc<SharedGrant>,
    outbox: Outbox,
    mail: UnboundedReceiver<ToSource>,
    reachability: Arc<Reachability>,
    news: UnboundedReceiver<News>,
    tell: UnboundedSender<News>,
    tenure: Tenure,
    book: Book,
    acks: Acks,
    attached: Option<Attached>,
    /// The stream and what is settled of it, for a durable that is deleted under us.
    created: Option<Box<str>>,
    attaching: bool,
    looking: bool,
    draining: bool,
    trouble: Option<Trouble>,
    /// All that was handed over since the start.
    handed: Grant,
    /// Events that the grant had no room for.
    hands: VecDeque<Hand>,
    next_is_large: bool,
    redelivered: u64,
    /// Messages between these sequences were deleted before they were delivered.
    gap: Option<(u64, u64)>,
    pause: Duration,
    due: Due,
}

/// When what happens now and then happens next.
struct Due {
    attach: Instant,
    pull: Instant,
    look: Instant,
    oldest: Instant,
}

/// A durable that is pulled from.
struct Attached {
    consumer: Consumer<pull::Config>,
    stream: Arc<Stream>,
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
    Attached(Result<Attachment, Trouble>),
    Looked(Look),
}

/// What the server was asked, and its answer. It answers in order, so that it has heard all that
/// went out before.
struct Look {
    /// Messages that were said to be in progress right before.
    sequences: Vec<u64>,
    at_us: u64,
    connection: u64,
    answer: Result<(consumer::Info, stream::Info), Trouble>,
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
        source: SourceId,
        nats: Nats,
        settings: plan::JetStream,
        grant: Arc<SharedGrant>,
        outbox: Outbox,
        mail: UnboundedReceiver<ToSource>,
        reachability: Arc<Reachability>,
    ) -> Worker {
        let patience = Patience::new(settings.ack_wait);
        let most_open = u64::from((settings.max_ack_pending / plan.replicas.max(1)).max(1));
        let (tell, news) = unbounded_channel();
        let now = Instant::now();
        Worker {
            durable: Arc::new(Durable::new(&settings, &nats.subjects)),
            plan,
            source,
            nats,
            patience,
            most_open,
            grant,
            outbox,
            mail,
            reachability,
            news,
            tell,
            tenure: Tenure::new(patience),
            book: Book::default(),
            acks: Acks::new(),
            attached: None,
            created: None,
            attaching: false,
            looking: false,
            draining: false,
            trouble: None,
            handed: Grant::default(),
            hands: VecDeque::new(),
            next_is_large: false,
            redelivered: 0,
            gap: None,
            pause: FIRST_PAUSE,
            due: Due { attach: now, pull: now, look: now, oldest: now },
        }
    }

    /// Runs until it is told to stop.
    pub(super) async fn run(mut self) {
        loop {
            let Some(client) = self.connected().await else { return };
            if self.serve(&client).await.is_break() {
                return;
            }
        }
    }

    fn name(&self) -> &str {
        self.plan.sources.get(usize::from(self.source.0)).map_or("", |source| &source.name)
    }

    /// Waits for the servers; `None` if it was told to stop meanwhile.
    async fn connected(&mut self) -> Option<Client> {
        let name = client_name(&self.plan.name, self.name());
        let (nats, reachability) = (self.nats.clone(), self.reachability.clone());
        let connecting = connect(&name, &nats, &reachability);
        tokio::pin!(connecting);
        loop {
            let woken = tokio::select! {
                biased;
                client = &mut connecting => return Some(client),
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
    async fn serve(&mut self, client: &Client) -> ControlFlow<()> {
        let context = jetstream::new(client.clone());
        loop {
            let woken = tokio::select! {
                biased;
                mail = self.mail.recv() => Woken::Mail(mail),
                Some(news) = self.news.recv() => Woken::News(news),
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
                Woken::News(News::Attached(result)) => self.attached(client, result).await,
                Woken::News(News::Looked(look)) => self.looked(client, look),
                Woken::Message(Some(message)) => self.read(message),
                Woken::Message(None) => self.detach(),
                Woken::Nap => {}
            }
            if self.reachability.is_closed() {
                self.detach();
                return ControlFlow::Continue(());
            }
            self.turn(client, &context).await;
        }
    }

    fn obey(&mut self, mail: ToSource) {
        match mail {
            ToSource::Settled(settled) => self.settled(settled),
            ToSource::Drain => {
                self.draining = true;
                self.hands.clear();
            }
            // There are no partitions to be given up; stopping is the caller's.
            ToSource::Released(_) | ToSource::Stop => {}
        }
    }

    fn settled(&mut self, settled: Vec<Settled>) {
        let now_us = Moment::now().mono_us;
        for Settled { receipt, ending } in settled {
            let ours = receipt.generation == self.tenure.generation();
            let sequence = u64::try_from(receipt.position).unwrap_or_default();
            if ours && let Some(reply) = self.book.settle(sequence, ending, now_us) {
                self.acks.settled(reply, ending);
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
        self.outbox.inputs(lost.into_iter().map(Input::Lost).collect());
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
        let connection = connection(client);
        if self.attached.is_none() {
            if !self.draining && !self.attaching && now >= self.due.attach {
                self.attach(context);
            }
            return;
        }
        self.keep_pull(connection, now).await;
        self.keep_progress(client, connection).await;
        if now >= self.due.look && !self.looking {
            self.look(Vec::new(), connection);
        }
        if now >= self.due.oldest {
            self.due.oldest = now + OLDEST_EVERY;
            self.report_oldest();
        }
    }

    fn attach(&mut self, context: &Context) {
        self.attaching = true;
        let (context, durable, tell) = (context.clone(), self.durable.clone(), self.tell.clone());
        let sequence = self.book.position();
        let resume = self.created.clone().zip(sequence);
        let resume = resume.map(|(created, sequence)| Resume { created, sequence });
        tokio::spawn(async move {
            let result = durable.attach(&context, resume.as_ref()).await;
            // The worker may have gone.
            let _ = tell.send(News::Attached(result));
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
            // Sequences begin anew. What is open can't be acknowledged any more, and is nobody else's.
            self.book.clear();
            self.hands.clear();
            self.tenure.retire();
        }
        let namespace = Namespace::JetStream { created: created.clone() };
        self.note_gap(consumer.cached_info(), stream.cached_info());
        let config = &consumer.cached_info().config;
        let limit = |limit: i64| u64::try_from(limit).unwrap_or_default();
        let allowed = Allowed {
            batch: limit(config.max_batch),
            bytes: limit(config.max_bytes),
            expires: config.max_expires,
        };
        let Some(source) = self.plan.sources.get(usize::from(self.source.0)) else { return };
        self.attached = Some(Attached {
            name: stream.cached_info().config.name.as_str().into(),
            stream: Arc::new(stream),
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
        self.trouble = None;
        self.due.look = Instant::now();
        self.tell_ready();
    }

    /// One line for each new trouble.
    fn troubled(&mut self, trouble: Trouble) {
        if self.trouble.as_ref() != Some(&trouble) {
            match &trouble {
                Trouble::NoAnswer(text) => tracing::debug!(source = self.name(), "NATS: {text}"),
                Trouble::Refused(text) => tracing::error!(source = self.name(), "{text}"),
            }
            self.trouble = Some(trouble);
        }
    }

    /// Keeps one pull at the server while there is room.
    async fn keep_pull(&mut self, connection: u64, now: Instant) {
        let (granted, window) = (self.granted(), self.plan.limits.window);
        let Some(attached) = &mut self.attached else { return };
        if attached.connection != connection {
            // The server of the old connection has forgotten it.
            attached.connection = connection;
            attached.pull = None;
        }
        if attached.pull.is_some() {
            if attached.heard.elapsed() > self.patience.silence {
                tracing::debug!(source = ?self.source, "the server is silent although a pull waits; it is made anew");
                self.detach();
            }
            return;
        }
        if self.draining || !self.hands.is_empty() || now < self.due.pull {
            return;
        }
        let room = Room {
            granted,
            window: Grant { events: window.events, bytes: window.bytes },
            open: self.book.open() as u64,
            most_open: self.most_open,
            next_is_large: self.next_is_large,
        };
        let Some((pull, config)) = room.pull(attached.allowed, self.patience) else { return };
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
        if self.looking || self.book.oldest_sign_us().is_none_or(|oldest| oldest >= before_us) {
            return;
        }
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

    // ---- Reading ----

    /// Takes in a message and those that came with it, and hands their events over.
    fn read(&mut self, first: async_nats::Message) {
        let mut batch = Vec::new();
        self.take(&first, &mut batch);
        for _ in 1..BATCH {
            let waiting =
                self.attached.as_mut().and_then(|attached| attached.subscriber.next().now_or_never());
            let Some(Some(message)) = waiting else { break };
            self.take(&message, &mut batch);
        }
        self.outbox.inputs(batch);
        if self.redelivered > 0 {
            self.outbox.report(Report::Redelivered(std::mem::take(&mut self.redelivered)));
        }
    }

    fn take(&mut self, native: &async_nats::Message, batch: &mut Vec<Input>) {
        let Some(attached) = &mut self.attached else { return };
        attached.heard = Instant::now();
        if let Some(status) = native.status {
            return self.status(status, native.description.as_deref().unwrap_or_default());
        }
        let delivered = native.reply.as_ref().and_then(|reply| Some((reply, Delivered::of(reply)?)));
        let Some((reply, delivered)) = delivered else { return };
        attached.moved = true;
        self.next_is_large = false;
        attached.pull = attached.pull.and_then(Pull::next);
        if self.draining {
            return self.acks.refused(reply.clone());
        }
        self.redelivered += u64::from(delivered.times > 1);
        let now = Moment::now();
        match self.book.received(delivered.sequence, reply, delivered.stored_ms, now.mono_us) {
            Arrival::Settled(ending) => return self.acks.settled(reply.clone(), ending),
            Arrival::Joins => return,
            Arrival::New => {}
        }
        let native = message(native, attached.name.clone(), Some(delivered), now.wall_ms);
        let (generation, lease) = (self.tenure.generation(), self.tenure.lease());
        let event = attached.intake.read(native, generation, lease);
        let receipt = Receipt { source: self.source, generation, position: event.origin.position };
        self.report_gap(delivered);
        let hand = Hand { event, receipt };
        match self.hands.is_empty() && self.fits(&hand) {
            true => batch.push(self.hand_over(hand)),
            false => self.hands.push_back(hand),
        }
    }

    /// What the server says of a pull instead of a message.
    fn status(&mut self, status: StatusCode, description: &str) {
        let Some(attached) = &mut self.attached else { return };
        let ended = attached.pull;
        match status {
            StatusCode::IDLE_HEARTBEAT => return,
            // Its time is over, or the server moves.
            StatusCode::TIMEOUT | StatusCode::NOT_FOUND => attached.pull = None,
            StatusCode::REQUEST_TERMINATED => {
                attached.pull = None;
                let text = description.to_ascii_lowercase();
                if text.contains("maxbytes") && text.contains("message size") {
                    self.next_is_large = ended.is_some_and(|pull| pull.is_untouched());
                } else if text.contains("consumer deleted") {
                    tracing::error!(
                        source = self.name(),
                        "the durable was deleted; it is made anew where it was"
                    );
                    self.detach();
                } else if !text.contains("batch completed") {
                    tracing::debug!(source = self.name(), "the server ended a pull: {description}");
                    self.due.pull = Instant::now() + PULL_AGAIN;
                }
            }
            // Nobody answers for the durable: it, or its stream, is gone or between two leaders.
            _ => {
                tracing::debug!(source = self.name(), "the server refused a pull: {status} {description}");
                self.detach();
            }
        }
    }

    fn granted(&self) -> Grant {
        let grant = self.grant.read();
        Grant {
            events: grant.events.saturating_sub(self.handed.events),
            bytes: grant.bytes.saturating_sub(self.handed.bytes),
        }
    }

    fn fits(&self, hand: &Hand) -> bool {
        let granted = self.granted();
        let alone = granted.bytes >= self.plan.limits.window.bytes;
        granted.events > 0 && (hand.event.weight() <= granted.bytes || alone)
    }

    fn hand_over(&mut self, hand: Hand) -> Input {
        self.handed.events += 1;
        self.handed.bytes = self.handed.bytes.saturating_add(hand.event.weight());
        Input::Arrived { event: Arc::new(hand.event), receipt: hand.receipt }
    }

    /// Hands over events that had no room, as far as they have it now.
    fn offer_hands(&mut self) {
        let mut batch = Vec::new();
        while let Some(hand) = self.hands.pop_front() {
            if !self.fits(&hand) {
                self.hands.push_front(hand);
                break;
            }
            batch.push(self.hand_over(hand));
        }
        self.outbox.inputs(batch);
    }

    // ---- Looking ----

    fn look(&mut self, sequences: Vec<u64>, connection: u64) {
        self.look_at(sequences, Moment::now().mono_us, connection);
    }

    /// Asks the server where the durable and its stream stand.
    fn look_at(&mut self, sequences: Vec<u64>, at_us: u64, connection: u64) {
        let Some(attached) = &self.attached else { return };
        self.looking = true;
        self.due.look = Instant::now() + LOOK_EVERY;
        let (stream, durable, tell) = (attached.stream.clone(), self.durable.clone(), self.tell.clone());
        tokio::spawn(async move {
            let answer = async {
                let info = durable.found(&stream).await?;
                let info = info.ok_or_else(|| Trouble::Refused("the durable is gone".to_owned()))?;
                let state = stream.get_info().await.map_err(|error| Trouble::NoAnswer(error.to_string()))?;
                Ok((info, state))
            };
            let answer = answer.await;
            // The worker may have gone.
            let _ = tell.send(News::Looked(Look { sequences, at_us, connection, answer }));
        });
    }

    fn looked(&mut self, client: &Client, look: Look) {
        self.looking = false;
        let (info, state) = match look.answer {
            Ok(answer) => answer,
            Err(Trouble::NoAnswer(text)) => {
                return tracing::debug!(source = self.name(), "the durable was not seen: {text}");
            }
            Err(Trouble::Refused(text)) => {
                tracing::debug!(source = self.name(), "{text}");
                return self.detach();
            }
        };
        if look.connection == connection(client) {
            self.book.heard(&look.sequences, look.at_us);
        }
        let memory_us = self.patience.memory.as_micros() as u64;
        self.book.forget_settled(Moment::now().mono_us.saturating_sub(memory_us));
        self.note_gap(&info, &state);
        let open = self.book.open() as u64;
        let Some(attached) = &mut self.attached else { return };
        // Messages wait, and so do we: the server does not know of our pull.
        if info.num_pending > 0 && info.num_waiting == 0 && !std::mem::take(&mut attached.moved) {
            attached.pull = None;
        }
        attached.moved = false;
        let topic = attached.name.clone();
        // All replicas see the same number; each tells its part, so that the sum is right.
        let messages = Some(info.num_pending / u64::from(self.plan.replicas.max(1)) + open);
        self.outbox.report(Report::Lag { topic, partition: 0, messages });
    }

    /// Notes messages that the stream deleted before they were delivered. With subjects that do not
    /// take all of the stream it can't be known whether any of them was for us.
    fn note_gap(&mut self, info: &consumer::Info, state: &stream::Info) {
        let delivered = info.delivered.stream_sequence;
        if self.gap.is_some_and(|(_, to)| delivered >= to) {
            // Another replica got what follows the gap, and tells of it.
            self.gap = None;
        }
        let next = self.gap.map_or(delivered + 1, |(from, _)| from);
        let first = state.state.first_sequence;
        if takes_all(&info.config, &state.config) && first > next {
            self.gap = Some((next, first));
        }
    }

    fn report_gap(&mut self, delivered: Delivered) {
        let Some((from, to)) = self.gap.filter(|(_, to)| delivered.times == 1 && delivered.sequence >= *to)
        else {
            return;
        };
        self.gap = None;
        let Some(attached) = &self.attached else { return };
        let topic = attached.name.clone();
        let messages = to - from;
        tracing::error!(
            "the stream {topic} deleted {messages} messages from sequence {from} on before they were read; make its \
             limits wider than the longest outage",
        );
        self.outbox.report(Report::Lost {
            topic,
            partition: 0,
            from: i64::try_from(from).unwrap_or(i64::MAX),
            messages,
        });
    }

    fn report_oldest(&self) {
        let Some(attached) = &self.attached else { return };
        let stored_ms = self.book.oldest_stored_ms();
        let topic = attached.name.clone();
        self.outbox.report(Report::OldestUnsettled { topic, partition: 0, stored_ms });
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
        self.attached = None;
        let connection_before = connection(client);
        for reply in self.book.release() {
            self.acks.refused(reply);
        }
        let until = Instant::now() + FINISH;
        let said = self.acks.finish(client, until).await;
        // The server answers in order, so that an answer says that it has heard all before it.
        let answered = tokio::time::timeout(FINISH, client.request("$JS.API.INFO", "".into())).await;
        let heard = matches!(answered, Ok(Ok(_))) && connection(client) == connection_before;
        self.outbox.stopped(match said && heard {
            true => Ok(()),
            false => Err("the last acknowledgements may not have reached the server; what they were of is \
                          acknowledged or sent again"
                .to_owned()),
        });
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
fn connection(client: &Client) -> u64 {
    client.statistics().connects.load(std::sync::atomic::Ordering::Relaxed)
}

/// Whether a durable takes every message of its stream.
fn takes_all(durable: &consumer::Config, stream: &stream::Config) -> bool {
    let filters: Vec<&String> = durable.filter_subjects.iter().chain([&durable.filter_subject]).collect();
    let filters: Vec<&String> = filters.into_iter().filter(|filter| !filter.is_empty()).collect();
    filters.is_empty()
        || filters.iter().any(|filter| *filter == ">")
        || (!stream.subjects.is_empty() && stream.subjects.iter().all(|subject| filters.contains(&subject)))
}
