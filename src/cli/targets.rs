//! `targets`: how targets stand in a running process, by its API.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use reqwest::{Client, StatusCode, Url};
use rustls::RootCertStore;
use secrecy::{ExposeSecret, SecretString};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::arguments::{Format, TargetQuestion, Targets};
use super::{Exit, answer, bad_configuration, complain};
use crate::observe::{RateLimit, TargetStatus};
use crate::plan::{self, HttpVersion, Layers};
use crate::sender::trust;

/// A process that is alive answers at once.
const PATIENCE: Duration = Duration::from_secs(10);
const USUAL_URL: &str = "http://127.0.0.1:9477";

/// What the list is read as.
#[derive(Debug, Serialize, Deserialize)]
struct Listed {
    targets: Vec<TargetStatus>,
}

/// Where to ask, and with what.
struct Access {
    url: Url,
    token: Option<SecretString>,
}

/// Asks a running process, and writes what it says. `layers` is the configuration, if there is one.
pub(super) fn ask(asked: &Targets, layers: Option<&Layers>, format: Format) -> Exit {
    let configured = match layers.filter(|_| asked.url.is_none() || asked.token_file.is_none()) {
        None => None,
        Some(layers) => match plan::load(layers) {
            Ok(plan) => Some(plan.admin),
            Err(faults) => return bad_configuration(&faults),
        },
    };
    let access = match access(asked, configured) {
        Ok(access) => access,
        Err(fault) => {
            complain(&fault);
            return Exit::BadInput;
        }
    };
    let said = match &asked.question {
        TargetQuestion::List => access
            .get(&["api", "v1", "targets"])
            .and_then(|listed: Listed| written(format, &listed, |listed| table(&listed.targets))),
        TargetQuestion::Show { name } => {
            access.get(&["api", "v1", "targets", name]).and_then(|target| written(format, &target, card))
        }
    };
    match said {
        Ok(text) => answer(&text),
        Err(fault) => {
            complain(&fault);
            Exit::Failed
        }
    }
}

fn access(asked: &Targets, configured: Option<plan::Admin>) -> Result<Access, String> {
    let (listen, token) = match configured {
        Some(admin) => (Some(admin.listen), admin.token),
        None => (None, None),
    };
    let url = match (&asked.url, listen) {
        (Some(url), _) => url.clone(),
        (None, Some(listen)) => format!("http://{}", reachable(listen)),
        (None, None) => USUAL_URL.to_owned(),
    };
    let url: Url = url.parse().map_err(|cause| format!("--url: {cause}; write for example `{USUAL_URL}`"))?;
    if !matches!(url.scheme(), "http" | "https") || url.cannot_be_a_base() {
        return Err(format!(
            "--url: only `http://` and `https://` are possible; write for example `{USUAL_URL}`"
        ));
    }
    let token = match &asked.token_file {
        Some(file) => {
            let text = std::fs::read_to_string(file)
                .map_err(|cause| format!("--token-file: {} can't be read: {cause}", file.display()))?;
            Some(SecretString::from(text.trim_end_matches(['\r', '\n'])))
        }
        None => token,
    };
    Ok(Access { url, token: token.filter(|token| !token.expose_secret().is_empty()) })
}

/// Where what listens everywhere is reached from the same machine.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}

