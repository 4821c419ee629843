use std::collections::HashMap;
use std::sync::Arc;

use crate::domain::{RouteId, TargetId};
use crate::plan::Plan;

/// What records that come from a broker call targets and routes.
#[derive(Debug)]
pub(crate) struct Names {
    targets: HashMap<Arc<str>, TargetId>,
    routes: HashMap<Arc<str>, RouteId>,
}

impl Names {
    pub(super) fn new(plan: &Plan) -> Names {
        Names {
            targets: plan.live_targets().map(|(id, target)| (target.name.clone(), id)).collect(),
            routes: plan.routes.iter().map(|route| route.name.clone()).zip((0..).map(RouteId)).collect(),
        }
    }

    /// The target of this name.
    pub(crate) fn target(&self, name: &str) -> Option<TargetId> {
        self.targets.get(name).copied()
    }

    /// The route of this name.
    pub(super) fn route(&self, name: &str) -> Option<RouteId> {
        self.routes.get(name).copied()
    }
}
