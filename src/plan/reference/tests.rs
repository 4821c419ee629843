use std::cell::RefCell;
use std::collections::BTreeSet;

use super::*;
use crate::plan::origin::Origin;
use crate::plan::{Layers, examine_text};

thread_local! {
    /// What was asked of mappings that a user wrote: path and key.
    static ASKED: RefCell<BTreeSet<(String, &'static str)>> = const { RefCell::new(BTreeSet::new()) };
}

/// Notes which keys a mapping was asked for.
pub(in crate::plan) fn note(path: &str, at: &Origin, known: &[&'static str]) {
    if *at != Origin::Program {
        ASKED.with_borrow_mut(|asked| asked.extend(known.iter().map(|key| (path.to_owned(), *key))));
    }
}

/// Every key that is read, in three configurations, because some exclude each other.
const WHOLE: [&str; 3] = [
    r#"
name: shop
replicas: 2
admin: { listen: 127.0.0.1:9000, token: t }
log: { format: json, level: debug }
limits: { memory: 1GiB, in_flight: 10, max_event: 2MiB, window: { bytes: 8MiB, events: 100 } }
shutdown: { deadline: 5s }
reload: { watch: true }
dead_letters: { topic: d, stream: d, subject: d, on: orders }
event_types: { catalogues: [dcision], declare: { a: { category: c, description: d, schema: { type: object } } }, unknown: warn }
sources:
  orders:
    kafka: { brokers: 'b:9092', topics: [t], group: g, start: 2h, properties: { fetch.wait.max.ms: 100 } }
    tombstones: deliver
    event: { type: [key], id: [key], time: [broker], subject: [key], key: [key], source: ['const:/a'], data: [body], priority: [body:p], tenant: [] }
defaults: { timeout: 7s }
targets:
  crm:
    url: https://crm.example.com/hooks
    id: crm-1
    enabled: true
    description: the CRM
    labels: { tier: gold }
    method: PUT
    http: 2
    headers: { X-Environment: production }
    secrets: [one, two]
    signature:
      { message: '{{body}}', algorithm: hmac-sha512, key: text, encoding: hex, each: '{{signature}}', ed25519: 'v1a={{signature}}', join: ',', timestamp: rfc3339, headers: { X-S: '{{signatures}}' } }
    egress: { allow: [10.1.0.0/16], deny: [1.2.3.4] }
    allow_http: false
    auth: { basic: { username: u, password: p } }
    tls: { ca: "${env:CA}" }
    proxy: 'off'
    handshake: { origin: hooks.example.com }
    timeout: 10s
    connect_timeout: 1s
    success: [2xx]
    retry: { schedule: [1m], jitter: 0.1, retry_on: [5xx], retry_after: ignore, retry_after_max: 1m, max_age: 1h, hold: 1s }
    on_exhausted: discard
    concurrency: 4
    rate: { limit: 10/s, burst: 5 }
    breaker: { failures: 3, probe: 1s }
    disable_on: [410]
    disable_after: 1d
    ordering: by_key
    key: body:k
routes:
  - name: r
    from: [orders]
    types: [a]
    where: { n: { eq: 1, ne: 2, gt: 1, gte: 1, lt: 2, lte: 2, in: [1], not_in: [2], exists: true, prefix: a, missing: pass } }
    to: [crm]
    priority: 3
    tests: [{ event: { type: a }, source: orders, headers: { a: b }, key: k, to: [] }]
"#,
    r#"
event_types: { declare: { a: { schema_file: /none } } }
sources:
  audit:
    nats:
      servers: nats://b:4222
      subjects: ['a.>']
      stream: A
      durable: d
      start: earliest
      ack_wait: 30s
      max_ack_pending: 100
      tls: { ca: /a, cert: /b, key: /c, first: true }
      creds: /creds
    store: audit
targets:
  chat:
    url: https://chat.example.com/x
    dialect: dcision
    payload: { preset: dcision, json: js, big_integers: round, extra: { a: 1 }, include: [a], content_type: a/b }
    auth: { oauth2: { token_url: 'https://id.example.com/t', client_id: i, client_secret: s, scopes: [a], audience: b } }
    retry: { attempts: 3, initial: 1s, factor: 2, max_delay: 1m }
  more:
    url: https://chat.example.com/x
    payload: { template: '{}' }
    auth: { bearer: t }
    proxy: http://proxy.example.com:3128
  events:
    url: https://chat.example.com/x
    payload: { preset: cloudevents, mode: structured }
    auth: { header: { X-Key: k } }
    egress: public
routes: [{ to: chat, where: { a: [b], c: d }, tests: [{ event: {}, subject: a.b, to: [chat] }] }]
"#,
    r#"
sources:
  live: { nats: { servers: [b], subjects: a, queue: q, user: u, password: p } }
targets: { chat: { url: https://chat.example.com/x } }
routes: [{ to: [chat] }]
"#,
];

fn read_whole() -> BTreeSet<Vec<String>> {
    ASKED.take();
    for text in WHOLE {
        // Faults (this certificate is none) change nothing of what is asked for.
        let _ = examine_text("h.yaml", text, &Layers::default());
    }
    let asked = ASKED.take();
    asked.into_iter().map(|(path, key)| pattern(&path, key)).collect()
}

/// The path in the reference's form: names and numbers become `*` and `[]`.
fn pattern(path: &str, key: &str) -> Vec<String> {
    let mut path: Vec<String> =
        path.split('.').filter(|segment| !segment.is_empty()).map(str::to_owned).collect();
    path.push(key.to_owned());
    for index in 1..path.len() {
        let is_named = match path[index - 1].as_str() {
            "sources" | "targets" => index == 1,
            "declare" => index == 2,
            "where" => index == 3,
            _ => false,
        };
        // Routes are called by their names, too.
        if index == 1 && path[0] == "routes" {
            path[index] = "[]".to_owned();
        } else if is_named {
            path[index] = "*".to_owned();
        } else if path[index].bytes().all(|byte| byte.is_ascii_digit()) {
            path[index] = "[]".to_owned();
        }
    }
    path
}

#[test]
fn the_reference_has_every_key_that_is_read_and_no_other() {
    let reference = Reference::read();
    // `defaults` is laid under the targets before anything is read.
    let read_as_such = reference.keys().filter(|key| key.path != ["defaults"]);
    let documented: BTreeSet<Vec<String>> = read_as_such.map(|key| key.path.clone()).collect();

    let read = read_whole();

    let missing: Vec<String> = read.difference(&documented).map(|path| path.join(".")).collect();
    let dead: Vec<String> = documented.difference(&read).map(|path| path.join(".")).collect();
    assert!(missing.is_empty(), "read, but not in keys.yaml: {missing:#?}");
    assert!(dead.is_empty(), "in keys.yaml, but not read from the test's configurations: {dead:#?}");
}

#[test]
fn every_key_has_a_kind_and_a_text() {
    for key in Reference::read().keys() {
        assert!(!key.kinds.is_empty() && !key.text.is_empty(), "{}", key.path.join("."));
    }
}

#[test]
fn defaults_are_those_of_the_program() {
    let reference = Reference::read();
    let default = |path: &str| {
        let key = reference.keys().find(|key| key.path == segments(path));
        key.and_then(|key| key.default.clone())
    };

    assert_eq!(default("targets.*.timeout").as_deref(), Some("`10s`"));
    assert_eq!(default("targets.*.retry.factor").as_deref(), Some("`2`"));
    assert_eq!(default("targets.*.disable_on").as_deref(), Some("`[410]`"));
    assert_eq!(default("sources.*.nats.ack_wait").as_deref(), Some("`60s`"));
    assert_eq!(default("name").as_deref(), Some("`hookferry`"));
}

/// The values of a YAML text as JSON, for what editors do with it.
fn as_json(text: &str) -> serde_json::Value {
    serde_saphyr::from_str(text).expect("YAML")
}

fn validator() -> jsonschema::Validator {
    jsonschema::validator_for(&Reference::read().schema()).expect("a schema")
}

#[test]
fn the_schema_takes_what_is_read_and_the_examples() {
    let validator = validator();
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/config");
    let examples = std::fs::read_dir(folder).expect("config/").map(|entry| entry.expect("an entry").path());
    let examples: Vec<String> =
        examples.map(|path| std::fs::read_to_string(path).expect("an example")).collect();

    for text in WHOLE.into_iter().chain(examples.iter().map(String::as_str)) {
        let faults: Vec<String> = validator
            .iter_errors(&as_json(text))
            .map(|fault| format!("{}: {fault}", fault.instance_path()))
            .collect();
        assert!(faults.is_empty(), "{faults:#?} in {text}");
    }
}

#[test]
fn the_schema_refuses_what_an_editor_should_mark() {
    let validator = validator();
    for faulty in [
        "nmae: shop",
        "name: Shop!",
        "limits: { in_flight: 0 }",
        "limits: { memory: much }",
        "sources: { s: { kafka: { broker: b } } }",
        "targets: { t: { timeout: 10 seconds } }",
        "targets: { t: { dialect: striped } }",
        "targets: { t: { retry: { schedule: [soon] } } }",
        "targets: { t: { rate: { limit: 100 } } }",
        "defaults: { url: 'https://x.example/' }",
        "routes: [{ where: { a: { over: 1 } } }]",
        "routes: [{ priority: 5000 }]",
    ] {
        assert!(!validator.is_valid(&as_json(faulty)), "{faulty}");
    }
    for fine in
        ["x-mine: [1]", "limits: { in_flight: '${env:N}' }", "targets: { t: { http: 2, rate: 'off' } }"]
    {
        assert!(validator.is_valid(&as_json(fine)), "{fine}");
    }
}

/// `HOOKFERRY_WRITE_DOCS=1 cargo test` writes it anew.
#[test]
fn the_reference_in_the_documentation_is_the_one_that_is_made() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/reference.md");
    let made = Reference::read().markdown();
    if std::env::var_os("HOOKFERRY_WRITE_DOCS").is_some() {
        std::fs::write(path, &made).expect("docs/reference.md can be written");
    }

    let written = std::fs::read_to_string(path).expect("docs/reference.md");

    assert!(
        written == made,
        "docs/reference.md is stale; run HOOKFERRY_WRITE_DOCS=1 cargo test --lib reference"
    );
}
