//! `admin`, `log`, `limits` and `shutdown`: what concerns the process as a whole.

use std::net::SocketAddr;
use std::time::Duration;

use secrecy::SecretString;

use super::origin::Origin;
use super::walk::{Item, Keys};

/// The budget where neither the configuration nor the system sets one, in bytes.
const DEFAULT_MEMORY: u64 = 256 << 20;

/// With less, not even one client of a broker could be kept within it.
pub(super) const LEAST_MEMORY: u64 = 64 << 20;

/// `admin`.
#[derive(Debug, Clone)]
pub struct Admin {
    /// Where it is served. `/metrics`, `/healthz` and `/readyz` need no token.
    pub listen: SocketAddr,
    /// `token`: `/api` needs it; without one it is there on a loopback address only.
    pub token: Option<SecretString>,
}

/// `log`.
#[derive(Debug, Clone, Copy)]
pub struct Log {
    /// `text` or `json`.
    pub format: LogFormat,
    /// The least severe level that is written.
    pub level: LogLevel,
}

/// `log.format`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// `log.level`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogLevel {
    /// Only errors.
    Error,
    /// And warnings.
    Warn,
    /// And what happens to the process.
    Info,
    /// And every delivery.
    Debug,
    /// And libraries.
    Trace,
}

/// `limits`.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Attempts at once in the whole process.
    pub in_flight: usize,
    /// A message's largest value, in bytes; at most the window's bytes.
    pub max_event: usize,
    /// How much may be open at once, for each consumer.
    pub window: Window,
    /// `memory`: what windows, lanes and the queues of the brokers' clients may take together, in bytes.
    pub memory: u64,
}

/// `limits.window`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Bytes of open events.
    pub bytes: u64,
    /// Open events.
    pub events: u64,
}

/// `shutdown`.
#[derive(Debug, Clone, Copy)]
pub struct Shutdown {
    /// From the signal to the end of the process.
    pub deadline: Duration,
}

/// Reads `admin`.
pub(super) fn admin(keys: &mut Keys<'_>) -> Admin {
    let loopback = SocketAddr::from(([127, 0, 0, 1], 9477));
    let Some(item) = keys.get("admin") else { return Admin { listen: loopback, token: None } };
    let mut keys = item.keys();
    keys.later(&["tokens"]);
    let listen = keys.get("listen").map_or(loopback, |item| {
        let quoted = item.quoted();
        item.parse(loopback, |text| {
            text.parse().map_err(|_| {
                format!("{quoted} is no address; write an IP address and a port, such as `127.0.0.1:9477`")
            })
        })
    });
    let token = keys.get("token").map(|item| item.parse(SecretString::default(), token));
    keys.done();
    if token.is_none() && !listen.ip().is_loopback() {
        item.findings().notice(format!(
            "{}: admin.listen: {listen} is no loopback address and there is no `admin.token`, so /api refuses \
             everything; metrics and probes need none",
            item.node.nearest(["listen"]).origin
        ));
    }
    Admin { listen, token }
}

/// The text may not be shown.
fn token(text: &str) -> Result<SecretString, String> {
    match !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic()) {
        true => Ok(SecretString::from(text)),
        false => Err("a token has visible ASCII characters only, because a header carries it".to_owned()),
    }
}

/// Reads `log`.
pub(super) fn log(keys: &mut Keys<'_>) -> Log {
    const LEVELS: [(&str, LogLevel); 5] = [
        ("error", LogLevel::Error),
        ("warn", LogLevel::Warn),
        ("info", LogLevel::Info),
        ("debug", LogLevel::Debug),
        ("trace", LogLevel::Trace),
    ];
    let formats = [("text", LogFormat::Text), ("json", LogFormat::Json)];
    let standard = Log { format: LogFormat::Text, level: LogLevel::Info };
    let Some(item) = keys.get("log") else { return standard };
    let mut keys = item.keys();
    let log = Log {
        format: keys.get("format").map_or(standard.format, |item| item.choice(&formats)),
        level: keys.get("level").map_or(standard.level, |item| item.choice(&LEVELS)),
    };
    keys.done();
    log
}

/// Reads `limits`.
pub(super) fn limits(keys: &mut Keys<'_>) -> Limits {
    let mut limits = Limits {
        in_flight: 1,
        max_event: 1,
        window: Window { bytes: u64::MAX, events: u64::MAX },
        memory: DEFAULT_MEMORY,
    };
    let Some(item) = keys.get("limits") else { return limits };
    let mut keys = item.keys();
    if let Some(item) = keys.get("memory") {
        limits.memory = item.size();
        if limits.memory < LEAST_MEMORY {
            item.fault(format!("{} is too small; it must be at least 64MiB", item.quoted()));
        }
    }
    limits.in_flight = keys.get("in_flight").map_or(1, |item| item.number(1..=1_000_000));
    let mut bytes = None;
    if let Some(item) = keys.get("window") {
        let mut keys = item.keys();
        bytes = keys.get("bytes");
        limits.window.bytes = bytes.as_ref().map_or(u64::MAX, Item::size);
        limits.window.events = keys.get("events").map_or(u64::MAX, |item| item.number(1..=100_000_000));
        keys.done();
    }
    if let Some(item) = keys.get("max_event") {
        let size = item.size();
        limits.max_event = usize::try_from(size).unwrap_or(usize::MAX);
        if size > limits.window.bytes {
            too_large(&item, bytes.as_ref());
        }
    }
    keys.done();
    limits
}

/// Reports an event that would never fit into the window, at the key that the user wrote.
fn too_large(max_event: &Item<'_>, window: Option<&Item<'_>>) {
    let written = max_event.quoted();
    match window.filter(|_| max_event.node.origin == Origin::Program) {
        Some(window) => window.fault(format!(
            "smaller than `limits.max_event`, which is {written}; write at least {written}, or lower \
             `limits.max_event`"
        )),
        None => max_event.fault(
            "larger than `limits.window.bytes`: such an event would never fit; raise that, or lower this",
        ),
    }
}

/// Reads `shutdown`.
pub(super) fn shutdown(keys: &mut Keys<'_>) -> Shutdown {
    let least = Duration::from_secs(1);
    let Some(item) = keys.get("shutdown") else { return Shutdown { deadline: least } };
    let mut keys = item.keys();
    let deadline = keys.get("deadline").map_or(least, |item| item.duration(least));
    keys.done();
    Shutdown { deadline }
}
