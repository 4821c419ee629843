use std::sync::Arc;
use std::sync::mpsc;
use std::thread;

use rdkafka::ClientConfig;
use rdkafka::consumer::BaseConsumer;
use rdkafka::error::KafkaError;

use super::context::{MemberContext, ObserverContext};
use super::membership::Membership;
use super::probe::{News, Probe};
use super::worker::Worker;
use crate::broker::StartFault;
use crate::broker::kafka::{Connection, Reachability, refusal, sure_tenure};
use crate::domain::Tier;
use crate::plan::{Consumer, Kafka, Plan, Reads, Source, Topic};
use crate::source::outbox::Outbox;
use crate::source::{Handle, SharedGrant, ToSource};

/// What reaches the worker.
#[derive(Debug)]
pub(super) enum Mail {
    Pipeline(ToSource),
    Probe(News),
}

/// Reads the topics of one consumer as a member of its group: two threads, one that polls and one
/// that makes the calls that block.
///
/// # Errors
/// The clients can't be created, or there is no thread for them.
pub(in crate::source) fn start(
    plan: &Arc<Plan>,
    reader: Consumer,
    settings: &Source,
    kafka: &Kafka,
    grant: Arc<SharedGrant>,
    outbox: Outbox,
) -> Result<Handle, StartFault> {
    let name = &settings.name;
    let client_fault =
        |error: KafkaError| StartFault::Client { source_name: name.clone(), reason: refusal(&error) };
    let thread_fault = |reason| StartFault::Thread { source_name: name.clone(), reason };
    let connection = Connection::new(plan, settings, kafka).reading(reader.reads);
    let member = Member {
        config: connection.member(),
        reachability: Arc::new(Reachability::new(name, &kafka.brokers, &connection.group())),
    };
    let membership = member.create().map_err(client_fault)?;
    let observer: BaseConsumer<ObserverContext> = connection
        .observer()
        .create_with_context(ObserverContext::new(member.reachability.clone()))
        .map_err(client_fault)?;

    let (mail, inbox) = mpsc::channel();
    let (asks, asked) = mpsc::channel();
    let probe = Probe::new(observer, plan.clone(), reader, member.reachability.clone());
    let news = mail.clone();
    // Linux shows 15 bytes of a thread's name.
    let named = if reader.reads == Reads::Shared { name } else { plan.consumer_name(&reader) };
    let named = named.to_owned();
    spawn(format!("kafka-probe-{named}"), move || {
        // The worker may have gone; then the next look at its questions ends this thread.
        probe.run(&asked, &|told| drop(news.send(Mail::Probe(told))));
    })
    .map_err(thread_fault)?;
    let plan = plan.clone();
    spawn(format!("kafka-{named}"), move || {
        Worker::new(plan, reader, grant, outbox, member, membership, asks).run(&inbox);
    })
    .map_err(thread_fault)?;
    Ok(Handle::new(move |message| drop(mail.send(Mail::Pipeline(message)))))
}

/// What a consumer subscribes to.
pub(super) fn topics(plan: &Plan, reader: Consumer) -> Vec<Topic> {
    let kafka = plan.sources.get(usize::from(reader.source.0)).and_then(Source::kafka);
    match reader.reads {
        Reads::Shared | Reads::Ordered(_) => kafka.map(|kafka| kafka.topics.clone()).unwrap_or_default(),
        Reads::Tiers => Tier::all().map(|tier| Topic::Name(plan.tier_topic(tier))).collect(),
    }
}

/// What is needed to become a member of the group, again and again.
pub(super) struct Member {
    pub(super) config: ClientConfig,
    pub(super) reachability: Arc<Reachability>,
}

impl Member {
    /// A client that has not joined yet.
    pub(super) fn create(&self) -> Result<Membership, KafkaError> {
        let context = MemberContext::new(self.reachability.clone());
        let consumer: BaseConsumer<MemberContext> = self.config.create_with_context(context)?;
        Membership::new(consumer, sure_tenure(&self.config))
    }
}

fn spawn(name: String, run: impl FnOnce() + Send + 'static) -> std::io::Result<()> {
    thread::Builder::new().name(name).spawn(run).map(drop)
}
