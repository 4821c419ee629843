//! `sources.NAME.nats`, `replicas`, and whose broker keeps dead letters.

use std::time::Duration;

use super::*;
use crate::domain::{Place, SourceId};
use crate::plan::{JetStream, Nats, NatsLogin, NatsMode, Start};

/// A configuration with one source `s` of these NATS settings, and more.
fn with_nats(nats: &str, more: &str) -> String {
    format!(
        "sources: {{ s: {{ nats: {{ {nats} }}{more} }} }}
targets: {{ t: {{ url: 'https://x.example/' }} }}
routes: [{{ to: [t] }}]
"
    )
}

fn nats(settings: &str) -> Nats {
    plan(&with_nats(settings, "")).sources[0].nats().expect("NATS").clone()
}

fn fault(settings: &str) -> String {
    let faults = faults(&with_nats(settings, ""));
    assert_eq!(faults.len(), 1, "{faults:?}");
    faults[0].split_once(": ").expect("a place").1.to_owned()
}

const GOOD: &str = "servers: 'nats://one:4222', subjects: ['a.>']";

#[test]
fn a_stream_is_read_by_a_durable() {
    let nats = nats(
        "servers: ['nats://one:4222', 'tls://two'], stream: S, subjects: [a.b, 'c.*'], start: 2h, ack_wait: 30s",
    );

    assert_eq!(nats.servers, ["nats://one:4222", "tls://two"]);
    let subjects: Vec<&str> = nats.subjects.iter().map(|subject| subject.as_str()).collect();
    assert_eq!(subjects, ["a.b", "c.*"]);
    let NatsMode::JetStream(js) = nats.mode else { panic!("{:?}", nats.mode) };
    let wanted = JetStream {
        stream: "S".to_owned(),
        durable: "hookferry-s".to_owned(),
        start: Start::Ago(Duration::from_secs(7200)),
        ack_wait: Duration::from_secs(30),
        max_ack_pending: 20_000,
    };
    assert_eq!(js, wanted);
}

#[test]
fn a_source_of_the_retry_tiers_is_refused() {
    let ours = "deliveries that wait are written here; a source that reads them would never end";
    for nats in [
        "servers: 'a:1', subjects: ['hookferry.retry.5m']",
        "servers: 'a:1', stream: hookferry-retry, subjects: ['hookferry.>']",
    ] {
        assert_eq!(fault(nats), format!("sources.s.nats.subjects: {ours}"), "{nats}");
    }
    let elsewhere = "servers: 'a:1', stream: S, subjects: ['other.retry.5m']";
    assert_eq!(nats(elsewhere).subjects.len(), 1);
}

#[test]
fn without_a_stream_it_is_core_nats_and_that_is_said() {
    let text = with_nats(GOOD, "");

    let NatsMode::Core { queue } = nats(GOOD).mode else { panic!("a stream") };
    assert_eq!(queue, "hookferry-s");
    assert!(plan(&text).notices.iter().any(|notice| notice.contains("at most once")), "{text}");
    for key in ["start: earliest", "durable: d", "ack_wait: 5s", "max_ack_pending: 5"] {
        let fault = fault(&format!("{GOOD}, {key}"));
        let key = key.split(':').next().unwrap_or_default();
        assert!(fault.starts_with(&format!("sources.s.nats.{key}: only with `stream`")), "{fault}");
    }
    assert!(fault(&format!("{GOOD}, stream: S, queue: q")).contains("only without `stream`"));
}

#[test]
fn there_is_one_way_to_log_in() {
    let login = |keys: &str| nats(&format!("{GOOD}, {keys}")).login;
    let seed = "SUACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6USDXIEDNPPQYYYCU3VY";

    assert!(matches!(login("creds: /etc/nats.creds"), NatsLogin::CredentialsFile(_)));
    assert!(matches!(login("creds: '-----BEGIN NATS USER JWT-----x'"), NatsLogin::Credentials(_)));
    assert!(matches!(login(&format!("nkey: {seed}")), NatsLogin::Nkey(_)));
    assert!(matches!(login("user: u, password: p"), NatsLogin::User { .. }));
    assert!(matches!(login("token: t"), NatsLogin::Token(_)));
    assert!(matches!(nats(GOOD).login, NatsLogin::Anonymous));

    assert!(
        fault(&format!("{GOOD}, token: t, user: u, password: p")).contains("more than one way to log in")
    );
    assert!(fault(&format!("{GOOD}, user: u")).starts_with("sources.s.nats.password: missing"));
    let wrong = fault(&format!("{GOOD}, nkey: hunter2hunter2"));
    assert!(wrong.contains("begins with `SU`") && !wrong.contains("hunter2"), "{wrong}");
    for no_path in [seed, "eyJ0eXAi", "\"line\\nline\"", "''"] {
        let wrong = fault(&format!("{GOOD}, creds: {no_path}"));
        assert!(wrong.contains("neither the path") && !wrong.contains(no_path), "{wrong}");
    }
}

