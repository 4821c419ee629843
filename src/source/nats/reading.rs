use std::sync::Arc;
use std::time::Instant;

use async_nats::jetstream::Context;
use async_nats::jetstream::consumer::{Consumer, pull};
use async_nats::jetstream::stream::Stream;
use async_nats::{Client, Message, Subject};
use futures_util::future::BoxFuture;

use super::durable::Trouble;
use super::message::Delivered;
use super::session::Session;
use crate::engine::Input;
use crate::plan::Plan;

/// What is read by a [`Worker`](super::worker::Worker), and how: the messages of a source, or what waits in
/// the retry tiers. Durables are named by their indexes.
pub(super) trait Reading {
    /// What people are told.
    const WORDS: Words;
    /// Where the durables stand, as the server says.
    type Standing: Send + 'static;

    /// Finds the stream and its durables; makes what is ours and missing.
    fn find(
        &self,
        session: &Session,
        client: &Client,
        context: &Context,
    ) -> BoxFuture<'static, Result<Durables, Trouble>>;

    /// Begins to read what was found.
    fn begin(&mut self, session: &Session, found: &Durables);

    /// From now on messages are read by another plan.
    fn adopt(&mut self, plan: &Arc<Plan>);

    /// The stream is gone, and with it what is known of it.
    fn leave_stream(&mut self, session: &Session);

    /// Whether a pull of this durable waits at the server.
    fn is_pulling(&self, index: usize) -> bool;

    /// What to ask for now, if anything; then a pull waits at the server.
    fn pull(&mut self, session: &Session, index: usize, now: Instant) -> Option<pull::BatchConfig>;

    /// A pull has ended.
    fn ended(&mut self, index: usize, end: End, now: Instant);

    /// Whether there is too little room for what could be read.
    fn is_short(&self, session: &Session, now: Instant) -> bool;

    /// Takes in a message, and hands over with `batch` what has room.
    fn take(&mut self, session: &mut Session, message: &Came<'_>, batch: &mut Vec<Input>);

    /// What came together was taken in.
    fn taken(&mut self, _session: &Session) {}

    /// Asks the server where the durables stand.
    fn ask(
        &self,
        session: &Session,
        stream: Arc<Stream>,
    ) -> BoxFuture<'static, Result<Self::Standing, Trouble>>;

    /// The server was asked at this time, and answered. `topic`: what the stream is called, while it is
    /// read.
    ///
    /// # Errors
    /// A durable can't be pulled from any more.
    fn stands(
        &mut self,
        session: &Session,
        standing: Self::Standing,
        at_us: u64,
        topic: Option<Arc<str>>,
    ) -> Result<(), Trouble>;

    /// Reports the oldest message that is open.
    fn report_oldest(&self, _session: &Session, _topic: Arc<str>) {}
}

/// What people are told of a reading.
pub(super) struct Words {
    /// It has not been found yet.
    pub(super) unknown: &'static str,
    /// What was read and could not be kept.
    pub(super) read: &'static str,
    /// The stream is another one.
    pub(super) anew: &'static str,
    /// A durable was deleted.
    pub(super) deleted: &'static str,
}

/// A stream with the durables on it that are read.
pub(super) struct Durables {
    pub(super) stream: Stream,
    /// When the stream was made, as text.
    pub(super) created: Box<str>,
    pub(super) consumers: Vec<Consumer<pull::Config>>,
}

/// How a pull ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// Its time is over, or the server has forgotten it.
    Over,
    /// The next message is larger than it allowed.
    TooLarge,
    /// The server refused it.
    Refused,
}

/// A message that came.
pub(super) struct Came<'a> {
    /// Which durable gave it.
    pub(super) index: usize,
    pub(super) native: &'a Message,
    /// Where its acknowledgement goes.
    pub(super) reply: &'a Subject,
    pub(super) delivered: Delivered,
    /// What its stream is called.
    pub(super) topic: Arc<str>,
}
