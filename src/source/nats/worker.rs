use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_nats::connection::State;
use async_nats::jetstream::{self, Context};
use async_nats::{Client, Message, StatusCode};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::durable::Trouble;
use super::message::Delivered;
use super::reading::{Came, Durables, End, Reading};
use super::session::Session;
use super::subscription::{Subscription, connection};
use crate::broker::nats::{Link, Reachability, client_name, connect};
use crate::domain::Moment;
use crate::engine::Input;
use crate::source::{Report, ToSource};

/// At most so many messages are handed over together.
const BATCH: usize = 256;
/// Without any news, a turn comes so often.
const NAP: Duration = Duration::from_millis(20);
/// Where the server is asked and what is asked for.
const LOOK_EVERY: Duration = Duration::from_secs(15);
const OLDEST_EVERY: Duration = Duration::from_secs(5);
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// Of the time to stop, what telling the server may take.
const FINISH: Duration = Duration::from_secs(4);

mod looking;

/// The thread that reads durables of a JetStream stream.
pub(super) struct Worker<R: Reading> {
    session: Session,
    reading: R,
    mail: UnboundedReceiver<ToSource>,
    reachability: Arc<Reachability>,
    news: UnboundedReceiver<(u64, News<R::Standing>)>,
    tell: UnboundedSender<(u64, News<R::Standing>)>,
    subscription: Option<Subscription>,
    attaching: bool,
    looking: bool,
    draining: bool,
    /// Counts the clients, so that what one of them answers late is not taken for another's.
    clients: u64,
    pause: Duration,
    due: Due,
}

/// When what happens now and then happens next.
struct Due {
    attach: Instant,
    look: Instant,
    oldest: Instant,
    progress: Instant,
}

/// What tasks bring.
enum News<S> {
    Found(Box<Result<Durables, Trouble>>),
    Looked(Look<S>),
}

/// What the server was asked, and its answer. It answers in order, so that it has heard all that
/// went out before.
struct Look<S> {
    /// Messages that were said to be in progress right before.
    sequences: Vec<u64>,
    at_us: u64,
    connection: u64,
    answer: Result<S, Trouble>,
}

/// What a turn began with.
enum Woken<S> {
    Mail(Option<ToSource>),
    News(News<S>),
    /// A message of the durable with this index; `None` if its subscription ended.
    Message(usize, Option<Message>),
    Nap,
}

