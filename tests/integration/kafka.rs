//! Real brokers: the shared one of `scripts/test`, and private ones that a test may stop and start.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, DeliveryResult, Header, Headers, Message, OwnedHeaders};
use rdkafka::producer::{BaseRecord, Producer, ProducerContext, ThreadedProducer};
use rdkafka::{ClientContext, Offset, TopicPartitionList};

use crate::process::{Folder, text};
use crate::record::Record;
use crate::secure::Authority;
use crate::wait;

const LIMIT: Duration = Duration::from_secs(30);

/// Access to one broker.
pub struct Cluster {
    brokers: String,
    admin: AdminClient<DefaultClientContext>,
    producer: ThreadedProducer<Failures>,
    runtime: tokio::runtime::Runtime,
}

/// Counts what the broker refused.
#[derive(Clone, Default)]
struct Failures(Arc<AtomicU64>);

impl ClientContext for Failures {}

impl ProducerContext for Failures {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if result.is_err() {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Cluster {
    /// The broker that `scripts/test` names. Without one this is a failure, never a skipped test.
    pub fn shared() -> Cluster {
        let brokers = std::env::var("HOOKFERRY_TEST_KAFKA")
            .expect("HOOKFERRY_TEST_KAFKA is not set: run the tests with ./scripts/test");
        Cluster::at(&brokers)
    }

    fn at(brokers: &str) -> Cluster {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", brokers);
        let admin = config.create().unwrap();
        let producer = config
            .clone()
            .set("linger.ms", "5")
            .set("enable.idempotence", "true")
            .set("message.max.bytes", "8000000")
            .set("queue.buffering.max.messages", "1000000")
            .set("reconnect.backoff.max.ms", "1000")
            .create_with_context(Failures::default())
            .unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        Cluster { brokers: brokers.to_owned(), admin, producer, runtime }
    }

    pub fn brokers(&self) -> &str {
        &self.brokers
    }

    pub fn create_topic(&self, name: &str, partitions: i32) {
        self.create_topic_with(name, partitions, &[]);
    }

    /// Creates a topic with settings of its own and waits until it can be used.
    pub fn create_topic_with(&self, name: &str, partitions: i32, settings: &[(&str, &str)]) {
        let mut topic = NewTopic::new(name, partitions, TopicReplication::Fixed(1));
        for (key, value) in settings {
            topic = topic.set(key, value);
        }
        let options = AdminOptions::new().operation_timeout(Some(LIMIT));
        let created = self.runtime.block_on(self.admin.create_topics([&topic], &options)).unwrap();
        for result in created {
            result.unwrap();
        }
        let reader = self.reader();
        wait::until(&format!("topic {name} has leaders"), LIMIT, String::new, || {
            let low_and_high = |p| reader.fetch_watermarks(name, p, Duration::from_secs(5)).ok();
            (0..partitions).map(low_and_high).collect::<Option<Vec<_>>>()
        });
    }

    /// Produces all records and waits until the broker has confirmed each.
    pub fn produce(&self, topic: &str, records: impl IntoIterator<Item = Record>) {
        let failures = &self.producer.context().0;
        let before = failures.load(Ordering::Relaxed);
        for record in records {
            self.enqueue(topic, &record);
        }
        self.producer.flush(Duration::from_secs(60)).unwrap();
        assert_eq!(failures.load(Ordering::Relaxed), before, "the broker refused records for {topic}");
    }

    fn enqueue(&self, topic: &str, record: &Record) {
        let mut headers = OwnedHeaders::new();
        for (key, value) in &record.headers {
            headers = headers.insert(Header { key, value: Some(value) });
        }
        let mut next: BaseRecord<'_, [u8], [u8]> = BaseRecord::to(topic).headers(headers);
        next.partition = record.partition;
        next.key = record.key.as_deref();
        next.payload = record.value.as_deref();
        self.producer.send(next).map_err(|(fault, _)| fault).unwrap();
    }

    /// The committed offset of each partition that has one.
    pub fn committed(&self, group: &str, topic: &str) -> BTreeMap<i32, i64> {
        let reader: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", &self.brokers)
            .set("group.id", group)
            .create()
            .unwrap();
        let mut wanted = TopicPartitionList::new();
        for partition in self.partitions(&reader, topic) {
            wanted.add_partition(topic, partition);
        }
        let found = reader.committed_offsets(wanted, LIMIT).unwrap();
        let offset = |e: rdkafka::topic_partition_list::TopicPartitionListElem<'_>| match e.offset() {
            Offset::Offset(offset) => Some((e.partition(), offset)),
            _ => None,
        };
        found.elements().into_iter().filter_map(offset).collect()
    }

