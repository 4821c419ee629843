use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use bytes::Bytes;
use hyper::header::HeaderMap;

use super::handlebars::Facts;
use super::headers::Headers;
use super::payload::Payload;
use super::signature::{Signer, Subject};
use super::spec::{RequestSpec, Shape};
use crate::domain::Event;
use crate::json::{self, JsonForm};

/// A target's requests, compiled: fixed headers prepared, keys decoded, templates cut up. `Debug`
/// shows no secret.
#[derive(Debug)]
pub struct Blueprint {
    target_id: Box<str>,
    headers: Headers,
    payload: Payload,
    signature: Option<Signer>,
    /// A body was seen that JavaScript can't read.
    refused: AtomicBool,
}

/// One finished request, without method and address.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// All headers except `host` and `content-length`, which the sender writes. Configured values
    /// are marked sensitive.
    pub headers: HeaderMap,
    /// The exact bytes that were signed.
    pub body: Bytes,
}

/// Why a [`RequestSpec`] can't be compiled. Names the setting, never a secret's text.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{setting}: {fault}")]
pub struct SpecFault {
    /// The key below the target, for example `signature.message` or `secrets.0`.
    pub setting: String,
    /// What is wrong and what to write instead.
    pub fault: String,
}

/// Why an event can't be rendered for a target (dead letter `template`).
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{0}")]
pub struct Unrenderable(pub Box<str>);

impl Blueprint {
    /// Compiles a specification; all faults at once.
    ///
    /// # Errors
    /// Every setting that can't be used, with the remedy.
    pub fn compile(spec: &RequestSpec) -> Result<Blueprint, Vec<SpecFault>> {
        let mut faults = Vec::new();
        if !spec.target_id.bytes().all(|byte| byte.is_ascii_graphic()) {
            let fault = "receivers see it in a header; use visible ASCII without spaces";
            faults.push(SpecFault { setting: "id".to_owned(), fault: fault.to_owned() });
        }
        let mut signed = HashSet::new();
        let signature =
            spec.signature.as_ref().and_then(|spec| Signer::compile(spec, &mut signed, &mut faults));
        let headers = Headers::compile(&spec.headers, &spec.auth, &spec.payload.roots, &signed, &mut faults);
        if let Shape::CloudEvent { .. } = spec.payload.shape {
            refuse_attributes(spec, &mut faults);
        }
        let payload = Payload::compile(&spec.payload, &spec.target_id, &mut faults);
        if faults.is_empty() {
            Ok(Blueprint {
                target_id: spec.target_id.as_str().into(),
                headers,
                payload,
                signature,
                refused: AtomicBool::default(),
            })
        } else {
            Err(faults)
        }
    }

    /// Renders and signs the request for one attempt, the number `attempt` from 1, made at `now_ms`
    /// (milliseconds since 1970).
    ///
    /// # Errors
    /// The event lacks what the payload needs, or a header can't hold a value.
    pub fn render(&self, event: &Event, attempt: u32, now_ms: i64) -> Result<Request, Unrenderable> {
        let facts = Facts { event, target_id: &self.target_id, attempt };
        let mut headers = self.headers.fixed();
        let body = self.payload.render(facts, &mut headers)?;
        self.headers.render(facts, &mut headers)?;
        if let Some(signature) = &self.signature {
            let subject = Subject { id: &event.id, event_type: event.event_type.as_deref() };
            signature.sign(subject, &self.target_id, &body, now_ms, &mut headers)?;
        }
        Ok(Request { headers, body })
    }

    /// Whether a rendered body is the first of this target's that holds an integer which JavaScript reads as
    /// another one, although it is written for receivers that verify what JavaScript makes of it
    /// (`json: js`): they refuse it.
    pub fn is_first_refused_in_javascript(&self, body: &[u8]) -> bool {
        self.payload.form() == Some(JsonForm::Js)
            && !self.refused.load(Relaxed)
            && json::has_big_integer(body)
            && !self.refused.swap(true, Relaxed)
    }

    /// The headers that are the same in every request: what one without an event has.
    pub fn fixed_headers(&self) -> HeaderMap {
        self.headers.fixed()
    }

    /// All headers but `content-type` for a body that is there already, signed for an attempt made at
    /// `now_ms`.
    ///
    /// # Errors
    /// A header can't hold a value, or the type is missing.
    pub fn sign(&self, subject: Subject<'_>, body: &[u8], now_ms: i64) -> Result<HeaderMap, Unrenderable> {
        let mut headers = self.headers.fixed();
        if let Some(signature) = &self.signature {
            signature.sign(subject, &self.target_id, body, now_ms, &mut headers)?;
        }
        Ok(headers)
    }
}

/// Of a CloudEvent the payload alone writes attributes: in binary mode each has its header, in
/// structured mode none may have one.
fn refuse_attributes(spec: &RequestSpec, faults: &mut Vec<SpecFault>) {
    let own = spec.headers.iter().map(|header| ("headers", header.name.as_str()));
    let signed = spec.signature.iter().flat_map(|signature| &signature.headers);
    let signed = signed.map(|(name, _)| ("signature.headers", name.as_str()));
    let is_attribute = |name: &str| name.get(..3).is_some_and(|start| start.eq_ignore_ascii_case("ce-"));
    for (key, name) in own.chain(signed).filter(|(_, name)| is_attribute(name)) {
        let fault = "the payload writes the attributes of CloudEvents; set extensions with `payload.extra`";
        faults.push(SpecFault { setting: format!("{key}.{name}"), fault: fault.to_owned() });
    }
}
