//! What a target would send for a message, without a broker or a receiver.

use hookferry::domain::Event;
use hookferry::plan::{self, Layers, Plan};
use hookferry::source::Sample;
use hookferry::wire::Request;

/// When attempts are made, where it does not matter: 2025-01-02T03:05:00Z.
pub const AT_MS: i64 = 1_735_787_100_000;

/// A plan whose only target has these keys, beside its address, in one line of YAML.
pub fn plan(keys: &str) -> Plan {
    let config = format!(
        "sources: {{ s: {{ kafka: {{ brokers: 'x:9092', topics: [t] }} }} }}
targets: {{ t: {{ url: 'https://x.example/', {keys} }} }}
routes: [{{ to: [t] }}]"
    );
    plan::load_text("rendering.yaml", &config, &Layers::default()).expect("a valid configuration")
}

/// The event that the plan's source makes of a message.
pub fn event(plan: &Plan, body: &[u8], headers: &[(&str, &str)]) -> Event {
    let headers: Vec<(String, String)> =
        headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Sample { body, headers: &headers, ..Sample::default() }.read(plan, &plan.sources[0])
}

/// The request of the first attempt, made at this time, of a target with these keys.
pub fn request(keys: &str, body: &[u8], headers: &[(&str, &str)], at_ms: i64) -> Request {
    let plan = plan(keys);
    let event = event(&plan, body, headers);
    plan.targets[0].blueprint.render(&event, 1, at_ms).expect("it renders")
}
