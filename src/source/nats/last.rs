use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, pull};
use async_nats::jetstream::{self, Context};
use futures_util::StreamExt;
use tokio::time::timeout;

use super::message::{Delivered, message};
use crate::broker::nats::{Reachability, client_name, try_connect};
use crate::plan::{JetStream, Nats, Plan, Source};
use crate::source::last::{LastMessage, PATIENCE};

/// The server forgets a consumer of ours that nobody asks any more.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(30);

/// What a source would read of the last `count` messages of its stream. Its durable is not touched: they are
/// read through a consumer of our own, which nothing remembers.
pub(in crate::source) fn last_messages(
    plan: &Plan,
    source: &Source,
    nats: &Nats,
    settings: &JetStream,
    count: usize,
) -> Result<Vec<LastMessage>, String> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|e| e.to_string())?;
    let name = client_name(&plan.name, &source.name);
    let reachability = Arc::new(Reachability::new(&source.name, &nats.servers));
    let reading = async {
        let link = try_connect(&name, nats, &reachability).await?;
        read(&jetstream::new(link.client.clone()), nats, settings, count).await
    };
    let limit = PATIENCE * 3;
    runtime.block_on(async { timeout(limit, reading).await }).unwrap_or_else(|_| {
        Err(format!("no whole answer of {} within {} s", nats.servers.join(", "), limit.as_secs()))
    })
}

async fn read(
    context: &Context,
    nats: &Nats,
    settings: &JetStream,
    count: usize,
) -> Result<Vec<LastMessage>, String> {
    let failed = |error: String| format!("the stream {} can't be read: {error}", settings.stream);
    let stream = context.get_stream(&settings.stream).await.map_err(|error| failed(error.to_string()))?;
    let last = stream.cached_info().state.last_sequence;
    let config = pull::Config {
        deliver_policy: DeliverPolicy::ByStartSequence {
            start_sequence: (last + 1).saturating_sub(count as u64).max(1),
        },
        ack_policy: AckPolicy::None,
        filter_subjects: nats.subjects.iter().map(ToString::to_string).collect(),
        inactive_threshold: FORGOTTEN_AFTER,
        memory_storage: true,
        num_replicas: 1,
        ..pull::Config::default()
    };
    let consumer = stream.create_consumer(config).await.map_err(|error| failed(error.to_string()))?;
    let topic: Arc<str> = settings.stream.as_str().into();
    let mut messages = Vec::new();
    loop {
        // Without waiting for what may come.
        let fetched = consumer.fetch().max_messages(count).messages().await;
        let mut fetched = fetched.map_err(|error| failed(error.to_string()))?;
        let before = messages.len();
        while let Some(next) = fetched.next().await {
            let next = next.map_err(|error| failed(error.to_string()))?;
            let Some(delivered) = next.reply.as_ref().and_then(|reply| Delivered::of(reply)) else {
                continue;
            };
            if delivered.sequence > last {
                return Ok(messages);
            }
            messages.push(LastMessage::of(message(&next.message, topic.clone(), Some(delivered), 0)));
        }
        if messages.len() == before {
            return Ok(messages);
        }
    }
}
