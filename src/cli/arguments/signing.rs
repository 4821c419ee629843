//! What `sign`, `verify`, `listen` and `secret` are told. A secret is never an argument: every user of
//! a machine can read those.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::age;

/// Whose signature is meant.
#[derive(Debug, Clone, Args)]
pub struct Signatory {
    /// A built-in dialect, for example `stripe`
    #[arg(long, value_name = "NAME", conflicts_with = "target")]
    pub dialect: Option<String>,
    /// A target of the configuration, with its dialect or general form, and its secrets
    #[arg(long, value_name = "NAME")]
    pub target: Option<String>,
    /// The live secrets, one a line, newest first; `-` is standard input (the default with --dialect)
    #[arg(long, value_name = "FILE")]
    pub secret_file: Option<PathBuf>,
}

/// What `sign` is told.
#[derive(Debug, Args)]
pub struct Sign {
    /// The body, signed and sent byte by byte; `-` is standard input
    #[arg(value_name = "BODY")]
    pub body: PathBuf,
    /// Whose signature
    #[command(flatten)]
    pub signatory: Signatory,
    /// The event's id; a new one if not said
    #[arg(long)]
    pub id: Option<String>,
    /// The event's type; if not said, the member `type`, `event_type`, `eventType` or `event` of the body
    #[arg(long = "type", value_name = "TYPE")]
    pub event_type: Option<String>,
    /// When it is signed (RFC 3339), for example to see an old one refused; now if not said
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub at: Option<i64>,
    /// Where the `curl` line sends it; if not said, the target's own URL, or `listen` on this machine
    #[arg(long, value_name = "URL")]
    pub url: Option<String>,
}

/// What `verify` is told.
#[derive(Debug, Args)]
pub struct Verify {
    /// The headers that came, one `Name: value` a line, up to the first empty line
    #[arg(value_name = "HEADERS")]
    pub headers: PathBuf,
    /// The body that came, byte by byte; `-` is standard input
    #[arg(value_name = "BODY")]
    pub body: PathBuf,
    /// Whose signature
    #[command(flatten)]
    pub signatory: Signatory,
    /// How far its timestamp may be from the receiver's time, both ways
    #[arg(long, value_name = "AGE", value_parser = age, default_value = "5m")]
    pub tolerance: Duration,
    /// When it came (RFC 3339), if it was captured earlier; now if not said
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub at: Option<i64>,
}

/// What `listen` is told.
#[derive(Debug, Args)]
pub struct Listen {
    /// The port on 127.0.0.1; 0 is any free one
    #[arg(default_value_t = 8080)]
    pub port: u16,
    /// Whose signature each request must have; without one, none is judged
    #[command(flatten)]
    pub signatory: Signatory,
    /// How far a timestamp may be from this machine's time, both ways
    #[arg(long, value_name = "AGE", value_parser = age, default_value = "5m")]
    pub tolerance: Duration,
    /// Fail each Nth request on purpose
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub fail_every: Option<u64>,
    /// What a failed request is answered with (default 503); without --fail-every, what each one is
    #[arg(long, value_parser = clap::value_parser!(u16).range(200..=599))]
    pub status: Option<u16>,
    /// How long each answer takes, for example `2s`
    #[arg(long, value_name = "TIME", value_parser = age)]
    pub delay: Option<Duration>,
}

/// What `secret` is told.
#[derive(Debug, Args)]
pub struct Secret {
    /// The dialect that it is for
    #[arg(long, value_name = "NAME", default_value = "standard-webhooks")]
    pub dialect: String,
    /// An Ed25519 key pair instead: the sender's `whsk_…`, and `whpk_…` for its receivers
    #[arg(long)]
    pub ed25519: bool,
}

/// Milliseconds since 1970.
fn time(text: &str) -> Result<i64, String> {
    let time = text.parse::<jiff::Timestamp>();
    time.map(jiff::Timestamp::as_millisecond).map_err(|_| "write it as 2026-01-31T12:00:00Z".to_owned())
}
