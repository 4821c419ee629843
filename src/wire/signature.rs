use std::collections::HashSet;
use std::fmt;

use hyper::header::{HeaderMap, HeaderName, HeaderValue};

use super::headers::free_name;
use super::key::Key;
use super::spec::{Encoding, SignatureSpec, TimestampForm};
use super::template::{Facts, IN_EACH, IN_HEADERS, IN_MESSAGE, NoType, Placeholder, Template};
use super::{SpecFault, Unrenderable};

/// What a signature says of an event, beside the body.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// Its id.
    pub id: &'a str,
    /// Its type, if it has one.
    pub event_type: Option<&'a str>,
}

/// A target's signature, compiled. `Debug` shows no key.
pub(super) struct Signer {
    /// Newest first; only those whose signatures are sent.
    keys: Vec<Key>,
    message: Template,
    encoding: Encoding,
    each: Template,
    /// As `each`, of Ed25519 keys, if theirs is another.
    ed25519: Option<Template>,
    join: Box<str>,
    timestamp: TimestampForm,
    headers: Vec<Header>,
}

#[derive(Debug)]
struct Header {
    name: HeaderName,
    template: Template,
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signer")
            .field("keys", &self.keys.len())
            .field("headers", &self.headers)
            .finish_non_exhaustive()
    }
}

impl Signer {
    /// Compiles a signature and all its faults; the names of the headers that it writes, which
    /// nobody else may set, go to `names`.
    pub(super) fn compile(
        spec: &SignatureSpec,
        names: &mut HashSet<HeaderName>,
        faults: &mut Vec<SpecFault>,
    ) -> Option<Signer> {
        let before = faults.len();
        let message = template("signature.message", &spec.message, IN_MESSAGE, faults);
        let each = compile_each("signature.each", &spec.each, faults);
        let ed25519 = spec.ed25519.as_ref().and_then(|text| compile_each("signature.ed25519", text, faults));
        if !printable(&spec.join) {
            faults.push(fault("signature.join", NOT_PRINTABLE));
        }
        let mut headers = compile_headers(spec, names, faults);
        let mut keys = compile_keys(spec, faults);
        if keys.is_empty() {
            headers.retain(|header| !header.is_signed());
        } else if !headers.iter().any(Header::is_signed) && faults.len() == before {
            let text = "no header carries the signature; write `{{signature}}` or `{{signatures}}` in one";
            faults.push(fault("signature.headers", text));
        }
        if !headers.iter().any(|header| header.template.names(Placeholder::Signatures)) {
            keys.truncate(1);
        }
        (faults.len() == before).then_some(())?;
        Some(Signer {
            keys,
            message: message?,
            encoding: spec.encoding,
            each: each?,
            ed25519,
            join: spec.join.as_str().into(),
            timestamp: spec.timestamp,
            headers,
        })
    }

    /// Signs `body` for an attempt made at `now_ms` and writes the headers.
    pub(super) fn sign(
        &self,
        subject: Subject<'_>,
        target_id: &str,
        body: &[u8],
        now_ms: i64,
        headers: &mut HeaderMap,
    ) -> Result<(), Unrenderable> {
        let timestamp = timestamp(now_ms, self.timestamp);
        let facts = Facts {
            id: subject.id,
            timestamp: &timestamp,
            event_type: subject.event_type,
            target_id,
            body,
            signature: "",
            signatures: b"",
        };
        let signed = self.signatures(&facts).map_err(|NoType| needs_type("the signed message"))?;
        let facts = Facts { signature: &signed.newest, signatures: &signed.all, ..facts };
        for header in &self.headers {
            headers.insert(header.name.clone(), header.render(&facts)?);
        }
        Ok(())
    }

    fn signatures(&self, facts: &Facts<'_>) -> Result<Signed, NoType> {
        let mut signed = Signed { newest: String::new(), all: Vec::new() };
        for (place, key) in self.keys.iter().enumerate() {
            let signature = key.sign(self.encoding, |sink| self.message.render(facts, sink))?;
            if place > 0 {
                signed.all.extend_from_slice(self.join.as_bytes());
            }
            let facts = Facts { signature: &signature, ..*facts };
            let each = self.ed25519.as_ref().filter(|_| matches!(key, Key::Ed25519(_)));
            each.unwrap_or(&self.each).render(&facts, |part| signed.all.extend_from_slice(part))?;
            if place == 0 {
                signed.newest = signature;
            }
        }
        Ok(signed)
    }
}

