use std::collections::{BTreeMap, HashMap, HashSet};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::sample::{Behaviour, Sample, TARGETS};
use super::summary::Seen;

/// How long a slow answer takes.
const SLOW: Duration = Duration::from_millis(700);

/// The demo's receiver: answers for every target on its own path, checks signatures with code of
/// its own, and counts what it saw.
#[derive(Debug)]
pub(super) struct Receiver {
    /// Where it listens.
    pub(super) address: SocketAddr,
    log: Arc<Mutex<Log>>,
}

#[derive(Debug, Default)]
struct Log {
    attempts: HashMap<(String, String), u32>,
    accepted: HashMap<String, HashSet<String>>,
    requests: HashMap<String, u64>,
    unverified: HashMap<String, u64>,
}

#[derive(Clone)]
struct Shared {
    secret: Arc<str>,
    log: Arc<Mutex<Log>>,
}

impl Receiver {
    /// Listens on a free port, on a thread that lives as long as the process.
    pub(super) fn start(secret: &str) -> io::Result<Receiver> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let log = Arc::new(Mutex::new(Log::default()));
        let shared = Shared { secret: secret.into(), log: Arc::clone(&log) };
        let router = Router::new().route("/{target}", post(receive)).with_state(shared);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let serve = move || {
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener)?;
                axum::serve(listener, router).await
            })
        };
        std::thread::Builder::new().name("receiver".to_owned()).spawn(serve)?;
        Ok(Receiver { address, log })
    }

    /// What it saw so far, by target.
    pub(super) fn seen(&self) -> BTreeMap<String, Seen> {
        let log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        let seen = |target: &str| Seen {
            accepted: log.accepted.get(target).map_or(0, |ids| ids.len() as u64),
            requests: log.requests.get(target).copied().unwrap_or_default(),
            unverified: log.unverified.get(target).copied().unwrap_or_default(),
        };
        TARGETS.iter().map(|target| ((*target).to_owned(), seen(target))).collect()
    }
}

