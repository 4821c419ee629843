//! Floor 5: the configuration is read again while the process runs. Whoever asks for it, a signal, a
//! changed file (`watch`) or the API, there is one path, on a thread of its own, one reload after the other:
//! read and judge → may it follow the one in force ([`plan::succeed`]) → make its targets ready → the
//! loop goes over to it between two messages. Whatever fails before that leaves everything as it was.

mod watch;

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread::JoinHandle;

use tokio::sync::oneshot;

use crate::observe::Metrics;
use crate::pipeline::{Adoption, Message};
use crate::plan::{self, Change, Examined, Faults, Layers, NeedsRestart, Plan, Setting, Succession};
use crate::sender::{self, Contacts};
use watch::Watch;

/// More changes than that are only counted in the log.
const MOST_TOLD: usize = 20;

/// A configuration in force, and how it is read again.
pub struct Configuration {
    /// What it is made of.
    pub layers: Layers,
    /// What the command line changes of every plan.
    pub adjust: Box<dyn Fn(&mut Plan) + Send>,
    /// The plan in force, adjusted.
    pub plan: Arc<Plan>,
    /// All effective values of it.
    pub settings: Vec<Setting>,
}

/// Who asks for a reload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trigger {
    /// SIGHUP.
    Signal,
    /// A file was changed.
    Watch,
    /// `POST /api/v1/reload`.
    Api,
}

impl Trigger {
    fn as_str(self) -> &'static str {
        match self {
            Trigger::Signal => "SIGHUP",
            Trigger::Watch => "a changed file",
            Trigger::Api => "the API",
        }
    }
}

/// A reload that went well.
#[derive(Debug, Clone)]
pub struct Reloaded {
    /// The plan that is in force now.
    pub hash: String,
    /// What is not as before.
    pub changes: Vec<Change>,
    /// The same in short.
    pub summary: Vec<String>,
}

/// Why the configuration before stays in force.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Refusal {
    /// It has faults.
    #[error("{0}")]
    Faulty(Faults),
    /// It differs in what only a new process can have.
    #[error("{0}")]
    NeedsRestart(#[from] NeedsRestart),
    /// Its targets can't be made ready.
    #[error("{0}")]
    Unusable(String),
    /// The process is stopping.
    #[error("the process is stopping")]
    Stopping,
}

/// Asks for reloads.
#[derive(Debug, Clone)]
pub struct Requests(Sender<Request>);

#[derive(Debug)]
enum Request {
    Reload(Trigger, Option<oneshot::Sender<Result<Reloaded, Refusal>>>),
    End,
}

impl Requests {
    /// Asks, and does not wait.
    pub fn ask(&self, trigger: Trigger) {
        // Once the process is stopping there is nobody to be told.
        let _ = self.0.send(Request::Reload(trigger, None));
    }

    /// Asks, and waits for what comes of it.
    ///
    /// # Errors
    /// The configuration before stays in force.
    pub async fn answer(&self, trigger: Trigger) -> Result<Reloaded, Refusal> {
        let (answer, answered) = oneshot::channel();
        let _ = self.0.send(Request::Reload(trigger, Some(answer)));
        answered.await.unwrap_or(Err(Refusal::Stopping))
    }
}

/// Is told of a plan, and of the one before it.
pub type InForce = Box<dyn FnMut(&Arc<Plan>, &Arc<Plan>) + Send>;

/// What a reload has to do with.
pub struct Surroundings {
    /// The loop.
    pub pipeline: SyncSender<Message>,
    /// How many sender threads there are.
    pub sender_threads: usize,
    /// Where it is counted.
    pub metrics: Arc<Metrics>,
    /// Is told of each plan that has come into force.
    pub in_force: InForce,
}

/// The thread that reloads.
#[derive(Debug)]
pub struct Reloader {
    requests: Requests,
    thread: JoinHandle<()>,
}

impl Reloader {
    /// Waits for requests on a thread of its own.
    ///
    /// # Errors
    /// There is no thread for it.
    pub fn start(
        configuration: Configuration,
        (requests, inbox): (Requests, Inbox),
        surroundings: Surroundings,
    ) -> std::io::Result<Reloader> {
        let work =
            Work { configuration, surroundings, watch: None, refused: false, requests: requests.clone() };
        let thread =
            std::thread::Builder::new().name("reload".to_owned()).spawn(move || work.run(&inbox.0))?;
        Ok(Reloader { requests, thread })
    }

    /// Whom to ask.
    pub fn requests(&self) -> Requests {
        self.requests.clone()
    }

