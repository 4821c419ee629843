use std::fmt::Write as _;

use hyper::header::AUTHORIZATION;
use serde_json::json;

use super::arguments::{Format, Question};
use super::check::{order, priority, shown as setting};
use super::publish::{chosen_source, read_bytes};
use super::{Exit, answer, complain};
use crate::domain::{
    Condition, Content, Event, Field, Kind, Moment, Operator, Ordering, Presence, RouteId, TargetId,
};
use crate::engine::routing::{Matches, Routing, Verdict, judge};
use crate::plan::{Concealed, Examined, Plan, Setting, UnknownTypes};
use crate::source::Sample;

#[cfg(test)]
mod tests;

/// Says which routes take an event, what refuses it in the others, and what would be sent.
pub(super) fn explain(examined: &Examined, question: &Question, format: Format) -> Exit {
    let body = read_bytes(&question.event)
        .map_err(|cause| format!("{}: can't be read: {cause}", question.event.display()));
    match body.and_then(|body| explained(examined, question, &body, format)) {
        Ok(text) => answer(&text),
        Err(fault) => {
            complain(&fault);
            Exit::BadInput
        }
    }
}

/// The answer for a message with this value.
pub(super) fn explained(
    examined: &Examined,
    question: &Question,
    body: &[u8],
    format: Format,
) -> Result<String, String> {
    let Examined { plan, concealed, settings } = examined;
    let source = chosen_source(plan, question.source.as_deref())?;
    let sample = Sample {
        body,
        headers: &question.headers,
        key: question.key.as_deref(),
        subject: question.subject.as_deref(),
    };
    let event = sample.read(plan, source);
    let explanation = explanation(plan, settings, &event, Moment::now().wall_ms).masked(concealed);
    Ok(match format {
        Format::Text => text(&explanation),
        Format::Json => format!("{}\n", document(&explanation)),
    })
}

/// What would become of one event.
#[derive(Debug)]
struct Explanation<'a> {
    id: String,
    event_type: Option<String>,
    /// What the message is taken for, where that is not an ordinary event.
    remark: Option<String>,
    /// Each route's name, and why it refuses the event; `None`: it takes it.
    routes: Vec<(&'a str, Option<String>)>,
    requests: Vec<Planned<'a>>,
}

/// One request that would be made, with the route that names the target.
#[derive(Debug)]
struct Planned<'a> {
    target: &'a str,
    route: &'a str,
    method: &'a hyper::Method,
    /// Masked as `check` does.
    url: String,
    /// Of the target.
    ordering: Ordering,
    /// The event's own, else the route's.
    priority: i16,
    rendered: Result<Rendered, String>,
}

#[derive(Debug)]
struct Rendered {
    headers: Vec<(String, String)>,
    body: String,
}

impl Explanation<'_> {
    /// Without what references brought in, wherever it came to stand. Names of routes and targets
    /// may be shown (DESIGN.md §4.11), and URLs are masked already.
    fn masked(mut self, concealed: &Concealed) -> Self {
        let mask = |text: &mut String| *text = concealed.mask(text);
        mask(&mut self.id);
        self.event_type.iter_mut().for_each(mask);
        self.remark.iter_mut().for_each(mask);
        self.routes.iter_mut().filter_map(|(_, refusal)| refusal.as_mut()).for_each(mask);
        for planned in &mut self.requests {
            match &mut planned.rendered {
                Ok(rendered) => {
                    rendered.headers.iter_mut().for_each(|(_, value)| mask(value));
                    mask(&mut rendered.body);
                }
                Err(reason) => mask(reason),
            }
        }
        self
    }
}

fn explanation<'a>(plan: &'a Plan, settings: &[Setting], event: &Event, now_ms: i64) -> Explanation<'a> {
    let mut explanation = Explanation {
        id: event.id.to_string(),
        event_type: event.event_type.as_deref().map(str::to_owned),
        remark: remark(plan, event),
        routes: Vec::new(),
        requests: Vec::new(),
    };
    if bypass(plan, event).is_some() {
        return explanation;
    }
    let routes = plan.routes.iter().enumerate().map(|(index, route)| {
        (&*route.name, refusal(plan, judge(plan, RouteId(index as u32), event), RouteId(index as u32), event))
    });
    let mut matches = Matches::default();
    Routing::new(plan).route(plan, event, &mut matches);
    let requests = matches
        .deliveries
        .iter()
        .filter_map(|(target, route, _)| planned(plan, settings, *target, *route, event, now_ms));
    explanation.routes = routes.collect();
    explanation.requests = requests.collect();
    explanation
}

