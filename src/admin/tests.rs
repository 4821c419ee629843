use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;

use super::*;
use crate::domain::SourceId;
use crate::observe::testing::plan;

const ANY_PORT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

fn start() -> (Admin, Arc<Health>) {
    let plan = plan();
    let health = Arc::new(Health::new(&plan));
    let metrics = Arc::new(Metrics::new(&plan, Moment::now()));
    (Admin::start(ANY_PORT, metrics, Arc::clone(&health)).expect("a free port"), health)
}

/// The whole response of one GET.
fn get(admin: &Admin, path: &str, host: &str) -> String {
    let mut stream = TcpStream::connect(admin.address()).expect("it listens");
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
    assert!(unready.contains("sources.orders: has not joined"), "{unready}");

    health.source_ready(SourceId(0), Ok(()));
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
fn a_taken_port_is_named_with_the_remedy() {
    let (admin, health) = start();
    let metrics = Arc::new(Metrics::new(&plan(), Moment::now()));
    let fault = Admin::start(admin.address(), metrics, health).expect_err("the port is taken").to_string();
    assert!(fault.contains(&admin.address().to_string()), "{fault}");
    assert!(fault.contains("set another `admin.listen`"), "{fault}");
}

#[test]
fn stopping_frees_the_port_although_a_connection_is_open() {
    let (admin, health) = start();
    let address = admin.address();
    let _idle = TcpStream::connect(address).expect("it listens");
    admin.stop();
    let metrics = Arc::new(Metrics::new(&plan(), Moment::now()));
    assert!(Admin::start(address, metrics, health).is_ok());
}
