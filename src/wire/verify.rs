//! The receiver's side: judges a signature by the same [`SignatureSpec`] that makes it, so that every
//! dialect and every general form that can be sent can be verified too.
//!
//! The templates of the headers are read backwards: what a header holds where `{{id}}`,
//! `{{timestamp}}` or a signature stands in its template is taken out, the signed message is put
//! together again, and one of the signatures must be that of a live secret. A timestamp that is signed
//! must be near to the receiver's time.
//!
//! ```
//! use hookferry::wire::verify::Verifier;
//! use hookferry::wire::{Algorithm, Encoding, KeyForm, SignatureSpec, TimestampForm};
//! use hyper::header::HeaderMap;
//!
//! let spec = SignatureSpec {
//!     secrets: vec!["whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD".into()],
//!     message: "{{id}}.{{timestamp}}.{{body}}".into(),
//!     algorithm: Algorithm::HmacSha256,
//!     key: KeyForm::Base64,
//!     encoding: Encoding::Base64,
//!     each: "v1,{{signature}}".into(),
//!     ed25519: Some("v1a,{{signature}}".into()),
//!     join: " ".into(),
//!     timestamp: TimestampForm::Seconds,
//!     headers: vec![
//!         ("webhook-id".into(), "{{id}}".into()),
//!         ("webhook-timestamp".into(), "{{timestamp}}".into()),
//!         ("webhook-signature".into(), "{{signatures}}".into()),
//!     ],
//! };
//! let mut headers = HeaderMap::new();
//! headers.insert("webhook-id", "msg_27UH4WbU6Z5A5EzD8u03UvzRbpk".parse()?);
//! headers.insert("webhook-timestamp", "1649367553".parse()?);
//! headers.insert("webhook-signature", "v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw=".parse()?);
//! let body = br#"{"email":"test@example.com","username":"test_user"}"#;
//!
//! let verifier = Verifier::compile(&spec, "crm").expect("a whole specification");
//! let a_minute_later = 1_649_367_553_000 + 60_000;
//! let verified = verifier.verify(&headers, body, a_minute_later)?;
//! assert_eq!(verified.id.as_deref(), Some("msg_27UH4WbU6Z5A5EzD8u03UvzRbpk"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::fmt;
use std::time::Duration;

use hyper::header::{HeaderMap, HeaderName};
use regex::Regex;

use super::SpecFault;
use super::checking_key::CheckingKey;
use super::headers::free_name;
use super::key::decoded;
use super::signature::{fault, template};
use super::spec::{Algorithm, Encoding, SignatureSpec, TimestampForm};
use super::template::{Facts, IN_EACH, IN_HEADERS, IN_MESSAGE, Placeholder, Template};

/// How far a signed timestamp may be from the receiver's time, both ways.
pub const TOLERANCE: Duration = Duration::from_secs(300);

/// A sender has a few live secrets; nobody makes us compare with thousands of signatures.
const MOST_SIGNATURES: usize = 32;

/// Judges the signatures of one target. `Debug` shows no key.
pub struct Verifier {
    /// Newest first.
    keys: Vec<CheckingKey>,
    message: Template,
    target_id: Box<str>,
    encoding: Encoding,
    timestamp: TimestampForm,
    headers: Vec<Header>,
    /// The forms that one signature in a list of them can have.
    each: Vec<Form>,
    tolerance: Duration,
}

/// A header that must be there, and the form of its value.
struct Header {
    name: HeaderName,
    form: Form,
}

/// A template that is read backwards.
struct Form {
    pattern: Regex,
    /// What the groups of the pattern stand for.
    groups: Vec<Placeholder>,
}

/// A signature that holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// Which of the secrets made it; 0 is the newest.
    pub secret: usize,
    /// When it was signed, in milliseconds since 1970, if that is signed.
    pub signed_ms: Option<i64>,
    /// The event's id, if it is signed.
    pub id: Option<String>,
}