fn planned<'a>(
    plan: &'a Plan,
    settings: &[Setting],
    target: TargetId,
    route: RouteId,
    event: &Event,
    now_ms: i64,
) -> Option<Planned<'a>> {
    let target = plan.targets.get(target.0 as usize)?;
    let route = plan.routes.get(route.0 as usize)?;
    // Only the sender knows its value.
    let token = target.oauth2.as_ref().map(|_| (AUTHORIZATION.to_string(), "***".to_owned()));
    let rendered = target.blueprint.render(event, 1, now_ms).map(|request| Rendered {
        headers: request
            .headers
            .iter()
            .map(|(name, value)| (name.to_string(), shown(value)))
            .chain(token)
            .collect(),
        body: String::from_utf8(request.body.to_vec())
            .unwrap_or_else(|_| format!("({} bytes that are not UTF-8)", request.body.len())),
    });
    Some(Planned {
        target: &target.name,
        route: &route.name,
        method: &target.method,
        url: setting(settings, &format!("targets.{}.url", target.name)).to_owned(),
        ordering: target.ordering,
        priority: event.priority.unwrap_or(route.priority),
        rendered: rendered.map_err(|fault| fault.to_string()),
    })
}

/// A header's value; what was configured may be a secret and is marked as sensitive.
fn shown(value: &hyper::header::HeaderValue) -> String {
    match value.is_sensitive() {
        true => "***".to_owned(),
        false => String::from_utf8_lossy(value.as_bytes()).into_owned(),
    }
}

/// Why a route does not take the event; `None` if it does.
pub(super) fn refusal(plan: &Plan, verdict: Verdict, route: RouteId, event: &Event) -> Option<String> {
    let condition = |index: usize| plan.routes.get(route.0 as usize)?.conditions.get(index);
    Some(match verdict {
        Verdict::Takes => return None,
        Verdict::OtherSource => "it does not take from this source (`from`)".to_owned(),
        Verdict::OtherTenant => match &event.tenant {
            Some(tenant) => format!("none of its targets is the tenant {tenant}'s"),
            None => "its targets get the events of their tenants only, and the event names none".to_owned(),
        },
        Verdict::OtherType => {
            format!("the type {} is not among its `types`", event.event_type.as_deref().unwrap_or("(none)"))
        }
        Verdict::Refuses(index) => {
            condition(index).map(|condition| refused_by(plan, condition, event)).unwrap_or_default()
        }
        Verdict::NeedsTenant => {
            "its targets get the events of their tenants only, and the body, where that stands, is not JSON: a \
             poisoned event"
                .to_owned()
        }
        Verdict::NeedsType => "it needs a type, and the event has none: a poisoned event".to_owned(),
        Verdict::NeedsJson(index) => {
            let place = condition(index).and_then(|condition| plan.fields.get(condition.field));
            format!("it looks at {}, and the body is not JSON: a poisoned event", OrNothing(place))
        }
    })
}

fn refused_by(plan: &Plan, condition: &Condition, event: &Event) -> String {
    let operator = if condition.concealed { concealed } else { operator };
    let wanted: Vec<String> = condition.operators.iter().map(operator).collect();
    let found = event.fields.get(condition.field).and_then(Option::as_ref).map(field);
    format!(
        "where {} {}: the event has {}",
        OrNothing(plan.fields.get(condition.field)),
        wanted.join(", "),
        found.as_deref().unwrap_or("no such field")
    )
}

struct OrNothing<T>(Option<T>);

impl<T: std::fmt::Display> std::fmt::Display for OrNothing<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.as_ref().map_or(Ok(()), |value| value.fmt(f))
    }
}

/// An operator without what it compares with.
fn concealed(shown: &Operator) -> String {
    let written = operator(shown);
    format!("{} ***", written.split(' ').next().unwrap_or_default())
}

/// An operator as it is written in a configuration.
fn operator(operator: &Operator) -> String {
    let list = |fields: &[Field]| fields.iter().map(field).collect::<Vec<_>>().join(", ");
    match operator {
        Operator::Equal(wanted) => format!("eq {}", field(wanted)),
        Operator::NotEqual(wanted) => format!("ne {}", field(wanted)),
        Operator::Greater(bound) => format!("gt {}", field(bound)),
        Operator::GreaterOrEqual(bound) => format!("gte {}", field(bound)),
        Operator::Less(bound) => format!("lt {}", field(bound)),
        Operator::LessOrEqual(bound) => format!("lte {}", field(bound)),
        Operator::In(wanted) => format!("in [{}]", list(wanted)),
        Operator::NotIn(wanted) => format!("not_in [{}]", list(wanted)),
        Operator::Exists(Presence::Present) => "exists true".to_owned(),
        Operator::Exists(Presence::Absent) => "exists false".to_owned(),
        Operator::Prefix(prefix) => format!("prefix {prefix:?}"),
    }
}