    /// Waits until the group has committed the end of every partition that has messages.
    #[track_caller]
    pub fn wait_committed_to_end(&self, group: &str, topic: &str) {
        let ends = self.ends(topic).into_iter().filter(|(_, (_, high))| *high > 0);
        let wanted: BTreeMap<i32, i64> = ends.map(|(partition, (_, high))| (partition, high)).collect();
        let now = || {
            let mut now = self.committed(group, topic);
            now.retain(|partition, _| wanted.contains_key(partition));
            now
        };
        wait::until(
            &format!("{group} has committed {wanted:?}"),
            Duration::from_secs(120),
            || format!("{:?}", now()),
            || (now() == wanted).then_some(()),
        );
    }

    /// Low and high marks of each partition.
    pub fn ends(&self, topic: &str) -> BTreeMap<i32, (i64, i64)> {
        let reader = self.reader();
        let marks = |p| (p, reader.fetch_watermarks(topic, p, LIMIT).unwrap());
        self.partitions(&reader, topic).into_iter().map(marks).collect()
    }

    pub fn has_topic(&self, topic: &str) -> bool {
        let metadata = self.reader().fetch_metadata(None, LIMIT).unwrap();
        metadata.topics().iter().any(|found| found.name() == topic)
    }

    /// Everything in a topic, by partition and offset. A topic that does not exist is empty.
    pub fn read_all(&self, topic: &str) -> Vec<Record> {
        if !self.has_topic(topic) {
            return Vec::new();
        }
        let reader = self.reader();
        let ends = self.ends(topic);
        let mut assignment = TopicPartitionList::new();
        for (partition, (low, _)) in &ends {
            assignment.add_partition_offset(topic, *partition, Offset::Offset(*low)).unwrap();
        }
        reader.assign(&assignment).unwrap();
        let wanted: i64 = ends.values().map(|(low, high)| high - low).sum();
        let mut records: Vec<Record> = Vec::new();
        wait::until(&format!("{wanted} records of {topic} are read"), LIMIT, String::new, || {
            while let Some(message) = reader.poll(Duration::from_millis(200)) {
                records.push(record(&message.unwrap()));
                if records.len() as i64 >= wanted {
                    break;
                }
            }
            (records.len() as i64 >= wanted).then_some(())
        });
        records.sort_by_key(|record| (record.partition, record.offset));
        records
    }

    /// Waits until a topic holds this many records, and returns them.
    #[track_caller]
    pub fn wait_records(&self, topic: &str, count: usize) -> Vec<Record> {
        wait::until(
            &format!("{topic} holds {count} records"),
            Duration::from_secs(120),
            || format!("{:#?}", self.read_all(topic)),
            || Some(self.read_all(topic)).filter(|records| records.len() == count),
        )
    }

    /// Deletes everything below an offset, as retention does.
    pub fn delete_below(&self, topic: &str, partition: i32, offset: i64) {
        let mut limits = TopicPartitionList::new();
        limits.add_partition_offset(topic, partition, Offset::Offset(offset)).unwrap();
        let options = AdminOptions::new().operation_timeout(Some(LIMIT));
        self.runtime.block_on(self.admin.delete_records(&limits, &options)).unwrap();
    }

    /// Deletes a topic with all that is in it, and waits until the broker knows of it no more.
    pub fn delete_topic(&self, topic: &str) {
        let options = AdminOptions::new().operation_timeout(Some(LIMIT));
        let deleted = self.runtime.block_on(self.admin.delete_topics(&[topic], &options)).unwrap();
        deleted.into_iter().for_each(|result| assert!(result.is_ok(), "{result:?}"));
        let is_gone = || (!self.has_topic(topic)).then_some(());
        wait::until(&format!("topic {topic} is gone"), LIMIT, String::new, is_gone);
    }

    /// How many members a group has, once it is stable.
    #[track_caller]
    pub fn wait_members(&self, group: &str, members: usize) {
        let reader = self.reader();
        let now = || {
            let list = reader.fetch_group_list(Some(group), LIMIT).ok()?;
            let found = list.groups().iter().find(|found| found.name() == group)?;
            Some((found.state().to_owned(), found.members().len()))
        };
        wait::until(
            &format!("{group} is stable with {members} members"),
            Duration::from_secs(120),
            || format!("{:?}", now()),
            || now().filter(|(state, count)| state == "Stable" && *count == members),
        );
    }

    fn reader(&self) -> BaseConsumer {
        ClientConfig::new()
            .set("bootstrap.servers", &self.brokers)
            .set("group.id", "hookferry-tests-reader")
            .set("enable.auto.commit", "false")
            .set("isolation.level", "read_committed")
            .create()
            .unwrap()
    }

