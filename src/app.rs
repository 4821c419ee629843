//! The composition root: builds every part from the plan, connects them, starts them in the order
//! in which they may fail harmlessly, and waits for the end. Sources come last, so that nothing is
//! read before everything that it needs is there.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::admin::{self, Admin};
use crate::broker;
use crate::domain::{ConsumerId, Moment, SourceId};
use crate::engine::Engine;
use crate::observe::{Health, Metrics};
use crate::pipeline::{ConsumerLink, Drained, Message, Observer, Parts, Pipeline};
use crate::plan::Plan;
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
    /// They end with it.
    _censuses: Vec<store::Census>,
}

/// Asks a running bridge to drain and end. Asking twice changes nothing.
#[derive(Debug, Clone)]
pub struct Stopper(SyncSender<Message>);

impl Stopper {
    /// Asks; does not wait.
    pub fn stop(&self) {
        // A loop that has ended already needs no asking.
        let _ = self.0.send(Message::Stop);
    }
}

impl Running {
    /// Something to stop it with, from any thread.
    pub fn stopper(&self) -> Stopper {
        self.stop.clone()
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
        self.admin.stop();
        drained
    }
}

/// Starts everything that the plan names. `observer` sees every note of the engine.
///
/// # Errors
/// A port is taken, or a client or thread can't be created. An unreachable broker is no error.
pub fn start(plan: Arc<Plan>, observer: Observer) -> Result<Running, StartFault> {
    let metrics = Arc::new(Metrics::new(&plan, Moment::now()));
    let health = Arc::new(Health::new(&plan));
    let admin = Admin::start(plan.admin.listen, metrics.clone(), health.clone())?;
    let (send, inbox) = sync_channel(INBOX);
    let senders = start_senders(&plan, &send)?;
    let mut stores = Vec::new();
    for source in source_ids(&plan) {
        let send = send.clone();
        let emit = move |batch| tell(&send, Message::Store(source, batch));
        stores.push(store::start(plan.clone(), source, emit)?);
    }
    let mut censuses = Vec::new();
    for keeper in store::keepers(&plan, &[]) {
        let metrics = metrics.clone();
        let emit = move |pending: store::Pending| metrics.dead_letters_pending(keeper, &pending);
        censuses.push(store::start_census(&plan, keeper, emit)?);
    }
    let mut consumers = Vec::new();
    for consumer in (0..plan.consumers.len() as u16).map(ConsumerId) {
        let grant = Arc::new(SharedGrant::default());
        let send = send.clone();
        let emit = move |message| tell(&send, Message::Source(message));
        let handle = source::start(plan.clone(), consumer, grant.clone(), emit)?;
        consumers.push(ConsumerLink { handle, grant });
    }
    let engine = Engine::new(plan.clone(), fastrand::u64(..));
    let parts =
        Parts { plan, engine, inbox, consumers, stores, senders, metrics: metrics.clone(), health, observer };
    let pipeline =
        std::thread::Builder::new().name("pipeline".to_owned()).spawn(move || Pipeline::new(parts).run())?;
    Ok(Running { stop: Stopper(send), pipeline, admin, metrics, _censuses: censuses })
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

/// Runs until SIGTERM or SIGINT, then drains.
pub fn run(plan: Arc<Plan>) -> Exit {
    // Before anything runs: from then on a signal drains, and never cuts off what has begun.
    let signals = match Signals::listen() {
        Ok(signals) => signals,
        Err(fault) => return Exit::NotStarted(fault.into()),
    };
    let running = match start(plan, Box::new(|_| ())) {
        Ok(running) => running,
        Err(fault) => return Exit::NotStarted(fault),
    };
    tracing::info!(admin = %running.admin_address(), "started");
    if let Err(fault) = signals.stop(running.stopper()) {
        running.stopper().stop();
        return Exit::NotStarted(fault.into());
    }
    Exit::Drained(running.wait())
}

/// SIGTERM and SIGINT, which end nothing by themselves any more. One that has come is kept.
struct Signals {
    runtime: tokio::runtime::Runtime,
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn listen() -> std::io::Result<Signals> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
        let (terminate, interrupt) = {
            let _guard = runtime.enter();
            (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?)
        };
        Ok(Signals { runtime, terminate, interrupt })
    }

    /// Asks to stop once one of them comes, or at once if it has come.
    fn stop(self, stopper: Stopper) -> std::io::Result<()> {
        let Signals { runtime, mut terminate, mut interrupt } = self;
        std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    _ = terminate.recv() => tracing::info!(signal = "SIGTERM", "asked to stop"),
                    _ = interrupt.recv() => tracing::info!(signal = "SIGINT", "asked to stop"),
                }
            });
            stopper.stop();
        })?;
        Ok(())
    }
}
