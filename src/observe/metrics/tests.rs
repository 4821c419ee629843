use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::domain::{DeliveryId, DiscardReason, RouteId, TargetStanding};
use crate::observe::testing::{STORED_MS, event, plan};
use crate::source::test_plan;

const CONSUMER: ConsumerId = ConsumerId(0);
const SOURCE: SourceId = SourceId(0);
const SHOP: TargetId = TargetId(1);
const NOW: Moment = Moment { mono_us: 0, wall_ms: STORED_MS + 2_000 };

/// Every sample of the text by its name and labels; panics on a line that is not of the format.
fn samples(metrics: &Metrics) -> BTreeMap<String, f64> {
    let text = metrics.render().expect("it renders");
    let mut samples = BTreeMap::new();
    for line in text.lines().filter(|line| !line.starts_with("# ")) {
        let (series, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("no value: {line}"));
        let name = series.split('{').next().unwrap_or_default();
        let legal = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
        assert!(!name.is_empty() && name.chars().all(legal), "{line}");
        assert!(text.contains(&format!("# TYPE {}", family(name))), "no TYPE for {line}");
        let value = value.parse().unwrap_or_else(|_| panic!("no number: {line}"));
        assert_eq!(samples.insert(series.to_owned(), value), None, "twice: {line}");
    }
    samples
}

fn family(name: &str) -> &str {
    ["_bucket", "_sum", "_count"].iter().find_map(|part| name.strip_suffix(part)).unwrap_or(name)
}

fn ended(outcome: Outcome) -> Note {
    Note::Ended {
        target: SHOP,
        route: RouteId(0),
        outcome,
        event: event(),
        attempts: 1,
        status: Some(200),
        error: None,
    }
}