    fn partitions(&self, reader: &BaseConsumer, topic: &str) -> Vec<i32> {
        let metadata = reader.fetch_metadata(Some(topic), LIMIT).unwrap();
        metadata.topics().iter().flat_map(|t| t.partitions()).map(|p| p.id()).collect()
    }
}

fn record(message: &BorrowedMessage<'_>) -> Record {
    let pairs = message.headers().into_iter().flat_map(Headers::iter);
    let owned =
        |header: Header<'_, &[u8]>| (header.key.to_owned(), header.value.unwrap_or_default().to_vec());
    Record {
        partition: Some(message.partition()),
        offset: message.offset(),
        key: message.key().map(<[u8]>::to_vec),
        value: message.payload().map(<[u8]>::to_vec),
        headers: pairs.map(owned).collect(),
        subject: None,
    }
}

/// Below what the kernel gives out by itself.
const PORTS: std::ops::Range<u32> = 16_384..32_768;

/// A port of the loopback address for a broker, which needs it again after a stop: the kernel gives
/// it to no connection meanwhile. Each is given out once in this process, and others begin elsewhere.
fn lasting_port() -> u16 {
    static GIVEN: AtomicU32 = AtomicU32::new(0);
    let count = PORTS.end - PORTS.start;
    let first = std::process::id().wrapping_mul(61);
    let next = || first.wrapping_add(GIVEN.fetch_add(1, Ordering::Relaxed)) % count + PORTS.start;
    let mut ports = (0..count).map(|_| next() as u16);
    ports.find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok()).expect("a port that nobody listens on")
}

/// A broker of its own: it can be stopped, killed and started again with the same ports and data.
pub struct PrivateBroker {
    folder: Folder,
    port: u16,
    controller: u16,
    running: Option<Child>,
}

/// Two more listeners of a private broker, with TLS: one for users and what they have a right to, one for whoever
/// has a certificate. Who comes through the first of all or with a certificate may do everything.
pub struct Guarded {
    pub broker: PrivateBroker,
    port: u16,
    mutual: u16,
}

impl Guarded {
    /// Starts one that lets these users in, each with a password and without any rights. Certificates are of
    /// `authority`.
    pub fn start(authority: &Authority, users: &[(&str, &str)]) -> (Guarded, Cluster) {
        let mut broker = PrivateBroker::new();
        let (port, mutual, plain, controller) =
            (lasting_port(), lasting_port(), broker.port, broker.controller);
        let (certificate, key) = authority.identity("127.0.0.1");
        let identity = broker.folder.file("identity.pem", &format!("{key}{certificate}"));
        let trusted = broker.folder.file("authority.pem", &authority.pem);
        let (identity, trusted) = (identity.display(), trusted.display());
        let plain_users: String =
            users.iter().map(|(name, password)| format!(" user_{name}=\"{password}\"")).collect();
        let settings = format!(
            "listeners=PLAINTEXT://127.0.0.1:{plain},CONTROLLER://127.0.0.1:{controller},\\
    GUARDED://127.0.0.1:{port},MUTUAL://127.0.0.1:{mutual}
advertised.listeners=PLAINTEXT://127.0.0.1:{plain},\\
    GUARDED://127.0.0.1:{port},MUTUAL://127.0.0.1:{mutual}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,GUARDED:SASL_SSL,MUTUAL:SSL
ssl.keystore.type=PEM
ssl.keystore.location={identity}
ssl.truststore.type=PEM
ssl.truststore.location={trusted}
listener.name.mutual.ssl.client.auth=required
listener.name.guarded.sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512
listener.name.guarded.plain.sasl.jaas.config=\
    org.apache.kafka.common.security.plain.PlainLoginModule required {plain_users};
listener.name.guarded.scram-sha-256.sasl.jaas.config=\
    org.apache.kafka.common.security.scram.ScramLoginModule required;
listener.name.guarded.scram-sha-512.sasl.jaas.config=\
    org.apache.kafka.common.security.scram.ScramLoginModule required;
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:ANONYMOUS;User:CN=rcgen self signed cert
"
        );
        broker.folder.file("settings", &settings);
        let users: String = (users.iter())
            .flat_map(|user| ["SCRAM-SHA-256", "SCRAM-SHA-512"].map(|mechanism| (mechanism, user)))
            .map(|(mechanism, (name, password))| format!("{mechanism}=[name={name},password={password}]\n"))
            .collect();
        broker.folder.file("users", &users);
        let cluster = broker.start();
        (Guarded { broker, port, mutual }, cluster)
    }

    /// Where users come in.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Where certificates come in.
    pub fn mutual_address(&self) -> String {
        format!("127.0.0.1:{}", self.mutual)
    }

