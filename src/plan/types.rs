use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hyper::Method;
use ipnet::IpNet;
use secrecy::SecretString;

use super::auth::OAuth2;
use super::budget::Budget;
use super::proxy::Proxy;
use super::reload::Reload;
use super::tls::TargetTls;
use crate::domain::{
    BreakerPolicy, Condition, ConsumerId, Ordering, Place, Rate, RetryPolicy, SourceId, StatusSet,
    SubjectPattern, TargetId, Tenant, Tier, TypeSet,
};
use crate::wire::{Blueprint, RequestSpec};

/// The configuration after validation: immutable, hashed, swapped whole.
#[derive(Debug)]
pub struct Plan {
    /// `name`: the namespace of everything we own on brokers.
    pub name: String,
    /// `replicas`: how many processes run with this configuration.
    pub replicas: u32,
    /// The first 16 hex digits of SHA-256 over what was configured (secrets masked).
    pub hash: String,
    /// `admin`.
    pub admin: Admin,
    /// `log`.
    pub log: Log,
    /// `limits`.
    pub limits: Limits,
    /// `shutdown`.
    pub shutdown: Shutdown,
    /// `reload`.
    pub reload: Reload,
    /// In order of their names; [`SourceId`] is an index into it.
    pub sources: Vec<Source>,
    /// What reads the sources and the retry tiers;
    /// [`ConsumerId`] is an index into it.
    pub consumers: Vec<Consumer>,
    /// [`TargetId`] is an index into it. In order of their names; after a reload each keeps its place, and
    /// new ones stand behind. One that a reload did not change is the same as before.
    pub targets: Vec<Arc<Target>>,
    /// Those of `targets` that a reload took out of the configuration: what is open of them ends.
    pub removed: BTreeSet<TargetId>,
    /// In file order; [`RouteId`](crate::domain::RouteId) is an index into it.
    pub routes: Vec<Route>,
    /// `event_types`.
    pub event_types: EventTypes,
    /// The places that conditions look at; [`Condition::field`] is an index into it.
    pub fields: Vec<Place>,
    /// `dead_letters`.
    pub dead_letters: DeadLetters,
    /// All waits of retries and tiers are divided by this; 1, but where a schedule is rehearsed.
    pub time_scale: u32,
    /// The files that values came from by `${file:…}` and `template_file`.
    pub referred: BTreeSet<PathBuf>,
    /// What a user should know although it is no fault, for example rules of a dialect that are
    /// not enforced yet. One sentence each, with its place; `check` and `run` print them.
    pub notices: Vec<String>,
}

impl Plan {
    /// What reads them all: each source, each ordered target's own group, and the retry tiers on each
    /// broker that keeps some.
    pub(crate) fn consumers(sources: &[Source], targets: &[Arc<Target>], routes: &[Route]) -> Vec<Consumer> {
        let mut consumers = Vec::new();
        for (index, _) in sources.iter().enumerate() {
            let source = SourceId(index as u16);
            consumers.push(Consumer { source, reads: Reads::Shared });
            let named = |target: TargetId| {
                routes.iter().any(|route| route.takes_from(source) && route.to.contains(&target))
            };
            for (target, settings) in (0..).map(TargetId).zip(targets) {
                if settings.ordering != Ordering::None && named(target) {
                    consumers.push(Consumer { source, reads: Reads::Ordered(target) });
                }
            }
        }
        let keepers: BTreeSet<SourceId> = sources.iter().map(|source| source.store).collect();
        consumers.extend(keepers.into_iter().map(|source| Consumer { source, reads: Reads::Tiers }));
        consumers
    }

    /// The targets of this source that have a group or durable of their own.
    pub fn ordered_targets(&self, source: SourceId) -> impl Iterator<Item = TargetId> {
        let own = self.consumers.iter().filter(move |consumer| consumer.source == source);
        own.filter_map(|consumer| match consumer.reads {
            Reads::Ordered(target) => Some(target),
            Reads::Shared | Reads::Tiers => None,
        })
    }

    /// The targets of this source that its shared group or durable serves.
    pub fn shared_targets(&self, source: SourceId) -> impl Iterator<Item = TargetId> {
        let takes = move |target: &TargetId| {
            self.routes.iter().any(|route| route.takes_from(source) && route.to.contains(target))
        };
        self.unordered_targets().filter(takes)
    }

    /// The targets that are enabled and have no order, of all sources.
    pub fn unordered_targets(&self) -> impl Iterator<Item = TargetId> {
        let targets = self.live_targets();
        targets.filter(|(_, target)| target.enabled && target.ordering == Ordering::None).map(|(id, _)| id)
    }

    /// The targets of the configuration.
    pub fn live_targets(&self) -> impl Iterator<Item = (TargetId, &Arc<Target>)> {
        let targets = (0..).map(TargetId).zip(&self.targets);
        targets.filter(|(id, _)| !self.removed.contains(id))
    }