impl<R: Reading> Worker<R> {
    pub(super) fn new(
        session: Session,
        reading: R,
        mail: UnboundedReceiver<ToSource>,
        reachability: Arc<Reachability>,
    ) -> Worker<R> {
        let (tell, news) = unbounded_channel();
        let now = Instant::now();
        Worker {
            session,
            reading,
            mail,
            reachability,
            news,
            tell,
            subscription: None,
            attaching: false,
            looking: false,
            draining: false,
            clients: 0,
            pause: FIRST_PAUSE,
            due: Due { attach: now, look: now, oldest: now, progress: now },
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

    /// Waits for the servers; `None` if it was told to stop meanwhile.
    async fn connected(&mut self) -> Option<Link> {
        let name = client_name(&self.session.plan.name, self.session.name());
        let (nats, reachability) = (self.session.nats.clone(), self.reachability.clone());
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
                    self.session.outbox.stopped(self.session.unsaid());
                    return None;
                }
                Some(Some(mail)) => self.obey(mail),
                None => self.tell_ready(),
            }
        }
    }

    /// Works with a connection until the source is told to stop, or the client has ended.
    async fn serve(&mut self, link: &Link) -> ControlFlow<()> {
        let client = &link.client;
        self.clients += 1;
        (self.session.stream, self.attaching, self.looking) = (None, false, false);
        let context = jetstream::new(client.clone());
        loop {
            let woken = tokio::select! {
                biased;
                mail = self.mail.recv() => Woken::Mail(mail),
                Some((of, news)) = self.news.recv() => match of == self.clients {
                    true => Woken::News(news),
                    false => Woken::Nap,
                },
                (index, message) = next(&mut self.subscription) => Woken::Message(index, message),
                () = tokio::time::sleep(NAP) => Woken::Nap,
            };
            self.keep_tenure();
            match woken {
                Woken::Mail(None | Some(ToSource::Stop)) => {
                    self.stop(client).await;
                    return ControlFlow::Break(());
                }
                Woken::Mail(Some(mail)) => self.obey(mail),
                Woken::News(News::Found(found)) => self.found(client, *found).await,
                Woken::News(News::Looked(look)) => self.looked(client, look),
                Woken::Message(index, Some(message)) => self.read(index, &message),
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
            ToSource::Settled(settled) => self.session.settled(settled),
            ToSource::Adopt(plan) => {
                self.reading.adopt(&plan);
                self.session.plan = plan;
            }
            ToSource::Drain => self.drain(),
            // There are no partitions to be given up; stopping is the caller's.
            ToSource::Released(_) | ToSource::Stop => {}
        }
    }

    /// Reads nothing more: what comes from now on shall go to another replica.
    fn drain(&mut self) {
        self.draining = true;
        self.session.hands.clear();
        let replies = self.subscription.take().map(Subscription::end).unwrap_or_default();
        replies.into_iter().for_each(|reply| self.session.acks.refused(reply));
    }

    fn keep_tenure(&mut self) {
        if self.session.keep_tenure() {
            return;
        }
        tracing::warn!(
            source = self.session.name(),
            "{} could not be kept for longer than the server waits for an acknowledgement, because this process stood \
             still or the servers were away; it is given up and comes again",
            R::WORDS.read,
        );
        self.detach();
    }

    /// Drops the subscription with everything that is still on its way through it.
    fn detach(&mut self) {
        self.subscription = None;
        self.due.attach = Instant::now() + self.pause;
    }

    // ---- Turns ----

    async fn turn(&mut self, client: &Client, context: &Context) {
        let now = Instant::now();
        self.session.offer_hands();
        if self.session.acks.is_due() && self.session.acks.flush(client).await {
            self.session.outbox.report(Report::Committed(Ok(())));
        }
        self.tell_ready();
        if client.connection_state() != State::Connected {
            return;
        }
        self.session.acks.go_on(client);
        // Also while it drains, or between two subscriptions.
        self.keep_progress(client).await;
        let Some(subscription) = &self.subscription else {
            if !self.draining && !self.attaching && now >= self.due.attach {
                self.find(client, context);
            }
            return;
        };
        if now >= self.due.oldest {
            self.due.oldest = now + OLDEST_EVERY;
            self.reading.report_oldest(&self.session, subscription.stream.clone());
        }
        self.keep_pulls(client, now).await;
        if now >= self.due.look && !self.looking {
            self.look(Vec::new(), Moment::now().mono_us, connection(client));
        }
    }

    fn find(&mut self, client: &Client, context: &Context) {
        self.attaching = true;
        let (clients, tell) = (self.clients, self.tell.clone());
        let finding = self.reading.find(&self.session, client, context);
        tokio::spawn(async move {
            let found = finding.await;
            // The worker may have gone.
            let _ = tell.send((clients, News::Found(Box::new(found))));
        });
    }

    async fn found(&mut self, client: &Client, result: Result<Durables, Trouble>) {
        self.attaching = false;
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        self.due.attach = Instant::now() + self.pause;
        let found = match result {
            Ok(found) => found,
            Err(trouble) => return self.troubled(trouble),
        };
        let name = found.stream.cached_info().config.name.as_str().into();
        let subscription = Subscription::new(client, name, found.consumers.clone()).await;
        let Some(subscription) = subscription else { return };
        if self.session.created.as_ref().is_some_and(|known| *known != found.created) {
            tracing::error!(source = self.session.name(), "{}", R::WORDS.anew);
            self.leave_stream();
        }
        self.reading.begin(&self.session, &found);
        self.subscription = Some(subscription).filter(|_| !self.draining);
        self.session.stream = Some(Arc::new(found.stream));
        self.session.created = Some(found.created);
        (self.session.was_missing, self.session.trouble) = (false, None);
        self.due.look = Instant::now();
        self.tell_ready();
    }

    fn leave_stream(&mut self) {
        self.reading.leave_stream(&self.session);
        self.session.leave_stream();
    }

    /// One line for each new trouble.
    fn troubled(&mut self, trouble: Trouble) {
        if let Trouble::NoStream(_) = trouble {
            // A server that has just started may not know of it yet, so it is gone only when it is missing twice.
            if std::mem::replace(&mut self.session.was_missing, true) && self.session.created.is_some() {
                self.leave_stream();
            }
        }
        if self.session.trouble.as_ref() != Some(&trouble) {
            let source = self.session.name();
            match &trouble {
                Trouble::NoAnswer(text) => tracing::debug!(source, "NATS: {text}"),
                Trouble::Refused(text) => tracing::error!(source, "{text}"),
                Trouble::NoStream(text) => tracing::warn!(source, "{text}"),
            }
            self.session.trouble = Some(trouble);
        }
    }

    /// Keeps a pull of each durable at the server while there is room.
    async fn keep_pulls(&mut self, client: &Client, now: Instant) {
        let Worker { session, reading, subscription: Some(subscription), .. } = self else { return };
        let has_moved = subscription.has_moved(client);
        let mut silent = false;
        for index in 0..subscription.count() {
            if has_moved {
                reading.ended(index, End::Over, now);
            }
            if reading.is_pulling(index) {
                silent |= subscription.is_silent(index, session.patience.silence);
                continue;
            }
            if !session.hands.is_empty() {
                continue;
            }
            let Some(config) = reading.pull(session, index, now) else { continue };
            if !subscription.pull(index, config).await {
                reading.ended(index, End::Refused, now);
            }
        }
        match !session.hands.is_empty() || reading.is_short(session, now) {
            true => session.pressure.press(&session.outbox, now),
            false => session.pressure.ease(),
        }
        if silent {
            tracing::debug!(
                source = session.name(),
                "the server is silent although a pull waits; it is made anew"
            );
            self.detach();
        }
    }

    // ---- What comes ----

    /// Takes in a message and those of the same durable that came with it, and hands them over.
    fn read(&mut self, index: usize, first: &Message) {
        let mut batch = Vec::new();
        self.take(index, first, &mut batch);
        for _ in 1..BATCH {
            let waiting = self.subscription.as_mut().and_then(|subscription| subscription.waiting(index));
            let Some(message) = waiting else { break };
            self.take(index, &message, &mut batch);
        }
        self.session.outbox.inputs(batch);
        self.reading.taken(&self.session);
    }

    fn take(&mut self, index: usize, native: &Message, batch: &mut Vec<Input>) {
        let Some(subscription) = &mut self.subscription else { return };
        subscription.heard(index);
        if let Some(status) = native.status {
            return self.status(index, status, native.description.as_deref().unwrap_or_default());
        }
        let delivered = native.reply.as_ref().and_then(|reply| Some((reply, Delivered::of(reply)?)));
        let Some((reply, delivered)) = delivered else { return };
        let topic = subscription.stream.clone();
        self.reading.take(&mut self.session, &Came { index, native, reply, delivered, topic }, batch);
    }

    /// What the server says of a pull instead of a message.
    fn status(&mut self, index: usize, status: StatusCode, description: &str) {
        let (source, now) = (self.session.name(), Instant::now());
        match status {
            StatusCode::IDLE_HEARTBEAT => {}
            // Its time is over, or the server moves.
            StatusCode::TIMEOUT | StatusCode::NOT_FOUND => self.reading.ended(index, End::Over, now),
            StatusCode::REQUEST_TERMINATED => {
                let text = description.to_ascii_lowercase();
                // That it was filled is counted here, and another may be on its way by now.
                if text.contains("batch completed") {
                    return;
                }
                if text.contains("message size") && text.contains("maxbytes") {
                    self.reading.ended(index, End::TooLarge, now);
                } else if text.contains("consumer deleted") {
                    tracing::error!(source, "{}", R::WORDS.deleted);
                    self.detach();
                } else {
                    tracing::debug!(source, "the server ended a pull: {description}");
                    self.reading.ended(index, End::Refused, now);
                }
            }
            // Nobody answers for the durable: it, or its stream, is gone or between two leaders.
            _ => {
                tracing::debug!(source, "the server refused a pull: {status} {description}");
                self.detach();
            }
        }
    }

    fn tell_ready(&mut self) {
        let ready = match (self.reachability.fault(), &self.subscription, &self.session.trouble) {
            (Some(fault), ..) => Err(fault),
            (None, Some(_), _) => Ok(()),
            (None, None, Some(trouble)) => Err(trouble.text().to_owned()),
            (None, None, None) => Err(R::WORDS.unknown.to_owned()),
        };
        if ready.is_ok() {
            self.pause = FIRST_PAUSE;
        }
        self.session.outbox.ready(ready);
    }

    // ---- The end ----

    /// Acknowledges what is settled, gives back what is not, and says so; all in bounded time.
    async fn stop(&mut self, client: &Client) {
        self.session.tenure.end();
        self.drain();
        let before = connection(client);
        for reply in self.session.book.release() {
            self.session.acks.refused(reply);
        }
        let until = Instant::now() + FINISH;
        let said = self.session.acks.finish(client, until).await;
        let heard = self.round_trip(client, until).await && connection(client) == before;
        self.session.outbox.stopped(match said && heard {
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
            match &self.session.stream {
                // That something is gone is an answer too.
                Some(stream) => match self.reading.ask(&self.session, stream.clone()).await {
                    Err(Trouble::NoAnswer(_)) => None,
                    Ok(_) | Err(Trouble::Refused(_) | Trouble::NoStream(_)) => Some(()),
                },
                None => Some(()),
            }
        };
        let left = until.saturating_duration_since(Instant::now());
        matches!(tokio::time::timeout(left, asked).await, Ok(Some(())))
    }
}

/// The next message, or never while there is nothing to read from.
async fn next(subscription: &mut Option<Subscription>) -> (usize, Option<Message>) {
    match subscription {
        Some(subscription) => subscription.next().await,
        None => std::future::pending().await,
    }
}
