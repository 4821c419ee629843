//! Table 4: filters.

use super::*;

/// A plan with this `where`, or without one.
fn plan_where(conditions: &str) -> Plan {
    load(&format!(
        "{SOURCE}targets: {{ it: {{ url: 'https://x.example/' }} }}\nroutes: [{{ {conditions}to: [it] }}]"
    ))
}

/// Whether an event with these members passes.
fn passes(plan: &Plan, message: Value) -> bool {
    !takers(plan, &message).is_empty()
}

#[test]
fn severity() {
    let plan = plan_where("where: { severity: [high, critical] }, ");
    let passed: Vec<&str> = ["low", "medium", "high", "critical"]
        .into_iter()
        .filter(|severity| passes(&plan, json!({ "type": "a", "severity": severity })))
        .collect();
    assert_eq!(passed, ["high", "critical"]);
}

#[test]
fn projects() {
    let plan = plan_where("where: { project.id: [proj_production] }, ");
    assert!(passes(&plan, json!({ "project": { "id": "proj_production" } })));
    assert!(!passes(&plan, json!({ "project": { "id": "proj_test" } })));
}

#[test]
fn tags() {
    let plan = plan_where("where: { tags: [a, b] }, ");
    assert!(passes(&plan, json!({ "tags": ["x", "b"] })));
    assert!(!passes(&plan, json!({ "tags": ["x", "ab"] })));
    assert!(!passes(&plan, json!({ "tags": [] })));
}

#[test]
fn min_cost() {
    let plan = plan_where("where: { cost.amount: { gte: 100 } }, ");
    let amounts = [json!(99.99), json!(-100), json!(100), json!(100.0), json!(525.5), json!("150")];
    let passed: Vec<bool> =
        amounts.iter().map(|amount| passes(&plan, json!({ "cost": { "amount": amount } }))).collect();
    assert_eq!(passed, [false, false, true, true, true, false]);
}

/// A dotted path with equality, `$gt`, `$gte`, `$lt`, `$lte`, `$in` and `$ne`.
#[test]
fn custom_query() {
    for (query, passed) in [
        ("2", [false, true, false]),
        ("{ eq: 2 }", [false, true, false]),
        ("{ gt: 2 }", [false, false, true]),
        ("{ gte: 2 }", [false, true, true]),
        ("{ lt: 2 }", [true, false, false]),
        ("{ lte: 2 }", [true, true, false]),
        ("{ in: [1, 3] }", [true, false, true]),
        ("{ ne: 2 }", [true, false, true]),
    ] {
        let plan = plan_where(&format!("where: {{ data.deep.er: {query} }}, "));
        let found = [1, 2, 3].map(|value| passes(&plan, json!({ "data": { "deep": { "er": value } } })));
        assert_eq!(found, passed, "{query}");
    }
}

#[test]
fn active() {
    let plan = load(&format!(
        "{SOURCE}targets:
  on: {{ url: 'https://x.example/' }}
  off: {{ url: 'https://x.example/', enabled: false }}
routes: [{{ to: [on, off] }}]"
    ));
    assert_eq!(takers(&plan, &json!({ "type": "a" })), ["on"]);
    assert!(plan.notices.iter().any(|notice| notice.contains("the target off is switched off")));
}

#[test]
fn organisation() {
    let plan = load(
        "sources: { events: { kafka: { brokers: b, topics: [t] }, event: { tenant: [body:org_id] } } }
targets:
  acme: { url: 'https://x.example/', tenant: org_acme }
  bolt: { url: 'https://x.example/', tenant: org_bolt }
  all: { url: 'https://x.example/', tenant: '*' }
routes: [{ where: { 'header:org': { exists: false } }, to: [acme, bolt, all] }, { where: { org_id: org_bolt }, to: [acme] }]",
    );
    assert_eq!(takers(&plan, &json!({ "org_id": "org_acme" })), ["acme", "all"]);
    assert_eq!(
        takers(&plan, &json!({ "org_id": "org_bolt" })),
        ["bolt", "all"],
        "a `where` opens no way across"
    );
    assert_eq!(takers(&plan, &json!({ "org_id": "org_other" })), ["all"]);
    assert_eq!(takers(&plan, &json!({ "type": "a" })), ["all"]);
}

#[test]
fn all_given_filters_must_hold() {
    let plan =
        plan_where("types: ['cost.*'], where: { severity: [high], tags: [a], cost.amount: { gte: 100 } }, ");
    let event = json!({ "type": "cost.alert", "severity": "high", "tags": ["a"], "cost": { "amount": 100 } });
    assert!(passes(&plan, event.clone()));
    for (member, other) in [
        ("type", json!("budget.warning")),
        ("severity", json!("low")),
        ("tags", json!(["b"])),
        ("cost", json!({ "amount": 1 })),
    ] {
        let mut event = event.clone();
        event[member] = other;
        assert!(!passes(&plan, event), "{member}");
    }
}

#[test]
fn an_absent_or_empty_filter_passes() {
    for conditions in
        ["", "where: {}, ", "types: [], ", "where: { severity: [], tags: [], cost.amount: {} }, "]
    {
        assert!(passes(&plan_where(conditions), json!({ "type": "a", "severity": "low" })), "{conditions}");
    }
}

#[test]
fn an_event_without_the_field_is_refused_unless_it_may_be_missing() {
    for (field, condition) in [
        ("severity", "in: [high, critical]"),
        ("project.id", "in: [proj_production]"),
        ("tags", "in: [a, b]"),
        ("cost.amount", "gte: 100"),
        ("deep.er", "ne: 2"),
    ] {
        let refuses = plan_where(&format!("where: {{ {field}: {{ {condition} }} }}, "));
        let lets_through = plan_where(&format!("where: {{ {field}: {{ {condition}, missing: pass }} }}, "));
        for event in
            [json!({ "type": "a" }), json!({ "severity": null, "project": { "id": null }, "cost": null })]
        {
            assert!(!passes(&refuses, event.clone()), "{field} of {event}");
            assert!(passes(&lets_through, event.clone()), "{field} of {event}");
        }
    }
    let wrong = plan_where("where: { severity: { in: [high], missing: pass } }, ");
    assert!(!passes(&wrong, json!({ "severity": "low" })), "it is not missing");
}
