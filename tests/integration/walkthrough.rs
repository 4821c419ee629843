//! Every page that has commands for a test machine does what it says, followed from its first line to its last.

use crate::bridge::Bridge;
use crate::kafka::{Cluster, PrivateBroker};
use crate::nats::{PrivateServer, Server};
use crate::reader::Reader;
use crate::receiver::{Answer, Receiver};
use crate::record::Record;

/// The broker that a reader has, with the topic `orders`, as Compose makes it.
fn kafka() -> (PrivateBroker, Cluster) {
    let mut broker = PrivateBroker::new();
    let cluster = broker.start();
    cluster.create_topic("orders", 6);
    (broker, cluster)
}

/// The server that a reader has, with the stream `AUDIT`, as Compose makes it.
fn nats() -> (PrivateServer, Server) {
    let mut server = PrivateServer::new();
    let access = server.start();
    access.create_stream(async_nats::jetstream::stream::Config {
        name: "AUDIT".to_owned(),
        subjects: vec!["audit.>".to_owned()],
        ..Default::default()
    });
    (server, access)
}

#[test]
fn the_readme() {
    let (broker, _) = kafka();
    let receiver = Receiver::ok();
    let reader = Reader::new()
        .at("localhost:9092", broker.address())
        .with("TARGETS__CRM__URL", &receiver.url("/hooks"))
        .with("TARGETS__CRM__EGRESS", "private");

    reader.follow("README.md");

    receiver.wait_count(1);
    assert!(receiver.requests()[0].header("webhook-signature").is_some());
}

#[test]
fn the_quick_start() {
    let ((broker, _), (server, _)) = (kafka(), nats());
    let reader = Reader::new().at("localhost:9092", broker.address()).at("localhost:4222", server.address());
    reader.follow("docs/quick-start.md");
}

#[test]
fn dead_letters() {
    let (broker, cluster) = kafka();
    let receiver = Receiver::start(|_| Answer::Status(400));
    let config = format!(
        "admin: {{ listen: '127.0.0.1:0' }}
sources: {{ orders: {{ kafka: {{ brokers: 'localhost:9092', topics: [orders], start: earliest }} }} }}
targets: {{ crm: {{ url: '{}', egress: private }} }}
routes: [{{ name: all, to: [crm] }}]
",
        receiver.url("/")
    );
    let reader = Reader::new().at("localhost:9092", broker.address()).having("hookferry.yaml", &config);
    cluster.produce("orders", (4700..4720).map(bill));
    let bridge = Bridge::run(&reader.folder().join("hookferry.yaml"));
    bridge.wait_metric("hookferry_dead_letters_total", &[("target", "crm")], 20.0);
    bridge.stop();

    reader.follow("docs/dead-letters.md");

    assert_eq!(cluster.read_all("hookferry.retry.now").len(), 20);
}

fn bill(number: usize) -> Record {
    Record::json(&serde_json::json!({ "event_id": format!("e-{number}"), "type": "billing.paid" }))
}

#[test]
fn reloading() {
    let (broker, cluster) = kafka();
    cluster.produce("orders", (0..10).map(bill));
    let config = |types: &str| {
        format!(
            "sources: {{ orders: {{ kafka: {{ brokers: 'localhost:9092', topics: [orders] }} }} }}
targets: {{ crm: {{ url: 'https://crm.example.com/hooks' }} }}
routes: [{{ name: all, types: ['{types}'], to: [crm] }}]
"
        )
    };
    let reader = Reader::new()
        .at("localhost:9092", broker.address())
        .having("hookferry.yaml", &config("billing.*"))
        .having("next.yaml", &config("order.*"));
    reader.follow("docs/reload.md");
}

#[test]
fn configuration() {
    let reader = Reader::new();
    reader.follow("docs/configuration.md");
    let schema = std::fs::read_to_string(reader.folder().join("hookferry.schema.json")).unwrap();
    assert!(schema.contains("\"targets\""), "{schema}");
}

#[test]
fn signatures() {
    Reader::new().follow("docs/signatures.md");
}
