use std::fmt::Write;

use proptest::prelude::*;

use super::*;
use crate::plan::WhenUnset;

const SECRET: &str = "hunter2hunter2";

/// Every text that a configuration can cause: settings, notices, faults.
fn everything_said(text: &str, layers: &Layers) -> String {
    let mut said = String::new();
    match examine_text("h.yaml", text, layers) {
        Ok(examined) => {
            write!(said, "{:?}\n{}", examined.settings, examined.plan.notices.join("\n"))
        }
        Err(faults) => {
            write!(said, "{faults}\n{faults:?}\n{}", serde_json::to_string(&faults).unwrap_or_default())
        }
    }
    .expect("text is written");
    said
}

fn shown(text: &str, layers: &Layers, path: &str) -> String {
    let examined = examine_text("h.yaml", text, layers).unwrap_or_else(|faults| panic!("{faults}"));
    examined.settings.into_iter().find(|setting| setting.path == path).expect(path).value
}

#[test]
fn references_are_resolved_in_any_scalar() {
    let layers = environment(&[("T", "3s"), ("OFF", "false"), ("N", "7"), ("HOST", "x.example")]);
    let text = with_target(
        "url: 'https://${env:HOST}/${env:NONE:-a}b'\ntimeout: ${env:T}\nenabled: ${env:OFF}\nconcurrency: \"${env:N}\"\ndescription: $${env:T}",
    );

    let plan = plan_with(&text, &layers);

    let target = &plan.targets[0];
    assert_eq!(target.url.0.as_str(), "https://x.example/ab");
    assert_eq!((target.timeout.as_secs(), target.enabled, target.concurrency), (3, false, 7));
    assert_eq!(target.description.as_deref(), Some("${env:T}"));
}

#[test]
fn a_reference_without_a_value_is_a_fault_unless_it_is_allowed() {
    let text = with_target(
        "url: \"${env:URL}\"\ntimeout: \"${env:T}\"\nsecrets: [\"${env:S}\"]\ndescription: \"${file:/does/not/exist}\"\nid: \"${x}\"",
    );
    let mut layers = environment(&[("T", "")]);

    assert_eq!(
        faults_with(&text, &layers),
        [
            "h.yaml:4:10: targets.crm.url: the environment variable URL is unset or empty",
            "h.yaml:5:14: targets.crm.timeout: the environment variable T is unset or empty",
            "h.yaml:6:15: targets.crm.secrets.0: the environment variable S is unset or empty",
            "h.yaml:7:18: targets.crm.description: the file /does/not/exist can't be read: No such file or directory (os error 2)",
            "h.yaml:8:9: targets.crm.id: `${` starts a reference; write `${env:NAME}`, `${env:NAME:-default}` or `${file:PATH}`, or `$${` for the text itself",
        ]
    );
    layers.when_unset = WhenUnset::Allow;
    assert_eq!(faults_with(&text, &layers).len(), 1, "only the reference that is none");
    let plan = plan_with(&text.replace("id: \"${x}\"", ""), &layers);
    assert_eq!(plan.notices, [""; 0], "an unset secret is a secret");
}

#[test]
fn a_reference_inside_another_is_refused() {
    let text = with_target(
        "url: https://x.example/\nid: \"${env:NEW:-${env:OLD}}\"\ndescription: \"${env:NEW ${env:OLD}\"",
    );
    let layers = environment(&[("NEW", "new"), ("OLD", "old")]);

    assert_eq!(
        faults_with(&text, &layers),
        [
            "h.yaml:5:9: targets.crm.id: a default can't hold another reference; write its text after `:-`, or set the variable",
            "h.yaml:6:18: targets.crm.description: a `${` is not closed before the next one; write `${env:NAME}`",
        ]
    );
}

#[test]
fn a_value_can_not_inject_structure() {
    let layers = environment(&[("X", "a, b: [c]\nd: e")]);
    let plan = plan_with(&with_target("url: https://x.example/\nlabels: { x: \"${env:X}\" }"), &layers);

    assert_eq!(plan.targets[0].labels, [("x".to_owned(), "a, b: [c]\nd: e".to_owned())]);
}

#[test]
fn what_a_reference_brought_in_is_shown_in_named_keys_only() {
    let layers = environment(&[("X", "x.example"), ("P", "tok"), ("B", "b:9092"), ("D", "desc")]);
    let text = with_target("url: 'https://${env:X}/${env:P}?q'\ndescription: \"${env:D}\"")
        .replace("'b:9092'", "'${env:B}'");

    assert_eq!(shown(&text, &layers, "targets.crm.url"), "https://x.example/***");
    assert_eq!(shown(&text, &layers, "targets.crm.description"), "***");
    assert_eq!(shown(&text, &layers, "sources.s.kafka.brokers"), "b:9092");
}

