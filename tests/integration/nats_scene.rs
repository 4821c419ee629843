//! One test's stage on NATS: fresh names, a stream of events, and a configuration that reads it.

use async_nats::jetstream::consumer::Info;
use async_nats::jetstream::stream::Config;

use crate::nats::{PrivateServer, Server};
use crate::process::fresh;
use crate::record::Record;
use crate::stage::{Private, Stage};

/// Long enough that a busy machine never takes it for a standstill.
const ACK_WAIT: &str = "30s";
const HASTY_ACK_WAIT: &str = "5s";

/// Names that no other test uses, on one server.
pub struct NatsScene {
    pub server: Server,
    /// `name:` of the configuration.
    pub name: String,
    pub stream: String,
    pub durable: String,
}

impl NatsScene {
    /// On the shared server, with a stream.
    pub fn stream(stem: &str) -> NatsScene {
        NatsScene::stream_on(Server::shared(), stem)
    }

    /// On a given server that runs.
    pub fn stream_on(server: Server, stem: &str) -> NatsScene {
        let scene = NatsScene::named(server, stem);
        scene.create(1);
        scene
    }

    /// With names only.
    pub fn named(server: Server, stem: &str) -> NatsScene {
        let name = fresh(stem);
        let (stream, durable) = (format!("{name}-events"), format!("{name}-durable"));
        NatsScene { server, name, stream, durable }
    }

    /// What the subjects of events begin with.
    pub fn subject(&self, rest: &str) -> String {
        format!("{}.events.{rest}", self.name)
    }

    /// The stream as [`Stage::create`] makes it.
    pub fn stream_config(&self) -> Config {
        Config { name: self.stream.clone(), subjects: vec![self.subject(">")], ..Config::default() }
    }

    /// Where this configuration's dead letters are.
    pub fn dead_letters(&self) -> String {
        format!("{}-dlq", self.name)
    }

    /// The stream of this configuration's retry tiers.
    pub fn tiers(&self) -> String {
        format!("{}-retry", self.name)
    }

    /// The source's key `nats`, as a flow mapping, with more keys.
    pub fn source(&self, more: &str) -> String {
        let (stream, durable, subject) = (&self.stream, &self.durable, self.subject(">"));
        let server = self.server.url();
        let more = match more.contains("ack_wait") {
            true => more.to_owned(),
            false => format!("ack_wait: {ACK_WAIT}, {more}"),
        };
        let subjects = match more.contains("subjects:") {
            true => String::new(),
            false => format!("subjects: ['{subject}'], "),
        };
        let start = if more.contains("start:") { "" } else { "start: earliest, " };
        format!("{{ servers: '{server}', stream: {stream}, {subjects}durable: {durable}, {start}{more} }}")
    }

    /// Name and source, with more keys of `nats`, then `rest`.
    pub fn nats_config(&self, nats: &str, rest: &str) -> String {
        self.config_of(nats, "", rest)
    }

    fn config_of(&self, nats: &str, source: &str, rest: &str) -> String {
        let (name, nats) = (&self.name, self.source(nats));
        format!(
            "name: {name}
log: {{ level: debug }}
sources:
  events:
    nats: {nats}
    {source}
{rest}
"
        )
    }

    /// What the server knows of the durable.
    pub fn consumer(&self) -> Option<Info> {
        self.server.consumer(&self.stream, &self.durable)
    }
}

impl Stage for NatsScene {
    type Private = PrivateServer;

    const KEYS: bool = false;

    fn new(stem: &str, _partitions: i32) -> NatsScene {
        NatsScene::stream(stem)
    }

    fn names_on(private: &PrivateServer, stem: &str) -> NatsScene {
        NatsScene::named(private.access(), stem)
    }

    fn create(&self, _partitions: i32) {
        self.server.create_stream(self.stream_config());
    }

    fn place(&self) -> &str {
        &self.stream
    }

    fn publish(&self, records: impl IntoIterator<Item = Record>) {
        self.server.publish(&self.subject("made"), records);
    }

    fn config_with(&self, source: &str, rest: &str) -> String {
        self.config_of("", source, rest)
    }

    fn hasty_config(&self, rest: &str) -> String {
        self.nats_config(&format!("ack_wait: {HASTY_ACK_WAIT}"), rest)
    }

    #[track_caller]
    fn wait_settled(&self) {
        self.server.wait_acknowledged(&self.stream, &self.durable);
    }

    fn is_untouched(&self) -> bool {
        self.consumer().is_none_or(|info| info.ack_floor.stream_sequence == 0)
    }

    #[track_caller]
    fn wait_replicas(&self, count: usize) {
        self.server.wait_pulls(&self.stream, &self.durable, count);
    }

    fn letters(&self) -> Vec<Record> {
        self.server.read_all(&self.dead_letters())
    }

    #[track_caller]
    fn wait_letters(&self, count: usize) -> Vec<Record> {
        self.server.wait_records(&self.dead_letters(), count)
    }

    fn count_waiting(&self, tier: &str) -> usize {
        self.waiting(tier).len()
    }

    fn waiting(&self, tier: &str) -> Vec<Record> {
        let subject = format!("{}.retry.{tier}", self.name);
        let all = self.server.read_all(&self.tiers()).into_iter();
        all.filter(|record| record.subject.as_deref() == Some(&subject)).collect()
    }
}

impl Private for PrivateServer {
    fn reserve() -> PrivateServer {
        PrivateServer::new()
    }

    fn address(&self) -> String {
        PrivateServer::address(self)
    }

    fn start(&mut self) {
        PrivateServer::start(self);
    }

    fn stop(&mut self) {
        PrivateServer::stop(self);
    }

    fn freeze(&self) {
        PrivateServer::freeze(self);
    }

    fn kill(&mut self) {
        PrivateServer::kill(self);
    }
}