async fn receive(
    State(shared): State<Shared>,
    Path(target): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> StatusCode {
    let verified = verified(&target, &headers, &body, &shared.secret);
    let id = event_id(&target, &headers, &body);
    let (status, wait) = answer(&shared, target, verified, id);
    tokio::time::sleep(wait).await;
    status
}

/// Decides and counts; the wait comes after.
fn answer(
    shared: &Shared,
    target: String,
    verified: Option<()>,
    id: Option<String>,
) -> (StatusCode, Duration) {
    let mut log = shared.log.lock().unwrap_or_else(PoisonError::into_inner);
    *log.requests.entry(target.clone()).or_default() += 1;
    let (Some(()), Some(id)) = (verified, id) else {
        *log.unverified.entry(target).or_default() += 1;
        return (StatusCode::UNAUTHORIZED, Duration::ZERO);
    };
    let Some(sample) = Sample::from_id(&id) else { return (StatusCode::BAD_REQUEST, Duration::ZERO) };
    let attempts = log.attempts.entry((target.clone(), id.clone())).or_default();
    *attempts += 1;
    let (status, wait) = match sample.behaviour(&target) {
        Behaviour::Busy if *attempts == 1 => (StatusCode::SERVICE_UNAVAILABLE, Duration::ZERO),
        Behaviour::Accept | Behaviour::Busy => (StatusCode::OK, Duration::ZERO),
        Behaviour::Slow => (StatusCode::OK, SLOW),
        Behaviour::Refuse => (StatusCode::BAD_REQUEST, Duration::ZERO),
        Behaviour::Down => (StatusCode::SERVICE_UNAVAILABLE, Duration::ZERO),
    };
    if status.is_success() {
        log.accepted.entry(target).or_default().insert(id);
    }
    (status, wait)
}

/// The event's id: in a header where the dialect has one, else in the body.
fn event_id(target: &str, headers: &HeaderMap, body: &[u8]) -> Option<String> {
    match target {
        "fulfilment" => text(headers, "webhook-id").map(str::to_owned),
        "crm" => text(headers, "x-github-delivery").map(str::to_owned),
        _ => {
            let body: serde_json::Value = serde_json::from_slice(body).ok()?;
            body.get("event_id")?.as_str().map(str::to_owned)
        }
    }
}

/// Whether the signature is right, by the documents of each dialect (DIALECTS.md §1).
fn verified(target: &str, headers: &HeaderMap, body: &[u8], secret: &str) -> Option<()> {
    match target {
        "ledger" => {
            let (time, signature) =
                text(headers, "stripe-signature")?.strip_prefix("t=")?.split_once(",v1=")?;
            verify(secret.as_bytes(), &[time.as_bytes(), b".", body], &hex(signature)?)
        }
        "crm" => {
            let signature = text(headers, "x-hub-signature-256")?.strip_prefix("sha256=")?;
            verify(secret.as_bytes(), &[body], &hex(signature)?)
        }
        _ => {
            let (id, time) = (text(headers, "webhook-id")?, text(headers, "webhook-timestamp")?);
            let signature = BASE64.decode(text(headers, "webhook-signature")?.strip_prefix("v1,")?).ok()?;
            let key = BASE64.decode(secret.strip_prefix("whsec_")?).ok()?;
            verify(&key, &[id.as_bytes(), b".", time.as_bytes(), b".", body], &signature)
        }
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

fn verify(key: &[u8], message: &[&[u8]], signature: &[u8]) -> Option<()> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).ok()?;
    message.iter().for_each(|part| mac.update(part));
    mac.verify_slice(signature).ok()
}

fn hex(text: &str) -> Option<Vec<u8>> {
    let digits: Vec<u32> = text.chars().map(|digit| digit.to_digit(16)).collect::<Option<_>>()?;
    Some(
        digits
            .chunks_exact(2)
            .map(|pair| pair.iter().fold(0, |byte, digit| byte * 16 + *digit as u8))
            .collect(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shared() -> Shared {
        Shared { secret: "whsec_".into(), log: Arc::default() }
    }

    #[test]
    fn a_known_standard_webhook_verifies_and_a_changed_one_does_not() {
        // The vector of DIALECTS.md §1.
        let secret = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
        let body = br#"{"email":"test@example.com","username":"test_user"}"#;
        let mut headers = HeaderMap::new();
        headers.insert("webhook-id", "msg_27UH4WbU6Z5A5EzD8u03UvzRbpk".parse().expect("a header"));
        headers.insert("webhook-timestamp", "1649367553".parse().expect("a header"));
        let signature = "v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw=";
        headers.insert("webhook-signature", signature.parse().expect("a header"));
        assert_eq!(verified("fulfilment", &headers, body, secret), Some(()));
        assert_eq!(verified("fulfilment", &headers, b"{}", secret), None);
    }

    #[test]
    fn a_busy_receiver_accepts_the_second_attempt() {
        let shared = shared();
        let busy = (0..).map(Sample).find(|sample| sample.behaviour("ledger") == Behaviour::Busy);
        let id = busy.map(Sample::id);
        let ask = || answer(&shared, "ledger".to_owned(), Some(()), id.clone()).0;
        assert_eq!(ask(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(ask(), StatusCode::OK);
        assert_eq!(ask(), StatusCode::OK, "a duplicate");
        let receiver = Receiver { address: SocketAddr::from(([127, 0, 0, 1], 0)), log: shared.log };
        assert_eq!(receiver.seen()["ledger"], Seen { accepted: 1, requests: 3, unverified: 0 });
    }

    #[test]
    fn a_wrong_signature_is_counted_and_refused() {
        let shared = shared();
        let refused = answer(&shared, "crm".to_owned(), None, Some(Sample(0).id()));
        assert_eq!(refused.0, StatusCode::UNAUTHORIZED);
        let receiver = Receiver { address: SocketAddr::from(([127, 0, 0, 1], 0)), log: shared.log };
        assert_eq!(receiver.seen()["crm"], Seen { accepted: 0, requests: 1, unverified: 1 });
    }
}
