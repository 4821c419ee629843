use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_nats::connection::State;
use async_nats::jetstream::context::{PublishError, PublishErrorKind};
use async_nats::jetstream::{self, Context, ErrorCode};
use async_nats::{Client, jetstream as js};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::JoinSet;

use super::letter::Letter;
use super::stream;
use crate::broker::nats::{Link, Reachability, client_name, connect};
use crate::domain::{DeadLetter, Moment};
use crate::engine::{StoreFault, WriteId};
use crate::plan::{Nats, Plan};
use crate::store::standing::Standing;
use crate::store::{FromStore, Write};

/// What a dead letter's headers may take beside the event.
const HEADER_ROOM: usize = 64 * 1024;
const NAP: Duration = Duration::from_millis(200);
/// How long to wait before looking again whether a store that is down is up.
const LOOK_AGAIN: Duration = Duration::from_secs(3);
/// A stream that acknowledges nothing for so long has not taken the letter.
const ANSWER: Duration = Duration::from_secs(10);
/// A write that failed is made again within this time; if none was, nothing is left to be written.
const REPEATED_WITHIN: Duration = Duration::from_secs(30);

type Answer = (WriteId, Result<(), StoreFault>);
type Mail = UnboundedReceiver<(WriteId, Write)>;

/// The store's thread.
pub(super) struct Writer {
    plan: Arc<Plan>,
    source: String,
    nats: Nats,
    reachability: Arc<Reachability>,
    emit: Box<dyn Fn(Vec<FromStore>) + Send>,
    /// Sent, and not acknowledged yet.
    open: JoinSet<Answer>,
    /// The stream is there, as far as we know.
    ensured: bool,
    look_at: Instant,
    /// When a write failed, as long as none was confirmed since.
    failed: Option<Instant>,
    standing: Standing,
}

/// What a turn began with.
enum Woken {
    Mail(Option<(WriteId, Write)>),
    Answer(Answer),
    Nap,
}

impl Writer {
    pub(super) fn new(
        plan: Arc<Plan>,
        source: String,
        nats: Nats,
        reachability: Arc<Reachability>,
        emit: Box<dyn Fn(Vec<FromStore>) + Send>,
    ) -> Writer {
        Writer {
            plan,
            standing: Standing::new(source.clone()),
            source,
            nats,
            reachability,
            emit,
            open: JoinSet::new(),
            ensured: false,
            look_at: Instant::now(),
            failed: None,
        }
    }

    /// Runs until nobody is left to tell it anything.
    pub(super) async fn run(mut self, mut mail: Mail) {
        loop {
            let Some(link) = self.connected(&mut mail).await else { return };
            if self.serve(&link, &mut mail).await.is_break() {
                return;
            }
        }
    }

    async fn connected(&mut self, mail: &mut Mail) -> Option<Link> {
        let name = client_name(&self.plan.name, &self.source);
        let (nats, reachability) = (self.nats.clone(), self.reachability.clone());
        let connecting = connect(&name, &nats, &reachability);
        tokio::pin!(connecting);
        loop {
            tokio::select! {
                biased;
                link = &mut connecting => return Some(link),
                letter = mail.recv() => match letter {
                    Some((write, _)) => self.answer(write, Err(self.unavailable())),
                    None => return None,
                },
                () = tokio::time::sleep(NAP) => self.look_at_connection(),
            }
        }
    }

    async fn serve(&mut self, link: &Link, mail: &mut Mail) -> ControlFlow<()> {
        let client = &link.client;
        let context =
            jetstream::ContextBuilder::new().timeout(ANSWER).ack_timeout(ANSWER).build(client.clone());
        self.look_at = Instant::now();
        loop {
            self.look(client, &context).await;
            let woken = tokio::select! {
                biased;
                Some(answered) = self.open.join_next(), if !self.open.is_empty() => match answered {
                    Ok(answer) => Woken::Answer(answer),
                    // The task can't be cancelled, and does not panic.
                    Err(_) => Woken::Nap,
                },
                letter = mail.recv() => Woken::Mail(letter),
                () = tokio::time::sleep(NAP) => Woken::Nap,
            };
            match woken {
                Woken::Mail(Some((id, Write::Letter(letter)))) => self.write(id, &letter, client, &context),
                // TODO(5)
                Woken::Mail(Some((id, Write::Move(_)))) => {
                    self.answer(id, Err(StoreFault::Unavailable("not yet".into())));
                }
                Woken::Mail(None) => return ControlFlow::Break(()),
                Woken::Answer(answer) => self.answered(answer),
                Woken::Nap => {}
            }
            if link.is_closed() {
                self.ensured = false;
                return ControlFlow::Continue(());
            }
        }
    }

