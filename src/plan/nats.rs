//! `sources.NAME.nats`.

use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;

use super::consumers::Reads;
use super::sources::{Start, start};
use super::walk::{Item, Keys};
use crate::domain::SubjectPattern;

/// `sources.NAME.nats`.
#[derive(Debug, Clone)]
pub struct Nats {
    /// `servers`: URLs such as `nats://localhost:4222`, without user, password or token.
    pub servers: Vec<String>,
    /// `subjects`: what is read; no two of them overlap. Never empty.
    pub subjects: Vec<SubjectPattern>,
    /// How it is read.
    pub mode: NatsMode,
    /// `tls`.
    pub tls: Option<NatsTls>,
    /// `creds`, `nkey`, `user` and `password`, or `token`.
    pub login: NatsLogin,
}

/// How subjects are read.
#[derive(Debug, Clone)]
pub enum NatsMode {
    /// With `stream`: JetStream, at least once.
    JetStream(JetStream),
    /// Without: core NATS, at most once.
    Core {
        /// `queue`: replicas share the messages of one queue group.
        queue: String,
    },
}

/// A durable pull consumer on a user's stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JetStream {
    /// `stream`.
    pub stream: String,
    /// `durable`.
    pub durable: String,
    /// Where a durable that does not exist yet starts.
    pub start: Start,
    /// `ack_wait`: a message that is not acknowledged or in progress for so long comes again.
    pub ack_wait: Duration,
    /// `max_ack_pending`: how many messages all replicas together may have open.
    pub max_ack_pending: u32,
}

/// `sources.NAME.nats.tls`. Its presence makes TLS a must.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NatsTls {
    /// `ca`: a PEM file of certificates that are trusted beside the system's.
    pub ca: Option<PathBuf>,
    /// `cert` and `key`: PEM files with the client's certificate and its key.
    pub client: Option<(PathBuf, PathBuf)>,
    /// `first`: the handshake comes before the server says anything.
    pub first: bool,
}

/// How we log in to NATS.
#[derive(Debug, Clone)]
pub enum NatsLogin {
    /// Without anything.
    Anonymous,
    /// `creds`: a credentials file.
    CredentialsFile(PathBuf),
    /// `creds`: the text of a credentials file, for example by `${file:…}` or `${env:…}`.
    Credentials(SecretString),
    /// `nkey`: a seed (`S…`).
    Nkey(SecretString),
    /// `user` and `password`.
    User {
        /// `user`.
        user: SecretString,
        /// `password`.
        password: SecretString,
    },
    /// `token`.
    Token(SecretString),
}

/// Of the durable of one retry tier all replicas together may have so many records open, those that are
/// not due yet among them.
pub(crate) const OPEN_OF_A_TIER: u32 = 20_000;

/// Of an ordered target's own durable one message is open at a time.
pub(crate) const OPEN_IN_ORDER: u32 = 1;

impl Nats {
    /// How many messages all replicas together may have open of the durable that this is read through;
    /// `None` without one.
    pub fn max_ack_pending(&self, reads: Reads) -> Option<u32> {
        match (reads, &self.mode) {
            (Reads::Tiers, _) => Some(OPEN_OF_A_TIER),
            (Reads::Ordered(_), NatsMode::JetStream(_)) => Some(OPEN_IN_ORDER),
            (Reads::Shared, NatsMode::JetStream(settings)) => Some(settings.max_ack_pending),
            (Reads::Shared | Reads::Ordered(_), NatsMode::Core { .. }) => None,
        }
    }
}

/// Keys that only mean something with a stream.
const OF_JETSTREAM: [&str; 4] = ["durable", "start", "ack_wait", "max_ack_pending"];
/// What the text of a credentials file begins with.
pub(super) const CREDENTIALS: &str = "-----BEGIN NATS USER JWT-----";