fn field(field: &Field) -> String {
    match field {
        Field::Null => "null".to_owned(),
        Field::Bool(value) => value.to_string(),
        Field::Integer(value) => value.to_string(),
        Field::Float(value) => value.to_string(),
        Field::Text(text) => format!("{text:?}"),
        Field::List(elements) => {
            format!("[{}]", elements.iter().map(self::field).collect::<Vec<_>>().join(", "))
        }
        Field::Object => "{…}".to_owned(),
    }
}

/// Why the event goes to the dead letters before any route sees it.
pub(super) fn bypass(plan: &Plan, event: &Event) -> Option<String> {
    if let Kind::Oversized(bytes) = event.kind {
        return Some(format!("its {bytes} bytes are over limits.max_event: dead letter `oversized`"));
    }
    let misfit =
        plan.event_types.misfit(event).filter(|_| plan.event_types.unknown == UnknownTypes::DeadLetter);
    misfit.map(|why| format!("{why}: dead letter `schema`"))
}

/// What the message is taken for, where that is not an ordinary event.
fn remark(plan: &Plan, event: &Event) -> Option<String> {
    let why = bypass(plan, event);
    let why = why.or_else(|| match &event.content {
        Content::NotJson(reason) => Some(format!("the body is not JSON: {reason}")),
        Content::Json => None,
    });
    why.or_else(|| plan.event_types.misfit(event).filter(|_| plan.event_types.unknown == UnknownTypes::Warn))
}

fn text(explanation: &Explanation<'_>) -> String {
    let event_type = explanation.event_type.as_deref().unwrap_or("(none)");
    let mut out = format!("event {}, type {event_type}\n", explanation.id);
    if let Some(remark) = &explanation.remark {
        out.push_str(&format!("  {remark}\n"));
    }
    for (route, refusal) in &explanation.routes {
        // Writing to a String can't fail, here and below.
        let _ = match refusal {
            None => writeln!(out, "route {route}: takes it"),
            Some(reason) => writeln!(out, "route {route}: does not: {reason}"),
        };
    }
    if explanation.requests.is_empty() {
        out.push_str("no request would be made\n");
    }
    for planned in &explanation.requests {
        out.push_str(&request_text(planned));
    }
    out
}

fn request_text(planned: &Planned<'_>) -> String {
    let (order, priority) = (order(planned.ordering), priority(planned.priority));
    let mut out = format!("\ntarget {} (by route {}{order}{priority}):\n", planned.target, planned.route);
    match &planned.rendered {
        Ok(rendered) => {
            let _ = writeln!(out, "  {} {}", planned.method, planned.url);
            for (name, value) in &rendered.headers {
                let _ = writeln!(out, "  {name}: {value}");
            }
            let _ = writeln!(out, "\n  {}", rendered.body);
        }
        Err(reason) => {
            let _ = writeln!(out, "  can't be rendered: {reason}: dead letter `template`");
        }
    }
    out
}

fn document(explanation: &Explanation<'_>) -> serde_json::Value {
    let routes = explanation.routes.iter().map(|(route, refusal)| match refusal {
        None => json!({ "route": route, "takes": true }),
        Some(reason) => json!({ "route": route, "takes": false, "reason": reason }),
    });
    let requests = explanation.requests.iter().map(|planned| match &planned.rendered {
        Ok(rendered) => json!({
            "target": planned.target,
            "route": planned.route,
            "ordering": planned.ordering.as_str(),
            "priority": planned.priority,
            "method": planned.method.as_str(),
            "url": planned.url,
            "headers": rendered.headers.iter().map(|(name, value)| json!([name, value])).collect::<Vec<_>>(),
            "body": rendered.body,
        }),
        Err(reason) => json!({ "target": planned.target, "route": planned.route, "unrenderable": reason }),
    });
    json!({
        "event": {
            "id": explanation.id,
            "type": explanation.event_type,
            "remark": explanation.remark,
        },
        "routes": routes.collect::<Vec<_>>(),
        "requests": requests.collect::<Vec<_>>(),
    })
}
