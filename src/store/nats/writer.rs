use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_nats::connection::State;
use async_nats::jetstream::context::{PublishError, PublishErrorKind};
use async_nats::jetstream::{self, Context, ErrorCode};
use async_nats::{Client, jetstream as js};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::JoinSet;

use super::letter_stream;
use super::publication::Publication;
use crate::broker::nats::{Link, Reachability, TierStream, client_name, connect};
use crate::domain::Moment;
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

type Answer = (WriteId, Stored, Result<(), StoreFault>);
type Looked = (Stored, Result<(), String>);
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
    /// Streams that are looked at: each by itself, so that one that does not answer keeps nothing from
    /// the other.
    looks: JoinSet<Looked>,
    tiers: TierStream,
    letters: Written,
    moves: Written,
    standing: Standing,
}

/// Where something is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stored {
    Letters,
    Moves,
}

/// What is known of a stream that is written: one that can't be keeps nothing from the other.
#[derive(Debug)]
struct Written {
    /// It is there, as far as we know.
    ensured: bool,
    looking: bool,
    look_at: Instant,
    /// When a write failed, as long as none was confirmed since.
    failed: Option<Instant>,
    /// Why it can't be written, as last told.
    fault: Option<String>,
}

impl Written {
    fn new() -> Written {
        Written { ensured: false, looking: false, look_at: Instant::now(), failed: None, fault: None }
    }

    /// It has to be looked at anew, at once.
    fn doubt(&mut self) {
        self.ensured = false;
        self.look_at = Instant::now();
    }

    /// Nothing waits to be written again: what failed earlier says nothing any more.
    fn forget_failure(&mut self) {
        if self.failed.is_some_and(|failed| failed.elapsed() >= REPEATED_WITHIN) {
            self.failed = None;
            self.doubt();
        }
    }

    fn confirmed(&mut self) {
        (self.failed, self.fault) = (None, None);
    }

    fn refused(&mut self, reason: String) {
        let now = Instant::now();
        (self.ensured, self.look_at, self.failed) = (false, now + LOOK_AGAIN, Some(now));
        self.fault = Some(reason);
    }

    /// Whether it is to be looked at now; then it counts as looked at.
    fn begins_look(&mut self) -> bool {
        let begins = !self.ensured && !self.looking && Instant::now() >= self.look_at;
        self.looking |= begins;
        begins
    }

    fn looked(&mut self, found: Result<(), String>) {
        self.looking = false;
        match found {
            Ok(()) => {
                self.ensured = true;
                // A stream that is there may still refuse writes: the one that failed is made again,
                // and says whether it gets through.
                if self.failed.is_none() {
                    self.fault = None;
                }
            }
            Err(reason) => {
                self.look_at = Instant::now() + LOOK_AGAIN;
                self.fault = Some(reason);
            }
        }
    }
}