    /// How much of one consumer may be open, within `limits.window` and the [`Budget`].
    pub fn window(&self, consumer: ConsumerId) -> Window {
        Budget::of(self).window(consumer)
    }

    /// Divides all waits of retries by `scale`, at least 1, so that a schedule of hours can be watched in
    /// minutes; the lengths of the tiers are divided by whoever writes their records.
    pub fn rehearse(&mut self, scale: u32) {
        self.time_scale = scale.max(1);
        // Nobody else has them: a plan is rehearsed before it is used.
        for target in self.targets.iter_mut().filter_map(Arc::get_mut) {
            target.retry.divide_waits(self.time_scale);
        }
    }

    /// The Kafka group that reads the retry tiers: one for all sources of this name.
    pub fn tier_group(&self) -> String {
        format!("{}.retry", self.name)
    }

    /// The Kafka group of an ordered target, beside the shared one of a source.
    pub fn ordered_group(&self, shared: &str, target: TargetId) -> String {
        let name = self.targets.get(target.0 as usize).map_or("", |target| &target.name);
        format!("{shared}.{name}")
    }

    /// The Kafka topic of a retry tier.
    pub fn tier_topic(&self, tier: Tier) -> String {
        format!("{}.retry.{tier}", self.name)
    }

    /// The Kafka topic that says which dead letters were redriven or purged.
    pub fn dead_letter_state_topic(&self) -> String {
        format!("{}.dlq-state", self.name)
    }

    /// The JetStream subject of a retry tier.
    pub fn tier_subject(&self, tier: Tier) -> String {
        self.tier_topic(tier)
    }

    /// The JetStream stream of all retry tiers.
    pub fn tier_stream(&self) -> String {
        format!("{}-retry", self.name)
    }

    /// The consumer's name in metrics and logs: `shared`, `tiers`, or an ordered target's name.
    pub fn consumer_name(&self, consumer: &Consumer) -> &str {
        match consumer.reads {
            Reads::Shared => "shared",
            Reads::Tiers => "tiers",
            Reads::Ordered(target) => self.targets.get(target.0 as usize).map_or("", |target| &target.name),
        }
    }
}

/// What reads one kind of messages from the broker of a source, with its own group or durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Consumer {
    /// The source; of tiers, the one on whose broker they are.
    pub source: SourceId,
    /// What it reads.
    pub reads: Reads,
}

/// What a [`Consumer`] reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reads {
    /// The source's messages, for all targets that are not ordered.
    Shared,
    /// The source's messages, for one ordered target.
    Ordered(TargetId),
    /// Deliveries that wait in the retry tiers.
    Tiers,
}

/// `admin`.
#[derive(Debug, Clone)]
pub struct Admin {
    /// Where it is served. `/metrics`, `/healthz` and `/readyz` need no token.
    pub listen: SocketAddr,
    /// `token`: `/api` needs it; without one it is there on a loopback address only.
    pub token: Option<SecretString>,
}

/// `log`.
#[derive(Debug, Clone, Copy)]
pub struct Log {
    /// `text` or `json`.
    pub format: LogFormat,
    /// The least severe level that is written.
    pub level: LogLevel,
}

/// `log.format`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// `log.level`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogLevel {
    /// Only errors.
    Error,
    /// And warnings.
    Warn,
    /// And what happens to the process.
    Info,
    /// And every delivery.
    Debug,
    /// And libraries.
    Trace,
}

/// `limits`.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Attempts at once in the whole process.
    pub in_flight: usize,
    /// A message's largest value, in bytes; at most the window's bytes.
    pub max_event: usize,
    /// How much may be open at once, for each consumer.
    pub window: Window,
    /// `memory`: what windows, lanes and the queues of the brokers' clients may take together, in bytes.
    pub memory: u64,
}

/// `limits.window`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Bytes of open events.
    pub bytes: u64,
    /// Open events.
    pub events: u64,
}

/// `shutdown`.
#[derive(Debug, Clone, Copy)]
pub struct Shutdown {
    /// From the signal to the end of the process.
    pub deadline: Duration,
}

/// One of `sources`.
#[derive(Debug, Clone)]
pub struct Source {
    /// Its name.
    pub name: String,
    /// `kafka` or `nats`: where it reads.
    pub broker: Broker,
    /// The source whose broker keeps its dead letters; itself, unless `store` or `dead_letters.on`
    /// says otherwise.
    pub store: SourceId,
    /// What a message without a value does.
    pub tombstones: Tombstones,
    /// Where the parts of an event are.
    pub event: EventParts,
}

