//! Real NATS servers: the shared one of `scripts/test`, and private ones that a test may stop and start.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use async_nats::jetstream::consumer;
use async_nats::jetstream::context::{GetStreamErrorKind, PublishAckFuture};
use async_nats::jetstream::stream::{Config, Stream};
use async_nats::jetstream::{self, Context, ErrorCode};
use async_nats::{Client, ConnectOptions, HeaderMap};

use crate::process::Folder;
use crate::record::Record;
use crate::wait;

const LIMIT: Duration = Duration::from_secs(120);
/// So many publications are confirmed together.
const TOGETHER: usize = 1000;

/// Access to one server. Every call makes a connection of its own, so that a server may come and go.
#[derive(Clone)]
pub struct Server {
    url: String,
    options: ConnectOptions,
}

impl Server {
    /// The server that `scripts/test` names. Without one this is a failure, never a skipped test.
    pub fn shared() -> Server {
        let url = std::env::var("HOOKFERRY_TEST_NATS")
            .expect("HOOKFERRY_TEST_NATS is not set: run the tests with ./scripts/test");
        Server::at(&url)
    }

    /// The one there, which need not run yet.
    pub fn at(url: &str) -> Server {
        Server { url: url.to_owned(), options: ConnectOptions::new() }
    }

    /// Also with what the server asks for.
    pub fn with(self, options: ConnectOptions) -> Server {
        Server { options, ..self }
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    /// Makes a stream and returns once it is there.
    pub fn create_stream(&self, config: Config) {
        self.jetstream(async |jetstream| drop(jetstream.create_stream(config).await.unwrap()));
    }

    /// Changes a stream.
    pub fn update_stream(&self, config: Config) {
        self.jetstream(async |jetstream| drop(jetstream.update_stream(config).await.unwrap()));
    }

    pub fn delete_stream(&self, stream: &str) {
        self.jetstream(async |jetstream| {
            jetstream.delete_stream(stream).await.unwrap();
        });
    }

    /// Publishes all records, each on its own subject or on this one, and waits until the stream has
    /// confirmed each.
    pub fn publish(&self, subject: &str, records: impl IntoIterator<Item = Record>) {
        self.jetstream(async |jetstream| {
            let mut waiting: Vec<PublishAckFuture> = Vec::new();
            for record in records {
                let (subject, headers, value) = parts(subject, record);
                waiting.push(jetstream.publish_with_headers(subject, headers, value).await.unwrap());
                if waiting.len() == TOGETHER {
                    confirmed(&mut waiting).await;
                }
            }
            confirmed(&mut waiting).await;
        });
    }

    /// Publishes all records without a stream, and waits until the server has them.
    pub fn publish_core(&self, subject: &str, records: impl IntoIterator<Item = Record>) {
        self.client(async |client| {
            for record in records {
                let (subject, headers, value) = parts(subject, record);
                client.publish_with_headers(subject, headers, value).await.unwrap();
            }
            client.flush().await.unwrap();
        });
    }

    /// Everything in a stream, by sequence. A stream that does not exist is empty.
    pub fn read_all(&self, stream: &str) -> Vec<Record> {
        self.jetstream(async |jetstream| {
            let Some(stream) = found(&jetstream, stream).await else { return Vec::new() };
            let state = &stream.cached_info().state;
            let mut records = Vec::new();
            if state.messages == 0 {
                return records;
            }
            for sequence in state.first_sequence..=state.last_sequence {
                // One that was deleted is not there.
                let Ok(message) = stream.get_raw_message(sequence).await else { continue };
                let headers = message.headers.iter().flat_map(|(name, values)| {
                    values.iter().map(|value| (name.to_string(), value.as_str().as_bytes().to_vec()))
                });
                records.push(Record {
                    offset: sequence as i64,
                    value: Some(message.payload.to_vec()),
                    subject: Some(message.subject.to_string()),
                    headers: headers.collect(),
                    ..Record::default()
                });
            }
            records
        })
    }

    /// How a stream is set, if it is there.
    pub fn stream_config(&self, stream: &str) -> Option<Config> {
        self.jetstream(async |jetstream| Some(found(&jetstream, stream).await?.cached_info().config.clone()))
    }

    /// How many messages a stream holds; 0 if it does not exist.
    pub fn count(&self, stream: &str) -> u64 {
        self.jetstream(async |jetstream| {
            found(&jetstream, stream).await.map_or(0, |stream| stream.cached_info().state.messages)
        })
    }

    /// Waits until a stream holds this many messages, and returns them.
    #[track_caller]
    pub fn wait_records(&self, stream: &str, count: usize) -> Vec<Record> {
        self.wait_count(stream, count);
        self.read_all(stream)
    }

    /// Waits until a stream holds this many messages.
    #[track_caller]
    pub fn wait_count(&self, stream: &str, count: usize) {
        wait::until(
            &format!("{stream} holds {count} messages"),
            LIMIT,
            || {
                let first: Vec<Record> = self.read_all(stream).into_iter().take(10).collect();
                format!("it holds {}; the first: {first:#?}", self.count(stream))
            },
            || (self.count(stream) == count as u64).then_some(()),
        );
    }

    /// Makes a durable, as somebody else did.
    pub fn create_consumer(&self, stream: &str, config: consumer::pull::Config) {
        self.jetstream(async |jetstream| {
            drop(jetstream.create_consumer_on_stream(config, stream).await.unwrap());
        });
    }

    pub fn delete_consumer(&self, stream: &str, durable: &str) {
        self.jetstream(async |jetstream| {
            jetstream.delete_consumer_from_stream(durable, stream).await.unwrap();
        });
    }

    /// What the server knows of a durable, if it is there.
    pub fn consumer(&self, stream: &str, durable: &str) -> Option<consumer::Info> {
        self.jetstream(async |jetstream| found(&jetstream, stream).await?.consumer_info(durable).await.ok())
    }

    /// Waits until everything in a stream is delivered through a durable and acknowledged.
    #[track_caller]
    pub fn wait_acknowledged(&self, stream: &str, durable: &str) {
        wait::until(
            &format!("{durable} has acknowledged all of {stream}"),
            LIMIT,
            || format!("{:?}", self.consumer(stream, durable)),
            || self.consumer(stream, durable).filter(|i| i.num_pending == 0 && i.num_ack_pending == 0),
        );
    }

    /// Waits until somebody pulls from a durable.
    #[track_caller]
    pub fn wait_pulls(&self, stream: &str, durable: &str, pulls: usize) {
        wait::until(
            &format!("{durable} of {stream} has {pulls} waiting pulls"),
            LIMIT,
            || format!("{:?}", self.consumer(stream, durable)),
            || self.consumer(stream, durable).filter(|info| info.num_waiting == pulls),
        );
    }

    fn client<T>(&self, work: impl AsyncFnOnce(Client) -> T) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let options = self.options.clone().connection_timeout(LIMIT);
        runtime.block_on(async {
            let connected = options.connect(self.url.as_str()).await;
            work(connected.unwrap_or_else(|fault| panic!("{}: {fault}", self.url))).await
        })
    }