/// Why a request is refused. Repeats nothing of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A header that the judgement needs is not there.
    #[error("the header `{0}` is missing")]
    Missing(Box<str>),
    /// A header can't be read.
    #[error("the header `{header}` is malformed: {reason}")]
    Malformed {
        /// Its name.
        header: Box<str>,
        /// What is wrong.
        reason: Box<str>,
    },
    /// It was signed longer ago than is tolerated.
    #[error("the timestamp is too old: signed {} s ago, tolerated are {} s", age.as_secs(), tolerance.as_secs())]
    TooOld {
        /// How long ago.
        age: Duration,
        /// What is tolerated.
        tolerance: Duration,
    },
    /// It was signed further in the future than is tolerated.
    #[error(
        "the timestamp is in the future: signed {} s from now, tolerated are {} s", ahead.as_secs(), tolerance.as_secs()
    )]
    InFuture {
        /// How far.
        ahead: Duration,
        /// What is tolerated.
        tolerance: Duration,
    },
    /// No signature is one of a live secret over this body.
    #[error(
        "no signature matches: {signatures} in the request, {secrets} live secret(s). Another secret, or not the \
         bytes that were signed"
    )]
    NoMatch {
        /// How many signatures the request has.
        signatures: usize,
        /// How many secrets were tried.
        secrets: usize,
    },
}

impl Refusal {
    /// A name for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Refusal::Missing(_) => "missing_header",
            Refusal::Malformed { .. } => "malformed_header",
            Refusal::TooOld { .. } => "timestamp_too_old",
            Refusal::InFuture { .. } => "timestamp_in_future",
            Refusal::NoMatch { .. } => "no_match",
        }
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier").field("keys", &self.keys.len()).finish_non_exhaustive()
    }
}

impl Verifier {
    /// Prepares to judge what `spec` signs for the target that receivers know as `target_id`. For
    /// Ed25519 a secret may also be the public key, `whpk_<base64>`.
    ///
    /// # Errors
    /// Every setting that can't be used; also where a receiver can't know what is signed, because no
    /// header holds it.
    pub fn compile(spec: &SignatureSpec, target_id: &str) -> Result<Verifier, Vec<SpecFault>> {
        let mut faults = Vec::new();
        let keys = keys(spec, &mut faults);
        let message = template("signature.message", &spec.message, IN_MESSAGE, &mut faults);
        let each = template("signature.each", &spec.each, IN_EACH, &mut faults);
        let ed25519 = spec.ed25519.as_ref();
        let ed25519 = ed25519.and_then(|text| template("signature.ed25519", text, IN_EACH, &mut faults));
        let headers = headers(spec, &mut faults);
        let (Some(message), Some(each), true) = (message, each, faults.is_empty()) else {
            return Err(faults);
        };
        let wanted = wanted(&message, &headers)?;
        let whole: Vec<Algorithm> = [Some(spec.algorithm), ed25519.as_ref().map(|_| Algorithm::Ed25519)]
            .into_iter()
            .flatten()
            .collect();
        let mut forms = vec![Form::of(&each, spec, &[spec.algorithm], Ends::Free)?];
        if let Some(each) = &ed25519 {
            forms.push(Form::of(each, spec, &[Algorithm::Ed25519], Ends::Free)?);
        }
        Ok(Verifier {
            keys,
            message,
            target_id: target_id.into(),
            encoding: spec.encoding,
            timestamp: spec.timestamp,
            headers: headers
                .into_iter()
                .filter(|(_, template)| wanted.iter().any(|placeholder| template.names(*placeholder)))
                .map(|(name, template)| {
                    Ok(Header { name, form: Form::of(&template, spec, &whole, Ends::Anchored)? })
                })
                .collect::<Result<_, Vec<SpecFault>>>()?,
            each: forms,
            tolerance: TOLERANCE,
        })
    }

    /// With another tolerance than [`TOLERANCE`].
    pub fn tolerating(mut self, tolerance: Duration) -> Verifier {
        self.tolerance = tolerance;
        self
    }