/// The broker of a source.
#[derive(Debug, Clone)]
pub enum Broker {
    /// `sources.NAME.kafka`.
    Kafka(Kafka),
    /// `sources.NAME.nats`.
    Nats(Nats),
}

impl Source {
    /// Its settings, if it reads from Kafka.
    pub fn kafka(&self) -> Option<&Kafka> {
        match &self.broker {
            Broker::Kafka(kafka) => Some(kafka),
            Broker::Nats(_) => None,
        }
    }

    /// Its settings, if it reads from NATS.
    pub fn nats(&self) -> Option<&Nats> {
        match &self.broker {
            Broker::Nats(nats) => Some(nats),
            Broker::Kafka(_) => None,
        }
    }
}

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

/// `sources.NAME.kafka`.
#[derive(Debug, Clone)]
pub struct Kafka {
    /// Comma-separated `bootstrap.servers`.
    pub brokers: String,
    /// What is read.
    pub topics: Vec<Topic>,
    /// The consumer group.
    pub group: String,
    /// Where a group without any commit starts.
    pub start: Start,
    /// librdkafka properties; values may be secrets.
    pub properties: Vec<(String, SecretString)>,
}

/// One entry of `topics`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Topic {
    /// By its exact name.
    Name(String),
    /// A regular expression; starts with `^`.
    Regex(String),
}

/// `start`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// Only what comes from now on.
    Latest,
    /// Everything that the broker still has.
    Earliest,
    /// What came in at most so long ago.
    Ago(Duration),
    /// What came in since this time, in milliseconds since 1970-01-01 UTC.
    At(i64),
}

/// `tombstones`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tombstones {
    /// Acknowledge and count.
    Ignore,
    /// Deliver as an empty body.
    Deliver,
    /// Write to the dead letters.
    DeadLetter,
}

/// `event`: for each part, the places to look at; the first that is present wins. `None` where
/// the configuration does not set a part: then the default list counts, and a CloudEvents envelope
/// wins over it (DESIGN.md §4.9); what is set counts for CloudEvents too.
#[derive(Debug, Clone, Default)]
pub struct EventParts {
    /// `event.type`.
    pub event_type: Option<Vec<Place>>,
    /// `event.id`.
    pub id: Option<Vec<Place>>,
    /// `event.time`.
    pub time: Option<Vec<Place>>,
    /// `event.subject`.
    pub subject: Option<Vec<Place>>,
    /// `event.key`.
    pub key: Option<Vec<Place>>,
    /// `event.source`.
    pub producer: Option<Vec<Place>>,
    /// `event.data`.
    pub data: Option<Vec<Place>>,
    /// `event.priority`.
    pub priority: Option<Vec<Place>>,
    /// `event.tenant`; where it is set, the source tells tenants apart.
    pub tenant: Option<Vec<Place>>,
}

impl EventParts {
    /// All places that are set.
    pub fn places(&self) -> impl Iterator<Item = &Place> {
        let EventParts { event_type, id, time, subject, key, producer, data, priority, tenant } = self;
        [event_type, id, time, subject, key, producer, data, priority, tenant].into_iter().flatten().flatten()
    }
}

/// One of `targets`.
#[derive(Debug)]
pub struct Target {
    /// Its name in the configuration.
    pub name: Arc<str>,
    /// `id`: as receivers see it.
    pub id: String,
    /// `tenant`: whose events it gets.
    pub tenant: Option<Tenant>,
    /// `enabled`. A switched-off target receives nothing; its deliveries are not opened.
    pub enabled: bool,
    /// `description`.
    pub description: Option<String>,
    /// `labels`, in order.
    pub labels: Vec<(String, String)>,
    /// Where to.
    pub url: TargetUrl,
    /// What people may see of `id` and `url`.
    pub shown: Shown,
    /// What its requests look like, as data.
    pub request: RequestSpec,
    /// The same, compiled: what is sent.
    pub blueprint: Blueprint,
    /// Which addresses it may have.
    pub egress: Egress,
    /// `method`.
    pub method: Method,
    /// `http`: the version that is spoken.
    pub http: HttpVersion,
    /// `auth: { oauth2 }`. The other kinds are headers of the blueprint.
    pub oauth2: Option<OAuth2>,
    /// `tls`.
    pub tls: Option<TargetTls>,
    /// `proxy`.
    pub proxy: Option<Proxy>,
    /// For one whole attempt: DNS, connect, TLS, headers and body.
    pub timeout: Duration,
    /// For one address of the host to take a connection, and then for what makes it ready (a
    /// proxy's answer, TLS).
    pub connect_timeout: Duration,
    /// Statuses that end a delivery well.
    pub success: StatusSet,
    /// What happens after a failure.
    pub retry: RetryPolicy,
    /// Attempts at once to this target in this process.
    pub concurrency: usize,
    /// `rate`.
    pub rate: Option<Rate>,
    /// `breaker`.
    pub breaker: Option<BreakerPolicy>,
    /// `disable_on`: an answer with one of these switches it off until a reload or restart.
    pub disable_on: StatusSet,
    /// `disable_after`: failures for so long, without a success, switch it off until a reload or restart.
    pub disable_after: Option<Duration>,
    /// `ordering`.
    pub ordering: Ordering,
    /// `key`: what `by_key` goes by, as an index into [`Plan::fields`]; the event's key without it.
    pub key: Option<usize>,
}

