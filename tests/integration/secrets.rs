//! Secrets out of variables and files, in every place that takes one: receivers get them, and nothing
//! that hookferry says or writes holds them.

use std::path::Path;
use std::time::Duration;

use serde_json::json;

use crate::bridge::{Bridge, free_port};
use crate::process::{Folder, hookferry_in, text};
use crate::receiver::{Answer, Receiver};
use crate::record::Record;
use crate::scene::Scene;
use crate::stage::Stage;

/// Stands in every secret, also in base64, in some case: hosts are written in lower case.
const MARK: &str = "sesame";

/// Variables that hold secrets; the first ones are laid over the files.
const VARIABLES: [(&str, &str); 12] = [
    ("HOOKFERRY__ADMIN__TOKEN", "admin-token-SeSaMe"),
    ("HOOKFERRY__TARGETS__REJECTED__DESCRIPTION", "overlaid-SeSaMe"),
    ("T_PATH", "path-SeSaMe"),
    ("T_QUERY", "query-SeSaMe"),
    ("T_SECRET", "whsec_SeSaMeQIhrscChlQIMV+b5sSYspob7oD"),
    ("T_PLAIN", "plain-SeSaMe"),
    ("T_HEADER", "header-SeSaMe"),
    ("T_ID", "id-SeSaMe"),
    ("T_TEXT", "text-SeSaMe"),
    ("T_BROKER", "broker-SeSaMe"),
    ("T_TYPE", "type-SeSaMe"),
    ("T_CONST", "const-SeSaMe"),
];

/// Targets that fail in every way, each with secrets wherever they can stand.
fn config(scene: &Scene, folder: &Folder, receiver: &Receiver) -> String {
    let file = |name: &str, text: &str| format!("${{file:{}}}", folder.file(name, text).display());
    let old = file("old", "whsec_SeSaMeVsBQIhrscChlQIMV+b5sSYspob\n");
    let (key, path) = (file("key", "key-SeSaMe\n"), file("path", "file-path-SeSaMe"));
    let host = file("host", "file-host-SeSaMe.invalid");
    let (url, port) = (receiver.url(""), free_port());
    let https = url.replace("http://", "https://");
    let way = "${env:T_PATH}?key=${env:T_QUERY}";
    let common = "headers: { Authorization: 'Bearer ${env:T_HEADER}' }, secrets: ['${env:T_SECRET}'], \
                  breaker: off";
    let once = "retry: { attempts: 1 }";
    let whole = file("whole", &format!("{url}/file-whole-SeSaMe?key=query-SeSaMe"));
    let rest = format!(
        "targets:
  rejected:
    url: '{url}/400/{way}'
    egress: private
    id: '${{env:T_ID}}'
    description: '${{env:T_TEXT}}'
    labels: {{ team: '${{env:T_TEXT}}' }}
    headers: {{ Authorization: 'Bearer ${{env:T_HEADER}}', X-Key: '{key}' }}
    secrets: ['${{env:T_SECRET}}', '{old}']
  redirected: {{ url: '{url}/302/{path}', egress: private, dialect: stripe, secrets: ['${{env:T_PLAIN}}'] }}
  whole: {{ url: '{whole}', egress: private, {common}, {once} }}
  exhausted: {{ url: '{url}/503/{way}', egress: private, {common}, retry: {{ schedule: [20ms, 20ms] }} }}
  refused: {{ url: 'http://127.0.0.1:{port}/{way}', egress: private, {common}, {once} }}
  unresolved: {{ url: 'https://hookferry.invalid/{way}', {common}, {once} }}
  hidden: {{ url: 'https://{host}/{way}', {common}, {once} }}
  plaintext: {{ url: '{https}/{way}', egress: private, {common}, {once}, timeout: 1s }}
  blocked: {{ url: '{url}/{way}', allow_http: true, egress: {{ allow: [10.0.0.0/8] }}, {common} }}
  late: {{ url: '{url}/late/{way}', egress: private, {common}, {once}, timeout: 200ms }}
  unrenderable: {{ url: '{url}/{way}', egress: private, {common}, payload: ops-center }}
  waiting: {{ url: '{url}/503/{way}', egress: private, {common}, retry: {{ schedule: [1h] }} }}
routes:
  - name: all
    types: ['*', '!${{env:T_TYPE}}']
    where: {{ n: {{ ne: '${{env:T_CONST}}' }} }}
    to: [rejected, redirected, whole, exhausted, refused, unresolved, hidden, plaintext, blocked, late, unrenderable, waiting]"
    );
    let properties = "sasl.username: '${env:T_BROKER}', sasl.password: '${env:T_BROKER}'";
    let source = "event: { source: ['const:${env:T_CONST}'] }";
    scene.kafka_config(source, properties, &rest).replace("level: debug", "level: trace")
}

/// Every text of a broker's record.
fn texts(record: &Record) -> String {
    let value = String::from_utf8_lossy(record.value.as_deref().unwrap_or_default()).into_owned();
    let headers = record.headers.iter();
    let headers: Vec<String> =
        headers.map(|(name, value)| format!("{name}: {}", String::from_utf8_lossy(value))).collect();
    format!("{value}\n{}", headers.join("\n"))
}

#[track_caller]
fn assert_silent(what: &str, said: &str) {
    let lines: Vec<&str> = said.lines().filter(|line| line.to_ascii_lowercase().contains(MARK)).collect();
    assert!(lines.is_empty(), "{what} holds secrets:\n{}", lines.join("\n"));
    assert!(!said.trim().is_empty(), "{what} says nothing at all");
}