/// What a turn began with.
enum Woken {
    Mail(Option<(WriteId, Write)>),
    Answer(Answer),
    Looked(Looked),
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
            tiers: TierStream::new(&plan),
            plan,
            standing: Standing::new(source.clone()),
            source,
            nats,
            reachability,
            emit,
            open: JoinSet::new(),
            looks: JoinSet::new(),
            letters: Written::new(),
            moves: Written::new(),
        }
    }

    fn written(&mut self, stored: Stored) -> &mut Written {
        match stored {
            Stored::Letters => &mut self.letters,
            Stored::Moves => &mut self.moves,
        }
    }

    fn doubt(&mut self) {
        self.letters.doubt();
        self.moves.doubt();
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
                write = mail.recv() => match write {
                    Some((id, write)) => {
                        let stored = Stored::of(&write);
                        let fault = self.unavailable(stored);
                        self.answer(id, Err(fault));
                    }
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
        // What another client was asked will not be answered any more.
        self.looks = JoinSet::new();
        (self.letters.looking, self.moves.looking) = (false, false);
        self.doubt();
        loop {
            self.look(client, &context);
            let woken = tokio::select! {
                biased;
                Some(answered) = self.open.join_next(), if !self.open.is_empty() => match answered {
                    Ok(answer) => Woken::Answer(answer),
                    // The task can't be cancelled, and does not panic.
                    Err(_) => Woken::Nap,
                },
                Some(looked) = self.looks.join_next(), if !self.looks.is_empty() => match looked {
                    Ok(looked) => Woken::Looked(looked),
                    Err(_) => Woken::Nap,
                },
                write = mail.recv() => Woken::Mail(write),
                () = tokio::time::sleep(NAP) => Woken::Nap,
            };
            match woken {
                Woken::Mail(Some((id, write))) => self.write(id, &write, client, &context),
                Woken::Mail(None) => return ControlFlow::Break(()),
                Woken::Answer(answer) => self.answered(answer),
                Woken::Looked((stored, found)) => {
                    self.written(stored).looked(found);
                    self.tell_up();
                }
                Woken::Nap => {}
            }
            if link.is_closed() {
                self.doubt();
                return ControlFlow::Continue(());
            }
        }
    }

    /// Publishes. Nothing is written under a lease that has ended: others own the event.
    fn write(&mut self, id: WriteId, write: &Write, client: &Client, context: &Context) {
        let stored = Stored::of(write);
        let connected = client.connection_state() == State::Connected;
        if !self.written(stored).ensured || !connected || !write.event().lease.holds(Moment::now()) {
            let fault = self.unavailable(stored);
            return self.answer(id, Err(fault));
        }
        let Publication { subject, headers, payload } = Publication::new(&self.plan, write);
        let context = context.clone();
        self.open.spawn(async move {
            let published = async { context.publish_with_headers(subject, headers, payload).await?.await };
            (id, stored, published.await.map(drop).map_err(|error| fault(&error)))
        });
    }

    fn answered(&mut self, (write, stored, result): Answer) {
        match &result {
            Ok(()) => self.written(stored).confirmed(),
            Err(StoreFault::TooLarge) => {}
            Err(StoreFault::Unavailable(reason)) => {
                let what = match stored {
                    Stored::Letters => format!("the dead-letter stream {}", self.plan.dead_letters.stream),
                    Stored::Moves => format!("the stream {} of the retry tiers", self.tiers.name()),
                };
                self.written(stored).refused(format!("{what} can't be written: {reason}"));
            }
        }
        self.tell_up();
        self.answer(write, result);
    }

    fn answer(&self, write: WriteId, result: Result<(), StoreFault>) {
        (self.emit)(vec![FromStore::Stored(write, result)]);
    }

    fn unavailable(&mut self, stored: Stored) -> StoreFault {
        let told = self.written(stored).fault.clone();
        let fault = told.or_else(|| self.standing.fault().map(str::to_owned));
        StoreFault::Unavailable(fault.unwrap_or_else(|| "the stream is not known yet".to_owned()).into())
    }

    /// While a stream is not known to be writable: looks, now and then, whether it is.
    fn look(&mut self, client: &Client, context: &Context) {
        if self.open.is_empty() {
            self.letters.forget_failure();
            self.moves.forget_failure();
        }
        if client.connection_state() != State::Connected {
            return self.look_at_connection();
        }
        if self.letters.begins_look() {
            let (plan, context) = (self.plan.clone(), context.clone());
            let largest = plan.limits.max_event.saturating_add(HEADER_ROOM);
            self.looks.spawn(async move {
                (Stored::Letters, letter_stream::ensure(&context, &plan.dead_letters, largest).await)
            });
        }
        if self.moves.begins_look() {
            let (tiers, context) = (self.tiers.clone(), context.clone());
            self.looks.spawn(async move { (Stored::Moves, tiers.ensure(&context).await.map(drop)) });
        }
    }

    /// There is no connection: whatever is written next finds out whether there is one again.
    fn look_at_connection(&mut self) {
        self.doubt();
        if let Some(fault) = self.reachability.fault() {
            self.tell(Err(fault));
        }
    }

    /// Tells whether both streams can be written.
    fn tell_up(&mut self) {
        let fault = self.letters.fault.clone().or_else(|| self.moves.fault.clone());
        self.tell(fault.map_or(Ok(()), Err));
    }

    fn tell(&mut self, up: Result<(), String>) {
        if let Some(news) = self.standing.tell(up) {
            (self.emit)(vec![news]);
        }
    }
}

impl Stored {
    fn of(write: &Write) -> Stored {
        match write {
            Write::Letter(_) => Stored::Letters,
            Write::Move(_) => Stored::Moves,
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
