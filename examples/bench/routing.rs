use std::hint::black_box;
use std::time::Instant;

use anyhow::bail;
use hookferry::engine::routing::{Matches, Routing};
use hookferry::plan::{self, Layers, Plan};
use hookferry::source::Sample;

const ROUNDS: u32 = 2_000_000;
/// An event's cost with 10,000 routes may be so many times that with 10.
const MOST: f64 = 2.0;

/// What routing an event costs beside 10 and beside 10,000 routes that have nothing to do with it.
pub(super) fn compare() -> anyhow::Result<()> {
    let few = cost(10)?;
    let many = cost(10_000)?;
    let ratio = many / few;
    println!(
        "routing an event: {few:.0} ns with 10 routes, {many:.0} ns with 10000: {ratio:.2} x (limit {MOST})"
    );
    if ratio > MOST {
        bail!("an event's cost grows with the routes that don't match");
    }
    Ok(())
}

/// Nanoseconds for one event.
fn cost(routes: usize) -> anyhow::Result<f64> {
    let plan = plan(routes)?;
    let body = br#"{"type":"bench.made","severity":"high","org":"acme","data":{}}"#;
    let event = Sample { body, ..Sample::default() }.read(&plan, &plan.sources[0]);
    let routing = Routing::new(&plan);
    let mut matches = Matches::default();
    routing.route(&plan, &event, &mut matches);
    if matches.deliveries.len() != 2 {
        bail!("the event has {} deliveries, and not 2", matches.deliveries.len());
    }
    let started = Instant::now();
    for _ in 0..ROUNDS {
        routing.route(&plan, black_box(&event), &mut matches);
        black_box(&matches);
    }
    Ok(started.elapsed().as_nanos() as f64 / f64::from(ROUNDS))
}

/// Two routes that take the event, and others that don't: by their types, tenants and conditions.
fn plan(routes: usize) -> anyhow::Result<Plan> {
    let mut text = String::from(
        "sources: { events: { kafka: { brokers: b, topics: [t] }, event: { tenant: [body:org] } } }
targets:
  mine: { url: 'https://x.example/', tenant: acme }
  everybody: { url: 'https://x.example/', tenant: '*' }
  others: { url: 'https://x.example/', tenant: other }
routes:
  - { types: ['bench.*'], to: [mine] }
  - { where: { severity: [high] }, to: [everybody] }\n",
    );
    for n in 0..routes - 2 {
        text += &match n % 5 {
            0 => format!("  - {{ types: [other.made-{n}], to: [everybody] }}\n"),
            1 => format!("  - {{ types: ['other-{n}.*'], to: [everybody] }}\n"),
            2 => format!("  - {{ types: ['**.unmade-{n}'], to: [everybody] }}\n"),
            3 => format!("  - {{ where: {{ severity: level-{n} }}, to: [everybody] }}\n"),
            _ => "  - { to: [others] }\n".to_owned(),
        };
    }
    plan::load_text("bench.yaml", &text, &Layers::default()).map_err(|faults| anyhow::anyhow!("{faults}"))
}