/// Reads `nats`.
pub(super) fn nats(item: &Item<'_>) -> Nats {
    let mut keys = item.keys();
    let nats = Nats {
        servers: servers(&mut keys),
        subjects: subjects(&mut keys),
        mode: mode(&mut keys),
        tls: keys.get("tls").map(|item| tls(&item)),
        login: login(item, &mut keys),
    };
    keys.done();
    nats
}

/// `servers`: a text with commas or a list of URLs.
fn servers(keys: &mut Keys<'_>) -> Vec<String> {
    let Some(item) = keys.require("servers", "write for example `servers: nats://localhost:4222`") else {
        return Vec::new();
    };
    let elements = item.elements();
    if elements.is_empty() {
        item.fault("at least one server is needed; write for example `nats://localhost:4222`");
    }
    elements.iter().flat_map(|item| item.parse(Vec::new(), addresses)).collect()
}

fn addresses(text: &str) -> Result<Vec<String>, String> {
    text.split(',').map(|part| address(part.trim())).collect()
}

fn address(text: &str) -> Result<String, String> {
    // Neither is repeated: a password may stand in it.
    if text.contains('@') {
        return Err(
            "a server's address holds no user and no password; write `user` and `password`, or `token`"
                .to_owned(),
        );
    }
    let parsed = text.parse::<async_nats::ServerAddr>();
    let known = matches!(text.split_once("://"), None | Some(("nats" | "tls", _)));
    match parsed {
        Ok(_) if known && !text.contains(char::is_whitespace) => Ok(text.to_owned()),
        _ => Err(
            "a server is written `nats://host:port` or `tls://host:port`, several with commas or as a list"
                .to_owned(),
        ),
    }
}

