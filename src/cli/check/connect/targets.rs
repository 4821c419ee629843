use super::Finding;
use crate::domain::TargetId;
use crate::plan::{Plan, Target};
use crate::sender::{Probed, Resolver, probe};

/// Tries all targets that are enabled, and what gives them their tokens.
pub(super) fn look(plan: &Plan) -> Vec<Finding> {
    match probe(plan, &Resolver::System) {
        Ok(probed) => probed.into_iter().flat_map(|probed| of_one(plan, probed)).collect(),
        Err(fault) => vec![Finding { at: "targets".to_owned(), fault: true, says: fault.to_string() }],
    }
}

fn of_one(plan: &Plan, probed: Probed) -> Vec<Finding> {
    let Probed { target: TargetId(index), connection, token } = probed;
    let Some(target) = plan.targets.get(index as usize) else { return Vec::new() };
    let finding = |outcome: Result<String, String>| Finding {
        at: format!("targets.{}", target.name),
        fault: outcome.is_err(),
        says: outcome.unwrap_or_else(|reason| reason),
    };
    let url = &target.shown.url;
    let connection = match connection {
        Ok(()) => Ok(format!("{url} takes connections{}", way(target))),
        Err(reason) => Err(format!("{url} can't be reached{}: {reason}", way(target))),
    };
    let token = token.map(|token| match token {
        Ok(()) => Ok("a token can be had".to_owned()),
        Err(reason) => Err(format!("no token can be had: {reason}")),
    });
    [Some(connection), token].into_iter().flatten().map(finding).collect()
}

/// Plain requests go to the proxy itself: what is behind it shows only when one is sent.
fn way(target: &Target) -> &'static str {
    match &target.proxy {
        None => "",
        Some(_) => " (through its proxy)",
    }
}