    /// The headers that a request must have to be judged.
    pub fn headers(&self) -> impl Iterator<Item = &HeaderName> {
        self.headers.iter().map(|header| &header.name)
    }

    /// Judges a request that came at `now_ms` (milliseconds since 1970). `body` is what came, byte by
    /// byte.
    ///
    /// # Errors
    /// Why it is refused.
    pub fn verify(&self, headers: &HeaderMap, body: &[u8], now_ms: i64) -> Result<Verified, Refusal> {
        let found = self.found(headers)?;
        let signed_ms = match found.timestamp {
            Some((timestamp, header)) if self.message.names(Placeholder::Timestamp) => {
                Some(self.signed_at(timestamp, header, now_ms)?)
            }
            _ => None,
        };
        let facts = Facts {
            id: found.id.map_or("", |(id, _)| id),
            timestamp: found.timestamp.map_or("", |(timestamp, _)| timestamp),
            event_type: found.event_type.or(found.event_type_path).map(|(event_type, _)| event_type),
            target_id: &self.target_id,
            body,
            signature: "",
            signatures: b"",
        };
        let made_one = |key: &CheckingKey| {
            let message = |sink: &mut dyn FnMut(&[u8])| self.message.render(&facts, sink);
            // A message that names the type is not compiled without a header that holds it.
            key.made_one_of(&found.signatures, message).unwrap_or(false)
        };
        let secret = self
            .keys
            .iter()
            .position(made_one)
            .ok_or(Refusal::NoMatch { signatures: found.signatures.len(), secrets: self.keys.len() })?;
        let id = found.id.filter(|_| self.message.names(Placeholder::Id));
        Ok(Verified { secret, signed_ms, id: id.map(|(id, _)| id.to_owned()) })
    }

    /// What the headers hold.
    fn found<'r>(&'r self, headers: &'r HeaderMap) -> Result<Found<'r>, Refusal> {
        let mut found = Found::default();
        for header in &self.headers {
            let text = single(headers, &header.name)?;
            let groups = header.form.pattern.captures(text).ok_or_else(|| {
                malformed(&header.name, format!("it is not of the form {}", described(&header.form)))
            })?;
            for (placeholder, group) in header.form.groups.iter().zip(groups.iter().skip(1)) {
                let value = group.map_or("", |group| group.as_str());
                self.note(&mut found, *placeholder, value, &header.name)?;
            }
        }
        Ok(found)
    }

