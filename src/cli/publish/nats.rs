use std::sync::Arc;
use std::time::Duration;

use async_nats::header::{HeaderMap, HeaderName, HeaderValue};
use async_nats::{Client, jetstream};
use serde_json::value::RawValue;

use super::{CONTACT, DEADLINE, ProducerFault, Tally};
use crate::broker::nats::{Reachability, try_connect};
use crate::cli::arguments::Order;
use crate::domain::SubjectPattern;
use crate::plan::{Nats, NatsMode};

/// The subjects that are named, not matched.
pub(super) fn literal_subjects(nats: &Nats) -> Vec<&str> {
    nats.subjects.iter().filter(|subject| subject.is_literal()).map(SubjectPattern::as_str).collect()
}

/// Publishes the events on a subject: to its stream, which confirms each, or, without one, to whoever
/// listens.
pub(super) fn produce(
    nats: &Nats,
    subject: &str,
    order: &Order,
    events: &[Box<RawValue>],
) -> Result<Tally, ProducerFault> {
    let creation = |fault: String| ProducerFault::Creation(fault);
    if order.key.is_some() {
        return Err(creation("a NATS message has no key; leave `--key` out".to_owned()));
    }
    let headers = headers(order).map_err(creation)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|fault| creation(fault.to_string()))?;
    runtime.block_on(async {
        let reachability = Arc::new(Reachability::new("", &nats.servers));
        let connecting = try_connect("hookferry-publish", nats, &reachability);
        let unreachable =
            |cause: String| ProducerFault::Unreachable { brokers: nats.servers.join(", "), cause };
        let client = match tokio::time::timeout(CONTACT, connecting).await {
            Ok(Ok(link)) => link.client,
            Ok(Err(cause)) => return Err(unreachable(cause)),
            Err(_) => return Err(unreachable("it took too long".to_owned())),
        };
        Ok(match nats.mode {
            NatsMode::JetStream(_) => to_stream(&client, subject, &headers, events).await,
            NatsMode::Core { .. } => to_listeners(&client, subject, &headers, events).await,
        })
    })
}

fn headers(order: &Order) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    for (name, value) in &order.headers {
        let parsed = (name.parse::<HeaderName>(), value.parse::<HeaderValue>());
        let (Ok(own), Ok(value)) = parsed else {
            return Err(format!("the header {name} can't be sent by NATS"));
        };
        headers.append(own, value);
    }
    Ok(headers)
}

async fn to_stream(client: &Client, subject: &str, headers: &HeaderMap, events: &[Box<RawValue>]) -> Tally {
    let context = jetstream::ContextBuilder::new().ack_timeout(DEADLINE).build(client.clone());
    let mut tally = Tally::default();
    let mut answers = Vec::with_capacity(events.len());
    for event in events {
        let payload = event.get().to_owned().into();
        match context.publish_with_headers(subject.to_owned(), headers.clone(), payload).await {
            Ok(answer) => answers.push(answer),
            Err(fault) => tally.fail(&fault),
        }
    }
    for answer in answers {
        match answer.await {
            Ok(_) => tally.confirmed += 1,
            Err(fault) => tally.fail(&fault),
        }
    }
    tally
}

/// Core NATS confirms nothing: what its server has taken is counted.
async fn to_listeners(
    client: &Client,
    subject: &str,
    headers: &HeaderMap,
    events: &[Box<RawValue>],
) -> Tally {
    let mut tally = Tally::default();
    let mut sent = 0;
    for event in events {
        let payload = event.get().to_owned().into();
        match client.publish_with_headers(subject.to_owned(), headers.clone(), payload).await {
            Ok(()) => sent += 1,
            Err(fault) => tally.fail(&fault),
        }
    }
    match tokio::time::timeout(DEADLINE.min(Duration::from_secs(10)), client.flush()).await {
        Ok(Ok(())) => tally.confirmed = sent,
        Ok(Err(fault)) => (0..sent).for_each(|_| tally.fail(&fault)),
        Err(late) => (0..sent).for_each(|_| tally.fail(&late)),
    }
    tally
}
