use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::domain::{ConsumerId, SourceId};
use crate::observe::testing::plan;

const ANY_PORT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

fn start() -> (Admin, Arc<Health>) {
    start_within(BOUNDS)
}

fn start_within(bounds: Bounds) -> (Admin, Arc<Health>) {
    let plan = plan();
    let health = Arc::new(Health::new(&plan));
    let admin = Admin::start_within(bounds, &listening(ANY_PORT), observed(plan, health.clone()));
    (admin.expect("a free port"), health)
}

fn listening(listen: SocketAddr) -> plan::Admin {
    plan::Admin { listen, token: None }
}

fn observed(plan: plan::Plan, health: Arc<Health>) -> Observed {
    let metrics = Arc::new(Metrics::new(&plan, Moment::now()));
    Observed { metrics, health, targets: Arc::new(TargetBoard::new(&plan, Moment::now())), reloads: None }
}

/// The whole response of one GET.
fn get(admin: &Admin, path: &str, host: &str) -> String {
    let mut stream = TcpStream::connect(admin.address()).expect("it listens");
    stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a time-out");
    write!(stream, "GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n").expect("written");
    let mut response = String::new();
    stream.read_to_string(&mut response).expect("answered");
    response
}

#[test]
fn the_probes_follow_health() {
    let (admin, health) = start();
    assert!(get(&admin, "/healthz", "x").starts_with("HTTP/1.1 200 "));
    let unready = get(&admin, "/readyz", "x");
    assert!(unready.starts_with("HTTP/1.1 503 "), "{unready}");
    assert!(unready.contains("sources.orders: is not read yet"), "{unready}");

    health.consumer_ready(ConsumerId(0), Ok(()));
    health.consumer_ready(ConsumerId(1), Ok(()));
    health.store_ready(SourceId(0), Ok(()));
    assert!(get(&admin, "/readyz", "x").starts_with("HTTP/1.1 200 "));
}

#[test]
fn metrics_are_prometheus_text_for_any_host_name() {
    let (admin, _) = start();
    let response = get(&admin, "/metrics", "hookferry.internal:9477");
    assert!(response.starts_with("HTTP/1.1 200 "), "{response}");
    assert!(response.contains("content-type: text/plain; version=0.0.4"), "{response}");
    assert!(response.contains("\nhookferry_build_info{"), "{response}");
}

#[test]
fn unknown_paths_are_json_for_local_callers_only() {
    let (admin, _) = start();
    let local = get(&admin, "/nothing", "localhost");
    assert!(local.starts_with("HTTP/1.1 404 "), "{local}");
    assert!(local.contains(r#"{"error":"there is nothing at /nothing"#), "{local}");
    assert!(get(&admin, "/nothing", "example.com").starts_with("HTTP/1.1 403 "));
}

#[test]
fn targets_are_listed_and_shown_without_their_paths() {
    let (admin, _) = start();
    let all = get(&admin, "/api/v1/targets", "localhost");
    assert!(all.starts_with("HTTP/1.1 200 "), "{all}");
    assert!(all.contains(r#"{"targets":[{"name":"crm""#) && all.contains(r#""name":"shop""#), "{all}");
    assert!(!all.contains("/hooks"), "{all}");
    let one = get(&admin, "/api/v1/targets/crm", "localhost");
    assert!(one.contains(r#""state":"disabled""#), "{one}");
    let none = get(&admin, "/api/v1/targets/nobody", "localhost");
    assert!(none.starts_with("HTTP/1.1 404 ") && none.contains("lists all"), "{none}");
    assert!(get(&admin, "/api/v1/targets", "example.com").starts_with("HTTP/1.1 403 "));
}

#[test]
fn with_a_token_only_metrics_and_probes_are_open() {
    let settings = plan::Admin { token: Some("hunter2".into()), ..listening(ANY_PORT) };
    let health = Arc::new(Health::new(&plan()));
    let admin = Admin::start(&settings, observed(plan(), health)).expect("a free port");

    let refused = get(&admin, "/api/v1/targets", "localhost");
    assert!(refused.starts_with("HTTP/1.1 401 "), "{refused}");
    assert!(refused.contains("www-authenticate: Bearer") && !refused.contains("shop"), "{refused}");
    let shown = get(&admin, "/api/v1/targets", "example.com\r\nauthorization: Bearer hunter2");
    assert!(shown.starts_with("HTTP/1.1 200 "), "{shown}");
    assert!(get(&admin, "/metrics", "x").starts_with("HTTP/1.1 200 "));
    assert!(get(&admin, "/healthz", "x").starts_with("HTTP/1.1 200 "));
}

#[test]
fn a_taken_port_is_named_with_the_remedy() {
    let (admin, health) = start();
    let fault = Admin::start(&listening(admin.address()), observed(plan(), health))
        .expect_err("the port is taken")
        .to_string();
    assert!(fault.contains(&admin.address().to_string()), "{fault}");
    assert!(fault.contains("set another `admin.listen`"), "{fault}");
}

#[test]
fn a_connection_past_the_most_waits_until_another_ends() {
    let (admin, _) = start_within(Bounds { head: Duration::from_secs(600), ..BOUNDS });
    let mut idle: Vec<TcpStream> =
        (0..BOUNDS.connections).map(|_| TcpStream::connect(admin.address()).expect("it listens")).collect();
    let mut next = TcpStream::connect(admin.address()).expect("the kernel takes it");
    write!(next, "GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").expect("written");

    next.set_read_timeout(Some(Duration::from_millis(300))).expect("a time-out");
    assert!(next.read(&mut [0]).is_err(), "nobody answers yet");
    idle.pop();
    next.set_read_timeout(Some(Duration::from_secs(30))).expect("a time-out");
    let mut response = String::new();
    next.read_to_string(&mut response).expect("answered");
    assert!(response.starts_with("HTTP/1.1 200 "), "{response}");
}

#[test]
fn a_head_that_never_ends_is_not_waited_for() {
    let (admin, _) = start_within(Bounds { connections: 1, head: Duration::from_millis(100) });
    let mut slow = TcpStream::connect(admin.address()).expect("it listens");
    write!(slow, "GET /healthz HTTP/1.1\r\nhost: x").expect("written");
    let _idle = TcpStream::connect(admin.address()).expect("the kernel takes it");

    let response = get(&admin, "/healthz", "x");

    assert!(response.starts_with("HTTP/1.1 200 "), "both had to give up the only place: {response}");
}

#[test]
fn stopping_frees_the_port_although_a_connection_is_open() {
    let (admin, health) = start();
    let address = admin.address();
    let _idle = TcpStream::connect(address).expect("it listens");
    admin.stop();
    assert!(Admin::start(&listening(address), observed(plan(), health)).is_ok());
}