#[test]
fn what_can_not_be_read_is_refused_with_its_remedy() {
    for (settings, wanted) in [
        ("servers: 'nats://u:hunter2@h:1', subjects: [a]", "holds no user and no password"),
        ("servers: 'http://h', subjects: [a]", "`nats://host:port` or `tls://host:port`"),
        ("servers: h, subjects: [a, 'a b']", "no subject: it holds white space"),
        ("servers: h, subjects: ['a.*', a.b]", "`a.b` overlaps `a.*`: a message would come twice"),
        ("servers: h, subjects: ['a*']", "`a*` is no subject: `*` stands for a whole token"),
        ("servers: h, subjects: []", "at least one subject is needed"),
        ("servers: h, stream: 'a.b', subjects: [a]", "none of `. * > / \\`"),
        ("servers: h, stream: S, subjects: [a], ack_wait: 10ms", "at least 1s"),
        ("servers: h, subjects: [a], tls: { cert: c }", "`cert` needs the key"),
    ] {
        let fault = fault(settings);
        assert!(fault.contains(wanted) && !fault.contains("hunter2"), "{wanted} is not in: {fault}");
    }
    let both =
        "sources: { s: { kafka: { brokers: b, topics: [t] }, nats: { servers: h, subjects: [a] } } }\n";
    let rest = "targets: { t: { url: 'https://x.example/' } }\nroutes: [{ to: [t] }]\n";
    assert!(faults(&format!("{both}{rest}"))[0].contains("a source reads from one broker"));
}

#[test]
fn tokens_of_the_subject_are_parts_of_events_on_nats_only() {
    let event = ", event: { type: ['subject:2..'], subject: ['subject:1'] }";

    let parts = plan(&with_nats(GOOD, event)).sources[0].event.clone();
    assert_eq!(parts.event_type, Some(vec![Place::Subject { first: 2, rest: true }]));
    assert_eq!(parts.subject, Some(vec![Place::Subject { first: 1, rest: false }]));
    let kafka =
        with_nats(GOOD, event).replace(&format!("nats: {{ {GOOD} }}"), "kafka: { brokers: b, topics: [t] }");
    assert!(faults(&kafka)[0].contains("`subject:` is for NATS"), "{kafka}");
}

#[test]
fn dead_letters_are_on_the_broker_that_is_named() {
    let text = |more: &str, letters: &str| {
        format!(
            "sources:
  a: {{ kafka: {{ brokers: b, topics: [t] }} }}
  b: {{ nats: {{ {GOOD}, stream: S }} }}
  c: {{ nats: {{ {GOOD}, stream: S, durable: d }}{more} }}
targets: {{ t: {{ url: 'https://x.example/' }} }}
routes: [{{ to: [t] }}]
dead_letters: {{ {letters} }}
"
        )
    };
    let stores = |more: &str, letters: &str| -> Vec<u16> {
        plan(&text(more, letters)).sources.iter().map(|source| source.store.0).collect()
    };

    assert_eq!(stores("", ""), [0, 1, 2], "each on its own");
    assert_eq!(stores("", "on: a"), [0, 0, 0]);
    assert_eq!(stores(", store: b", "on: a"), [0, 0, 1], "a source's own word wins");
    let letters = plan(&text("", "stream: D, subject: my.dlq")).dead_letters;
    assert_eq!((&*letters.topic, &*letters.stream, &*letters.subject), ("hookferry.dlq", "D", "my.dlq"));
    assert_eq!(
        faults(&text(", store: aa", "on: x")),
        [
            "h.yaml:4:95: sources.c.store: there is no source `aa`; did you mean `a`?",
            "h.yaml:7:21: dead_letters.on: there is no source `x`; did you mean `a`?",
        ]
    );
    assert_eq!(plan(&text("", "")).sources[0].store, SourceId(0));
}

