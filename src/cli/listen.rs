use std::io::{self, Write};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::State;
use axum::http::request::Parts;
use axum::http::{Request, StatusCode};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use super::arguments::{Format, Listen};
use super::signatory::{Signer, StandardInput};
use super::verify::Verdict;
use super::{Exit, answer, complain};
use crate::domain::Moment;
use crate::plan::Layers;
use crate::wire::verify::Verifier;

/// The largest body that is taken.
const LARGEST: usize = 16 << 20;

/// Headers that may hold what nobody should see over somebody's shoulder.
const CREDENTIALS: [&str; 3] = ["authorization", "proxy-authorization", "cookie"];

/// A receiver that shows what comes.
struct Receiver {
    judge: Option<Judge>,
    mishap: Mishap,
    format: Format,
    /// Requests so far.
    count: AtomicU64,
}

/// Who judges signatures.
struct Judge {
    verifier: Verifier,
    secrets: usize,
}

/// What goes wrong on purpose.
#[derive(Debug, Clone, Copy)]
struct Mishap {
    /// Each so many requests, if any is to fail.
    every: Option<u64>,
    status: StatusCode,
    delay: Duration,
}

/// A request that came, as it is shown.
struct Shown<'a> {
    number: u64,
    head: &'a Parts,
    body: &'a [u8],
    verdict: Option<&'a Verdict>,
    status: StatusCode,
}

/// Shows every request on a port of this machine until it is interrupted.
pub(super) fn listen(asked: &Listen, layers: impl FnOnce() -> Layers, format: Format) -> Exit {
    let receiver = match receiver(asked, layers, format) {
        Ok(receiver) => receiver,
        Err(fault) => {
            complain(&fault);
            return Exit::BadInput;
        }
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    match runtime.and_then(|runtime| runtime.block_on(serve(asked.port, receiver))) {
        Ok(()) => Exit::Done,
        Err(cause) => {
            complain(&format!(
                "can't listen on 127.0.0.1:{}: {cause}; name another port, or 0 for any free one",
                asked.port
            ));
            Exit::NotStarted
        }
    }
}

fn receiver(asked: &Listen, layers: impl FnOnce() -> Layers, format: Format) -> Result<Receiver, String> {
    let signer =
        Signer::named(&asked.signatory, layers, StandardInput::Free).map_err(|fault| fault.to_string())?;
    let judge = signer.map(|signer| {
        let verifier = signer.verifier()?.tolerating(asked.tolerance);
        Ok::<_, String>(Judge { verifier, secrets: signer.secrets() })
    });
    let status = asked.status.map_or(Ok(StatusCode::SERVICE_UNAVAILABLE), StatusCode::from_u16);
    let mishap = Mishap {
        every: asked.fail_every.or(asked.status.map(|_| 1)),
        status: status.map_err(|fault| format!("--status: {fault}"))?,
        delay: asked.delay.unwrap_or_default(),
    };
    Ok(Receiver { judge: judge.transpose()?, mishap, format, count: AtomicU64::new(0) })
}

async fn serve(port: u16, receiver: Receiver) -> io::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
    let (mut interrupted, mut ended) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    answer(&receiver.greeting(&format!("http://{}/", listener.local_addr()?)));
    let router = Router::new().fallback(take).with_state(Arc::new(receiver));
    // What is open is cut with the runtime: a sender keeps its connections.
    tokio::select! {
        served = async { axum::serve(listener, router).await } => served,
        _ = interrupted.recv() => Ok(()),
        _ = ended.recv() => Ok(()),
    }
}

async fn take(State(receiver): State<Arc<Receiver>>, request: Request<Body>) -> StatusCode {
    let (head, body) = request.into_parts();
    let Ok(body) = to_bytes(body, LARGEST).await else { return StatusCode::PAYLOAD_TOO_LARGE };
    let now_ms = Moment::now().wall_ms;
    let number = receiver.count.fetch_add(1, Ordering::Relaxed) + 1;
    let verdict = receiver
        .judge
        .as_ref()
        .map(|judge| Verdict::of(&judge.verifier, judge.secrets, &head.headers, &body, now_ms));
    let status = receiver.mishap.status_of(number, verdict.as_ref());
    receiver.show(&Shown { number, head: &head, body: &body, verdict: verdict.as_ref(), status });
    tokio::time::sleep(receiver.mishap.delay).await;
    status
}

