mod auth;
mod dialects;
mod faults;
mod full;
mod lanes;
mod layering;
mod masking;
mod nats;
mod payloads;
mod routing;
mod secrets;
mod succession;

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Examined, Faults, Layers, Plan, Target, examine_text};

/// Layers without files, with these variables.
fn environment(variables: &[(&str, &str)]) -> Layers {
    let environment: BTreeMap<String, String> =
        variables.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
    Layers { environment, ..Layers::default() }
}

fn examined(text: &str) -> Result<Examined, Faults> {
    examine_text("h.yaml", text, &Layers::default())
}

/// The plan of a text without faults.
fn plan(text: &str) -> Plan {
    plan_with(text, &Layers::default())
}

fn plan_with(text: &str, layers: &Layers) -> Plan {
    examine_text("h.yaml", text, layers).unwrap_or_else(|faults| panic!("faults:\n{faults}")).plan
}

/// The faults of a text, one a line.
fn faults(text: &str) -> Vec<String> {
    faults_with(text, &Layers::default())
}

fn faults_with(text: &str, layers: &Layers) -> Vec<String> {
    let faults = examine_text("h.yaml", text, layers).expect_err("a faulty configuration");
    faults.to_string().lines().map(str::to_owned).collect()
}

/// A valid configuration with `target` as the keys of its only target, from line 4 on, each
/// indented by four spaces.
fn with_target(target: &str) -> String {
    let keys: String = target.lines().map(|line| format!("    {line}\n")).collect();
    format!(
        "\
sources: {{ s: {{ kafka: {{ brokers: 'b:9092', topics: [t] }} }} }}
targets:
  crm:
{keys}routes: [{{ to: [crm] }}]
"
    )
}

/// The value and origin of an effective setting.
fn setting(text: &str, path: &str) -> String {
    let examined = examined(text).unwrap_or_else(|faults| panic!("faults:\n{faults}"));
    let setting = examined.settings.iter().find(|setting| setting.path == path);
    setting.map_or_else(
        || format!("{path} is not set"),
        |setting| format!("{} from {}", setting.value, setting.from),
    )
}

impl Plan {
    /// A target of a plan that nobody uses yet.
    pub(crate) fn target_mut(&mut self, index: usize) -> &mut Target {
        Arc::get_mut(&mut self.targets[index]).expect("nobody uses it yet")
    }

    /// The first target alone.
    pub(crate) fn into_target(mut self) -> Target {
        Arc::into_inner(self.targets.remove(0)).expect("nobody uses it yet")
    }
}
