//! The composition root: builds every part from the plan, connects them, starts them in the order
//! in which they may fail harmlessly, and waits for the end. Sources come last, so that nothing is
//! read before everything that it needs is there.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;

use sd_notify::NotifyState;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::admin::{self, Admin};
use crate::broker;
use crate::domain::{ConsumerId, Moment, SourceId};
use crate::engine::Engine;
use crate::observe::{self, Health, Metrics, TargetBoard};
use crate::pipeline::{ConsumerLink, Drained, Message, Observer, Parts, Pipeline};
use crate::plan::Plan;
use crate::reload::{self, Configuration, Reloader, Trigger};
use crate::sender::{self, Resolver, Senders};
use crate::source::{self, SharedGrant};
use crate::store;

/// Batches that wait for the loop. Their number is bounded by what is granted to sources and by
/// the attempts in flight; this only bounds how far a neighbour can run ahead.
const INBOX: usize = 1024;

/// Why hookferry can't start (exit code 3).
#[derive(Debug, thiserror::Error)]
pub enum StartFault {
    /// The admin address.
    #[error(transparent)]
    Admin(#[from] admin::StartFault),
    /// The sender threads.
    #[error(transparent)]
    Senders(#[from] sender::StartFault),
    /// A source or its dead-letter store.
    #[error(transparent)]
    Source(#[from] broker::StartFault),
    /// The system gives no thread.
    #[error("can't start a thread: {0}")]
    Thread(#[from] std::io::Error),
}

/// How a run ended.
#[derive(Debug)]
pub enum Exit {
    /// As asked, with everything in flight ended.
    Drained(Drained),
    /// It never started.
    NotStarted(StartFault),
}

/// A running bridge.
pub struct Running {
    stop: Stopper,
    pipeline: JoinHandle<Drained>,
    admin: Admin,
    metrics: Arc<Metrics>,
    reloader: Option<Reloader>,
    /// They end with it, or with the reloader.
    _censuses: Vec<store::Census>,
}

/// Asks a running bridge to drain and end.
#[derive(Debug, Clone)]
pub struct Stopper(SyncSender<Message>);

impl Stopper {
    /// Asks; does not wait. Asking twice changes nothing.
    pub fn stop(&self) {
        // A loop that has ended already needs no asking.
        let _ = self.0.send(Message::Stop);
    }

    /// Asks to end at once, without what is in flight: it will come again.
    pub fn hurry(&self) {
        let _ = self.0.send(Message::Hurry);
    }
}

impl Running {
    /// Something to stop it with, from any thread.
    pub fn stopper(&self) -> Stopper {
        self.stop.clone()
    }

    /// Whom to ask for a reload, if its configuration can be read again.
    pub fn reloads(&self) -> Option<reload::Requests> {
        self.reloader.as_ref().map(Reloader::requests)
    }

    /// Its metrics.
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// Where `/metrics` and the probes are.
    pub fn admin_address(&self) -> SocketAddr {
        self.admin.address()
    }

    /// Waits until it has ended.
    pub fn wait(self) -> Drained {
        let drained = self.pipeline.join().unwrap_or(Drained::Late);
        if let Some(reloader) = self.reloader {
            reloader.stop();
        }
        self.admin.stop();
        drained
    }
}

/// Starts everything that the plan names. `observer` sees every note of the engine.
///
/// # Errors
/// A port is taken, or a client or thread can't be created. An unreachable broker is no error.
pub fn start(plan: Arc<Plan>, observer: Observer) -> Result<Running, StartFault> {
    start_with(plan, observer, None)
}

/// As [`start`]; `configuration` says how the plan is read again.
fn start_with(
    plan: Arc<Plan>,
    observer: Observer,
    configuration: Option<Configuration>,
) -> Result<Running, StartFault> {
    let metrics = Arc::new(Metrics::new(&plan, Moment::now()));
    let health = Arc::new(Health::new(&plan));
    let targets = Arc::new(TargetBoard::new(&plan, Moment::now()));
    let requests = configuration.map(|configuration| (configuration, reload::requests()));
    let observed = admin::Observed {
        metrics: metrics.clone(),
        health: health.clone(),
        targets: targets.clone(),
        reloads: requests.as_ref().map(|(_, (requests, _))| requests.clone()),
    };
    let admin = Admin::start(&plan.admin, observed)?;
    let (send, inbox) = sync_channel(INBOX);
    let senders = start_senders(&plan, &send)?;
    let mut stores = Vec::new();
    for source in source_ids(&plan) {
        let send = send.clone();
        let emit = move |batch| tell(&send, Message::Store(source, batch));
        stores.push(store::start(plan.clone(), source, emit)?);
    }
    let mut censuses = start_censuses(&plan, &metrics)?;
    let mut consumers = Vec::new();
    for consumer in (0..plan.consumers.len() as u16).map(ConsumerId) {
        let grant = Arc::new(SharedGrant::default());
        let send = send.clone();
        let emit = move |message| tell(&send, Message::Source(message));
        let handle = source::start(plan.clone(), consumer, grant.clone(), emit)?;
        consumers.push(ConsumerLink { handle, grant });
    }
    let engine = Engine::new(plan.clone(), fastrand::u64(..));
    let parts = Parts {
        plan,
        engine,
        inbox,
        consumers,
        stores,
        senders,
        metrics: metrics.clone(),
        health,
        targets,
        observer,
    };
    let pipeline =
        std::thread::Builder::new().name("pipeline".to_owned()).spawn(move || Pipeline::new(parts).run())?;
    let reloader = match requests {
        Some((configuration, requests)) => {
            let surroundings = reload::Surroundings {
                pipeline: send.clone(),
                sender_threads: sender_threads(),
                metrics: metrics.clone(),
                in_force: in_force(admin.admission(), metrics.clone(), std::mem::take(&mut censuses)),
            };
            Some(Reloader::start(configuration, requests, surroundings)?)
        }
        None => None,
    };
    Ok(Running { stop: Stopper(send), pipeline, admin, metrics, reloader, _censuses: censuses })
}

/// What beside the loop goes by the plan.
fn in_force(
    admission: admin::Admission,
    metrics: Arc<Metrics>,
    mut censuses: Vec<store::Census>,
) -> reload::InForce {
    Box::new(move |plan, before| {
        observe::set_level(plan.log.level);
        admission.adopt(&plan.admin);
        // They count by target, and divide by the replicas.
        if plan.targets.len() != before.targets.len() || plan.replicas != before.replicas {
            censuses.clear();
            match start_censuses(plan, &metrics) {
                Ok(anew) => censuses = anew,
                Err(fault) => tracing::error!("dead letters are not counted any more: {fault}"),
            }
        }
    })
}

fn start_censuses(
    plan: &Arc<Plan>,
    metrics: &Arc<Metrics>,
) -> Result<Vec<store::Census>, broker::StartFault> {
    let start = |keeper| {
        let metrics = metrics.clone();
        let emit = move |pending: store::Pending| metrics.dead_letters_pending(keeper, &pending);
        store::start_census(plan, keeper, emit)
    };
    store::keepers(plan, &[]).into_iter().map(start).collect()
}

fn start_senders(plan: &Arc<Plan>, send: &SyncSender<Message>) -> Result<Senders, sender::StartFault> {
    let send = send.clone();
    let emit = move |batch| tell(&send, Message::Attempted(batch));
    Senders::start(plan.clone(), sender_threads(), Resolver::System, emit)
}

/// Half of the cores: the consumer, the loop and the broker's client need the others.
fn sender_threads() -> usize {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    (cores / 2).clamp(1, 8)
}

fn source_ids(plan: &Plan) -> impl Iterator<Item = SourceId> + use<> {
    (0..plan.sources.len() as u16).map(SourceId)
}

fn tell(send: &SyncSender<Message>, message: Message) {
    // Once the loop has ended, what happens is of no interest any more.
    let _ = send.send(message);
}

/// Runs until SIGTERM or SIGINT, then drains; a second one ends it at once. SIGHUP reads the configuration
/// again.
pub fn run(configuration: Configuration) -> Exit {
    // Before anything runs: from then on a signal drains, and never cuts off what has begun.
    let signals = match Signals::listen() {
        Ok(signals) => signals,
        Err(fault) => return Exit::NotStarted(fault.into()),
    };
    let plan = configuration.plan.clone();
    let running = match start_with(plan, Box::new(|_| ()), Some(configuration)) {
        Ok(running) => running,
        Err(fault) => return Exit::NotStarted(fault),
    };
    tracing::info!(admin = %running.admin_address(), "started");
    if let Err(fault) = signals.obey(running.stopper(), running.reloads()) {
        running.stopper().stop();
        return Exit::NotStarted(fault.into());
    }
    notify(NotifyState::Ready);
    Exit::Drained(running.wait())
}

/// Tells the service manager, if one started us and wants to know (sd_notify(3)).
fn notify(state: NotifyState<'_>) {
    if let Err(fault) = sd_notify::notify(&[state]) {
        tracing::warn!(%fault, "the service manager could not be told");
    }
}

/// SIGTERM, SIGINT and SIGHUP, which end nothing by themselves any more. One that has come is kept.
struct Signals {
    runtime: tokio::runtime::Runtime,
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    fn listen() -> std::io::Result<Signals> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
        let (terminate, interrupt, hangup) = {
            let _guard = runtime.enter();
            let of = |kind| signal(kind);
            (of(SignalKind::terminate())?, of(SignalKind::interrupt())?, of(SignalKind::hangup())?)
        };
        Ok(Signals { runtime, terminate, interrupt, hangup })
    }

    /// Asks for what they mean once they come, or at once if they have come.
    fn obey(self, stopper: Stopper, reloads: Option<reload::Requests>) -> std::io::Result<()> {
        let Signals { runtime, mut terminate, mut interrupt, mut hangup } = self;
        std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
            runtime.block_on(async {
                loop {
                    tokio::select! {
                        _ = terminate.recv() => break tracing::info!(signal = "SIGTERM", "asked to stop"),
                        _ = interrupt.recv() => break tracing::info!(signal = "SIGINT", "asked to stop"),
                        _ = hangup.recv() => {
                            reloads.iter().for_each(|reloads| reloads.ask(Trigger::Signal));
                        }
                    }
                }
            });
            stopper.stop();
            notify(NotifyState::Stopping);
            runtime.block_on(async {
                loop {
                    tokio::select! {
                        _ = terminate.recv() => break,
                        _ = interrupt.recv() => break,
                        _ = hangup.recv() => {
                            tracing::info!(
                                signal = "SIGHUP",
                                "the process is stopping; the configuration is not read again"
                            );
                        }
                    }
                }
            });
            tracing::warn!("asked again: what is in flight is given up, and its events will come again");
            stopper.hurry();
        })?;
        Ok(())
    }
}