    /// Publishes a dead letter. Nothing is written under a lease that has ended: others own the event.
    fn write(&mut self, write: WriteId, letter: &DeadLetter, client: &Client, context: &Context) {
        let connected = client.connection_state() == State::Connected;
        if !self.ensured || !connected || !letter.event.lease.holds(Moment::now()) {
            return self.answer(write, Err(self.unavailable()));
        }
        let Letter { subject, headers, payload } = Letter::new(&self.plan, letter);
        let context = context.clone();
        self.open.spawn(async move {
            let published = async { context.publish_with_headers(subject, headers, payload).await?.await };
            (write, published.await.map(drop).map_err(|error| fault(&error)))
        });
    }

    fn answered(&mut self, (write, result): Answer) {
        match &result {
            Ok(()) => {
                self.failed = None;
                self.tell_up(Ok(()));
            }
            Err(StoreFault::TooLarge) => {}
            Err(StoreFault::Unavailable(reason)) => {
                self.ensured = false;
                self.look_at = Instant::now() + LOOK_AGAIN;
                self.failed = Some(Instant::now());
                let stream = &self.plan.dead_letters.stream;
                self.tell_up(Err(format!("the dead-letter stream {stream} can't be written: {reason}")));
            }
        }
        self.answer(write, result);
    }

    fn answer(&self, write: WriteId, result: Result<(), StoreFault>) {
        (self.emit)(vec![FromStore::Stored(write, result)]);
    }

    fn unavailable(&self) -> StoreFault {
        StoreFault::Unavailable(self.standing.fault().unwrap_or("the stream is not known yet").into())
    }

    /// While the store is not known to be up: looks, now and then, whether it is.
    async fn look(&mut self, client: &Client, context: &Context) {
        let forgotten = self.failed.is_some_and(|failed| failed.elapsed() >= REPEATED_WITHIN);
        if forgotten && self.open.is_empty() {
            self.failed = None;
            self.ensured = false;
            self.look_at = Instant::now();
        }
        if client.connection_state() != State::Connected {
            return self.look_at_connection();
        }
        if self.ensured || Instant::now() < self.look_at {
            return;
        }
        let largest = self.plan.limits.max_event.saturating_add(HEADER_ROOM);
        match stream::ensure(context, &self.plan.dead_letters, largest).await {
            Ok(()) => {
                self.ensured = true;
                // A stream that is there may still refuse writes: the one that failed is made again,
                // and says whether it gets through.
                if self.failed.is_none() {
                    self.tell_up(Ok(()));
                }
            }
            Err(reason) => {
                self.look_at = Instant::now() + LOOK_AGAIN;
                self.tell_up(Err(reason));
            }
        }
    }

    /// There is no connection: whatever is written next finds out whether there is one again.
    fn look_at_connection(&mut self) {
        self.ensured = false;
        self.look_at = Instant::now();
        let fault = self.reachability.fault();
        if let Some(fault) = fault {
            self.tell_up(Err(fault));
        }
    }

    fn tell_up(&mut self, up: Result<(), String>) {
        if let Some(news) = self.standing.tell(up) {
            (self.emit)(vec![news]);
        }
    }
}

/// What a refused publication means.
fn fault(error: &PublishError) -> StoreFault {
    if error.kind() == PublishErrorKind::MaxPayloadExceeded || is_too_large(error) {
        return StoreFault::TooLarge;
    }
    StoreFault::Unavailable(error.to_string().into())
}

pub(super) fn is_too_large(error: &PublishError) -> bool {
    use std::error::Error as _;
    let source = error.source().and_then(|source| source.downcast_ref::<js::Error>());
    source.is_some_and(|error| {
        let code = error.error_code();
        code == ErrorCode::STREAM_MESSAGE_EXCEEDS_MAXIMUM || code == ErrorCode::STREAM_HEADER_EXCEEDS_MAXIMUM
    })
}