#[test]
fn a_source_of_its_own_dead_letters_is_refused() {
    let own = fault("servers: h, stream: hookferry-dlq, subjects: ['hookferry.>']");
    assert!(own.contains("would never end"), "{own}");
    assert!(fault("servers: h, subjects: ['>']").contains("would never end"));
    assert_eq!(nats("servers: h, stream: OTHER, subjects: ['>']").subjects.len(), 1, "another stream");
    let mixed = |letters: &str| {
        let sources = "sources: { k: { kafka: { brokers: b, topics: [t] } }, s: { nats: { servers: h, subjects: ['>'] } } }";
        let rest = "targets: { t: { url: 'https://x.example/' } }\nroutes: [{ to: [t] }]\n";
        format!("{sources}\n{rest}dead_letters: {{ {letters} }}\n")
    };
    assert_eq!(plan(&mixed("on: k")).sources.len(), 2, "none of them is on NATS");
    assert_eq!(faults(&mixed("")).len(), 1, "the source's own are");
}

#[test]
fn replicas_share_what_a_durable_may_have_open() {
    let text = with_nats(&format!("{GOOD}, stream: S, max_ack_pending: 3"), "");

    assert_eq!(plan(&format!("{text}replicas: 3\n")).replicas, 3);
    assert_eq!(
        faults(&format!("{text}replicas: 4\n")),
        [
            "h.yaml:1:100: sources.s.nats.max_ack_pending: smaller than `replicas`, which is 4: each needs at least one"
        ]
    );
}

#[test]
fn names_on_the_broker_are_shown_and_logins_are_not() {
    let text = with_nats(
        "servers: '${env:SERVERS}', stream: '${env:STREAM}', subjects: ['${env:SUBJECT}'], user: hunter2u, password: '${env:PASSWORD}'",
        "",
    );
    let layers = environment(&[
        ("SERVERS", "nats://h:4222"),
        ("STREAM", "S"),
        ("SUBJECT", "a.b"),
        ("PASSWORD", "hunter2hunter2"),
    ]);
    let examined = examine_text("h.yaml", &text, &layers).unwrap_or_else(|faults| panic!("{faults}"));
    let shown = |key: &str| {
        let path = format!("sources.s.nats.{key}");
        examined.settings.iter().find(|setting| setting.path == path).map(|setting| &*setting.value)
    };

    assert_eq!(shown("servers"), Some("nats://h:4222"));
    assert_eq!((shown("stream"), shown("subjects")), (Some("S"), Some("[a.b]")));
    assert_eq!((shown("user"), shown("password")), (Some("***"), Some("***")));
    assert!(
        !format!("{:?}", examined.plan.sources).contains("hunter2"),
        "nor in what is printed for debugging"
    );
}

#[test]
fn of_credentials_only_a_path_that_was_written_is_shown() {
    let layers = environment(&[("CREDS", "/etc/hunter2.creds")]);
    for (login, wanted) in [
        ("creds: /etc/nats.creds", "/etc/nats.creds"),
        ("creds: '${env:CREDS}'", "***"),
        ("creds: '-----BEGIN NATS USER JWT-----hunter2'", "***"),
        ("token: hunter2", "***"),
        ("nkey: SUACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6USDXIEDNPPQYYYCU3VY", "***"),
    ] {
        let text = with_nats(&format!("{GOOD}, {login}"), "");
        let examined = examine_text("h.yaml", &text, &layers).unwrap_or_else(|faults| panic!("{faults}"));
        let path = format!("sources.s.nats.{}", login.split(':').next().unwrap_or_default());
        let shown = examined.settings.iter().find(|setting| setting.path == path);
        assert_eq!(shown.map(|setting| &*setting.value), Some(wanted), "{login}");
    }
}

#[test]
fn a_subject_out_of_a_file_is_not_repeated_by_its_fault() {
    let file = std::env::temp_dir().join(format!("hookferry-subject-{}", std::process::id()));
    std::fs::write(&file, "hunter2*").expect("a temporary file");

    let fault = fault(&format!("servers: h, subjects: ['${{file:{}}}']", file.display()));
    // What is left in the temporary folder harms nobody.
    let _ = std::fs::remove_file(&file);

    assert!(fault.contains("is no subject") && !fault.contains("hunter2"), "{fault}");
}

#[test]
fn lists_come_from_the_environment_too() {
    let layers = environment(&[("HOOKFERRY__SOURCES__S__NATS__SERVERS", "nats://a:1,nats://b:2")]);
    let plan = plan_with(&with_nats(GOOD, ""), &layers);
    assert_eq!(plan.sources[0].nats().expect("NATS").servers, ["nats://a:1", "nats://b:2"]);
}
