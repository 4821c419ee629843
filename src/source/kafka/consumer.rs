use std::sync::Arc;
use std::sync::mpsc::{self, Sender};
use std::thread;

use rdkafka::ClientConfig;
use rdkafka::consumer::BaseConsumer;
use rdkafka::error::KafkaError;

use super::context::{MemberContext, ObserverContext};
use super::membership::Membership;
use super::outbox::Outbox;
use super::probe::{News, Probe};
use super::worker::Worker;
use crate::broker::kafka::{Connection, Reachability, StartFault, refusal, sure_tenure};
use crate::domain::SourceId;
use crate::plan::Plan;
use crate::source::{FromSource, SharedGrant, ToSource};

/// Reads one source's topics as a member of its consumer group, on a thread of its own.
#[derive(Debug)]
pub struct Consumer;

/// Speaks to a running [`Consumer`].
#[derive(Debug, Clone)]
pub struct Handle {
    mail: Sender<Mail>,
}

/// What reaches the worker.
#[derive(Debug)]
pub(super) enum Mail {
    Pipeline(ToSource),
    Probe(News),
}

impl Consumer {
    /// Starts to read `source` of the plan: waits for its brokers for as long as it takes, joins
    /// its group and hands events to `emit` within `grant`. `emit` is called on the consumer's
    /// thread and must not block for long.
    ///
    /// # Errors
    /// The clients can't be created, or there is no thread for them.
    pub fn start(
        plan: Arc<Plan>,
        source: SourceId,
        grant: Arc<SharedGrant>,
        emit: impl Fn(FromSource) + Send + 'static,
    ) -> Result<Handle, StartFault> {
        let Some(settings) = plan.sources.get(usize::from(source.0)) else {
            return Err(StartFault::NoSource(source.0));
        };
        let name = settings.name.clone();
        let client_fault =
            |error: KafkaError| StartFault::Client { source_name: name.clone(), reason: refusal(&error) };
        let thread_fault = |reason| StartFault::Thread { source_name: name.clone(), reason };
        let connection = Connection::new(&plan, settings);
        let member = Member {
            config: connection.member(),
            reachability: Arc::new(Reachability::new(&name, &settings.kafka.brokers)),
        };
        let membership = member.create().map_err(client_fault)?;
        let observer: BaseConsumer<ObserverContext> = connection
            .observer()
            .create_with_context(ObserverContext::new(member.reachability.clone()))
            .map_err(client_fault)?;

        let (mail, inbox) = mpsc::channel();
        let (asks, asked) = mpsc::channel();
        let probe = Probe::new(observer, plan.clone(), source, member.reachability.clone());
        let news = mail.clone();
        spawn(format!("kafka-probe-{name}"), move || {
            // The worker may have gone; then the next look at its questions ends this thread.
            probe.run(&asked, &|told| drop(news.send(Mail::Probe(told))));
        })
        .map_err(thread_fault)?;
        let outbox = Outbox::new(source, emit);
        spawn(format!("kafka-{name}"), move || {
            Worker::new(plan, source, grant, outbox, member, membership, asks).run(&inbox);
        })
        .map_err(thread_fault)?;
        Ok(Handle { mail })
    }
}

impl Handle {
    /// Tells the consumer something. After [`FromSource::Stopped`] it is not heard any more.
    pub fn send(&self, message: ToSource) {
        drop(self.mail.send(Mail::Pipeline(message)));
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
    // Linux shows 15 bytes of a thread's name.
    thread::Builder::new().name(name).spawn(run).map(drop)
}
