//! Tenants, event types and the tests of routes.

use super::*;
use crate::domain::Tenant;

const URL: &str = "url: https://x.example/";

fn apart() -> String {
    with_target(URL).replacen("[t] } }", "[t] }, event: { tenant: [body:org_id] } }", 1)
}

#[test]
fn where_a_source_tells_tenants_apart_every_target_says_whose_events_it_gets() {
    let missing = faults(&apart());
    assert!(
        missing[0].starts_with("h.yaml:")
            && missing[0].contains("targets.crm.tenant: the source s tells tenants apart"),
        "{missing:?}"
    );
    let of = |tenant: &str| {
        let plan = plan(&apart().replacen(URL, &format!("{URL}\n    tenant: {tenant}"), 1));
        (plan.targets[0].tenant.clone(), plan.notices.clone())
    };
    assert_eq!(of("acme"), (Some(Tenant::Only("acme".into())), vec![]));
    assert_eq!(of("'*'"), (Some(Tenant::Everybody), vec![]));

    let together = with_target(&format!("{URL}\ntenant: acme"));
    let notices = plan(&together).notices;
    assert!(notices[0].contains("the source s does not tell tenants apart"), "{notices:?}");
}

fn with_types(event_types: &str, types: &str) -> String {
    format!(
        "event_types: {event_types}\n{}",
        with_target(URL).replacen("to: [crm]", &format!("types: {types}, to: [crm]"), 1)
    )
}

#[test]
fn a_catalogue_that_does_not_exist_is_named() {
    let unknown = faults(&with_types("{ catalogues: [cost-katan] }", "['*']"));
    assert!(unknown[0].contains("did you mean `cost-katana`?"), "{unknown:?}");
}

#[test]
fn a_mistyped_subscription_is_refused_with_a_suggestion() {
    let types =
        "{ catalogues: [cost-katana], declare: { order.placed: { category: shop }, order.sent: {} } }";
    plan(&with_types(types, "[cost.alert, 'cost.*', '**.failed', order.sent, '!order.placed', '*']"));
    for (mistyped, hint) in [
        ("cost.spike_detectd", "; did you mean `cost.spike_detected`?"),
        ("order.snet", "; did you mean `order.sent`?"),
        ("'costs.*'", "; declare it, or correct it"),
        ("'!budget.warnin'", "; did you mean `budget.warning`?"),
    ] {
        let found = faults(&with_types(types, &format!("['*', {mistyped}]")));
        assert!(found[0].contains("no declared event type") && found[0].ends_with(hint), "{found:?}");
    }
}

#[test]
fn types_are_declared_whole_and_unknown_ones_need_known_ones() {
    let found = faults(&with_types("{ declare: { 'a.*': {} } }", "['*']"));
    assert!(found[0].contains("a whole type is declared here"), "{found:?}");
    let found = faults(&with_types("{ unknown: dead_letter }", "['*']"));
    assert!(found[0].contains("no type is declared"), "{found:?}");
    let found = faults(&with_types("{ declare: { a.b: { colour: red } } }", "['*']"));
    assert!(found[0].contains("colour"), "{found:?}");
}

#[test]
fn a_type_is_declared_by_its_name_alone() {
    let declared =
        |plan: &Plan| plan.event_types.declared.keys().map(|name| name.to_string()).collect::<Vec<_>>();
    let text = with_types("{ declare: { order.sent: , order.placed: ~ } }", "[order.sent]");
    assert_eq!(declared(&plan(&text)), ["order.placed", "order.sent"]);
}

#[test]
fn tests_of_routes_are_read() {
    let with =
        |tests: &str| with_target(URL).replacen("to: [crm]", &format!("to: [crm], tests: [{tests}]"), 1);
    let plan = plan(&with(
        "{ event: { type: a, n: 1.0 }, headers: { h: v }, key: k, to: [crm] }, { event: 7, to: [] }",
    ));
    let [first, second] = &plan.routes[0].tests[..] else { panic!("{:?}", plan.routes) };
    assert_eq!(
        (&*first.body, first.key.as_deref(), first.to.len()),
        (r#"{"type":"a","n":1.0}"#, Some("k"), 1)
    );
    assert_eq!(first.headers, [("h".to_owned(), "v".to_owned())]);
    assert_eq!((&*second.body, second.to.len()), ("7", 0));

    let found = faults(&with("{ event: {}, to: [crn] }"));
    assert!(found[0].contains("this route sends nothing to `crn`; did you mean `crm`?"), "{found:?}");
    let two = with("{ event: {}, to: [] }").replacen(
        "sources: {",
        "sources: { o: { kafka: { brokers: b, topics: [u] } },",
        1,
    );
    assert!(faults(&two)[0].contains("write `source: NAME`"), "{:?}", faults(&two));
    let found = faults(&with("{ to: [] }"));
    assert!(found[0].contains("event"), "{found:?}");
}

#[test]
fn a_schema_that_is_none_is_refused_at_its_place() {
    let declared = |schema: &str| {
        format!("event_types:\n  declare:\n    a.b:\n      schema:\n        {schema}\n{}", with_target(URL))
    };
    plan(&declared("{ properties: { a: { type: [string, 'null'], const: null, pattern: '^x+$' } } }"));
    for (schema, place, why) in [
        (
            "type: objct",
            "h.yaml:5:15: event_types.declare.a.b.schema.type: this is no JSON Schema: ",
            "objct",
        ),
        (
            "properties: { n: { minimum: x } }",
            "schema.properties.n.minimum: this is no JSON Schema: ",
            "number",
        ),
        ("pattern: '(?=x)'", "schema.pattern: this is no JSON Schema: ", "regex"),
        ("$ref: 'https://x.example/s.json'", "schema: this is no JSON Schema: ", "x.example"),
        ("$ref: 'file:///etc/passwd'", "schema: this is no JSON Schema: ", "passwd"),
        ("const: \"${env:HOME}\"", "schema: a schema takes no references", ""),
    ] {
        let found = faults_with(&declared(schema), &environment(&[("HOME", "h")]));
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].contains(place) && found[0].contains(why), "{found:?}");
    }
    let both =
        faults(&declared("{}").replace("schema:\n        {}", "schema: {}\n      schema_file: x.json"));
    assert!(both[0].contains("a type has one schema"), "{both:?}");
    let missing = faults(&declared("{}").replace("schema:\n        {}", "schema_file: nowhere.json"));
    assert!(missing[0].contains("the file `nowhere.json` can't be read"), "{missing:?}");
}

#[test]
fn a_type_without_a_word_is_declared_too() {
    let plan = plan(&with_types("{ declare: { a.b: } }", "[a.b]"));
    assert!(plan.event_types.declared.contains_key("a.b"));
}