impl Mishap {
    fn status_of(self, number: u64, verdict: Option<&Verdict>) -> StatusCode {
        match (self.every, verdict) {
            (Some(every), _) if number.is_multiple_of(every) => self.status,
            (_, Some(verdict)) if !verdict.holds() => StatusCode::UNAUTHORIZED,
            _ => StatusCode::OK,
        }
    }
}

impl Receiver {
    fn greeting(&self, url: &str) -> String {
        match self.format {
            Format::Json => format!("{}\n", json!({ "listening": url, "verifies": self.judge.is_some() })),
            Format::Text => {
                let judged = match &self.judge {
                    Some(judge) => format!("signatures are verified with {} secret(s)", judge.secrets),
                    None => "signatures are not verified: see --dialect and --target".to_owned(),
                };
                format!("listening on {url} ({judged}); a target needs `egress: private` to reach it\n")
            }
        }
    }

    fn show(&self, shown: &Shown<'_>) {
        let text = match self.format {
            Format::Text => shown.text(),
            Format::Json => format!("{}\n", shown.document()),
        };
        let mut out = io::stdout().lock();
        // Whoever reads may have gone away; what is received is answered all the same.
        let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    }
}

impl Shown<'_> {
    fn headers(&self) -> impl Iterator<Item = (&str, String)> {
        self.head.headers.iter().map(|(name, value)| match CREDENTIALS.contains(&name.as_str()) {
            true => (name.as_str(), "***".to_owned()),
            false => (name.as_str(), String::from_utf8_lossy(value.as_bytes()).into_owned()),
        })
    }

    fn text(&self) -> String {
        let Shown { number, head, status, .. } = self;
        let mut text = format!("\n#{number} {} {} -> {}\n", head.method, head.uri, status.as_u16());
        if let Some(verdict) = self.verdict {
            text += &format!("  {}\n", verdict.text());
        }
        for (name, value) in self.headers() {
            text += &format!("  {name}: {}\n", harmless(&value));
        }
        let body = pretty(self.body);
        if !body.is_empty() {
            text += &format!("\n{body}\n");
        }
        text
    }

    fn document(&self) -> Value {
        let (body, base64) = match str::from_utf8(self.body) {
            Ok(text) => (Some(text), None),
            Err(_) => (None, Some(BASE64.encode(self.body))),
        };
        json!({
            "number": self.number,
            "method": self.head.method.as_str(),
            "path": self.head.uri.to_string(),
            "headers": self.headers().collect::<Vec<_>>(),
            "body": body,
            "body_base64": base64,
            "verdict": self.verdict.map(Verdict::document),
            "status": self.status.as_u16(),
        })
    }
}

/// JSON with white space, text as it is, anything else by its length.
fn pretty(body: &[u8]) -> String {
    let Ok(text) = str::from_utf8(body) else {
        return format!("  ({} bytes that are not UTF-8)", body.len());
    };
    let json =
        serde_json::from_str::<Value>(text).ok().and_then(|value| serde_json::to_string_pretty(&value).ok());
    let lines = json.as_deref().unwrap_or(text).lines();
    lines.map(|line| format!("  {}", harmless(line))).collect::<Vec<_>>().join("\n")
}

/// Without what would command a terminal.
fn harmless(text: &str) -> String {
    text.chars().map(|char| if char.is_control() && char != '\t' { '\u{fffd}' } else { char }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_nth_request_fails() {
        let mishap = |every| Mishap { every, status: StatusCode::IM_A_TEAPOT, delay: Duration::ZERO };
        let statuses = |every| (1..=4).map(|n| mishap(every).status_of(n, None).as_u16()).collect::<Vec<_>>();
        assert_eq!(statuses(None), [200, 200, 200, 200]);
        assert_eq!(statuses(Some(2)), [200, 418, 200, 418]);
        assert_eq!(statuses(Some(1)), [418, 418, 418, 418]);
    }

    #[test]
    fn a_body_is_shown_so_that_a_terminal_does_nothing() {
        assert_eq!(pretty(br#"{"b":1,"a":[]}"#), "  {\n    \"b\": 1,\n    \"a\": []\n  }");
        assert_eq!(pretty(b"plain\x1b[2J"), "  plain\u{fffd}[2J");
        assert_eq!(pretty(&[0xff, 0xfe]), "  (2 bytes that are not UTF-8)");
        assert_eq!(pretty(b""), "");
    }
}