impl Access {
    fn get<T: DeserializeOwned>(&self, path: &[&str]) -> Result<T, String> {
        let mut url = self.url.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|cause| format!("the system gives no event queue: {cause}"))?;
        let client = self.client()?;
        let (status, body) = runtime
            .block_on(self.exchange(&client, url))
            .map_err(|cause| unreachable_because(&self.url, &cause))?;
        match status {
            StatusCode::OK => serde_json::from_slice(&body).map_err(|cause| {
                format!(
                    "{}: what it says is not understood: {cause}; is it hookferry of this version?",
                    self.url
                )
            }),
            StatusCode::UNAUTHORIZED => Err(format!(
                "{}: the admin token is missing or wrong; name a file that holds it with `--token-file`, or its \
                 configuration with `-c`",
                self.url
            )),
            status => Err(format!("{}: {}: {}", self.url, status, reason(&body))),
        }
    }

    /// Trusts this machine's authorities, if there is anything to trust.
    fn client(&self) -> Result<Client, String> {
        let roots = match self.url.scheme() {
            "https" => trust::system_roots(),
            _ => RootCertStore::empty(),
        };
        let tls = trust::client(Arc::new(roots), None, HttpVersion::One)
            .map_err(|cause| format!("TLS can't be set up: {cause}"))?;
        Client::builder()
            .timeout(PATIENCE)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .tls_backend_preconfigured(tls)
            .build()
            .map_err(|cause| format!("the HTTP client can't be made: {cause}"))
    }

    async fn exchange(&self, client: &Client, url: Url) -> reqwest::Result<(StatusCode, Vec<u8>)> {
        let mut request = client.get(url);
        if let Some(token) = &self.token {
            request = request.bearer_auth(token.expose_secret());
        }
        let response = request.send().await?;
        Ok((response.status(), response.bytes().await?.to_vec()))
    }
}

fn unreachable_because(url: &Url, cause: &reqwest::Error) -> String {
    if let Some(fault) = trust::fault_in(cause) {
        return format!("{url}: no trust: {}", trust::fault_text(fault));
    }
    if cause.is_connect() {
        return format!(
            "{url}: nobody answers; is hookferry running, and is this its `admin.listen`? See `--url`"
        );
    }
    if cause.is_timeout() {
        return format!("{url}: no answer within {} s", PATIENCE.as_secs());
    }
    format!("{url}: {cause}")
}

/// What an error's JSON says, else its text.
fn reason(body: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Refusal {
        error: String,
    }
    match serde_json::from_slice::<Refusal>(body) {
        Ok(refusal) => refusal.error,
        Err(_) => String::from_utf8_lossy(body).trim().chars().take(200).collect(),
    }
}

fn written<T: Serialize>(
    format: Format,
    value: &T,
    text: impl FnOnce(&T) -> String,
) -> Result<String, String> {
    match format {
        Format::Text => Ok(text(value)),
        Format::Json => serde_json::to_string_pretty(value)
            .map(|json| json + "\n")
            .map_err(|cause| format!("what it says can't be written: {cause}")),
    }
}

/// One line for each target, below a heading.
fn table(targets: &[TargetStatus]) -> String {
    let heading = ["TARGET", "STATE", "READY", "RETRYING", "IN FLIGHT", "OLDEST", "LIMITS", "REASON"]
        .map(str::to_owned);
    let row = |target: &TargetStatus| {
        [
            target.name.clone(),
            target.state.clone(),
            target.queue.ready.to_string(),
            target.queue.retrying.to_string(),
            target.queue.in_flight.to_string(),
            target.oldest_age_seconds.map_or_else(|| "-".to_owned(), age),
            limits(target),
            reason_and_next(target),
        ]
    };
    let rows: Vec<_> = std::iter::once(heading).chain(targets.iter().map(row)).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default();
    let widths: Vec<usize> = (0..8).map(width).collect();
    let line = |row: &[String; 8]| {
        let cells: Vec<String> =
            row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        format!("{}\n", cells.join("  ").trim_end())
    };
    rows.iter().map(line).collect()
}

/// Everything of one target, one line each.
fn card(target: &TargetStatus) -> String {
    let queue = &target.queue;
    let mut lines = vec![
        ("target", target.name.clone()),
        ("id", target.id.clone()),
        ("url", target.url.clone()),
        ("state", target.state.clone()),
    ];
    let optional = [
        ("since", &target.since),
        ("reason", &target.reason),
        ("next probe", &target.next_probe),
        ("paused until", &target.until),
    ];
    lines.extend(optional.into_iter().filter_map(|(name, value)| Some((name, value.clone()?))));
    lines.extend([
        ("ordering", target.ordering.clone()),
        ("ready", queue.ready.to_string()),
        ("retrying", queue.retrying.to_string()),
        ("in flight", queue.in_flight.to_string()),
        ("bytes", queue.bytes.to_string()),
        ("oldest", target.oldest_age_seconds.map_or_else(|| "-".to_owned(), age)),
        ("limits", limits(target)),
    ]);
    lines.iter().map(|(name, value)| format!("{name:13} {value}\n")).collect()
}

