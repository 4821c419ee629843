//! Dashboards, rules and the queries of the documentation: judged by Prometheus' own tool, and asked of a
//! Prometheus that has scraped a running bridge.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use crate::composition::root;
use crate::expression::Expression;
use crate::manifests;
use crate::process::text;
use crate::prometheus::{Prometheus, Series, promtool};
use crate::wait;

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|cause| panic!("{}: {cause}", path.display()))
}

/// The files of a folder, by name; never none.
fn files(folder: &str, ending: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(root().join(folder)).unwrap();
    let mut found: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    found.retain(|path| path.extension().is_some_and(|found| found == ending));
    found.sort();
    assert!(!found.is_empty(), "{folder} holds no .{ending}");
    found
}

fn dashboards() -> Vec<(PathBuf, Value)> {
    let parsed = |path: PathBuf| {
        let board =
            serde_json::from_str(&read(&path)).unwrap_or_else(|fault| panic!("{}: {fault}", path.display()));
        (path, board)
    };
    files("dashboards", "json").into_iter().map(parsed).collect()
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// All rules, each with its file.
fn rules() -> Vec<(PathBuf, Value)> {
    let mut found = Vec::new();
    for path in files("deploy/prometheus/rules", "yaml") {
        let file: Value = serde_saphyr::from_str(&read(&path)).unwrap();
        let rules = list(&file["groups"]).flat_map(|group| list(&group["rules"]));
        found.extend(rules.map(|rule| (path.clone(), rule.clone())));
    }
    found
}

/// What Grafana puts in for its variables.
fn filled(text: &str) -> String {
    let filled = [("$__rate_interval", "1m"), ("$__range", "5m"), ("$job", ".*"), ("$target", ".*")]
        .iter()
        .fold(text.to_owned(), |text, (name, value)| text.replace(name, value));
    assert!(!filled.contains('$'), "a variable without a value: {filled}");
    filled
}

/// The queries of the panels, each with its legend.
fn panel_queries() -> Vec<(Expression, String)> {
    let mut found = Vec::new();
    for (path, board) in dashboards() {
        for panel in list(&board["panels"]) {
            for target in list(&panel["targets"]) {
                let place = format!("{}: {}", path.display(), panel["title"]);
                let text = filled(target["expr"].as_str().expect("a query"));
                let legend = target["legendFormat"].as_str().unwrap_or_default().to_owned();
                found.push((Expression { place, text }, legend));
            }
        }
    }
    found
}

fn rule_expressions() -> impl Iterator<Item = Expression> {
    rules().into_iter().map(|(path, rule)| {
        let name = rule["record"].as_str().or(rule["alert"].as_str()).expect("a name");
        let text = rule["expr"].as_str().expect("an expression").to_owned();
        Expression { place: format!("{}: {name}", path.display()), text }
    })
}

/// The `promql` blocks of the documentation; of several expressions in one, each ends with an empty line.
fn documented() -> Vec<Expression> {
    let mut found = Vec::new();
    for path in files("docs", "md") {
        let page = read(&path);
        for block in page.split("```promql\n").skip(1) {
            let block = block.split("```").next().unwrap_or_default();
            let each = block
                .split("\n\n")
                .map(|text| Expression { place: path.display().to_string(), text: text.trim().to_owned() });
            found.extend(each);
        }
    }
    assert!(!found.is_empty(), "the documentation shows no query");
    found
}

/// The labels of `{{label}}` in a legend.
fn legend_labels(legend: &str) -> impl Iterator<Item = &str> {
    legend.split("{{").skip(1).filter_map(|rest| Some(rest.split_once("}}")?.0.trim()))
}

/// Asks every expression of dashboards, rules and documentation. Each series that one names must be
/// there, with each label that it groups by or shows; and each panel that filters nothing has an answer.
#[track_caller]
pub fn assert_all_are_answered(prometheus: &Prometheus) {
    let panels = panel_queries();
    let others: Vec<Expression> = rule_expressions().chain(documented()).collect();
    let all = || panels.iter().map(|(expression, _)| expression).chain(&others);
    let selectors: BTreeSet<String> = all().flat_map(Expression::selectors).collect();
    let missing = || {
        let is_missing = |selector: &&String| prometheus.query(selector).is_ok_and(|found| found.is_empty());
        selectors.iter().filter(is_missing).collect::<Vec<_>>()
    };
    wait::until(
        "all series that are named are there",
        Duration::from_secs(90),
        || format!("missing: {:#?}\n{}", missing(), prometheus.log()),
        || missing().is_empty().then_some(()),
    );
    let series: BTreeMap<&String, Vec<Series>> =
        selectors.iter().map(|selector| (selector, prometheus.query(selector).unwrap_or_default())).collect();

    let mut faults = Vec::new();
    for expression in all() {
        let place = &expression.place;
        let named = expression.selectors();
        let known: BTreeSet<&String> =
            named.iter().flat_map(|s| series[s].iter().flat_map(Series::keys)).collect();
        let unknown = expression.labels().into_iter().filter(|label| !known.contains(label));
        faults.extend(
            unknown.map(|label| format!("{place}: no series has the label {label}: {}", expression.text)),
        );
        faults.extend(prometheus.query(&expression.text).err().map(|fault| format!("{place}: {fault}")));
    }
    for (expression, legend) in panels.iter().filter(|(expression, _)| !expression.filters()) {
        let place = &expression.place;
        let answer = prometheus.query(&expression.text).unwrap_or_default();
        if answer.is_empty() {
            faults.push(format!("{place}: no answer to {}", expression.text));
        }
        for label in legend_labels(legend) {
            if !answer.iter().all(|series| series.contains_key(label)) {
                faults.push(format!("{place}: the legend {legend} shows what {answer:?} has not"));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[track_caller]
fn promtool_is_content(arguments: &[&str], paths: &[PathBuf]) {
    let paths: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
    let arguments: Vec<&str> = arguments.iter().copied().chain(paths.iter().map(String::as_str)).collect();
    let output = promtool(root(), &arguments, "");
    assert!(output.status.success(), "{}", text(&output));
}

#[test]
fn the_rules_are_well_formed_and_pass_their_tests() {
    promtool_is_content(&["check", "rules"], &files("deploy/prometheus/rules", "yaml"));
    promtool_is_content(&["test", "rules"], &files("deploy/prometheus/tests", "yaml"));
}

#[test]
fn every_alert_has_a_runbook_and_is_tested() {
    let tests: String = files("deploy/prometheus/tests", "yaml").iter().map(|path| read(path)).collect();
    let page = read(&root().join("docs/operations.md"));
    let anchors: BTreeSet<String> =
        page.lines().filter_map(|line| line.strip_prefix("### ")).map(anchor).collect();
    let mut faults = Vec::new();
    for (_, rule) in rules() {
        let Some(alert) = rule["alert"].as_str() else { continue };
        let runbook = rule["annotations"]["runbook"].as_str().unwrap_or_default();
        if !runbook.strip_prefix("docs/operations.md#").is_some_and(|anchor| anchors.contains(anchor)) {
            faults.push(format!("{alert}: {runbook} is no section of docs/operations.md"));
        }
        if !page.contains(&format!("`{alert}`")) {
            faults.push(format!("{alert} is not named in docs/operations.md"));
        }
        if !matches!(rule["labels"]["severity"].as_str(), Some("critical" | "warning")) {
            faults.push(format!("{alert} has no severity"));
        }
        // One in which it fires, and one in which it does not.
        if !tests.contains(&format!("alertname: {alert}\n        exp_alerts:\n")) {
            faults.push(format!("no test in which {alert} fires"));
        }
        if !tests.contains(&format!("alertname: {alert}, exp_alerts: [] }}")) {
            faults.push(format!("no test in which {alert} is silent"));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// What a heading is called in a link.
fn anchor(heading: &str) -> String {
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || " -".contains(*c));
    kept.collect::<String>().to_lowercase().replace(' ', "-")
}

#[test]
fn the_schema_of_grafanas_makers_takes_the_dashboards() {
    let judged = manifests::grafana().args(files("dashboards", "json")).output().unwrap();
    assert!(judged.status.success(), "{}", text(&judged));
}

#[test]
fn dashboards_are_such_that_grafana_takes_them() {
    let boards = dashboards();
    let uids: BTreeSet<&str> = boards.iter().filter_map(|(_, board)| board["uid"].as_str()).collect();
    assert_eq!(uids.len(), boards.len(), "each has a uid of its own: {uids:?}");
    for (path, board) in &boards {
        let shown = path.display();
        assert_eq!(path.file_stem().and_then(|stem| stem.to_str()), board["uid"].as_str(), "{shown}");
        let panels: Vec<&Value> = list(&board["panels"]).collect();
        let ids: BTreeSet<u64> = panels.iter().filter_map(|panel| panel["id"].as_u64()).collect();
        assert_eq!(ids.len(), panels.len(), "{shown}: each panel has an id of its own");
        for (number, panel) in panels.iter().enumerate() {
            let title = &panel["title"];
            assert!(place(panel)[0] + place(panel)[2] <= 24, "{shown}: {title} is too wide");
            for other in &panels[..number] {
                assert!(!overlap(place(panel), place(other)), "{shown}: {title} lies on {}", other["title"]);
            }
            if panel["type"] != "row" {
                for target in list(&panel["targets"]) {
                    let query = target["expr"].as_str().expect("a query");
                    // What is idle is no failure.
                    assert!(!query.contains(" / sum"), "{shown}: {title} may divide by 0: {query}");
                }
                assert_eq!(panel["datasource"]["uid"], "${datasource}", "{shown}: {title}");
                assert!(list(&panel["targets"]).count() > 0, "{shown}: {title} asks nothing");
                assert!(
                    panel["description"].as_str().is_some_and(|text| !text.is_empty()),
                    "{shown}: {title}"
                );
            }
        }
        for link in board.to_string().split("\"/d/").skip(1).filter_map(|link| link.split('?').next()) {
            assert!(uids.contains(link), "{shown} links to {link}");
        }
    }
}

fn place(panel: &Value) -> [u64; 4] {
    ["x", "y", "w", "h"].map(|side| panel["gridPos"][side].as_u64().expect("a place"))
}

fn overlap([ax, ay, aw, ah]: [u64; 4], [bx, by, bw, bh]: [u64; 4]) -> bool {
    ax < bx + bw && bx < ax + aw && ay < by + bh && by < ay + ah
}
