//! `docker compose up` shows a living dashboard: the file is judged, and what it starts is started here.

use std::collections::BTreeSet;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::bridge::free_port;
use crate::composition::{Composition, Running, read, root, texts, yaml};
use crate::dashboards;
use crate::manifests;
use crate::process::{Folder, text};
use crate::prometheus::promtool;
use crate::wait;

#[test]
fn what_it_starts_delivers_and_feeds_every_panel_and_rule() {
    let running = Running::start();
    let hookferry = &running.hookferry;
    for target in ["crm", "billing", "warehouse"] {
        let delivered = [("target", target), ("outcome", "delivered")];
        wait_at_least(&running, "hookferry_deliveries_total", &delivered, 10.0);
    }
    wait_at_least(&running, "hookferry_events_total", &[("source", "orders"), ("result", "unrouted")], 1.0);
    wait_at_least(&running, "hookferry_events_total", &[("source", "audit"), ("result", "routed")], 4.0);
    wait_at_least(
        &running,
        "hookferry_dead_letters_total",
        &[("target", "warehouse"), ("reason", "rejected")],
        1.0,
    );
    wait_at_least(&running, "hookferry_attempts_total", &[("target", "billing"), ("result", "5xx")], 1.0);
    // The receivers verify signatures, and refuse with 401.
    for target in ["crm", "billing"] {
        let refused = hookferry.metric("hookferry_attempts_total", &[("target", target), ("result", "4xx")]);
        assert_eq!(refused, Some(0.0), "{target}");
    }

    let page = hookferry.get("/metrics").expect("an answer").1;
    let judged = promtool(root(), &["check", "metrics"], &page);
    assert!(judged.status.success() && text(&judged).is_empty(), "{}", text(&judged));
    dashboards::assert_all_are_answered(&running.prometheus);

    let port = hookferry.admin().expect("it has started").port();
    assert!(is_healthy(port), "the image's health check finds it well");
    assert!(!is_healthy(free_port()), "and nobody not");
}

#[track_caller]
fn wait_at_least(running: &Running, name: &str, labels: &[(&str, &str)], wanted: f64) {
    wait::until(
        &format!("{name}{labels:?} is {wanted} at least"),
        Duration::from_secs(60),
        || format!("it is {:?}\n{}", running.hookferry.metric(name, labels), running.hookferry.log_end()),
        || running.hookferry.metric(name, labels).filter(|value| *value >= wanted),
    );
}

/// What the health check of the image says of a process whose admin port is another one.
fn is_healthy(port: u16) -> bool {
    let dockerfile = read("Dockerfile").replace("\\\n", " ");
    let (_, check) = dockerfile.split_once("HEALTHCHECK ").expect("a health check");
    let (_, check) = check.lines().next().unwrap().split_once("CMD ").expect("its command");
    let command: Vec<String> = serde_json::from_str(check).expect("a list");
    assert!(command.concat().contains("/9477"), "{command:?}");
    let arguments = command[1..].iter().map(|text| text.replace("/9477", &format!("/{port}")));
    Command::new(&command[0]).args(arguments).status().unwrap().success()
}

#[test]
fn the_file_is_valid_for_compose() {
    let file = root().join("docker-compose.yml");
    let output = manifests::python("check-jsonschema")
        .args(["--builtin-schema", "vendor.compose-spec"])
        .arg(file)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", text(&output));
}

#[test]
fn every_image_is_pinned_and_brokers_are_those_that_are_tested() {
    let composition = Composition::read();
    let mut images = BTreeSet::new();
    for (name, service) in composition.services() {
        let image = service["image"].as_str().unwrap_or_else(|| panic!("{name} has an image"));
        if service["build"].is_null() && service["pull_policy"] != "never" {
            images.insert(image.to_owned());
        }
    }
    for brokers in [("apache/kafka", "scripts/kafka-jars", ""), ("nats", "scripts/nats-server", "-alpine")] {
        let (repository, script, variant) = brokers;
        let script = read(script);
        let version = script.lines().find_map(|line| line.strip_prefix("version=")).expect("a version");
        let image = format!("{repository}:{version}{variant}");
        assert!(images.contains(&image), "{image} is what is tested, not one of {images:?}");
    }
    let dockerfile = read("Dockerfile");
    let bases = dockerfile.lines().filter_map(|line| line.strip_prefix("FROM "));
    images.extend(bases.map(|base| base.split(' ').next().unwrap_or_default().to_owned()));
    let loose = |image: &&String| {
        // A whole version: at least two numbers.
        let tag = image.rsplit_once(':').map_or("", |(_, tag)| tag);
        let numbers = tag.split(['.', '-', 'v']).filter(|part| part.parse::<u32>().is_ok());
        numbers.count() < 2
    };
    let loose: Vec<&String> = images.iter().filter(loose).collect();
    assert!(loose.is_empty(), "not pinned: {loose:?}");
}

