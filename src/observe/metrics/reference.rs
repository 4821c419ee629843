//! docs/metric-reference.md, made of what a process exposes, so that it can't be stale.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use super::*;
use crate::observe::testing::{STORED_MS, plan};

const HEAD: &str = "\
# Every metric

Made of what hookferry exposes, by a test. What the metrics are for, and the queries that answer questions on call, are in
[operations](operations.md); what they mean in detail in [metrics](metrics.md). Labels without values take declared names.

| metric | type | labels | meaning |
|---|---|---|---|
";

/// Labels whose values are names of the configuration, or the broker's.
const OPEN_LABELS: [&str; 7] = ["source", "target", "consumer", "topic", "partition", "hash", "version"];

fn exposed() -> String {
    let now = Moment { mono_us: 0, wall_ms: STORED_MS };
    let metrics = Metrics::new(&plan(), now);
    // These are there once a partition is assigned.
    let (topic, partition) = ("events".into(), 0);
    metrics.report(ConsumerId(0), &Report::Lag { topic, partition, messages: Some(0) }, now);
    let (topic, stored_ms) = ("events".into(), None);
    metrics.report(ConsumerId(0), &Report::OldestUnsettled { topic, partition, stored_ms }, now);
    metrics.render().expect("it renders")
}

fn markdown(exposed: &str) -> String {
    let mut labels: BTreeMap<&str, BTreeMap<&str, BTreeSet<&str>>> = BTreeMap::new();
    for sample in exposed.lines().filter(|line| !line.starts_with('#')) {
        let (name, rest) = sample.split_once('{').unwrap_or((sample, ""));
        let family = ["_bucket", "_sum", "_count"].iter().find_map(|part| name.strip_suffix(part));
        for pair in rest.split_once('}').map_or("", |(pairs, _)| pairs).split(',') {
            let Some((label, value)) = pair.split_once('=').filter(|(label, _)| *label != "le") else {
                continue;
            };
            labels
                .entry(family.unwrap_or(name))
                .or_default()
                .entry(label)
                .or_default()
                .insert(value.trim_matches('"'));
        }
    }
    let mut text = HEAD.to_owned();
    let helps = exposed.lines().filter_map(|line| line.strip_prefix("# HELP ")?.split_once(' '));
    let kinds: BTreeMap<&str, &str> =
        exposed.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' ')).collect();
    for (name, help) in helps {
        let described = labels.get(name).into_iter().flatten().map(|(label, values)| {
            let values: Vec<String> = values.iter().map(|value| format!("`{value}`")).collect();
            match OPEN_LABELS.contains(label) {
                true => format!("`{label}`"),
                false => format!("`{label}` = {}", values.join(" ")),
            }
        });
        let described = described.collect::<Vec<_>>().join(", ");
        // Writing to a string can't fail.
        let _ = writeln!(text, "| `{name}` | {} | {described} | {help} |", kinds[name]);
    }
    text
}

/// `HOOKFERRY_WRITE_DOCS=1 cargo test` writes it anew.
#[test]
fn the_reference_in_the_documentation_is_what_is_exposed() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/metric-reference.md");
    let made = markdown(&exposed());
    if std::env::var_os("HOOKFERRY_WRITE_DOCS").is_some() {
        std::fs::write(path, &made).expect("docs/metric-reference.md can be written");
    }

    let written = std::fs::read_to_string(path).expect("docs/metric-reference.md");

    assert!(
        written == made,
        "docs/metric-reference.md is stale; run HOOKFERRY_WRITE_DOCS=1 cargo test --lib reference"
    );
}
