//! Table 3: the catalogues of event types. Each name and category here is copied from the table.

use std::collections::BTreeMap;

use super::*;

const COST_KATANA: &str = "cost: `cost.alert cost.threshold_exceeded budget.warning budget.exceeded cost.spike_detected cost.anomaly_detected` · \
    optimization: `optimization.completed optimization.failed optimization.suggested optimization.applied savings.milestone_reached` · \
    model: `model.performance_degraded model.error_rate_high model.latency_high model.quota_warning model.quota_exceeded` · \
    usage: `usage.spike_detected usage.pattern_changed token.limit_warning token.limit_exceeded api.rate_limit_warning` · \
    experiment: `experiment.started experiment.completed experiment.failed training.started training.completed training.failed` · \
    workflow: `workflow.started workflow.completed workflow.failed workflow.step_completed` · \
    security: `security.alert compliance.violation data.privacy_alert moderation.blocked` · \
    system: `system.error service.degradation maintenance.scheduled` · \
    agent: `agent.task_completed agent.task_failed agent.insight_generated` · \
    quality: `quality.degraded quality.improved quality.threshold_violated`";
const OPS_CENTER: &str = "user: `user.created user.updated user.deleted user.login user.logout user.password_changed user.email_verified user.profile_updated` · \
    subscription: `subscription.created subscription.updated subscription.cancelled subscription.renewed subscription.payment_failed` · \
    billing: `payment.succeeded payment.failed payment.refunded invoice.created invoice.paid invoice.overdue` · \
    organization: `organization.created organization.updated organization.deleted` · \
    device: `device.registered device.updated device.deleted device.online device.offline device.alert` · \
    monitoring: `alert.triggered alert.resolved`";
const LLM_OPTIMIZER: &str = "`optimization.triggered optimization.completed optimization.failed model.switched threshold.exceeded cost.alert performance.degraded error.occurred health.check`";
const DCISION: &str = "project: `project.created project.updated project.deleted` · \
    model: `model.created model.updated model.deleted model.trained model.deployed` · \
    prediction: `prediction.created prediction.updated prediction.deleted prediction.completed` · \
    dataset: `dataset.created dataset.updated dataset.deleted dataset.processed`";

/// The names of a cell, each with its category if the cell has categories.
fn names(cell: &'static str) -> BTreeMap<&'static str, Option<&'static str>> {
    let of = |part: &'static str| {
        let (category, names) = match part.split_once(": ") {
            Some((category, names)) => (Some(category), names),
            None => (None, part),
        };
        names.trim_matches('`').split(' ').map(move |name| (name, category))
    };
    cell.split(" · ").flat_map(of).collect()
}

fn plan_of(system: &str, types: &str) -> Plan {
    load(&format!(
        "event_types: {{ catalogues: [{system}], unknown: dead_letter }}
{SOURCE}targets: {{ it: {{ url: 'https://x.example/' }} }}\nroutes: [{{ types: {types}, to: [it] }}]"
    ))
}

/// Those of these types that a subscription takes.
fn taken<'a>(system: &str, types: &str, names: &BTreeMap<&'a str, Option<&str>>) -> Vec<&'a str> {
    let plan = plan_of(system, types);
    let takes = |name: &&&str| !takers(&plan, &json!({ "type": name })).is_empty();
    names.keys().filter(takes).copied().collect()
}

/// The catalogue has these names and categories and no others; each can be subscribed to, and `*` is all.
#[track_caller]
fn ships(system: &str, cell: &'static str, count: usize) {
    let names = names(cell);
    let plan = plan_of(system, "['*']");
    let declared: Vec<&str> = plan.event_types.declared.keys().map(|name| &**name).collect();
    assert_eq!(declared, names.keys().copied().collect::<Vec<_>>());
    assert_eq!(declared.len(), count);
    for (name, category) in &names {
        let found = plan.event_types.declared[*name].category.as_deref();
        assert!(category.is_none() || found == *category, "{name}: {found:?}");
        assert_eq!(taken(system, &format!("[{name}]"), &names), [*name]);
    }
    assert_eq!(taken(system, "['*']", &names).len(), count);
}

#[test]
fn cost_katana() {
    ships("cost-katana", COST_KATANA, 44);
}

#[test]
fn ops_center() {
    ships("ops-center", OPS_CENTER, 30);
}

#[test]
fn llm_optimizer() {
    ships("llm-optimizer", LLM_OPTIMIZER, 9);
}

#[test]
fn dcision() {
    ships("dcision", DCISION, 16);
}

#[test]
fn an_empty_list_of_types_is_all_as_in_llm_optimizer() {
    let names = names(LLM_OPTIMIZER);
    assert_eq!(taken("llm-optimizer", "[]", &names).len(), 9);
}

#[test]
fn a_category_is_not_a_prefix_so_cost_does_not_take_budget() {
    let names = names(COST_KATANA);
    let taken = taken("cost-katana", "['cost.*']", &names);
    assert_eq!(
        taken,
        ["cost.alert", "cost.anomaly_detected", "cost.spike_detected", "cost.threshold_exceeded"]
    );
    assert_eq!(names["budget.exceeded"], Some("cost"));
}