    fn jetstream<T>(&self, work: impl AsyncFnOnce(Context) -> T) -> T {
        self.client(async |client| {
            let mut context = jetstream::new(client);
            context.set_timeout(LIMIT);
            work(context).await
        })
    }
}

fn parts(subject: &str, record: Record) -> (String, HeaderMap, bytes::Bytes) {
    let mut headers = HeaderMap::new();
    for (name, value) in &record.headers {
        headers.append(name.as_str(), std::str::from_utf8(value).unwrap());
    }
    if record.value.is_none() {
        // A tombstone, as a key-value bucket writes it.
        headers.insert("KV-Operation", "DEL");
    }
    let subject = record.subject.unwrap_or_else(|| subject.to_owned());
    (subject, headers, record.value.unwrap_or_default().into())
}

async fn confirmed(waiting: &mut Vec<PublishAckFuture>) {
    for publication in waiting.drain(..) {
        publication.await.expect("the stream confirms the message");
    }
}

async fn found(jetstream: &Context, stream: &str) -> Option<Stream> {
    match jetstream.get_stream(stream).await {
        Ok(stream) => Some(stream),
        Err(error) => match error.kind() {
            GetStreamErrorKind::JetStream(e) if e.error_code() == ErrorCode::STREAM_NOT_FOUND => None,
            _ => panic!("the stream {stream}: {error}"),
        },
    }
}

/// A server of its own: it can be stopped, killed, frozen, and started again with the same port and
/// data.
pub struct PrivateServer {
    folder: Folder,
    port: u16,
    scheme: &'static str,
    options: ConnectOptions,
    running: Option<Child>,
}

impl PrivateServer {
    /// Reserves its port; nothing runs yet.
    pub fn new() -> PrivateServer {
        PrivateServer::with("", ConnectOptions::new())
    }

    /// One with more lines of configuration; tests reach it with these options.
    pub fn with(config: &str, options: ConnectOptions) -> PrivateServer {
        let folder = Folder::new("nats");
        let port = lasting_port();
        let store = folder.path().join("store");
        let text = format!(
            "listen: '127.0.0.1:{port}'\njetstream {{ store_dir: '{}' }}\n{config}\n",
            store.display()
        );
        folder.file("server.conf", &text);
        PrivateServer { folder, port, scheme: "nats", options, running: None }
    }