    fn note<'r>(
        &'r self,
        found: &mut Found<'r>,
        placeholder: Placeholder,
        value: &'r str,
        header: &'r HeaderName,
    ) -> Result<(), Refusal> {
        let once = match placeholder {
            Placeholder::Id => &mut found.id,
            Placeholder::Timestamp => &mut found.timestamp,
            Placeholder::EventType => &mut found.event_type,
            Placeholder::EventTypePath => &mut found.event_type_path,
            Placeholder::Signature => {
                found.signatures.extend(decoded(value, self.encoding));
                return Ok(());
            }
            Placeholder::Signatures => {
                return self.note_listed(found, value, header);
            }
            Placeholder::TargetId | Placeholder::Body => return Ok(()),
        };
        match *once {
            Some((known, first)) if known != value => {
                Err(malformed(header, format!("it contradicts the header `{first}`")))
            }
            _ => {
                *once = Some((value, header));
                Ok(())
            }
        }
    }

    /// The signatures of a list. Entries of another form are those of a version that we don't know.
    fn note_listed<'r>(
        &'r self,
        found: &mut Found<'r>,
        list: &'r str,
        header: &'r HeaderName,
    ) -> Result<(), Refusal> {
        let before = found.signatures.len();
        let entries = |form: &'r Form| form.pattern.captures_iter(list).map(move |groups| (form, groups));
        for (form, groups) in self.each.iter().flat_map(entries) {
            for (placeholder, group) in form.groups.iter().zip(groups.iter().skip(1)) {
                self.note(found, *placeholder, group.map_or("", |group| group.as_str()), header)?;
            }
            if found.signatures.len() > MOST_SIGNATURES {
                return Err(malformed(header, format!("it holds more than {MOST_SIGNATURES} signatures")));
            }
        }
        match (found.signatures.len() > before, self.each.first()) {
            (false, Some(form)) => {
                let form = described(form);
                Err(malformed(header, format!("it holds no signature of the form {form}")))
            }
            _ => Ok(()),
        }
    }

    fn signed_at(&self, timestamp: &str, header: &HeaderName, now_ms: i64) -> Result<i64, Refusal> {
        let number = || timestamp.parse::<i64>().ok();
        let signed_ms = match self.timestamp {
            TimestampForm::Seconds => number().and_then(|seconds| seconds.checked_mul(1000)),
            TimestampForm::Milliseconds => number(),
            TimestampForm::Rfc3339 => {
                timestamp.parse::<jiff::Timestamp>().ok().map(jiff::Timestamp::as_millisecond)
            }
        };
        let signed_ms = signed_ms.ok_or_else(|| malformed(header, "its timestamp is no time".to_owned()))?;
        let apart = Duration::from_millis(signed_ms.abs_diff(now_ms));
        match apart <= self.tolerance {
            true => Ok(signed_ms),
            false if signed_ms < now_ms => Err(Refusal::TooOld { age: apart, tolerance: self.tolerance }),
            false => Err(Refusal::InFuture { ahead: apart, tolerance: self.tolerance }),
        }
    }
}

/// What was read from the headers, with the header that it stood in first.
#[derive(Default)]
struct Found<'r> {
    id: Option<(&'r str, &'r HeaderName)>,
    timestamp: Option<(&'r str, &'r HeaderName)>,
    event_type: Option<(&'r str, &'r HeaderName)>,
    event_type_path: Option<(&'r str, &'r HeaderName)>,
    signatures: Vec<Vec<u8>>,
}

/// A header's only value.
fn single<'r>(headers: &'r HeaderMap, name: &HeaderName) -> Result<&'r str, Refusal> {
    let mut values = headers.get_all(name).iter();
    let value = values.next().ok_or_else(|| Refusal::Missing(name.as_str().into()))?;
    if values.next().is_some() {
        return Err(malformed(name, "it stands in the request twice".to_owned()));
    }
    value.to_str().map_err(|_| malformed(name, "it holds other characters than visible ASCII".to_owned()))
}

fn malformed(header: &HeaderName, reason: String) -> Refusal {
    Refusal::Malformed { header: header.as_str().into(), reason: reason.into() }
}

/// Where a form may stand in a text.
#[derive(Clone, Copy)]
enum Ends {
    /// It is the whole text.
    Anchored,
    /// Anywhere.
    Free,
}

impl Form {
    fn of(
        template: &Template,
        spec: &SignatureSpec,
        algorithms: &[Algorithm],
        ends: Ends,
    ) -> Result<Form, Vec<SpecFault>> {
        let (pattern, groups) = template.pattern(|placeholder| pattern(placeholder, spec, algorithms));
        let pattern = match ends {
            Ends::Anchored => format!("^{pattern}$"),
            Ends::Free => pattern,
        };
        let pattern = Regex::new(&pattern).map_err(|_| {
            let text = "this template is too large to be read back; shorten it";
            vec![SpecFault { setting: "signature".to_owned(), fault: text.to_owned() }]
        })?;
        Ok(Form { pattern, groups })
    }
}