fn limits(target: &TargetStatus) -> String {
    let at_once = format!("{} at once", target.limits.concurrency);
    match target.limits.rate {
        None => at_once,
        Some(RateLimit { per_second, burst }) => {
            let (number, unit) = match per_second {
                per_second if per_second >= 1.0 => (per_second, "s"),
                per_second => (per_second * 60.0, "m"),
            };
            format!("{at_once}, {}/{unit}, burst {}", rounded(number), rounded(burst))
        }
    }
}

/// At most two digits behind the point.
fn rounded(number: f64) -> f64 {
    (number * 100.0).round() / 100.0
}

fn reason_and_next(target: &TargetStatus) -> String {
    let next = target.next_probe.as_ref().map(|time| format!("next probe {time}"));
    let until = target.until.as_ref().map(|time| format!("until {time}"));
    let parts: Vec<String> = target.reason.clone().into_iter().chain(next).chain(until).collect();
    parts.join("; ")
}

/// Seconds as people say them.
fn age(seconds: f64) -> String {
    match seconds as u64 {
        seconds @ 0..60 => format!("{seconds}s"),
        seconds @ 60..3600 => format!("{}m {}s", seconds / 60, seconds % 60),
        seconds => format!("{}h {}m", seconds / 3600, seconds / 60 % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::{Queue, TargetLimits};

    fn status(name: &str, state: &str) -> TargetStatus {
        TargetStatus {
            name: name.to_owned(),
            id: format!("{name}-1"),
            url: "https://x.example".to_owned(),
            state: state.to_owned(),
            reason: None,
            since: Some("2026-01-31T12:00:00Z".to_owned()),
            next_probe: None,
            until: None,
            ordering: "none".to_owned(),
            queue: Queue { ready: 7, retrying: 20, in_flight: 3, bytes: 4096 },
            limits: TargetLimits { concurrency: 64, rate: None },
            oldest_age_seconds: None,
        }
    }

    fn open() -> TargetStatus {
        TargetStatus {
            reason: Some("10 failures in a row".to_owned()),
            next_probe: Some("2026-01-31T12:00:10Z".to_owned()),
            oldest_age_seconds: Some(125.7),
            limits: TargetLimits {
                concurrency: 10,
                rate: Some(RateLimit { per_second: 100.0 / 60.0, burst: 20.0 }),
            },
            ..status("billing", "open")
        }
    }

    #[test]
    fn the_list_is_a_table_with_the_reason_at_the_end() {
        assert_eq!(
            table(&[open(), status("crm", "active")]),
            "\
TARGET   STATE   READY  RETRYING  IN FLIGHT  OLDEST  LIMITS                       REASON
billing  open    7      20        3          2m 5s   10 at once, 1.67/s, burst 20  10 failures in a row; next probe 2026-01-31T12:00:10Z
crm      active  7      20        3          -       64 at once
"
            .replace("LIMITS                       REASON", "LIMITS                        REASON")
        );
    }

    #[test]
    fn one_target_is_shown_whole() {
        let card = card(&open());
        for line in ["target        billing", "next probe    2026-01-31T12:00:10Z", "oldest        2m 5s"] {
            assert!(card.lines().any(|shown| shown == line), "{line} is not in:\n{card}");
        }
    }

    #[test]
    fn a_slow_rate_is_told_by_the_minute() {
        let mut target = open();
        target.limits.rate = Some(RateLimit { per_second: 0.5, burst: 1.0 });
        assert_eq!(limits(&target), "10 at once, 30/m, burst 1");
    }

    #[test]
    fn what_listens_everywhere_is_asked_on_loopback() {
        for (listen, asked) in
            [("0.0.0.0:9477", "127.0.0.1:9477"), ("[::]:9477", "[::1]:9477"), ("10.1.2.3:1", "10.1.2.3:1")]
        {
            assert_eq!(reachable(listen.parse().expect("an address")).to_string(), asked);
        }
    }
}
