//! What a target's requests look like, as data: the plan fills it from configuration (a dialect
//! is nothing but such data), and [`Blueprint::compile`](super::Blueprint::compile) turns it into
//! something that renders.

use std::ops::Range;

use secrecy::SecretString;

pub use super::handlebars::Roots;
pub use crate::json::JsonForm;

/// Everything that decides the bytes of a target's requests, except their address.
#[derive(Debug, Clone)]
pub struct RequestSpec {
    /// The target's id as receivers see it.
    pub target_id: String,
    /// The body.
    pub payload: PayloadSpec,
    /// The signature, if requests are signed.
    pub signature: Option<SignatureSpec>,
    /// Headers, in order.
    pub headers: Vec<HeaderSpec>,
    /// What proves to the receiver who we are; nothing else may write these headers.
    pub auth: Vec<AuthHeader>,
}

/// A header that `auth` writes.
#[derive(Debug, Clone)]
pub struct AuthHeader {
    /// The key below the target that asks for it, for example `auth.bearer`.
    pub setting: String,
    /// Its name.
    pub name: String,
    /// Its value; `None` if it is known only when an attempt is made: then the sender writes it.
    pub value: Option<SecretString>,
}

/// A header.
#[derive(Debug, Clone)]
pub struct HeaderSpec {
    /// As configured.
    pub name: String,
    /// Its value: a text, or a template of one. If a template comes to nothing, the header is left
    /// out.
    pub value: SecretString,
    /// Where in the value no tag can begin: what references brought in.
    pub literal: Vec<Range<usize>>,
    /// Who may see the value.
    pub visibility: Visibility,
}

/// Who may see a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Visibility {
    /// It is built in, as the `User-Agent` of a dialect is.
    Everybody,
    /// It was configured and may be secret: only the receiver.
    Receiver,
}

/// How a body is made.
#[derive(Debug, Clone, PartialEq)]
pub struct PayloadSpec {
    /// Its shape.
    pub shape: Shape,
    /// How JSON is written; not used for [`Shape::Raw`] and for binary CloudEvents.
    pub json: JsonForm,
    /// `Content-Type`; without one: `application/json` for [`Shape::Members`] and
    /// [`Shape::Template`], and for [`Shape::Raw`] the message's own `content-type` header, else
    /// `application/json` if the body is JSON, else `application/octet-stream`. Of a [`Shape::CloudEvent`]
    /// it is that of its data.
    pub content_type: Option<String>,
    /// What templates can name, of the payload and of headers.
    pub roots: Roots,
    /// Which members of the event's `data` are sent.
    pub passing: Passing,
}

impl PayloadSpec {
    /// The message's bytes, untouched.
    pub fn raw() -> PayloadSpec {
        PayloadSpec {
            shape: Shape::Raw,
            json: JsonForm::Exact,
            content_type: None,
            roots: Roots::default(),
            passing: Passing::default(),
        }
    }
}

/// Which top-level members of the event's `data` are sent.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Passing {
    /// Only these; `None` is all.
    pub include: Option<Vec<String>>,
    /// Not these.
    pub exclude: Vec<String>,
}

impl Passing {
    /// Whether all members are sent.
    pub fn is_everything(&self) -> bool {
        self.include.is_none() && self.exclude.is_empty()
    }

    /// Whether a member is sent.
    pub fn passes(&self, name: &str) -> bool {
        let named = |names: &[String]| names.iter().any(|own| own == name);
        self.include.as_deref().is_none_or(named) && !named(&self.exclude)
    }
}

/// The shape of a body.
#[derive(Debug, Clone, PartialEq)]
pub enum Shape {
    /// The message's bytes, untouched.
    Raw,
    /// The event's `data` alone; of an event whose body is no JSON, the message's bytes.
    Data,
    /// A JSON object of these members, in order.
    Members(Vec<Member>),
    /// A text made by a template; of its content type depends how values are escaped in it.
    Template {
        /// The template.
        text: String,
        /// The file that it stands in, for faults; without one it stands in the configuration.
        file: Option<String>,
    },
    /// A CloudEvent 1.0.
    CloudEvent {
        /// How it is put into a request.
        mode: CloudEventMode,
        /// Constant extension attributes: names, and values as JSON text.
        extensions: Vec<(String, String)>,
    },
}