    /// Ends it.
    pub fn stop(self) {
        let _ = self.requests.0.send(Request::End);
        if self.thread.join().is_err() {
            tracing::error!("the reload thread panicked");
        }
    }
}

/// Where requests arrive.
#[derive(Debug)]
pub struct Inbox(Receiver<Request>);

/// A way for requests, before anybody reads them.
pub fn requests() -> (Requests, Inbox) {
    let (send, inbox) = channel();
    (Requests(send), Inbox(inbox))
}

struct Work {
    configuration: Configuration,
    surroundings: Surroundings,
    watch: Option<Watch>,
    /// The last one was.
    refused: bool,
    requests: Requests,
}

impl Work {
    fn run(mut self, inbox: &Receiver<Request>) {
        self.watch();
        while let Ok(Request::Reload(trigger, answer)) = inbox.recv() {
            let result = self.reload(trigger);
            if let Err(refusal) = &result {
                self.refuse(trigger, refusal);
            }
            // Who asked may have gone.
            drop(answer.map(|answer| answer.send(result)));
        }
    }

    fn reload(&mut self, trigger: Trigger) -> Result<Reloaded, Refusal> {
        let Configuration { layers, adjust, plan, settings } = &self.configuration;
        let mut next = plan::examine(layers).map_err(Refusal::Faulty)?;
        adjust(&mut next.plan);
        let Succession { plan: next, settings: values, changes, summary } = succession(plan, settings, next)?;
        let reloaded = Reloaded { hash: next.hash.clone(), changes, summary };
        if trigger == Trigger::Watch && reloaded.changes.is_empty() && !self.refused {
            tracing::debug!("a file was changed, and the configuration was not");
            return Ok(reloaded);
        }
        let threads = self.surroundings.sender_threads;
        let contacts = Contacts::new(&next, Some(plan), threads).map_err(unusable)?;
        let next = Arc::new(next);
        self.hand_over(next.clone(), contacts)?;
        let before = std::mem::replace(&mut self.configuration.plan, next.clone());
        self.configuration.settings = values;
        self.refused = false;
        (self.surroundings.in_force)(&next, &before);
        self.watch();
        tell(trigger, &reloaded, &next);
        Ok(reloaded)
    }

    /// Waits until the loop has gone over to it.
    fn hand_over(&self, plan: Arc<Plan>, contacts: Contacts) -> Result<(), Refusal> {
        let (done, is_done) = sync_channel(1);
        let adoption = Box::new(Adoption { plan, contacts, done });
        let sent = self.surroundings.pipeline.send(Message::Adopt(adoption));
        sent.map_err(|_| Refusal::Stopping)?;
        is_done.recv().map_err(|_| Refusal::Stopping)
    }

    fn refuse(&mut self, trigger: Trigger, refusal: &Refusal) {
        let by = trigger.as_str();
        const STAYS: &str = "the configuration was not reloaded; the one before stays in force";
        match refusal {
            Refusal::Stopping => return,
            Refusal::Faulty(faults) => {
                for fault in faults.iter() {
                    tracing::error!(by, "{STAYS}: {fault}");
                }
            }
            Refusal::NeedsRestart(_) | Refusal::Unusable(_) => tracing::error!(by, "{STAYS}: {refusal}"),
        }
        self.refused = true;
        self.surroundings.metrics.reload_refused();
    }

    /// Watches the files of the configuration in force, if that is asked for.
    fn watch(&mut self) {
        let Configuration { layers, plan, .. } = &self.configuration;
        if !plan.reload.watch {
            self.watch = None;
            return;
        }
        match Watch::start(layers, &plan.referred, self.requests.clone()) {
            // The one before ends only now, so that no change falls between them.
            Ok(watch) => self.watch = Some(watch),
            Err(fault) => tracing::error!("reload.watch: the files can't be watched: {fault}"),
        }
    }
}

fn succession(plan: &Plan, settings: &[Setting], next: Examined) -> Result<Succession, Refusal> {
    Ok(plan::succeed(plan, settings, next)?)
}

fn unusable(fault: sender::StartFault) -> Refusal {
    Refusal::Unusable(fault.to_string())
}

fn tell(trigger: Trigger, reloaded: &Reloaded, plan: &Plan) {
    let told = &reloaded.summary[..reloaded.summary.len().min(MOST_TOLD)];
    let more = match reloaded.summary.len().saturating_sub(MOST_TOLD) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    tracing::info!(
        by = trigger.as_str(),
        hash = reloaded.hash,
        changed = format!("{}{more}", told.join(", ")),
        "the configuration was reloaded"
    );
    for notice in &plan.notices {
        tracing::warn!("{notice}");
    }
}
