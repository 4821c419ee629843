use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::header::NATS_MESSAGE_ID;
use async_nats::jetstream::consumer::{AckPolicy, Consumer, DeliverPolicy, pull};
use async_nats::jetstream::context::{GetStreamErrorKind, PublishError, PublishErrorKind};
use async_nats::jetstream::stream::{DeleteMessageErrorKind, Stream};
use async_nats::jetstream::{Context, ContextBuilder, ErrorCode};
use futures_util::{StreamExt, stream};
use sha2::{Digest, Sha256};
use tokio::runtime::Runtime;
use tokio::time::timeout;

use super::publication::{OF_THE_EVENT, SERVERS_OWN};
use super::writer::is_too_large;
use crate::broker::nats::{Delivered, Link, Reachability, client_name, headers, try_connect};
use crate::broker::tier_record::HEADER;
use crate::domain::Tier;
use crate::plan::{Nats, Plan, Source};
use crate::store::archive::{Depth, Found, LetterFault, Span};
use crate::store::dead_letter_record::{DeadLetterRecord, LetterPosition, RawLetter, Redrive};

/// How long a server may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// A consumer of ours that nobody asks any more is forgotten by the server after so long.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(300);
/// How many messages are asked for at once, without and with their values.
const BATCH_OF_HEADERS: usize = 500;
const BATCH: usize = 64;
/// How many requests are under way at once.
const TOGETHER: usize = 64;

/// The dead letters in a stream.
pub(in crate::store) struct Archive<'a> {
    plan: &'a Plan,
    only_source: Option<&'a str>,
    stream: Arc<str>,
    runtime: Runtime,
    context: Context,
    /// `None` if it does not exist.
    found: Option<Stream>,
    /// The sequence of the last one when this was opened.
    last: u64,
    _link: Link,
}

type Puller = Consumer<pull::Config>;