/// How a CloudEvent is put into a request (HTTP binding §3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CloudEventMode {
    /// Attributes are `ce-` headers, and the body is the data.
    Binary,
    /// The body is a JSON object with attributes and data.
    Structured,
}

/// A part of a JSON object that is built for a receiver.
#[derive(Debug, Clone, PartialEq)]
pub enum Member {
    /// One member.
    Named {
        /// Its name.
        name: String,
        /// Its value.
        value: Value,
        /// What happens if the event has no such value.
        absent: WhenAbsent,
    },
    /// All members of the event's `data`, in its order, except those that have the name of a
    /// [`Member::Named`], even of one that this event leaves out.
    RestOfData,
}

/// What happens to a member whose value an event lacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhenAbsent {
    /// The event can't be rendered: receivers need the member.
    Refuse,
    /// The member is left out.
    LeaveOut,
}

/// Where a member's value comes from.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// The event's id.
    EventId,
    /// The event's type.
    EventType,
    /// The event's time as RFC 3339: its own text if it gave one, else with milliseconds and `Z`.
    EventTime,
    /// The event's time as a number of milliseconds since 1970.
    EventTimeMillis,
    /// The event's subject.
    EventSubject,
    /// Who produced the event.
    EventSource,
    /// The event's `data`.
    EventData,
    /// The target's id.
    TargetId,
    /// This JSON text.
    Literal(String),
    /// A JSON value whose texts are templates. One that is nothing but a tag, and whose value the
    /// event lacks, is left out.
    Tree(Tree),
}

/// A JSON value whose texts are templates.
#[derive(Debug, Clone, PartialEq)]
pub enum Tree {
    /// JSON text.
    Literal(String),
    /// A text with tags; one that is nothing but a `{{tag}}` is the tag's value, else it is a string.
    Text {
        /// The template.
        template: String,
        /// Where in it no tag can begin: what references brought in.
        literal: Vec<Range<usize>>,
    },
    /// An array.
    List(Vec<Tree>),
    /// An object.
    Map(Vec<(String, Tree)>),
}

/// How a request is signed. Templates know `{{id}}` (the event's id), `{{timestamp}}`,
/// `{{event.type}}`, `{{event.type_path}}` (the type with `/` for `.`) and `{{target.id}}`;
/// `message` also `{{body}}`; `each` also `{{signature}}`; `headers` also `{{signature}}` (the
/// newest secret's) and `{{signatures}}` (all, as `each` writes them, joined).
#[derive(Debug, Clone)]
pub struct SignatureSpec {
    /// Live secrets, newest first. Empty: the headers are sent, those with a signature are not.
    pub secrets: Vec<SecretString>,
    /// What is signed.
    pub message: String,
    /// With which algorithm.
    pub algorithm: Algorithm,
    /// How a secret's text becomes a key.
    pub key: KeyForm,
    /// How a signature is written.
    pub encoding: Encoding,
    /// One secret's signature in the list, for example `v1={{signature}}`.
    pub each: String,
    /// As `each`, of secrets that say by `whsk_` or `whpk_` that they are Ed25519 keys: these sign with
    /// Ed25519 then, whatever `algorithm` the others have. `None`: all sign with `algorithm`.
    pub ed25519: Option<String>,
    /// What stands between the signatures of the list.
    pub join: String,
    /// What `{{timestamp}}` is.
    pub timestamp: TimestampForm,
    /// Header names and their templates, in order.
    pub headers: Vec<(String, String)>,
}

/// Signature algorithms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// HMAC with SHA-256.
    HmacSha256,
    /// HMAC with SHA-512.
    HmacSha512,
    /// Ed25519; the key is the 32-byte seed, or seed and public key (64 bytes).
    Ed25519,
}

/// How a secret's text becomes a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyForm {
    /// The text's bytes.
    Text,
    /// Base64 (standard alphabet), after a `whsec_` or `whsk_` prefix if it has one.
    Base64,
}

/// How a signature is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// Lower-case hexadecimal.
    Hex,
    /// Base64 with the standard alphabet and padding.
    Base64,
}

/// What `{{timestamp}}` is: the time of the attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimestampForm {
    /// Whole seconds since 1970.
    Seconds,
    /// Milliseconds since 1970.
    Milliseconds,
    /// RFC 3339 in UTC with whole seconds.
    Rfc3339,
}
