//! `sign`, `verify`, `listen` and `secret`, as a user types them.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdout, Output, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::process::{Folder, command, hookferry, text};

const BODY: &str = r#"{"type":"order.created","amount":1}"#;
const TWO_SECRETS: &str = "new-secret-0123456789abcdef\n\n  old-secret-0123456789abcdef  \n";

fn stdout(output: &Output) -> &str {
    str::from_utf8(&output.stdout).unwrap()
}

fn json(output: &Output) -> Value {
    serde_json::from_str(stdout(output)).unwrap_or_else(|fault| panic!("{fault}: {}", text(output)))
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Runs a command that reads this.
fn fed(arguments: &[&str], input: &str) -> Output {
    let mut child = command().args(arguments).stdin(Stdio::piped()).spawn().unwrap();
    // A command that refuses its arguments does not read.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

/// A signed request, as `sign` prints it, in files.
struct Captured {
    folder: Folder,
    body: std::path::PathBuf,
    secret: std::path::PathBuf,
    headers: std::path::PathBuf,
}

fn captured(dialect: &str, more: &[&str]) -> Captured {
    let folder = Folder::new("signing");
    let (body, secret) = (folder.file("body.json", BODY), folder.file("secret", TWO_SECRETS));
    let arguments = ["sign", "--dialect", dialect, "--secret-file", path(&secret), path(&body)];
    let signed = hookferry(&[&arguments, more].concat());
    assert_eq!(signed.status.code(), Some(0), "{}", text(&signed));
    let headers = folder.file("headers.txt", stdout(&signed));
    Captured { folder, body, secret, headers }
}

impl Captured {
    fn verify(&self, dialect: &str, secret: &Path, body: &Path, more: &[&str]) -> Output {
        let arguments =
            ["verify", "--dialect", dialect, "--secret-file", path(secret), path(&self.headers), path(body)];
        hookferry(&[&arguments, more].concat())
    }
}

#[test]
fn what_sign_prints_verify_accepts() {
    for dialect in
        ["cost-katana", "ops-center", "llm-optimizer", "dcision", "github", "stripe", "shopify", "slack"]
    {
        let captured = captured(dialect, &[]);
        let verified = captured.verify(dialect, &captured.secret, &captured.body, &[]);
        assert_eq!(verified.status.code(), Some(0), "{dialect}: {}", text(&verified));
        assert!(stdout(&verified).starts_with("ok: signed with secret 1 of 2"), "{}", text(&verified));
    }
}

#[test]
fn verify_says_why_it_refuses() {
    let captured = captured("stripe", &["--at", "2026-01-31T12:00:00Z"]);
    let Captured { folder, body, secret, .. } = &captured;
    let (tampered, padded) = (
        folder.file("tampered", r#"{"type":"order.created","amount":9}"#),
        folder.file("padded", &format!("{BODY}\n")),
    );
    let wrong = folder.file("wrong", "another-secret-0123456789");
    let at = |time: &'static str| ["--at", time, "--format", "json"];
    let near = at("2026-01-31T12:04:59Z");

    let good = captured.verify("stripe", secret, body, &near);
    assert_eq!((good.status.code(), json(&good)["ok"].clone()), (Some(0), true.into()), "{}", text(&good));
    assert_eq!(json(&good)["secrets"], 2);
    let cases = [
        (secret, &tampered, near, "no_match"),
        (secret, &padded, near, "no_match"),
        (&wrong, body, near, "no_match"),
        (secret, body, at("2026-01-31T12:05:01Z"), "timestamp_too_old"),
        (secret, body, at("2026-01-31T11:54:59Z"), "timestamp_in_future"),
    ];
    for (secret, body, more, reason) in cases {
        let refused = captured.verify("stripe", secret, body, &more);
        assert_eq!(refused.status.code(), Some(1), "{}", text(&refused));
        assert_eq!(json(&refused)["reason"], reason);
        assert_eq!(
            json(&refused)["hint"].is_string(),
            std::ptr::eq(body, &raw const padded),
            "{}",
            text(&refused)
        );
    }
    let tolerant =
        captured.verify("stripe", secret, body, &["--at", "2026-01-31T13:00:00Z", "--tolerance", "2h"]);
    assert_eq!(tolerant.status.code(), Some(0), "{}", text(&tolerant));

    let other_headers = captured.verify("github", secret, body, &[]);
    assert_eq!(other_headers.status.code(), Some(1));
    assert_eq!(stdout(&other_headers), "refused: the header `x-hub-signature-256` is missing\n");
    let no_headers = folder.file("none.txt", "this is no header\n");
    let bad = hookferry(&[
        "verify",
        "--dialect",
        "stripe",
        "--secret-file",
        path(secret),
        path(&no_headers),
        path(body),
    ]);
    assert_eq!(bad.status.code(), Some(2));
    assert!(text(&bad).contains("none.txt:1: this is no header"), "{}", text(&bad));
}

#[test]
fn a_secret_comes_from_a_file_or_standard_input_and_is_never_an_argument() {
    let folder = Folder::new("signing");
    let (body, secret) = (folder.file("body.json", BODY), folder.file("secret", TWO_SECRETS));
    let at = ["--at", "2026-01-31T12:00:00Z", "--id", "e-1"];
    let of_file = hookferry(
        &[&["sign", "--dialect", "stripe", "--secret-file", path(&secret), path(&body)], &at[..]].concat(),
    );
    let of_input = fed(&[&["sign", "--dialect", "stripe", path(&body)], &at[..]].concat(), TWO_SECRETS);
    assert_eq!(stdout(&of_file), stdout(&of_input));
    assert!(stdout(&of_file).contains("stripe-signature: t=1769860800,v1="), "{}", text(&of_file));
    assert!(!text(&of_file).contains("new-secret"), "{}", text(&of_file));

    let as_argument = hookferry(&["sign", "--dialect", "stripe", "--secret", "hunter2", path(&body)]);
    assert_eq!(as_argument.status.code(), Some(2));
    let none = fed(&["sign", "--dialect", "stripe", path(&body)], "");
    assert_eq!(none.status.code(), Some(2), "{}", text(&none));
    let both = fed(&["sign", "--dialect", "stripe", "-"], "x");
    assert!(text(&both).contains("the body comes from standard input already"), "{}", text(&both));
    let nobody = hookferry(&["sign", path(&body)]);
    assert!(text(&nobody).contains("--dialect NAME or --target NAME"), "{}", text(&nobody));
}

const CONFIG: &str = "
sources: { s: { kafka: { brokers: 'b:9092', topics: [t] } } }
targets:
  ledger:
    url: 'https://ledger.example.com/in?token=${env:HOOKFERRY_TEST_UNSET:-hidden-in-the-address}'
    headers: { X-Api-Key: a-configured-key }
    secrets: [the-newest-one, the-old-one]
    signature:
      message: '{{id}}|{{timestamp}}|{{event.type}}|{{body}}'
      algorithm: hmac-sha512
      each: 's={{signature}}'
      join: ';'
      timestamp: rfc3339
      headers: { X-Ledger: '{{timestamp}} {{id}} {{event.type}} {{signatures}}' }
routes: [{ to: [ledger] }]
";

#[test]
fn a_target_signs_and_verifies_by_its_own_general_form() {
    let folder = Folder::new("signing");
    let (config, body) = (folder.file("hookferry.yaml", CONFIG), folder.file("body.json", BODY));
    let signed = hookferry(&["sign", "-c", path(&config), "--target", "ledger", "--id", "e-1", path(&body)]);
    let shown = text(&signed);
    assert_eq!(signed.status.code(), Some(0), "{shown}");
    for secret in ["the-newest-one", "a-configured-key", "hidden-in-the-address"] {
        assert!(!shown.contains(secret), "{secret} in:\n{shown}");
    }
    assert!(shown.contains(" e-1 order.created s="), "{shown}");
    let headers = folder.file("headers.txt", stdout(&signed));
    let verify = |secrets: Option<&str>| {
        let file = secrets.map(|text| folder.file("secret", text));
        let of_file: Vec<&str> = file.iter().flat_map(|file| ["--secret-file", path(file)]).collect();
        let arguments = ["verify", "-c", path(&config), "--target", "ledger", path(&headers), path(&body)];
        hookferry(&[&arguments[..], &of_file].concat())
    };
    assert!(stdout(&verify(None)).starts_with("ok: signed with secret 1 of 2, "), "{}", text(&verify(None)));
    assert!(stdout(&verify(Some("the-old-one"))).starts_with("ok: signed with secret 1 of 1, "));
    assert_eq!(verify(Some("a-wrong-one")).status.code(), Some(1));
    let unknown = hookferry(&["sign", "-c", path(&config), "--target", "lodger", path(&body)]);
    assert_eq!(unknown.status.code(), Some(2));
    assert!(text(&unknown).contains("there are: ledger"), "{}", text(&unknown));
}

#[test]
fn a_new_secret_has_256_bits_in_the_form_of_its_dialect() {
    let secret = |arguments: &[&str]| {
        let output = hookferry(&[&["secret"], arguments].concat());
        assert_eq!(output.status.code(), Some(0), "{}", text(&output));
        stdout(&output).trim_end().to_owned()
    };
    for dialect in
        ["cost-katana", "ops-center", "llm-optimizer", "dcision", "github", "stripe", "shopify", "slack"]
    {
        let made = secret(&["--dialect", dialect]);
        assert!(
            made.len() == 64 && made.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')),
            "{made}"
        );
        assert_ne!(made, secret(&["--dialect", dialect]));
    }
    for arguments in [&[][..], &["--dialect", "standard-webhooks"]] {
        let made = secret(arguments);
        let bytes = STANDARD.decode(made.strip_prefix("whsec_").expect("the prefix")).expect("base64");
        assert_eq!(bytes.len(), 32);
    }
    assert_eq!(hookferry(&["secret", "--dialect", "strype"]).status.code(), Some(2));
    assert_eq!(hookferry(&["secret", "--dialect", "stripe", "--ed25519"]).status.code(), Some(2));
}

#[test]
fn a_new_key_pair_signs_with_one_half_and_verifies_with_the_other() {
    let made = json(&hookferry(&["secret", "--ed25519", "--format", "json"]));
    let folder = Folder::new("signing");
    let file = |name: &str| folder.file(name, made[name].as_str().unwrap());
    let (private, public, body) = (file("secret"), file("public"), folder.file("body.json", BODY));
    let with = |command: &[&str], key: &Path, files: &[&str]| {
        hookferry(&[command, &["--dialect", "standard-webhooks", "--secret-file", path(key)], files].concat())
    };
    let signed = with(&["sign"], &private, &[path(&body)]);
    assert!(stdout(&signed).contains("webhook-signature: v1a,"), "{}", text(&signed));
    let headers = folder.file("headers.txt", stdout(&signed));
    let verified = with(&["verify"], &public, &[path(&headers), path(&body)]);
    assert_eq!(verified.status.code(), Some(0), "{}", text(&verified));
    let unable = with(&["sign"], &public, &[path(&body)]);
    assert_eq!(unable.status.code(), Some(2), "a public key can't sign: {}", text(&unable));
}

/// A listener that is killed when this is dropped, with what it has said.
struct Listening {
    child: Child,
    lines: std::io::Lines<BufReader<ChildStdout>>,
    url: String,
}

impl Listening {
    fn start(arguments: &[&str]) -> Listening {
        let mut child = command().args(["listen", "0", "--format", "json"]).args(arguments).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let greeting: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
        let url = greeting["listening"].as_str().unwrap().to_owned();
        Listening { child, lines, url }
    }

    /// What it says of the next request.
    fn said(&mut self) -> Value {
        serde_json::from_str(&self.lines.next().unwrap().unwrap()).unwrap()
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn post(url: &str, headers: &Value, body: &'static str) -> u16 {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let client = crate::client::builder().build().unwrap();
    let mut request = client.post(url).header("authorization", "Bearer hunter2");
    for pair in headers.as_array().unwrap() {
        request = request.header(pair[0].as_str().unwrap(), pair[1].as_str().unwrap());
    }
    runtime.block_on(request.body(body).send()).unwrap().status().as_u16()
}

#[test]
fn listen_verifies_and_shows_each_request() {
    let folder = Folder::new("signing");
    let (body, secret) = (folder.file("body.json", BODY), folder.file("secret", TWO_SECRETS));
    let of_dialect = ["--dialect", "github", "--secret-file", path(&secret)];
    let mut listening = Listening::start(&of_dialect);
    let headers = |more: &[&str]| {
        let output =
            hookferry(&[&["sign"], &of_dialect[..], &[path(&body), "--format", "json"], more].concat());
        json(&output)["headers"].clone()
    };

    assert_eq!(post(&format!("{}hooks?a=b", listening.url), &headers(&[]), BODY), 200);
    let said = listening.said();
    assert_eq!(
        (&said["number"], &said["method"], &said["path"]),
        (&1.into(), &"POST".into(), &"/hooks?a=b".into())
    );
    assert_eq!(
        (&said["body"], &said["verdict"]["ok"], &said["status"]),
        (&BODY.into(), &true.into(), &200.into())
    );
    let shown = said["headers"].as_array().unwrap();
    assert!(shown.contains(&serde_json::json!(["authorization", "***"])), "{said}");
    assert!(shown.contains(&serde_json::json!(["x-github-event", "order.created"])), "{said}");

    assert_eq!(post(&listening.url, &headers(&["--type", "ping"]), "tampered"), 401);
    let said = listening.said();
    assert_eq!((&said["verdict"]["reason"], &said["status"]), (&"no_match".into(), &401.into()));
}

#[test]
fn listen_fails_on_purpose() {
    let mut listening = Listening::start(&["--fail-every", "2", "--status", "429", "--delay", "150ms"]);
    let started = std::time::Instant::now();
    let none = serde_json::json!([]);
    let statuses: Vec<u16> = (0..4).map(|_| post(&listening.url, &none, "not JSON")).collect();
    assert_eq!(statuses, [200, 429, 200, 429]);
    assert!(started.elapsed() >= std::time::Duration::from_millis(600), "each one is late");
    assert_eq!(listening.said()["verdict"], Value::Null);
    let always = Listening::start(&["--status", "410"]);
    assert_eq!(post(&always.url, &none, ""), 410);
}

#[test]
fn a_port_that_is_taken_is_said() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let output = hookferry(&["listen", &port]);
    assert_eq!(output.status.code(), Some(3), "{}", text(&output));
    assert!(text(&output).contains("name another port"), "{}", text(&output));
}