    /// Changes rights with the arguments of `kafka-acls.sh`.
    #[track_caller]
    pub fn rights(&self, arguments: &[&str]) {
        let jars = std::env::var("HOOKFERRY_TEST_KAFKA_JARS").expect("run the tests with ./scripts/test");
        let output = Command::new("java")
            .args(["-XX:+UseSerialGC", "-Xmx128m", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"])
            .args(["-cp", &format!("{jars}/*")])
            .args([
                "org.apache.kafka.tools.AclCommand",
                "--bootstrap-server",
                &self.broker.address(),
                "--force",
            ])
            .args(arguments)
            .output()
            .unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", text(&output));
    }
}

impl PrivateBroker {
    /// Reserves its ports; nothing runs yet.
    pub fn new() -> PrivateBroker {
        let folder = Folder::new("broker");
        PrivateBroker { folder, port: lasting_port(), controller: lasting_port(), running: None }
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Access to it, whether or not it runs.
    pub fn access(&self) -> Cluster {
        Cluster::at(&self.address())
    }

    /// Starts it and waits until it answers.
    pub fn start(&mut self) -> Cluster {
        assert!(self.running.is_none(), "the broker runs already");
        let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("scripts/kafka-broker");
        let log = std::fs::OpenOptions::new().create(true).append(true).open(self.log()).unwrap();
        let child = Command::new(script)
            .arg(self.folder.path())
            .args([self.port.to_string(), self.controller.to_string()])
            .env("HOOKFERRY_TEST_KAFKA_HEAP", "384m")
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        self.running = Some(child);
        let cluster = Cluster::at(&self.address());
        let probe = cluster.reader();
        wait::until(
            "the private broker answers",
            Duration::from_secs(90),
            || std::fs::read_to_string(self.log()).unwrap_or_default(),
            || probe.fetch_metadata(None, Duration::from_secs(2)).ok().filter(|m| !m.brokers().is_empty()),
        );
        cluster
    }

    /// Stops it in order.
    pub fn stop(&mut self) {
        self.end(libc::SIGTERM);
    }

    /// Lets it stand still with its connections open, until it is killed.
    pub fn freeze(&self) {
        self.signal(libc::SIGSTOP);
    }

    /// Kills it.
    pub fn kill(&mut self) {
        self.end(libc::SIGKILL);
    }

    fn end(&mut self, signal: libc::c_int) {
        self.signal(signal);
        let log = self.log();
        let child = self.running.as_mut().expect("the broker is not running");
        wait::until(
            &format!("the private broker ends by signal {signal}"),
            Duration::from_secs(120),
            || std::fs::read_to_string(&log).unwrap_or_default(),
            || child.try_wait().unwrap(),
        );
        self.running = None;
    }

    fn signal(&self, signal: libc::c_int) {
        let child = self.running.as_ref().expect("the broker is not running");
        // SAFETY: kill has no memory effects; the id is that of our own child, not yet waited for.
        let sent = unsafe { libc::kill(child.id() as libc::pid_t, signal) };
        assert_eq!(sent, 0, "signal {signal}: {}", std::io::Error::last_os_error());
    }
}

impl Drop for PrivateBroker {
    fn drop(&mut self) {
        if self.running.is_some() {
            self.kill();
        }
    }
}

#[test]
fn a_topic_gives_back_what_was_produced() {
    let cluster = Cluster::shared();
    let topic = crate::process::fresh("harness");
    cluster.create_topic(&topic, 3);
    let value = serde_json::json!({ "n": 1 });
    let sent = Record::json(&value).key("k").with("h", "v").in_partition(2);
    cluster.produce(&topic, [sent.clone(), Record::tombstone("t").in_partition(2)]);
    let read = cluster.read_all(&topic);
    assert_eq!(read[0], sent);
    assert_eq!((read[1].value.as_ref(), read[1].offset), (None, 1));
    cluster.delete_below(&topic, 2, 1);
    assert_eq!(cluster.ends(&topic)[&2], (1, 2));
    assert!(cluster.committed("nobody", &topic).is_empty());
}

#[test]
fn a_private_broker_keeps_its_data_when_it_is_killed_and_started_again() {
    let mut broker = PrivateBroker::new();
    let cluster = broker.start();
    cluster.create_topic("kept", 1);
    cluster.produce("kept", [Record::bytes("one")]);
    broker.kill();
    assert!(matches!(
        cluster.reader().fetch_metadata(None, Duration::from_secs(1)),
        Err(KafkaError::MetadataFetch(
            RDKafkaErrorCode::BrokerTransportFailure | RDKafkaErrorCode::OperationTimedOut
        ))
    ));
    let cluster = broker.start();
    cluster.produce("kept", [Record::bytes("two")]);
    let values: Vec<_> = cluster.read_all("kept").into_iter().filter_map(|record| record.value).collect();
    assert_eq!(values, [b"one".to_vec(), b"two".to_vec()]);
}
