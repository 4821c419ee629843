//! `routes[].tests`: events, and where their route has to send them. `check` runs them.

use crate::domain::{SourceId, TargetId};

use super::presets::json_text;
use super::routes::{Route, Surroundings, source};
use super::walk::{Item, Keys, did_you_mean};

/// One of a route's `tests`: a message, and what the route has to do with its event.
#[derive(Debug, Clone)]
pub struct RouteTest {
    /// Where it stands in the configuration, for people.
    pub at: String,
    /// The source that it comes from.
    pub source: SourceId,
    /// The message's value, as JSON text.
    pub body: String,
    /// Its headers.
    pub headers: Vec<(String, String)>,
    /// Its key (Kafka).
    pub key: Option<String>,
    /// The subject that it is published to (NATS); the source's first one if not said.
    pub subject: Option<String>,
    /// The targets that this route has to send it to.
    pub to: Vec<TargetId>,
}

/// Reads the tests of a route.
pub(super) fn route_tests(keys: &mut Keys<'_>, route: &Route, around: &Surroundings<'_>) -> Vec<RouteTest> {
    let tests = keys.get("tests").map(|item| item.elements()).unwrap_or_default();
    tests.iter().filter_map(|item| route_test(item, route, around)).collect()
}

fn route_test(item: &Item<'_>, route: &Route, around: &Surroundings<'_>) -> Option<RouteTest> {
    let mut keys = item.keys();
    let event =
        keys.require("event", "write the message's value, for example `event: { type: invoice.paid }`");
    let source = keys.get("source");
    let headers = keys.get("headers").map(|item| item.entries_of_files()).unwrap_or_default();
    let (key, subject) = (keys.get("key"), keys.get("subject"));
    let to = keys.require("to", "write the targets that this route has to send it to; `[]` for none");
    keys.done();
    let targets = to.map(|item| item.elements()).unwrap_or_default();
    Some(RouteTest {
        at: item.node.origin.to_string(),
        source: read_from(item, source.as_ref(), route, around)?,
        body: json_text(&event?),
        headers: headers.iter().map(|header| (header.name.to_owned(), header.item.text())).collect(),
        key: key.map(|item| item.text()),
        subject: subject.map(|item| item.text()),
        to: targets.iter().filter_map(|item| expected(item, route, around)).collect(),
    })
}

/// The source that the event comes from: the one that is named, or the only one that there is.
fn read_from(
    test: &Item<'_>,
    named: Option<&Item<'_>>,
    route: &Route,
    around: &Surroundings<'_>,
) -> Option<SourceId> {
    let Some(item) = named else {
        let all = (0..around.sources.len() as u16).map(SourceId);
        let possible: Vec<SourceId> = all.filter(|source| route.takes_from(*source)).collect();
        if let [only] = possible[..] {
            return Some(only);
        }
        test.fault("the route takes from several sources; write `source: NAME` for the event");
        return None;
    };
    source(item, around)
}

fn expected(item: &Item<'_>, route: &Route, around: &Surroundings<'_>) -> Option<TargetId> {
    let name = item.text();
    let named = around.targets.iter().position(|(target, _)| *target == name);
    let id = named.map(|index| TargetId(index as u32)).filter(|id| route.to.contains(id));
    if id.is_none() {
        let own = route.to.iter().filter_map(|id| Some(around.targets.get(id.0 as usize)?.0.as_str()));
        let hint = did_you_mean(&name, own);
        item.names_nothing(format!("this route sends nothing to {}{hint}", item.quoted()));
    }
    id
}