/// The version of HTTP that a target is spoken to in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HttpVersion {
    /// HTTP/1.1.
    One,
    /// HTTP/2: by ALPN over TLS, by prior knowledge without.
    Two,
}

/// A target's address. `Debug` and `Display` show scheme, host and port only; path and query may
/// be secret.
#[derive(Clone, PartialEq, Eq)]
pub struct TargetUrl(pub url::Url);

impl std::fmt::Debug for TargetUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

impl std::fmt::Display for TargetUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0.origin().ascii_serialization())
    }
}

/// What people may see of a target: `***` stands for what a reference brought in (DESIGN.md §4.11).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// Its id.
    pub id: Box<str>,
    /// Scheme, host and port of its address.
    pub url: Box<str>,
}

/// `egress`: which addresses a target may have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Egress {
    /// Only globally routable addresses.
    Public,
    /// Also RFC 1918, unique local and loopback addresses.
    Private,
    /// Globally routable addresses less `deny`, and what `allow` names.
    Listed {
        /// Allowed although they are not globally routable.
        allow: Vec<Network>,
        /// Refused although they would be allowed.
        deny: Vec<Network>,
    },
}

/// One entry of `egress.allow` or `egress.deny`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Network {
    /// An address or a range.
    Range(IpNet),
    /// A host by name, for whatever address it has.
    Host(HostPort),
}

/// A host name, and a port if only that one is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostPort {
    /// Lower case, without a trailing dot.
    pub host: String,
    /// `None` is every port.
    pub port: Option<u16>,
}

/// `event_types`: which types of events there are.
#[derive(Debug, Clone, Default)]
pub struct EventTypes {
    /// Those of `catalogues` and `declare`; without any, every type is as good as another.
    pub declared: BTreeSet<Box<str>>,
    /// `unknown`: what becomes of an event of any other type.
    pub unknown: UnknownTypes,
}

impl EventTypes {
    /// Whether types are declared, and this is none of them.
    pub fn is_unknown(&self, event_type: &str) -> bool {
        !self.declared.is_empty() && !self.declared.contains(event_type)
    }
}

/// `event_types.unknown`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum UnknownTypes {
    /// It is an event as any other.
    #[default]
    Allow,
    /// A warning, once for each type.
    Warn,
    /// It goes to the dead letters, with the reason `schema`.
    DeadLetter,
}

/// One of `routes`.
#[derive(Debug, Clone)]
pub struct Route {
    /// Its name; `route-N` (from 1) without one.
    pub name: Arc<str>,
    /// The sources that it takes from; empty is every source.
    pub from: Vec<SourceId>,
    /// `types`.
    pub types: TypeSet,
    /// `where`; all must hold.
    pub conditions: Vec<Condition>,
    /// `to`, only those that are enabled.
    pub to: Vec<TargetId>,
    /// `priority`; 0 without one.
    pub priority: i32,
    /// `tests`.
    pub tests: Vec<RouteTest>,
}

/// One of a route's `tests`: a message, and what the route has to do with its event.
#[derive(Debug, Clone)]
pub struct RouteTest {
    /// Where it stands in the configuration, for people.
    pub at: String,
    /// The source that it comes from.
    pub source: SourceId,
    /// The message's value, as JSON text.
    pub body: String,
    /// Its headers.
    pub headers: Vec<(String, String)>,
    /// Its key (Kafka).
    pub key: Option<String>,
    /// The subject that it is published to (NATS); the source's first one if not said.
    pub subject: Option<String>,
    /// The targets that this route has to send it to.
    pub to: Vec<TargetId>,
}

impl Route {
    /// Whether it takes from this source.
    pub fn takes_from(&self, source: SourceId) -> bool {
        self.from.is_empty() || self.from.contains(&source)
    }
}

/// `dead_letters`: where they are, on whichever broker keeps them.
#[derive(Debug, Clone)]
pub struct DeadLetters {
    /// On Kafka the topic; default `<name>.dlq`.
    pub topic: String,
    /// On NATS the stream; default `<name>-dlq`.
    pub stream: String,
    /// On NATS what subjects begin with; default `<name>.dlq`. A delivery's dead letter is written to
    /// `<subject>.<target>`, an event's own to `<subject>._event`.
    pub subject: String,
}