/// What a command says of this configuration, which must be good.
#[track_caller]
fn said(arguments: &[&str]) -> String {
    let output = hookferry_in(&VARIABLES, arguments);
    assert!(output.status.success(), "{arguments:?}: {}", text(&output));
    text(&output)
}

#[test]
fn no_secret_is_said_or_written_anywhere() {
    let scene = Scene::new("secrets", 1);
    let folder = Folder::new("secrets");
    let receiver = Receiver::start(|request| match request.path.split('/').nth(1) {
        // An answer may hold what the receiver was told.
        Some("400") => Answer::Header(400, "x-echo", request.path.clone()),
        Some("302") => Answer::Header(302, "location", format!("http://127.0.0.1:9{}", request.path)),
        Some("late") => Answer::Hang,
        _ => Answer::Header(503, "x-echo", request.path.clone()),
    });
    let config = config(&scene, &folder, &receiver);
    // Without a type, which one of the payloads needs.
    scene.publish([Record::json(&json!({ "event_id": "s-1", "n": 1 }))]);
    let mut bridge = Bridge::start_in(&VARIABLES, &config);
    bridge.wait_ready();

    let letters = scene.wait_letters(11);
    let waiting = scene.cluster.wait_records(&format!("{}.retry.1h", scene.name), 1);
    scene.wait_settled();

    // They are in use: receivers got them.
    let rejected = &receiver.requests_to("/400/path-SeSaMe?key=query-SeSaMe")[0];
    assert_eq!(rejected.header("authorization"), Some("Bearer header-SeSaMe"));
    assert_eq!(rejected.header("x-key"), Some("key-SeSaMe"));
    assert_eq!(rejected.header("webhook-signature").map(|list| list.split(' ').count()), Some(2));
    assert_eq!(receiver.requests_to("/302/file-path-SeSaMe").len(), 1);
    assert_eq!(receiver.requests_to("/file-whole-SeSaMe?key=query-SeSaMe").len(), 1);
    // And every way to fail was taken.
    let reason = |record: &Record| record.header("hookferry-reason").unwrap_or_default().to_owned();
    for (wanted, count) in [("rejected", 2), ("exhausted", 7), ("blocked", 1), ("template", 1)] {
        let found = letters.iter().filter(|letter| reason(letter) == wanted).count();
        assert_eq!(found, count, "{wanted}: {:#?}", letters.iter().map(texts).collect::<Vec<_>>());
    }

    for record in letters.iter().chain(&waiting) {
        assert_silent("a record", &texts(record));
    }
    assert_silent("/metrics", &bridge.get("/metrics").unwrap().1);
    assert_silent("/readyz", &bridge.get("/readyz").unwrap().1);
    assert_silent("/api without a token", &bridge.get("/api/v1/targets").unwrap().1);
    assert_silent("the list of processes", &bridge.command_line());
    let url = format!("http://{}", bridge.admin().unwrap());
    let token = folder.file("token", "admin-token-SeSaMe\n");
    let access = ["--url", &url, "--token-file", token.to_str().unwrap()];
    let of_api = |arguments: &[&str]| said(&[arguments, &access].concat());
    assert_silent("targets list", &of_api(&["targets", "list"]));
    for target in ["rejected", "whole", "hidden"] {
        let shown = of_api(&["targets", "show", target, "--format", "json"]);
        assert_silent("targets show", &shown);
        assert!(shown.contains("***"), "{target}: {shown}");
    }
    of_the_commands(&folder, &config);
    receiver.release();
    bridge.signal(libc::SIGTERM);
    let status = bridge.wait_exit(Duration::from_secs(40));
    assert_eq!(status.code(), Some(0), "{}", bridge.log());
    let log = bridge.log();
    assert!(log.contains("DEBUG"), "{log}");
    assert_silent("the log", &log);
}

/// What `check`, `explain` and `dead-letters` say, and what is said of a faulty configuration.
fn of_the_commands(folder: &Folder, config: &str) {
    let file = folder.file("hookferry.yaml", config);
    let with = |arguments: &[&str]| said(&[arguments, &["-c", path(&file)]].concat());
    let event = folder.file("event.json", r#"{"event_id":"s-1","type":"a.b","n":1}"#);
    for format in ["text", "json"] {
        assert_silent("check", &with(&["check", "--format", format]));
        // Some of its targets can't be reached.
        let connect = ["check", "--connect", "--format", format, "-c", path(&file)];
        let output = hookferry_in(&VARIABLES, &connect);
        assert_eq!(output.status.code(), Some(2), "{}", text(&output));
        assert!(text(&output).contains("could not connect"), "{}", text(&output));
        assert_silent("check --connect", &text(&output));
        assert_silent("explain", &with(&["explain", path(&event), "--format", format]));
        assert_silent("dead-letters list", &with(&["dead-letters", "list", "--format", format]));
        let shown = with(&["dead-letters", "show", "--event-id", "s-1", "--format", format]);
        assert_silent("dead-letters show", &shown);
    }
    let faulty = folder.file("faulty.yaml", &config.replace("timeout: 200ms", "timeout: '${env:T_TEXT}'"));
    for command in ["check", "run"] {
        let output = hookferry_in(&VARIABLES, &[command, "-c", path(&faulty)]);
        assert_eq!(output.status.code(), Some(2), "{command}: {}", text(&output));
        assert_silent(command, &text(&output));
    }
}

fn path(file: &Path) -> &str {
    file.to_str().unwrap()
}