/// One attempt's signatures.
struct Signed {
    /// The newest secret's, bare.
    newest: String,
    /// All of them as `each` writes them, joined.
    all: Vec<u8>,
}

impl Header {
    fn is_signed(&self) -> bool {
        self.template.names(Placeholder::Signature) || self.template.names(Placeholder::Signatures)
    }

    fn render(&self, facts: &Facts<'_>) -> Result<HeaderValue, Unrenderable> {
        let mut value = Vec::with_capacity(128);
        self.template
            .render(facts, |part| value.extend_from_slice(part))
            .map_err(|NoType| needs_type(&format!("the header `{}`", self.name)))?;
        // Ids and signatures are printable, so only a type can be at fault.
        let holds = value.iter().all(|byte| matches!(byte, b' '..=b'~')) && value.trim_ascii() == value;
        holds.then_some(value).and_then(|value| HeaderValue::try_from(value).ok()).ok_or_else(|| {
            let text = format!(
                "the header `{}` can't hold the event's type: a header holds visible ASCII only",
                self.name
            );
            Unrenderable(text.into())
        })
    }
}

const NOT_PRINTABLE: &str = "a header holds visible ASCII only; remove the other characters";

fn compile_each(setting: &str, text: &str, faults: &mut Vec<SpecFault>) -> Option<Template> {
    let each = template(setting, text, IN_EACH, faults);
    if each.as_ref().is_some_and(|each| !each.names(Placeholder::Signature)) {
        faults.push(fault(setting, "it has no `{{signature}}`; write for example `v1={{signature}}`"));
    }
    if !printable(text) {
        faults.push(fault(setting, NOT_PRINTABLE));
    }
    each
}

fn compile_headers(
    spec: &SignatureSpec,
    names: &mut HashSet<HeaderName>,
    faults: &mut Vec<SpecFault>,
) -> Vec<Header> {
    let mut headers = Vec::with_capacity(spec.headers.len());
    for (name, text) in &spec.headers {
        let setting = format!("signature.headers.{name}");
        if !printable(text) || text.trim() != text {
            faults.push(fault(&setting, "a header holds visible ASCII, without spaces at its ends"));
        }
        let template = template(&setting, text, IN_HEADERS, faults);
        match free_name(name) {
            Ok(name) if !names.insert(name.clone()) => {
                faults.push(fault(&setting, "the header is set twice (names differ only in case); keep one"));
            }
            Ok(name) => headers.extend(template.map(|template| Header { name, template })),
            Err(text) => faults.push(fault(&setting, &text)),
        }
    }
    headers
}

fn compile_keys(spec: &SignatureSpec, faults: &mut Vec<SpecFault>) -> Vec<Key> {
    let mut keys = Vec::with_capacity(spec.secrets.len());
    for (place, secret) in spec.secrets.iter().enumerate() {
        match Key::read(secret, spec) {
            Ok(key) => keys.push(key),
            Err(text) => faults.push(fault(&format!("secrets.{place}"), text)),
        }
    }
    keys
}

pub(super) fn template(
    setting: &str,
    text: &str,
    known: &'static [Placeholder],
    faults: &mut Vec<SpecFault>,
) -> Option<Template> {
    Template::parse(text, known).map_err(|error| faults.push(fault(setting, &error.to_string()))).ok()
}

pub(super) fn fault(setting: &str, text: &str) -> SpecFault {
    SpecFault { setting: setting.to_owned(), fault: text.to_owned() }
}

fn printable(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b' '..=b'~'))
}

fn needs_type(what: &str) -> Unrenderable {
    Unrenderable(format!("{what} names the event's type, and the event has none").into())
}

fn timestamp(now_ms: i64, form: TimestampForm) -> String {
    match form {
        TimestampForm::Seconds => now_ms.div_euclid(1000).to_string(),
        TimestampForm::Milliseconds => now_ms.to_string(),
        TimestampForm::Rfc3339 => {
            let time = jiff::Timestamp::from_second(now_ms.div_euclid(1000)).unwrap_or_default();
            time.to_string()
        }
    }
}