#[test]
fn every_counter_of_the_closed_sets_is_there_at_zero() {
    let samples = samples(&Metrics::new(&plan(), NOW));
    let mut expected = vec![
        r#"hookferry_events_lost_total{reason="retention",source="orders"}"#.to_owned(),
        r#"hookferry_events_lost_total{reason="deleted",source="orders"}"#.to_owned(),
        r#"hookferry_deliveries_opened_total{target="shop"}"#.to_owned(),
        r#"hookferry_rebalances_total{source="orders"}"#.to_owned(),
        r#"hookferry_dead_letters_total{reason="poisoned",source="orders",target=""}"#.to_owned(),
        r#"hookferry_dead_letters_total{reason="exhausted",source="orders",target="shop"}"#.to_owned(),
        r#"hookferry_dead_letter_store_up{source="orders"}"#.to_owned(),
        r#"hookferry_queue_bytes{target="shop"}"#.to_owned(),
    ];
    let mut all = |family: &str, label: &str, values: &[&str], rest: &str| {
        expected.extend(values.iter().map(|value| {
            let mut labels = [format!("{label}=\"{value}\""), rest.to_owned()];
            labels.sort();
            format!("hookferry_{family}{{{}}}", labels.join(","))
        }));
    };
    all("events_total", "result", &["routed", "unrouted", "tombstone", "poisoned"], r#"source="orders""#);
    all("deliveries_total", "outcome", &["delivered", "dead_lettered", "discarded"], r#"target="shop""#);
    all("deliveries_released_total", "reason", &["revoked", "shutdown"], r#"target="shop""#);
    let results =
        ["2xx", "3xx", "4xx", "413", "429", "5xx", "timeout", "dns", "network", "tls", "auth", "blocked"];
    all("attempts_total", "result", &results, r#"target="shop""#);
    all("queue_deliveries", "state", &["ready", "retrying", "in_flight"], r#"target="shop""#);
    all("commits_total", "result", &["ok", "failed"], r#"source="orders""#);
    for series in expected {
        assert_eq!(samples.get(&series), Some(&0.0), "{series}");
    }
}

#[test]
fn the_process_and_its_configuration_are_described() {
    let samples = samples(&Metrics::new(&plan(), NOW));
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(samples[&format!("hookferry_build_info{{version=\"{version}\"}}")], 1.0);
    assert_eq!(samples[r#"hookferry_config_info{hash="0123456789abcdef"}"#], 1.0);
    assert_eq!(samples["hookferry_config_last_reload_successful"], 1.0);
    assert_eq!(samples["hookferry_config_last_reload_success_timestamp_seconds"], 1_700_000_002.0);
    assert_eq!(samples[r#"hookferry_target_state{state="disabled",target="crm"}"#], 1.0);
    assert_eq!(samples[r#"hookferry_target_state{state="active",target="crm"}"#], 0.0);
    assert_eq!(samples[r#"hookferry_target_state{state="active",target="shop"}"#], 1.0);
    assert!(samples["process_resident_memory_bytes"] > 0.0);
}

#[test]
fn notes_are_counted_where_they_belong() {
    let metrics = Metrics::new(&plan(), NOW);
    metrics.note(&Note::Routed(SOURCE), NOW);
    metrics.note(&Note::Opened(SHOP), NOW);
    metrics.note(&ended(Outcome::Delivered), NOW);
    metrics.note(&ended(Outcome::DeadLettered(DeadLetterReason::Exhausted)), NOW);
    metrics.note(&ended(Outcome::Discarded(DiscardReason::OnExhausted(DeadLetterReason::Exhausted))), NOW);
    metrics.note(&Note::EventDeadLettered { event: event(), reason: DeadLetterReason::Poisoned }, NOW);
    let (route, reason) = (RouteId(0), ReleaseReason::Shutdown);
    metrics.note(&Note::Released { target: SHOP, route, event: event(), reason }, NOW);

    let samples = samples(&metrics);
    let value = |series: &str| samples[&format!("hookferry_{series}")];
    assert_eq!(value(r#"events_total{result="routed",source="orders"}"#), 1.0);
    assert_eq!(value(r#"deliveries_opened_total{target="shop"}"#), 1.0);
    assert_eq!(value(r#"deliveries_total{outcome="delivered",target="shop"}"#), 1.0);
    assert_eq!(value(r#"deliveries_total{outcome="dead_lettered",target="shop"}"#), 1.0);
    assert_eq!(value(r#"deliveries_total{outcome="discarded",target="shop"}"#), 1.0);
    assert_eq!(value(r#"dead_letters_total{reason="exhausted",source="orders",target="shop"}"#), 1.0);
    assert_eq!(value(r#"dead_letters_total{reason="poisoned",source="orders",target=""}"#), 1.0);
    assert_eq!(value(r#"deliveries_released_total{reason="shutdown",target="shop"}"#), 1.0);
    assert_eq!(value(r#"delivery_duration_seconds_count{target="shop"}"#), 3.0);
    assert_eq!(
        value(r#"delivery_duration_seconds_sum{target="shop"}"#),
        6.0,
        "2 s since the broker stored it"
    );
}

#[test]
fn attempts_are_counted_by_what_came_back() {
    let metrics = Metrics::new(&plan(), NOW);
    let status = |status| Reply::Status { status, retry_after: None };
    let fault = |fault| Reply::Fault { fault, detail: "".into() };
    let replies = [
        (status(204), "2xx"),
        (status(301), "3xx"),
        (status(404), "4xx"),
        (status(413), "413"),
        (status(429), "429"),
        (status(503), "5xx"),
        (fault(Fault::Timeout), "timeout"),
        (fault(Fault::Dns), "dns"),
        (fault(Fault::Network), "network"),
        (fault(Fault::Tls), "tls"),
        (fault(Fault::Auth), "auth"),
        (fault(Fault::Blocked), "blocked"),
    ];
    let attempted = |reply: &Reply| Attempted {
        delivery: DeliveryId { slot: 0, serial: 0 },
        target: SHOP,
        number: 1,
        reply: reply.clone(),
        took: Duration::from_millis(20),
    };
    for (reply, result) in &replies {
        metrics.attempted(&attempted(reply));
        let series = format!("hookferry_attempts_total{{result=\"{result}\",target=\"shop\"}}");
        assert_eq!(samples(&metrics)[&series], 1.0, "{reply:?}");
    }
    metrics.attempted(&attempted(&Reply::Withheld));
    metrics.attempted(&attempted(&Reply::Unrenderable("".into())));
    let samples = samples(&metrics);
    assert_eq!(samples[r#"hookferry_attempt_duration_seconds_count{target="shop"}"#], replies.len() as f64);
    assert_eq!(samples[r#"hookferry_attempt_duration_seconds_bucket{target="shop",le="0.01"}"#], 0.0);
    assert_eq!(samples[r#"hookferry_attempt_duration_seconds_bucket{target="shop",le="0.025"}"#], 12.0);
}

#[test]
fn a_partition_that_is_given_up_is_no_longer_reported() {
    let metrics = Metrics::new(&plan(), NOW);
    let lag = |messages| Report::Lag { topic: "events".into(), partition: 3, messages };
    let labels = r#"{consumer="shared",partition="3",source="orders",topic="events"}"#;
    metrics.report(CONSUMER, &lag(Some(12)), NOW);
    let stored_ms = Some(NOW.wall_ms - 1_500);
    metrics.report(
        CONSUMER,
        &Report::OldestUnsettled { topic: "events".into(), partition: 3, stored_ms },
        NOW,
    );
    let before = samples(&metrics);
    assert_eq!(before[&format!("hookferry_source_lag_messages{labels}")], 12.0);
    assert_eq!(before[&format!("hookferry_oldest_unsettled_age_seconds{labels}")], 1.5);

    metrics.report(CONSUMER, &lag(None), NOW);
    let after = samples(&metrics);
    assert_eq!(after.get(&format!("hookferry_source_lag_messages{labels}")), None);
    assert_eq!(after.get(&format!("hookferry_oldest_unsettled_age_seconds{labels}")), None);
}

#[test]
fn who_reads_a_source_is_told_from_the_start() {
    let metrics = Metrics::new(&plan(), NOW);
    let up = |consumer| {
        samples(&metrics)[&format!(r#"hookferry_source_up{{consumer="{consumer}",source="orders"}}"#)]
    };
    assert_eq!((up("shared"), up("tiers")), (0.0, 0.0));

    metrics.report(CONSUMER, &Report::Ready(Ok(())), NOW);
    assert_eq!((up("shared"), up("tiers")), (1.0, 0.0));
    metrics.report(CONSUMER, &Report::Ready(Err("the broker is away".to_owned())), NOW);
    assert_eq!(up("shared"), 0.0);
}

#[test]
fn reports_of_a_source_are_counted() {
    let metrics = Metrics::new(&plan(), NOW);
    metrics.report(CONSUMER, &Report::Committed(Ok(())), NOW);
    metrics.report(CONSUMER, &Report::Committed(Err("timed out".to_owned())), NOW);
    metrics.report(CONSUMER, &Report::Rebalanced { assigned: 12 }, NOW);
    for (loss, messages) in [(Loss::Retention, 40), (Loss::Deleted, 7)] {
        let topic = "events".into();
        metrics.report(CONSUMER, &Report::Lost { loss, topic, partition: 0, from: 5, messages }, NOW);
    }
    metrics.store_up(SOURCE, true);
    let later = NOW.after(Duration::from_millis(7_500));
    let standing = TargetStanding { state: TargetState::Probing, ..TargetStanding::default() };
    let lane = LaneState { ready: 1, retrying: 2, in_flight: 3, bytes: 400, oldest: Some(NOW), standing };
    metrics.lane(SHOP, &lane, later);
    metrics.lane(TargetId(0), &LaneState::default(), later);
    let samples = samples(&metrics);
    assert_eq!(samples[r#"hookferry_commits_total{result="ok",source="orders"}"#], 1.0);
    assert_eq!(samples[r#"hookferry_commits_total{result="failed",source="orders"}"#], 1.0);
    assert_eq!(samples[r#"hookferry_rebalances_total{source="orders"}"#], 1.0);
    assert_eq!(samples[r#"hookferry_events_lost_total{reason="retention",source="orders"}"#], 40.0);
    assert_eq!(samples[r#"hookferry_events_lost_total{reason="deleted",source="orders"}"#], 7.0);
    assert_eq!(samples[r#"hookferry_dead_letter_store_up{source="orders"}"#], 1.0);
    assert_eq!(samples[r#"hookferry_queue_deliveries{state="retrying",target="shop"}"#], 2.0);
    assert_eq!(samples[r#"hookferry_queue_bytes{target="shop"}"#], 400.0);
    assert_eq!(samples[r#"hookferry_oldest_delivery_age_seconds{target="shop"}"#], 7.5);
    assert_eq!(samples[r#"hookferry_target_enabled{target="shop"}"#], 1.0);
    assert_eq!(samples[r#"hookferry_target_enabled{target="crm"}"#], 0.0, "by its configuration");
    for (target, current) in [("shop", "probing"), ("crm", "disabled")] {
        for state in TargetState::NAMES {
            let sample = samples[&format!(r#"hookferry_target_state{{state="{state}",target="{target}"}}"#)];
            assert_eq!(sample == 1.0, state == current, "{target} {state}");
        }
    }
    assert_eq!(samples["hookferry_memory_budget_bytes"], f64::from(256 << 20));
    assert!(samples["hookferry_memory_used_bytes"] > 1e6, "it is measured");
}

/// Each keeper tells of its own letters; what has no target, or none of the plan, has an empty one.
#[test]
fn pending_dead_letters_of_all_brokers_are_added_up() {
    let metrics = Metrics::new(&plan(), NOW);
    let pending =
        |target: &str| samples(&metrics)[&format!("hookferry_dead_letters_pending{{target=\"{target}\"}}")];
    assert_eq!((pending("shop"), pending("")), (0.0, 0.0));
    metrics.dead_letters_pending(SOURCE, &vec![(Some(SHOP), 3.0), (None, 1.0)]);
    metrics.dead_letters_pending(SourceId(1), &vec![(Some(SHOP), 2.0)]);
    metrics.dead_letters_pending(SOURCE, &vec![(Some(SHOP), 1.0), (None, 0.0)]);
    assert_eq!((pending("shop"), pending("")), (3.0, 0.0));
}

#[test]
fn what_comes_back_from_the_tier_now_was_redriven() {
    let metrics = Metrics::new(&plan(), NOW);
    for tier in [Tier::NOW, Tier::ONE_MINUTE, Tier::NOW] {
        metrics.note(&Note::Resumed { target: SHOP, tier }, NOW);
    }
    assert_eq!(samples(&metrics)[r#"hookferry_redriven_total{target="shop"}"#], 2.0);
}

#[test]
fn a_reload_declares_new_targets_and_takes_removed_ones_out_of_their_states() {
    let (mut plan, metrics) = (plan(), Metrics::new(&plan(), NOW));
    metrics.note(&Note::Opened(SHOP), NOW);
    metrics.reload_refused();
    assert_eq!(samples(&metrics)["hookferry_config_last_reload_successful"], 0.0);

    plan.hash = "fedcba9876543210".to_owned();
    plan.targets.push(Arc::new(test_plan::target("bank", "https://bank.example.com/")));
    plan.removed = [SHOP].into();
    metrics.adopt(&plan, NOW.after(Duration::from_secs(5)));

    let after = samples(&metrics);
    assert_eq!(after["hookferry_config_last_reload_successful"], 1.0);
    assert_eq!(after["hookferry_config_last_reload_success_timestamp_seconds"], 1_700_000_007.0);
    assert_eq!(after[r#"hookferry_config_info{hash="fedcba9876543210"}"#], 1.0);
    assert_eq!(after.get(r#"hookferry_config_info{hash="0123456789abcdef"}"#), None);
    assert_eq!(after[r#"hookferry_target_state{state="active",target="bank"}"#], 1.0);
    assert_eq!(
        after[r#"hookferry_dead_letters_total{reason="exhausted",source="orders",target="bank"}"#],
        0.0
    );
    for gone in ["hookferry_target_state", "hookferry_target_enabled"] {
        assert!(!after.keys().any(|key| key.starts_with(gone) && key.contains("shop")), "{gone}");
    }
    assert_eq!(after[r#"hookferry_deliveries_opened_total{target="shop"}"#], 1.0, "it stays counted");

    plan.removed.clear();
    metrics.adopt(&plan, NOW);
    metrics.note(&Note::Opened(SHOP), NOW);
    let again = samples(&metrics);
    assert_eq!(again[r#"hookferry_target_state{state="active",target="shop"}"#], 1.0);
    assert_eq!(again[r#"hookferry_deliveries_opened_total{target="shop"}"#], 2.0);
}
