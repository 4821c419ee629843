use std::fmt::Write as _;
use std::sync::Arc;

use bytes::Bytes;
use serde_json::json;

use super::arguments::{Format, Question};
use super::publish::{chosen_source, read_bytes};
use super::{Exit, answer, complain};
use crate::domain::{
    Condition, Content, Event, Field, Generation, Kind, Lease, Moment, Operator, Presence, RouteId, SourceId,
    TargetId,
};
use crate::engine::routing::{Matches, Routing, Verdict, judge};
use crate::plan::{Plan, Source, Topic};
use crate::source::{Intake, Message};

#[cfg(test)]
mod tests;

/// Says which routes take an event, what refuses it in the others, and what would be sent.
pub(super) fn explain(plan: &Plan, question: &Question, format: Format) -> Exit {
    let read = chosen_source(plan, question.source.as_deref()).and_then(|source| {
        let body = read_bytes(&question.event)
            .map_err(|cause| format!("{}: can't be read: {cause}", question.event.display()))?;
        Ok(event(plan, source, question, &body))
    });
    match read {
        Ok(event) => {
            let explanation = explanation(plan, &event, Moment::now().wall_ms);
            answer(&match format {
                Format::Text => text(&explanation),
                Format::Json => format!("{}\n", document(&explanation)),
            })
        }
        Err(fault) => {
            complain(&fault);
            Exit::BadInput
        }
    }
}

/// The event as it would be read at the start of the source's first topic, now.
fn event(plan: &Plan, source: &Source, question: &Question, body: &[u8]) -> Event {
    let index = plan.sources.iter().position(|known| known.name == source.name).unwrap_or_default();
    let topic = match source.kafka.topics.first() {
        Some(Topic::Name(name) | Topic::Regex(name)) => Arc::from(&**name),
        None => Arc::from(""),
    };
    let header = |(name, value): &(String, String)| (name.as_str().into(), Bytes::from(value.clone()));
    let message = Message {
        topic,
        partition: 0,
        offset: 0,
        timestamp_ms: Some(Moment::now().wall_ms),
        key: question.key.as_deref().map(str::as_bytes),
        value: Some(body),
        headers: question.headers.iter().map(header).collect(),
    };
    let intake = Intake::new(plan, source, SourceId(index as u16), "explain");
    intake.read(message, Generation(0), Arc::new(Lease::unlimited()))
}

/// What would become of one event.
#[derive(Debug)]
struct Explanation<'a> {
    event: &'a Event,
    /// Each route's name, and why it refuses the event; `None`: it takes it.
    routes: Vec<(&'a str, Option<String>)>,
    requests: Vec<Planned<'a>>,
}

/// One request that would be made, with the route that names the target.
#[derive(Debug)]
struct Planned<'a> {
    target: &'a str,
    route: &'a str,
    url: String,
    rendered: Result<Rendered, String>,
}

#[derive(Debug)]
struct Rendered {
    headers: Vec<(String, String)>,
    body: String,
}

fn explanation<'a>(plan: &'a Plan, event: &'a Event, now_ms: i64) -> Explanation<'a> {
    let routes = plan.routes.iter().enumerate().map(|(index, route)| {
        (&*route.name, refusal(plan, judge(plan, RouteId(index as u32), event), RouteId(index as u32), event))
    });
    let mut matches = Matches::default();
    Routing::new(plan).route(plan, event, &mut matches);
    let requests =
        matches.deliveries.iter().filter_map(|(target, route)| planned(plan, *target, *route, event, now_ms));
    Explanation { event, routes: routes.collect(), requests: requests.collect() }
}

fn planned<'a>(
    plan: &'a Plan,
    target: TargetId,
    route: RouteId,
    event: &Event,
    now_ms: i64,
) -> Option<Planned<'a>> {
    let target = plan.targets.get(target.0 as usize)?;
    let route = plan.routes.get(route.0 as usize)?;
    let rendered = target.blueprint.render(event, now_ms).map(|request| Rendered {
        headers: request.headers.iter().map(|(name, value)| (name.to_string(), shown(value))).collect(),
        body: String::from_utf8(request.body.to_vec())
            .unwrap_or_else(|_| format!("({} bytes that are not UTF-8)", request.body.len())),
    });
    Some(Planned {
        target: &target.name,
        route: &route.name,
        url: target.url.to_string(),
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
fn refusal(plan: &Plan, verdict: Verdict, route: RouteId, event: &Event) -> Option<String> {
    let condition = |index: usize| plan.routes.get(route.0 as usize)?.conditions.get(index);
    Some(match verdict {
        Verdict::Takes => return None,
        Verdict::OtherSource => "it does not take from this source (`from`)".to_owned(),
        Verdict::OtherType => {
            format!("the type {} is not among its `types`", event.event_type.as_deref().unwrap_or("(none)"))
        }
        Verdict::Refuses(index) => {
            condition(index).map(|condition| refused_by(plan, condition, event)).unwrap_or_default()
        }
        Verdict::NeedsType => "it needs a type, and the event has none: a poisoned event".to_owned(),
        Verdict::NeedsJson(index) => {
            let place = condition(index).and_then(|condition| plan.fields.get(condition.field));
            format!("it looks at {}, and the body is not JSON: a poisoned event", OrNothing(place))
        }
    })
}

fn refused_by(plan: &Plan, condition: &Condition, event: &Event) -> String {
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

/// What the message is taken for, where that is not an ordinary event.
fn remark(event: &Event) -> Option<String> {
    match (event.kind, &event.content) {
        (Kind::Oversized(bytes), _) => {
            Some(format!("its {bytes} bytes are over limits.max_event: dead letter `oversized`"))
        }
        (_, Content::NotJson(reason)) => Some(format!("the body is not JSON: {reason}")),
        _ => None,
    }
}

fn text(explanation: &Explanation<'_>) -> String {
    let event = explanation.event;
    let mut out = format!("event {}, type {}\n", event.id, event.event_type.as_deref().unwrap_or("(none)"));
    if let Some(remark) = remark(event) {
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
    let mut out = format!("\ntarget {} (by route {}):\n", planned.target, planned.route);
    match &planned.rendered {
        Ok(rendered) => {
            let _ = writeln!(out, "  POST {}/… (path and query may be secret)", planned.url);
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
            "method": "POST",
            "url": planned.url,
            "headers": rendered.headers.iter().map(|(name, value)| json!([name, value])).collect::<Vec<_>>(),
            "body": rendered.body,
        }),
        Err(reason) => json!({ "target": planned.target, "route": planned.route, "unrenderable": reason }),
    });
    json!({
        "event": {
            "id": &*explanation.event.id,
            "type": explanation.event.event_type.as_deref(),
            "remark": remark(explanation.event),
        },
        "routes": routes.collect::<Vec<_>>(),
        "requests": requests.collect::<Vec<_>>(),
    })
}