/// Who builds the same image a second time, or pulls it, gets in the way of who built it.
#[test]
fn what_is_built_is_built_once_and_never_pulled() {
    let composition = Composition::read();
    let services = || composition.services().values();
    let builders: Vec<&Value> = services().filter(|service| !service["build"].is_null()).collect();
    let [builder] = builders[..] else { panic!("one service builds the image, not {}", builders.len()) };
    for (name, service) in composition.services() {
        if service["image"] == builder["image"] && service != builder {
            assert_eq!(service["pull_policy"], "never", "{name}");
        }
    }
}

#[test]
fn whatever_a_service_names_is_there() {
    let composition = Composition::read();
    let volumes: BTreeSet<&String> = composition.volumes().collect();
    let (mut faults, mut ports) = (Vec::new(), BTreeSet::new());
    for (name, service) in composition.services() {
        for bind in texts(&service["volumes"]) {
            let parts: Vec<&str> = bind.split(':').collect();
            match parts[..] {
                [here, _, "ro"] if here.starts_with("./") && root().join(here).exists() => {}
                [volume, _] if volumes.contains(&volume.to_owned()) => {}
                _ => faults
                    .push(format!("{name}: {bind} is neither a path that is there, read only, nor a volume")),
            }
        }
        for port in texts(&service["ports"]) {
            let parts: Vec<&str> = port.split(':').collect();
            if parts.len() != 3 || parts[0] != "127.0.0.1" || !ports.insert(parts[1]) {
                faults.push(format!("{name}: {port} is open to all, or taken"));
            }
        }
        let after = &service["depends_on"];
        let conditions = after.as_object().into_iter().flatten();
        let names = conditions.clone().map(|(other, _)| other.as_str()).chain(texts(after));
        let network = service["network_mode"].as_str().and_then(|mode| mode.strip_prefix("service:"));
        let unknown = names.chain(network).filter(|other| !composition.services().contains_key(*other));
        faults.extend(unknown.map(|other| format!("{name}: there is no service {other}")));
        for (other, condition) in conditions {
            if condition["condition"] == "service_healthy"
                && composition.service(other)["healthcheck"]["test"].is_null()
            {
                faults.push(format!("{name} waits for {other} to be healthy, which does not say when it is"));
            }
        }
    }
    // Who is asked by name in a configuration.
    let hookferry = yaml("deploy/compose/hookferry/hookferry.yaml");
    let prometheus = yaml("deploy/compose/prometheus.yml");
    let grafana = yaml("deploy/compose/grafana/datasources/prometheus.yaml");
    for address in [
        &hookferry["sources"]["orders"]["kafka"]["brokers"],
        &hookferry["sources"]["audit"]["nats"]["servers"],
        &prometheus["scrape_configs"][0]["static_configs"][0]["targets"][0],
        &grafana["datasources"][0]["url"],
    ] {
        let address = address.as_str().expect("an address");
        let host = address.split_once("://").map_or(address, |(_, rest)| rest).split(':').next();
        if !host.is_some_and(|host| composition.services().contains_key(host)) {
            faults.push(format!("there is no service for {address}"));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    assert!(composition.receivers().len() >= 3, "receivers of which some fail");
}

#[test]
fn the_image_is_built_from_what_is_sent_and_has_no_root() {
    let dockerfile = read("Dockerfile");
    let sent = read(".dockerignore");
    let sent: Vec<&str> = sent.lines().filter_map(|line| line.strip_prefix('!')).collect();
    let copied = dockerfile
        .lines()
        .filter_map(|line| line.strip_prefix("COPY "))
        .filter(|line| !line.starts_with("--from"));
    let copied: BTreeSet<&str> =
        copied.flat_map(|line| line.rsplit_once(' ').map_or("", |(files, _)| files).split(' ')).collect();
    assert_eq!(copied, sent.iter().copied().collect(), "what is sent is what is copied");
    // cargo finds a whole package in it.
    let folder = Folder::new("image");
    for name in &sent {
        std::os::unix::fs::symlink(root().join(name), folder.path().join(name)).unwrap();
    }
    let cargo = Command::new(env!("CARGO"))
        .args(["metadata", "--offline", "--locked", "--no-deps", "--format-version", "1"])
        .current_dir(folder.path())
        .output()
        .unwrap();
    assert!(cargo.status.success(), "{}", text(&cargo));

    let users: Vec<&str> = dockerfile.lines().filter_map(|line| line.strip_prefix("USER ")).collect();
    assert_eq!(users, ["10001:10001"]);
    let rust = read("Cargo.toml");
    let rust = rust
        .lines()
        .find_map(|line| line.strip_prefix("rust-version = "))
        .expect("a version")
        .trim_matches('"');
    assert!(dockerfile.contains(&format!("FROM rust:{rust}.")), "the image is built with Rust {rust}");
}