/// What may stand for a placeholder; just what the sender writes with one of these algorithms.
fn pattern(placeholder: Placeholder, spec: &SignatureSpec, algorithms: &[Algorithm]) -> String {
    match placeholder {
        Placeholder::Id | Placeholder::TargetId => "[!-~]+?".to_owned(),
        Placeholder::EventType | Placeholder::EventTypePath => "[ -~]+?".to_owned(),
        Placeholder::Body | Placeholder::Signatures => "[ -~]*?".to_owned(),
        Placeholder::Timestamp => match spec.timestamp {
            TimestampForm::Seconds | TimestampForm::Milliseconds => "[0-9]{1,18}".to_owned(),
            TimestampForm::Rfc3339 => "[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z".to_owned(),
        },
        Placeholder::Signature => {
            let each: Vec<String> = algorithms.iter().map(|one| signature(*one, spec.encoding)).collect();
            each.join("|")
        }
    }
}

fn signature(algorithm: Algorithm, encoding: Encoding) -> String {
    let bytes = match algorithm {
        Algorithm::HmacSha256 => 32,
        Algorithm::HmacSha512 | Algorithm::Ed25519 => 64,
    };
    match encoding {
        Encoding::Hex => format!("[0-9a-f]{{{}}}", 2 * bytes),
        Encoding::Base64 => {
            let padding = (3 - bytes % 3) % 3;
            format!("[A-Za-z0-9+/]{{{}}}={{{padding}}}", (bytes + padding) / 3 * 4 - padding)
        }
    }
}

/// The parts of a form, without its text: templates are configured and may hold what nobody should see.
fn described(form: &Form) -> String {
    let parts: Vec<String> = form.groups.iter().map(|group| format!("`{{{{{}}}}}`", group.name())).collect();
    format!("that the sender writes (with {})", parts.join(" "))
}

fn keys(spec: &SignatureSpec, faults: &mut Vec<SpecFault>) -> Vec<CheckingKey> {
    if spec.secrets.is_empty() {
        faults.push(fault("secrets", "there is none, and without one nothing can be judged"));
    }
    let mut keys = Vec::with_capacity(spec.secrets.len());
    for (place, secret) in spec.secrets.iter().enumerate() {
        match CheckingKey::read(secret, spec) {
            Ok(key) => keys.push(key),
            Err(text) => faults.push(fault(&format!("secrets.{place}"), text)),
        }
    }
    keys
}

fn headers(spec: &SignatureSpec, faults: &mut Vec<SpecFault>) -> Vec<(HeaderName, Template)> {
    let mut headers = Vec::with_capacity(spec.headers.len());
    for (name, text) in &spec.headers {
        let setting = format!("signature.headers.{name}");
        let template = template(&setting, text, IN_HEADERS, faults);
        match free_name(name) {
            Ok(name) => headers.extend(template.map(|template| (name, template))),
            Err(text) => faults.push(fault(&setting, &text)),
        }
    }
    headers
}

/// The placeholders whose headers are needed: the signatures, and all of the message that only a
/// header can say.
fn wanted(
    message: &Template,
    headers: &[(HeaderName, Template)],
) -> Result<Vec<Placeholder>, Vec<SpecFault>> {
    use Placeholder::{EventType, EventTypePath, Id, Signature, Signatures, Timestamp};
    let held = |placeholder: &Placeholder| headers.iter().any(|(_, template)| template.names(*placeholder));
    let mut wanted: Vec<Placeholder> = [Signature, Signatures].into_iter().filter(held).collect();
    if wanted.is_empty() {
        let text = "no header carries the signature; write `{{signature}}` or `{{signatures}}` in one";
        return Err(vec![fault("signature.headers", text)]);
    }
    let mut faults = Vec::new();
    for placeholder in [Id, Timestamp, EventType, EventTypePath] {
        if !message.names(placeholder) {
            continue;
        }
        let sources: &[Placeholder] =
            if placeholder == EventTypePath { &[EventTypePath, EventType] } else { &[placeholder] };
        match sources.iter().find(|source| held(source)) {
            Some(source) => wanted.push(*source),
            None => faults.push(fault(
                "signature.headers",
                &format!(
                    "`{{{{{}}}}}` is signed, but no header holds it, so that no receiver can verify; write it in one",
                    placeholder.name()
                ),
            )),
        }
    }
    if faults.is_empty() { Ok(wanted) } else { Err(faults) }
}
