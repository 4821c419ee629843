//! Floor 1: pure HTTP. Payloads, signatures, the finished request, and reading what came back.

mod spec;

pub use spec::{
    Algorithm, Encoding, JsonForm, KeyForm, Member, PayloadSpec, RequestSpec, Shape, SignatureSpec,
    TimestampForm, Value,
};

use crate::domain::Event;

/// A target's requests, compiled: static headers prepared, keys decoded, templates cut up.
#[derive(Debug)]
pub struct Blueprint {}

/// One finished request, without method and address.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// All headers except `host` and `content-length`, which the sender writes.
    pub headers: hyper::HeaderMap,
    /// The exact bytes that were signed.
    pub body: bytes::Bytes,
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
    pub fn compile(_spec: &RequestSpec) -> Result<Blueprint, Vec<SpecFault>> {
        todo!()
    }

    /// Renders and signs the request for one attempt made at `now_ms` (milliseconds since 1970).
    ///
    /// # Errors
    /// The event lacks what the payload needs, or a header can't hold a value.
    pub fn render(&self, _event: &Event, _now_ms: i64) -> Result<Request, Unrenderable> {
        todo!()
    }
}

/// TEMPORARY
pub fn retry_after(_text: &str) -> Option<crate::domain::RetryAfter> {
    None
}
