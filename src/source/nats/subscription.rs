use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use async_nats::jetstream::consumer::{Consumer, pull};
use async_nats::{Client, Message, Subject, Subscriber};
use futures_util::future::poll_fn;
use futures_util::{FutureExt, StreamExt};

use super::message::Delivered;

/// Durables that are pulled from, each through an inbox of its own.
pub(super) struct Subscription {
    /// What the stream is called.
    pub(super) stream: Arc<str>,
    durables: Vec<Pulled>,
    /// The durable that comes first in the next turn.
    first: usize,
    /// Which of its connections the client had when pulls were sent.
    connection: u64,
}

struct Pulled {
    consumer: Consumer<pull::Config>,
    subscriber: Subscriber,
    inbox: Subject,
    heard: Instant,
}

impl Subscription {
    /// `None`: the client has ended.
    pub(super) async fn new(
        client: &Client,
        stream: Arc<str>,
        consumers: Vec<Consumer<pull::Config>>,
    ) -> Option<Subscription> {
        let mut durables = Vec::with_capacity(consumers.len());
        for consumer in consumers {
            let inbox = Subject::from(client.new_inbox());
            let subscriber = client.subscribe(inbox.clone()).await.ok()?;
            durables.push(Pulled { consumer, subscriber, inbox, heard: Instant::now() });
        }
        Some(Subscription { stream, durables, first: 0, connection: connection(client) })
    }

    /// How many durables there are.
    pub(super) fn count(&self) -> usize {
        self.durables.len()
    }

    /// Whether the client has another connection than before: the server of the old one has forgotten all
    /// pulls.
    pub(super) fn has_moved(&mut self, client: &Client) -> bool {
        std::mem::replace(&mut self.connection, connection(client)) != connection(client)
    }

    /// The next message, and of which durable; each comes first in its turn. `None`: a subscription ended.
    pub(super) async fn next(&mut self) -> (usize, Option<Message>) {
        let count = self.durables.len();
        self.first = (self.first + 1) % count.max(1);
        let first = self.first;
        poll_fn(|context| {
            for index in (first..count).chain(0..first) {
                if let Poll::Ready(message) = self.durables[index].subscriber.poll_next_unpin(context) {
                    return Poll::Ready((index, message));
                }
            }
            Poll::Pending
        })
        .await
    }

    /// Another message of a durable, if it has come.
    pub(super) fn waiting(&mut self, index: usize) -> Option<Message> {
        self.durables.get_mut(index)?.subscriber.next().now_or_never().flatten()
    }

    /// The server gave a sign of life for a durable.
    pub(super) fn heard(&mut self, index: usize) {
        if let Some(durable) = self.durables.get_mut(index) {
            durable.heard = Instant::now();
        }
    }

    /// Whether the server has not been heard of for longer than this, where a pull waits.
    pub(super) fn is_silent(&self, index: usize, patience: Duration) -> bool {
        self.durables.get(index).is_some_and(|durable| durable.heard.elapsed() > patience)
    }

    /// Sends a pull; `false` if that failed.
    pub(super) async fn pull(&mut self, index: usize, config: pull::BatchConfig) -> bool {
        let Some(durable) = self.durables.get_mut(index) else { return false };
        durable.heard = Instant::now();
        match durable.consumer.request_batch(config, durable.inbox.clone()).await {
            Ok(()) => true,
            Err(error) => {
                tracing::debug!("a pull could not be sent: {error}");
                false
            }
        }
    }

    /// Ends it; the answer is where to refuse the messages that are still on their way through it.
    pub(super) fn end(mut self) -> Vec<Subject> {
        let mut replies = Vec::new();
        for index in 0..self.durables.len() {
            while let Some(message) = self.waiting(index) {
                replies.extend(message.reply.filter(|reply| Delivered::of(reply).is_some()));
            }
        }
        replies
    }
}

/// Counts the connections that a client has had.
pub(super) fn connection(client: &Client) -> u64 {
    client.statistics().connects.load(std::sync::atomic::Ordering::Relaxed)
}
