//! `routes[].tests`: events whose way is known beforehand.

use serde::Serialize;

use crate::cli::explain::{bypass, refusal};
use crate::domain::{RouteId, TargetId};
use crate::engine::routing::{Verdict, judge, serves};
use crate::plan::{Examined, Plan, Route, RouteTest};
use crate::source::Sample;

/// A test that failed.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(in crate::cli) struct FailedTest {
    /// Where it stands in the configuration.
    pub(super) at: String,
    /// What the route does instead.
    pub(super) says: String,
}

/// The tests of all routes that fail.
pub(super) fn failed(examined: &Examined) -> Vec<FailedTest> {
    let plan = &examined.plan;
    let routes = (0..).map(RouteId).zip(&plan.routes);
    let tests =
        routes.flat_map(|(id, route)| route.tests.iter().enumerate().map(move |test| (id, route, test)));
    tests
        .filter_map(|(id, route, (number, test))| {
            let says = fails(plan, id, route, test)?;
            let says = examined.concealed.mask(&says);
            Some(FailedTest { at: format!("{}: routes.{}.tests.{number}", test.at, route.name), says })
        })
        .collect()
}

/// What is wrong; `None` if the route does what it has to.
fn fails(plan: &Plan, id: RouteId, route: &Route, test: &RouteTest) -> Option<String> {
    let source = plan.sources.get(usize::from(test.source.0))?;
    let sample = Sample {
        body: test.body.as_bytes(),
        headers: &test.headers,
        key: test.key.as_deref(),
        subject: test.subject.as_deref(),
    };
    let event = sample.read(plan, source);
    let (found, why): (Vec<TargetId>, _) = match (bypass(plan, &event), judge(plan, id, &event)) {
        (Some(why), _) => (Vec::new(), Some(why)),
        (None, Verdict::Takes) => {
            (route.to.iter().copied().filter(|target| serves(plan, *target, &event)).collect(), None)
        }
        (None, verdict) => (Vec::new(), refusal(plan, verdict, id, &event)),
    };
    let same = found.len() == test.to.len() && found.iter().all(|target| test.to.contains(target));
    (!same).then(|| {
        let because = why.map_or_else(String::new, |why| format!(": {why}"));
        format!("the event goes to {}, and not to {}{because}", names(plan, &found), names(plan, &test.to))
    })
}

fn names(plan: &Plan, targets: &[TargetId]) -> String {
    let names = targets.iter().filter_map(|id| plan.targets.get(id.0 as usize)).map(|target| &*target.name);
    let names: Vec<&str> = names.collect();
    if names.is_empty() { "no target".to_owned() } else { names.join(", ") }
}
