//! `targets` and `/api/v1/targets`, of a running process whose broker is not there: the API says how
//! targets stand all the same.

use std::net::TcpListener;
use std::process::{Child, Output};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::process::{Folder, command, hookferry, text};
use crate::secure::{Authority, Secure};

/// A process that is killed when this is dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn config(port: u16, admin: &str) -> String {
    format!(
        "admin: {{ listen: '127.0.0.1:{port}'{admin} }}
sources: {{ s: {{ kafka: {{ brokers: '127.0.0.1:9', topics: [t] }} }} }}
targets:
  crm: {{ url: 'https://crm.example.com/hooks/secret-path', rate: {{ limit: 100/s }} }}
  shop: {{ url: 'https://shop.example.com/', enabled: false }}
routes: [{{ to: [crm] }}]
"
    )
}

/// Asks until the process answers.
#[track_caller]
fn asked(arguments: &[&str]) -> Output {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let output = hookferry(arguments);
        if output.status.success() || Instant::now() > deadline || text(&output).contains("token") {
            return output;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn targets_of_a_running_process_are_listed_and_shown() {
    let folder = Folder::new("targets");
    let port = free_port();
    let file = folder.file("hookferry.yaml", &config(port, ""));
    let file = file.to_str().unwrap();
    let _running = Running(command().args(["run", "-c", file]).spawn().unwrap());

    let listed = asked(&["targets", "list", "-c", file]);

    let lines = text(&listed);
    assert_eq!(listed.status.code(), Some(0), "{lines}");
    assert!(lines.starts_with("TARGET"), "{lines}");
    assert!(lines.lines().any(|line| line.starts_with("crm ") && line.contains("active")), "{lines}");
    assert!(lines.contains("switched off in the configuration"), "{lines}");

    let shown =
        asked(&["targets", "show", "crm", "--url", &format!("http://127.0.0.1:{port}"), "--format", "json"]);
    let shown: Value = serde_json::from_slice(&shown.stdout).unwrap();
    assert_eq!(shown["url"], "https://crm.example.com", "no path");
    assert_eq!(shown["limits"]["rate"]["per_second"], 100.0);

    let unknown = hookferry(&["targets", "show", "nobody", "-c", file]);
    assert_eq!(unknown.status.code(), Some(1));
    assert!(text(&unknown).contains("there is no target of this name"), "{}", text(&unknown));
}

#[test]
fn a_token_is_needed_where_there_is_one() {
    let folder = Folder::new("targets-token");
    let port = free_port();
    let file = folder.file("hookferry.yaml", &config(port, ", token: hunter2hunter2"));
    let (right, wrong) = (folder.file("right", "hunter2hunter2\n"), folder.file("wrong", "hunter3"));
    let url = format!("http://127.0.0.1:{port}");
    let _running = Running(command().args(["run", "-c", file.to_str().unwrap()]).spawn().unwrap());
    let with = |token: &std::path::Path| {
        asked(&["targets", "list", "--url", &url, "--token-file", token.to_str().unwrap()])
    };

    let listed = with(&right);
    assert_eq!(listed.status.code(), Some(0), "{}", text(&listed));
    let refused = with(&wrong);
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused).contains("the admin token is missing or wrong"), "{}", text(&refused));
    let by_configuration = asked(&["targets", "list", "-c", file.to_str().unwrap()]);
    assert_eq!(by_configuration.status.code(), Some(0), "{}", text(&by_configuration));
}

#[test]
fn where_nobody_answers_that_is_said() {
    let output = hookferry(&["targets", "list", "--url", &format!("http://127.0.0.1:{}", free_port())]);

    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output).contains("nobody answers; is hookferry running"), "{}", text(&output));
}

#[test]
fn a_process_behind_tls_is_asked_if_the_system_trusts_it() {
    let (authority, stranger) = (Authority::new("own"), Authority::new("stranger"));
    let server = Secure::start(&authority, None, |_| ("200 OK", r#"{"targets":[]}"#.to_owned()));
    let folder = Folder::new("targets-tls");
    let ask = |trusted: &Authority| {
        let file = folder.file("ca.pem", &trusted.pem);
        let mut command = command();
        command.args(["targets", "list", "--url", &server.url("/")]);
        command.env("SSL_CERT_FILE", file).env_remove("SSL_CERT_DIR").output().unwrap()
    };

    let listed = ask(&authority);
    assert_eq!(listed.status.code(), Some(0), "{}", text(&listed));
    assert!(text(&listed).starts_with("TARGET"), "{}", text(&listed));
    assert_eq!(server.heads("GET /api/v1/targets ").len(), 1);

    let refused = ask(&stranger);
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused).contains("an authority that is not trusted here"), "{}", text(&refused));
}