impl<'a> Archive<'a> {
    pub(in crate::store) fn open(
        plan: &'a Plan,
        source: &'a Source,
        nats: &'a Nats,
        only_source: Option<&'a str>,
    ) -> Result<Archive<'a>, String> {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|e| e.to_string())?;
        let name = client_name(&plan.name, &source.name);
        let reachability = Arc::new(Reachability::new(&source.name, &nats.servers));
        let unreachable = |why: String| {
            let servers = nats.servers.join(", ");
            format!("no server of {servers} answered within {} s: {why}", PATIENCE.as_secs())
        };
        let connecting = async { timeout(PATIENCE, try_connect(&name, nats, &reachability)).await };
        let link = match runtime.block_on(connecting) {
            Ok(link) => link.map_err(unreachable)?,
            Err(_) => return Err(unreachable("it took too long".to_owned())),
        };
        // The context starts a task of its own.
        let entered = runtime.enter();
        let context =
            ContextBuilder::new().timeout(PATIENCE).ack_timeout(PATIENCE).build(link.client.clone());
        drop(entered);
        let stream: Arc<str> = Arc::from(&*plan.dead_letters.stream);
        let found = match runtime.block_on(context.get_stream(&*stream)) {
            Ok(found) => Some(found),
            Err(error) => match error.kind() {
                GetStreamErrorKind::JetStream(js) if js.error_code() == ErrorCode::STREAM_NOT_FOUND => None,
                _ => return Err(format!("the stream {stream} can't be read: {error}")),
            },
        };
        let last = found.as_ref().map_or(0, |found| found.cached_info().state.last_sequence);
        Ok(Archive { plan, only_source, stream, runtime, context, found, last, _link: link })
    }

    pub(in crate::store) fn size(&self) -> u64 {
        self.found.as_ref().map_or(0, |found| found.cached_info().state.messages)
    }

    pub(in crate::store) fn read(
        &self,
        span: Span<'_>,
        depth: Depth,
        visit: &mut dyn FnMut(Found) -> ControlFlow<()>,
    ) -> Result<(), String> {
        let Some(found) = &self.found else { return Ok(()) };
        let (mut next, last, target) = match span {
            Span::All(target) => (1, self.last, target),
            Span::One(position) => match u64::try_from(position.number) {
                Ok(number) if *position.place == *self.stream => (number, number, None),
                _ => return Ok(()),
            },
        };
        while next <= last {
            let consumer = self.runtime.block_on(self.consumer(found, next, depth, target))?;
            // A batch that is cut off is asked for again, from where it ended.
            loop {
                let (messages, whole) = self.runtime.block_on(batch(&consumer, depth))?;
                let ended = messages.is_empty();
                for (delivered, message) in messages {
                    if delivered.sequence > last {
                        return Ok(());
                    }
                    next = delivered.sequence + 1;
                    if visit(self.letter(delivered, message)).is_break() || next > last {
                        return Ok(());
                    }
                }
                if ended && whole {
                    return Ok(());
                }
                if !whole {
                    break;
                }
            }
        }
        Ok(())
    }

    /// A consumer of our own, which nothing remembers.
    async fn consumer(
        &self,
        found: &Stream,
        from: u64,
        depth: Depth,
        target: Option<&str>,
    ) -> Result<Puller, String> {
        let subject = &self.plan.dead_letters.subject;
        let filter = match target {
            Some("") => format!("{subject}.{OF_THE_EVENT}"),
            Some(target) => format!("{subject}.{target}"),
            None => format!("{subject}.>"),
        };
        let config = pull::Config {
            deliver_policy: DeliverPolicy::ByStartSequence { start_sequence: from.max(1) },
            ack_policy: AckPolicy::None,
            filter_subject: filter,
            headers_only: depth == Depth::Headers,
            inactive_threshold: FORGOTTEN_AFTER,
            memory_storage: true,
            num_replicas: 1,
            ..pull::Config::default()
        };
        let made = found.create_consumer(config).await;
        made.map_err(|error| format!("the stream {} can't be read: {error}", self.stream))
    }

    fn letter(&self, delivered: Delivered, message: async_nats::Message) -> Found {
        let position = LetterPosition {
            place: self.stream.clone(),
            partition: None,
            number: i64::try_from(delivered.sequence).unwrap_or(i64::MAX),
        };
        let mut headers = message.headers.as_ref().map(headers).unwrap_or_default().into_vec();
        // Those are the server's word with us, not the message's.
        headers.retain(|(name, _)| {
            !name.get(..SERVERS_OWN.len()).is_some_and(|start| start.eq_ignore_ascii_case(SERVERS_OWN))
        });
        let raw = RawLetter {
            position: position.clone(),
            written_ms: delivered.stored_ms,
            key: None,
            headers: headers.into(),
            value: Some(message.payload),
        };
        match DeadLetterRecord::decode(raw, self.only_source) {
            Some(letter) => Found::Letter(Box::new(letter)),
            None => Found::Foreign(position),
        }
    }

    pub(in crate::store) fn redrive(&self, letters: &[Redrive]) -> Vec<Result<(), LetterFault>> {
        self.each(letters, |letter| async move {
            let subject = self.plan.tier_subject(Tier::NOW);
            let mut headers = HeaderMap::new();
            headers.insert(HEADER, letter.record.encode());
            headers.insert(NATS_MESSAGE_ID, message_id(letter));
            let payload = letter.value.clone().unwrap_or_default();
            let published =
                async { self.context.publish_with_headers(subject, headers, payload).await?.await };
            published.await.map_err(|error| self.fault(&error))?;
            let deleted = self.delete(&letter.position).await;
            deleted.map_err(|fault| LetterFault::Unnoted(fault.to_string()))
        })
    }

    pub(in crate::store) fn purge(&self, letters: &[(LetterPosition, i64)]) -> Vec<Result<(), LetterFault>> {
        self.each(letters, |(position, _)| async move {
            self.delete(position).await.map_err(|fault| LetterFault::Unconfirmed(fault.to_string()))
        })
    }

    /// Does it for all, several at once.
    fn each<'l, L, F>(&self, letters: &'l [L], task: impl Fn(&'l L) -> F) -> Vec<Result<(), LetterFault>>
    where
        F: Future<Output = Result<(), LetterFault>>,
    {
        let results = stream::iter(letters).map(task).buffered(TOGETHER).collect();
        self.runtime.block_on(results)
    }

    /// Deletes a letter; its place in the stream is overwritten. One that is gone already is deleted.
    async fn delete(&self, position: &LetterPosition) -> Result<(), String> {
        let found = self.found.as_ref().ok_or("the stream is gone")?;
        let sequence = u64::try_from(position.number).map_err(|_| "no such sequence")?;
        match found.delete_message(sequence).await {
            Ok(_) => Ok(()),
            Err(error) => match error.kind() {
                DeleteMessageErrorKind::JetStream(js)
                    if matches!(
                        js.error_code(),
                        ErrorCode::NO_MESSAGE_FOUND | ErrorCode::SEQUENCE_NOT_FOUND
                    ) =>
                {
                    Ok(())
                }
                _ => Err(error.to_string()),
            },
        }
    }

    fn fault(&self, error: &PublishError) -> LetterFault {
        match error.kind() {
            _ if is_too_large(error) => LetterFault::TooLarge,
            PublishErrorKind::MaxPayloadExceeded => LetterFault::TooLarge,
            PublishErrorKind::StreamNotFound => LetterFault::Unconfirmed(format!(
                "the stream {} does not exist; `hookferry run` makes it at its start",
                self.plan.tier_stream()
            )),
            _ => LetterFault::Unconfirmed(error.to_string()),
        }
    }
}

type Messages = Vec<(Delivered, async_nats::Message)>;

/// What the consumer has next, and whether that is all that it sent: it does not send a message again.
async fn batch(consumer: &Puller, depth: Depth) -> Result<(Messages, bool), String> {
    let most = match depth {
        Depth::Headers => BATCH_OF_HEADERS,
        Depth::Whole => BATCH,
    };
    let fail = |error: String| format!("the dead letters can't be read any further: {error}");
    let fetch = consumer.fetch().max_messages(most).messages();
    let fetched = timeout(PATIENCE, fetch).await.map_err(|_| fail("no answer".to_owned()))?;
    let mut fetched = fetched.map_err(|error| fail(error.to_string()))?;
    let mut messages = Vec::new();
    loop {
        let next = match timeout(PATIENCE, fetched.next()).await {
            Ok(None) => return Ok((messages, true)),
            Ok(Some(Ok(next))) => next,
            // What was under way is lost: another consumer begins where this one was cut off.
            Ok(Some(Err(_))) | Err(_) if !messages.is_empty() => return Ok((messages, false)),
            Ok(Some(Err(error))) => return Err(fail(error.to_string())),
            Err(_) => return Err(fail("no answer".to_owned())),
        };
        let delivered = next.reply.as_deref().and_then(Delivered::of);
        let delivered = delivered.ok_or_else(|| fail("a message without its sequence".to_owned()))?;
        messages.push((delivered, next.message));
    }
}

/// A redrive that is made again soon, because its letter could not be deleted, is the same one.
fn message_id(letter: &Redrive) -> String {
    let mut sha = Sha256::new();
    sha.update(format!("redrive {} {}", letter.position, letter.written_ms));
    sha.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}