fn subjects(keys: &mut Keys<'_>) -> Vec<SubjectPattern> {
    let Some(item) = keys.require("subjects", "write for example `subjects: ['orders.>']`") else {
        return Vec::new();
    };
    let elements = item.elements();
    if elements.is_empty() {
        item.fault("at least one subject is needed; write for example `subjects: ['orders.>']`");
    }
    let mut subjects: Vec<(SubjectPattern, Item<'_>)> = Vec::new();
    for item in elements {
        let read = item.parse(None, |text| {
            text.parse().map(Some).map_err(|fault| format!("{} is no subject: {fault}", item.quoted()))
        });
        let Some(subject): Option<SubjectPattern> = read else { continue };
        if let Some((_, other)) = subjects.iter().find(|(other, _)| other.overlaps(&subject)) {
            item.fault(format!(
                "{} overlaps {}: a message would come twice; remove one of them",
                item.quoted(),
                other.quoted()
            ));
        }
        subjects.push((subject, item));
    }
    subjects.into_iter().map(|(subject, _)| subject).collect()
}

fn mode(keys: &mut Keys<'_>) -> NatsMode {
    let name = |item: Item<'_>| item.parse(String::new(), object_name);
    let Some(stream) = keys.get("stream") else {
        for key in OF_JETSTREAM {
            if let Some(item) = keys.get(key) {
                item.fault("only with `stream`; core NATS keeps nothing, so remove this or name a stream");
            }
        }
        let queue = keys.get("queue").map_or_else(String::new, |item| {
            item.parse(String::new(), |text| match text.parse::<SubjectPattern>() {
                Ok(queue) if queue.is_literal() => Ok(text.to_owned()),
                _ => Err("a queue group's name has no white space and no `*` or `>`".to_owned()),
            })
        });
        return NatsMode::Core { queue };
    };
    if let Some(item) = keys.get("queue") {
        item.fault("only without `stream`; replicas share a `durable` there");
    }
    NatsMode::JetStream(JetStream {
        stream: name(stream),
        durable: keys.get("durable").map_or_else(String::new, name),
        start: keys.get("start").map_or(Start::Latest, |item| start(&item)),
        ack_wait: keys
            .get("ack_wait")
            .map_or(Duration::from_secs(60), |item| item.duration(Duration::from_secs(1))),
        max_ack_pending: keys.get("max_ack_pending").map_or(20_000, |item| item.number(1..=1_000_000)),
    })
}

/// The name of a stream or durable.
pub(super) fn object_name(text: &str) -> Result<String, String> {
    let wrong = |c: char| c.is_whitespace() || c.is_control() || ".*>/\\".contains(c);
    match text.is_empty() || text.contains(wrong) {
        true => Err("the name of a stream or durable has no white space and none of `. * > / \\`".to_owned()),
        false => Ok(text.to_owned()),
    }
}

fn tls(item: &Item<'_>) -> NatsTls {
    let mut keys = item.keys();
    let path = |item: Item<'_>| PathBuf::from(item.nonempty());
    let (ca, first) = (keys.get("ca").map(path), keys.get("first").is_some_and(|item| item.flag()));
    let (certificate, key) = (keys.get("cert").map(path), keys.get("key").map(path));
    match (&certificate, &key) {
        (Some(_), None) => keys.missing("key", "`cert` needs the key that belongs to it"),
        (None, Some(_)) => keys.missing("cert", "`key` needs the certificate that belongs to it"),
        _ => {}
    }
    keys.done();
    NatsTls { ca, client: certificate.zip(key), first }
}

fn login(item: &Item<'_>, keys: &mut Keys<'_>) -> NatsLogin {
    let (creds, nkey, token) = (keys.get("creds"), keys.get("nkey"), keys.get("token"));
    let (user, password) = (keys.get("user"), keys.get("password"));
    let ways = [creds.is_some(), nkey.is_some(), token.is_some(), user.is_some() || password.is_some()];
    if ways.iter().filter(|way| **way).count() > 1 {
        item.fault("there is more than one way to log in; keep one of `creds`, `nkey`, `user` and `password`, `token`");
    }
    let secret = |item: Item<'_>| item.secret();
    match (&user, &password) {
        (Some(_), None) => keys.missing("password", "`user` needs it"),
        (None, Some(_)) => keys.missing("user", "`password` needs it"),
        _ => {}
    }
    if let Some(item) = creds {
        return item.parse(NatsLogin::Anonymous, credentials);
    }
    if let Some(item) = nkey {
        return NatsLogin::Nkey(
            item.parse(SecretString::default(), |text| seed(text).map(|()| SecretString::from(text))),
        );
    }
    match (user.map(secret), password.map(secret), token.map(secret)) {
        (Some(user), Some(password), _) => NatsLogin::User { user, password },
        (_, _, Some(token)) => NatsLogin::Token(token),
        _ => NatsLogin::Anonymous,
    }
}

/// `creds`: a path, or what such a file holds.
fn credentials(text: &str) -> Result<NatsLogin, String> {
    if text.contains(CREDENTIALS) {
        return Ok(NatsLogin::Credentials(SecretString::from(text)));
    }
    // A path is shown when its file can't be read, so a secret that was put here may not pass for one.
    let looks_secret = text.contains(['\n', '\r']) || text.starts_with("eyJ") || seed(text).is_ok();
    match text.trim().is_empty() || looks_secret {
        true => Err(format!(
            "neither the path of a credentials file nor the text of one, which holds `{CREDENTIALS}`; a seed alone \
             is written as `nkey`"
        )),
        false => Ok(NatsLogin::CredentialsFile(PathBuf::from(text))),
    }
}

/// The form of an nkey's seed: base32, and of a user.
fn seed(text: &str) -> Result<(), String> {
    let base32 = |byte: u8| byte.is_ascii_uppercase() || (b'2'..=b'7').contains(&byte);
    match text.starts_with("SU") && text.len() == 58 && text.bytes().all(base32) {
        true => Ok(()),
        false => Err("no seed of a user's nkey; it begins with `SU` and has 58 of `A-Z 2-7`".to_owned()),
    }
}