#[test]
fn the_query_of_a_url_is_never_shown_and_its_path_only_if_it_was_written_there() {
    let text =
        with_target("url: 'https://x.example/in?token=t'\nlabels: { url: \"${env:P}\", name: \"${env:P}\" }")
            .replacen(
                "{ to: [crm] }",
                "{ to: [crm], types: [\"${env:P}\"], where: { user.name: \"${env:P}\" } }",
                1,
            );
    let layers = environment(&[("P", "https://tok.example")]);

    for (path, expected) in [
        ("targets.crm.url", "https://x.example/in?***"),
        ("targets.crm.labels.url", "***"),
        ("targets.crm.labels.name", "***"),
        ("routes.route-1.types", "[***]"),
        ("routes.route-1.where.user.name", "***"),
    ] {
        assert_eq!(shown(&text.replace("https://tok", "tok"), &layers, path), expected, "{path}");
    }
}

#[test]
fn what_a_file_brought_in_is_never_shown() {
    let path = std::env::temp_dir().join(format!("hookferry-secret-{}", std::process::id()));
    std::fs::write(&path, "b:9092\n").expect("a temporary file");
    let text = with_target("url: https://x.example/")
        .replace("'b:9092'", &format!("'${{file:{}}}'", path.display()));

    let (plan, shown) = (plan(&text), shown(&text, &Layers::default(), "sources.s.kafka.brokers"));
    // What is left in the temporary folder harms nobody.
    let _ = std::fs::remove_file(&path);

    assert_eq!(
        (plan.sources[0].kafka().unwrap().brokers.as_str(), shown.as_str()),
        ("b:9092", "***"),
        "one newline is dropped"
    );
}

#[test]
fn secrets_headers_and_secret_properties_are_masked_wherever_they_come_from() {
    let text = with_target(&format!(
        "url: https://x.example/\ndialect: github\nsecrets: [{SECRET}]\nheaders: {{ Authorization: Bearer {SECRET} }}"
    ))
    .replace("[t] }", &format!("[t], properties: {{ sasl.password: {SECRET}, ssl.ca.location: /ca }} }}"));

    assert!(!everything_said(&text, &Layers::default()).contains(SECRET));
    assert!(!format!("{:?}", plan(&text)).contains(SECRET));
    assert_eq!(shown(&text, &Layers::default(), "sources.s.kafka.properties.ssl.ca.location"), "/ca");
}

/// Where a secret can stand in a configuration.
const SPOTS: [&str; 27] = [
    "url: \"@\"",
    "url: \"https://x.example/@\"",
    "url: \"https://x.example/?@#@\"",
    "url: \"https://u:@@x.example/\"",
    "secrets: [\"@\"]",
    "secrets: [\"whsec_@\"]",
    "headers: { X-A: \"@\" }",
    "headers: { Host: \"@\" }",
    "timeout: \"@\"",
    "enabled: \"@\"",
    "concurrency: \"@\"",
    "success: [\"@\"]",
    "retry: { retry_on: [\"@\"], jitter: \"@\", initial: \"@\", attempts: \"@\" }",
    "egress: \"@\"",
    "egress: { allow: [\"@\"] }",
    "dialect: \"@\"",
    "payload: \"@\"",
    "payload: { content_type: \"@\n\" }",
    "payload: { template: \"{{@}}\" }",
    "payload: { template_file: \"@\" }",
    "payload: { preset: dcision, extra: { a: { b: \"{{@}} x\" } } }",
    "payload: { preset: dcision, include: [\"@\"], exclude: \"@\" }",
    "headers: { X-A: \"{{@}}\" }",
    "signature: { message: \"{{@}}\", headers: { X-A: \"{{@}}\" } }",
    "id: \"@ @\"",
    "rate: \"@\"",
    "description: { a: \"@\" }",
];

proptest! {
    #[test]
    fn no_secret_is_ever_said(spot in 0..SPOTS.len(), other in 0..SPOTS.len(), reference in "[$]\\{env:S\\}") {
        let keys: Vec<String> = [spot, other]
            .iter()
            .map(|spot| SPOTS[*spot].replace('@', &reference))
            .collect();
        let url = if keys.iter().any(|key| key.starts_with("url")) { "" } else { "url: https://x.example/\n" };
        let text = with_target(&format!("{url}{}", keys.join("\n")));
        let layers = environment(&[("S", SECRET)]);

        prop_assert!(!everything_said(&text, &layers).contains(SECRET));
    }
}
