use std::path::Path;

use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use serde_json::json;

use super::arguments::{Format, Sign};
use super::publish::read_bytes;
use super::secret::random;
use super::signatory::{Signer, SignerFault, StandardInput};
use super::{Exit, answer, complain};
use crate::domain::Moment;
use crate::plan::Layers;
use crate::wire::Subject;

/// Where `listen` is if nobody says otherwise.
const LISTEN_URL: &str = "http://127.0.0.1:8080/";

/// Where an event's type is in a body, if nobody says otherwise.
const TYPE_MEMBERS: [&str; 4] = ["type", "event_type", "eventType", "event"];

/// A signed request, as it is shown.
struct Signed {
    headers: Vec<(String, String)>,
    curl: String,
}

/// Signs a body and prints the headers of its request.
pub(super) fn sign(asked: &Sign, layers: impl FnOnce() -> Layers, format: Format) -> Exit {
    match signed(asked, layers) {
        Ok(signed) => answer(&written(&signed, format)),
        Err(fault) => {
            complain(&fault);
            Exit::BadInput
        }
    }
}

fn signed(asked: &Sign, layers: impl FnOnce() -> Layers) -> Result<Signed, SignerFault> {
    let signer = Signer::required(&asked.signatory, layers, StandardInput::of(&asked.body))?;
    let blueprint = signer.blueprint().map_err(SignerFault::Choice)?;
    let body = read_bytes(&asked.body)
        .map_err(|cause| SignerFault::Choice(format!("{}: can't be read: {cause}", asked.body.display())))?;
    let id = match &asked.id {
        Some(id) => id.clone(),
        None => format!("evt_{}", random::<16>().map(|bytes| hex(&bytes)).map_err(SignerFault::Choice)?),
    };
    let event_type = asked.event_type.clone().or_else(|| type_in(&body));
    let subject = Subject { id: &id, event_type: event_type.as_deref() };
    let now_ms = asked.at.unwrap_or_else(|| Moment::now().wall_ms);
    let mut headers = blueprint
        .sign(subject, &body, now_ms)
        .map_err(|fault| SignerFault::Choice(format!("{fault}; see --type")))?;
    let content_type = signer.request.payload.content_type.as_deref().unwrap_or("application/json");
    if let Ok(content_type) = HeaderValue::try_from(content_type) {
        headers.insert(CONTENT_TYPE, content_type);
    }
    let headers = shown(&headers, &signer);
    let url = asked.url.as_deref().or(signer.url.as_deref()).unwrap_or(LISTEN_URL);
    let curl = curl(url, &headers, &asked.body);
    Ok(Signed { headers, curl })
}

/// The event's type as a sender of the body would find it.
fn type_in(body: &[u8]) -> Option<String> {
    let value: serde_json::Value = serde_json::from_slice(body).ok()?;
    TYPE_MEMBERS.iter().find_map(|name| Some(value.get(name)?.as_str()?.to_owned()))
}

/// As `explain` shows them: what was configured may be a secret.
fn shown(headers: &HeaderMap, signer: &Signer) -> Vec<(String, String)> {
    let shown = |value: &HeaderValue| match value.is_sensitive() {
        true => "***".to_owned(),
        false => signer.concealed.mask(&String::from_utf8_lossy(value.as_bytes())),
    };
    headers.iter().map(|(name, value)| (name.to_string(), shown(value))).collect()
}

fn curl(url: &str, headers: &[(String, String)], body: &Path) -> String {
    let mut line = format!("curl -X POST {}", quoted(url));
    for (name, value) in headers {
        line += &format!(" \\\n  -H {}", quoted(&format!("{name}: {value}")));
    }
    line + &format!(" \\\n  --data-binary {}", quoted(&format!("@{}", body.display())))
}

/// For a shell.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn written(signed: &Signed, format: Format) -> String {
    match format {
        Format::Json => format!("{}\n", json!({ "headers": signed.headers, "curl": signed.curl })),
        Format::Text => {
            let headers: String =
                signed.headers.iter().map(|(name, value)| format!("{name}: {value}\n")).collect();
            format!("{headers}\n{}\n", signed.curl)
        }
    }
}
