//! `hookferry demo`: an embedded broker, receivers that are slow and fail at times, sample events,
//! and between them the same pipeline as `run`. It tells what happens as it happens, and ends with
//! a summary of three independent counts: what was published, the metrics, and the receiver.

mod account;
mod broker;
mod receiver;
mod sample;
mod summary;

use std::collections::BTreeMap;
use std::io::{self, IsTerminal, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::{Receiver as Signals, RecvTimeoutError, sync_channel};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use crate::engine::Note;
use crate::pipeline::Observer;
use crate::plan::{self, Faults, Layers, Plan};
use crate::{app, observe};
use account::{Colours, Line, Progress, Waited};
use broker::Broker;
use receiver::Receiver;
use sample::{Sample, TARGETS, expected};
use summary::{Summary, measured};

/// The configuration; what differs from start to start comes from the environment that it is given.
const CONFIG: &str = include_str!("demo.yaml");
/// How long the last deliveries may take. Their retries take a few seconds at most.
const PATIENCE: Duration = Duration::from_secs(60);

/// What `demo` is told.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// End after so many events, with a summary; without it: on Ctrl-C
    #[arg(long, value_name = "N")]
    pub events: Option<usize>,
    /// Events in a second
    #[arg(long, value_name = "PER_SECOND", default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub rate: u32,
    /// Print the configuration that the demo runs with, and nothing else
    #[arg(long)]
    pub print_config: bool,
}

/// How the demo tells what happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Telling {
    /// A line for each thing that happens, and a table at the end.
    Text,
    /// One JSON object at the end.
    Json,
}

/// How the demo ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// All counts agree.
    AddsUp,
    /// They don't; the summary says where.
    Mismatch,
}

/// Why there is no demo.
#[derive(Debug, thiserror::Error)]
pub enum DemoFault {
    /// librdkafka gives no broker or producer, or its broker takes no message.
    #[error("the embedded broker fails: {0}")]
    Broker(#[from] rdkafka::error::KafkaError),
    /// The system gives no port, thread or signal.
    #[error("the demo can't start: {0}")]
    System(#[from] io::Error),
    /// The demo's own configuration is refused, which no user can cause.
    #[error("the demo's configuration is refused: {0}")]
    Configuration(#[from] Faults),
    /// The pipeline did not start.
    #[error("the pipeline does not start: {0}")]
    Pipeline(#[from] app::StartFault),
}

/// Runs the demo until its events have ended, or until Ctrl-C.
///
/// # Errors
/// One of its parts can't start.
pub fn demo(options: &Options, telling: Telling) -> Result<Ending, DemoFault> {
    if options.print_config {
        say(CONFIG.trim_end());
        return Ok(Ending::AddsUp);
    }
    let signals = signals()?;
    let stage = Stage::set(telling)?;
    let (published, complete) = stage.perform(options, &signals)?;
    let summary = stage.end(published)?;
    match telling {
        Telling::Text => say(format!("\n{summary}").trim_end()),
        Telling::Json => {
            say(&serde_json::json!({ "summary": summary, "mismatches": summary.mismatches() }).to_string())
        }
    }
    let agrees = complete == Waited::Settled && summary.mismatches().is_empty();
    Ok(if agrees { Ending::AddsUp } else { Ending::Mismatch })
}

/// Everything that runs during the demo.
struct Stage {
    pipeline: app::Running,
    progress: Arc<Progress>,
    receiver: Receiver,
    broker: Broker,
}

impl Stage {
    fn set(telling: Telling) -> Result<Stage, DemoFault> {
        let broker = Broker::start()?;
        let secret = secret();
        let receiver = Receiver::start(&secret)?;
        let plan = Arc::new(plan(&broker, &receiver, secret)?);
        observe::init(&plan.log);
        let progress = Arc::new(Progress::default());
        let pipeline = app::start(Arc::clone(&plan), observer(plan, Arc::clone(&progress), telling))?;
        if telling == Telling::Text {
            say(&format!("broker    {} (embedded, Kafka-compatible)", broker.address()));
            say(&format!("receiver  http://{} ({})", receiver.address, TARGETS.join(", ")));
            say(&format!("metrics   http://{}/metrics", pipeline.admin_address()));
            say("the first deliveries come when the consumer group has formed, in about 4 s\n");
        }
        Ok(Stage { pipeline, progress, receiver, broker })
    }

    /// Publishes at a human pace, then waits for the last deliveries; says how many messages were
    /// published.
    fn perform(&self, options: &Options, signals: &Signals<()>) -> Result<(u64, Waited), DemoFault> {
        let pause = Duration::from_secs(1) / options.rate.max(1);
        let mut published = 0;
        while options.events.is_none_or(|events| published < events) {
            self.broker.publish(Sample(published))?;
            published += 1;
            // The pause ends early on Ctrl-C.
            if !matches!(signals.recv_timeout(pause), Err(RecvTimeoutError::Timeout)) {
                break;
            }
        }
        self.broker.flush()?;
        Ok((published as u64, self.progress.wait(published as u64, PATIENCE)))
    }

    fn end(self, published: u64) -> Result<Summary, DemoFault> {
        let metrics = fetch_metrics(self.pipeline.admin_address())?;
        self.pipeline.stopper().stop();
        self.pipeline.wait();
        Ok(Summary {
            published,
            expected: expected(published as usize),
            measured: measured(&metrics, &TARGETS),
            seen: self.receiver.seen(),
        })
    }
}

fn plan(broker: &Broker, receiver: &Receiver, secret: String) -> Result<Plan, Faults> {
    let environment = BTreeMap::from([
        ("DEMO_BROKERS".to_owned(), broker.address()),
        ("DEMO_RECEIVER".to_owned(), receiver.address.to_string()),
        ("DEMO_SECRET".to_owned(), secret),
    ]);
    plan::load_text("demo.yaml", CONFIG, &Layers { environment, ..Layers::default() })
}

/// A secret for one run, between two parts of one process.
fn secret() -> String {
    let bytes: Vec<u8> = (0..32).map(|_| fastrand::u8(..)).collect();
    format!("whsec_{}", BASE64.encode(bytes))
}

/// What the pipeline calls for everything that happens.
fn observer(plan: Arc<Plan>, progress: Arc<Progress>, telling: Telling) -> Observer {
    let colours = if io::stdout().is_terminal() { Colours::On } else { Colours::Off };
    Box::new(move |note: &Note| {
        if telling == Telling::Text
            && let Some(line) = Line::of(&plan, note)
        {
            say(&line.shown(colours));
        }
        progress.note(note);
    })
}

/// Receives one value for each SIGINT or SIGTERM.
fn signals() -> io::Result<Signals<()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (sender, signals) = sync_channel(1);
    let (mut interrupt, mut terminate) = {
        let _in_runtime = runtime.enter();
        (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?)
    };
    let wait = move || {
        runtime.block_on(async {
            loop {
                tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {} }
                // Full means that one is waiting to be read already.
                let _ = sender.try_send(());
            }
        });
    };
    std::thread::Builder::new().name("signals".to_owned()).spawn(wait)?;
    Ok(signals)
}

/// Asks the pipeline's own HTTP surface, as Prometheus does.
fn fetch_metrics(address: SocketAddr) -> io::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    write!(stream, "GET /metrics HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n")?;
    let mut response = String::new();
    stream.read_to_string(&mut response)?;
    Ok(response)
}

/// One line on standard output. A reader that went away does not end the demo.
fn say(line: &str) {
    let _ = writeln!(io::stdout(), "{line}");
}