    /// One that speaks TLS from the first byte on or after its greeting, as its configuration says.
    pub fn with_tls(config: &str, options: ConnectOptions) -> PrivateServer {
        let mut server = PrivateServer::with(config, options);
        server.scheme = "tls";
        server
    }

    /// `HOST:PORT`.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub fn url(&self) -> String {
        format!("{}://{}", self.scheme, self.address())
    }

    /// Access to it, whether or not it runs.
    pub fn access(&self) -> Server {
        Server::at(&self.url()).with(self.options.clone())
    }

    /// Starts it and waits until it answers.
    pub fn start(&mut self) -> Server {
        assert!(self.running.is_none(), "the server runs already");
        let program = std::env::var("HOOKFERRY_TEST_NATS_SERVER")
            .expect("HOOKFERRY_TEST_NATS_SERVER is not set: run the tests with ./scripts/test");
        let log_path = self.folder.path().join("log");
        let log = std::fs::OpenOptions::new().create(true).append(true).open(&log_path).unwrap();
        let child = Command::new(program)
            .arg("--config")
            .arg(self.folder.path().join("server.conf"))
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        self.running = Some(child);
        let access = self.access();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        wait::until(
            "the private server answers",
            LIMIT,
            || std::fs::read_to_string(&log_path).unwrap_or_default(),
            || {
                runtime.block_on(async {
                    let client = access.options.clone().connect(access.url()).await.ok()?;
                    jetstream::new(client).query_account().await.ok()
                })
            },
        );
        access
    }

    /// Stops it in order.
    pub fn stop(&mut self) {
        self.end(libc::SIGTERM);
    }

    /// Kills it.
    pub fn kill(&mut self) {
        self.end(libc::SIGKILL);
    }

    /// Lets it stand still with its connections open.
    pub fn freeze(&self) {
        self.signal(libc::SIGSTOP);
    }

    /// Lets it go on.
    pub fn thaw(&self) {
        self.signal(libc::SIGCONT);
    }

    fn end(&mut self, signal: libc::c_int) {
        self.signal(signal);
        let ended = self.running.take().map(|mut child| child.wait());
        assert!(matches!(ended, Some(Ok(_))), "{ended:?}");
    }

    fn signal(&self, signal: libc::c_int) {
        let child = self.running.as_ref().expect("the server is not running");
        // SAFETY: kill has no memory effects; the id is that of our own child, not yet waited for.
        let sent = unsafe { libc::kill(child.id() as libc::pid_t, signal) };
        assert_eq!(sent, 0, "signal {signal}: {}", std::io::Error::last_os_error());
    }
}

impl Drop for PrivateServer {
    fn drop(&mut self) {
        if self.running.is_some() {
            self.kill();
        }
    }
}

/// A free port below those that the kernel gives out, so that nobody gets it while the server is down.
pub fn lasting_port() -> u16 {
    loop {
        let port = fastrand::u16(20_000..32_000);
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

#[test]
fn a_stream_gives_back_what_was_published() {
    let server = Server::shared();
    let name = crate::process::fresh("harness");
    let config = Config { name: name.clone(), subjects: vec![format!("{name}.>")], ..Config::default() };
    server.create_stream(config);
    let sent = Record::bytes("one").with("h", "v").on(&format!("{name}.a"));
    server.publish(&format!("{name}.b"), [sent.clone(), Record::bytes("two")]);
    let read = server.wait_records(&name, 2);
    assert_eq!(
        (&read[0].value, &read[0].headers, &read[0].subject),
        (&sent.value, &sent.headers, &sent.subject)
    );
    assert_eq!((read[1].offset, read[1].subject.as_deref()), (2, Some(format!("{name}.b").as_str())));
    assert!(server.consumer(&name, "nobody").is_none());
    assert!(server.read_all("no-such-stream").is_empty());
}

#[test]
fn a_private_server_keeps_its_data_when_it_is_killed_and_started_again() {
    let mut private = PrivateServer::new();
    let server = private.start();
    server.create_stream(Config { name: "kept".to_owned(), ..Config::default() });
    server.publish("kept", [Record::bytes("one")]);
    private.kill();
    let server = private.start();
    private.freeze();
    private.thaw();
    server.publish("kept", [Record::bytes("two")]);
    let values: Vec<_> = server.read_all("kept").into_iter().filter_map(|record| record.value).collect();
    assert_eq!(values, [b"one".to_vec(), b"two".to_vec()]);
}
