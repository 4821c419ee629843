//! `payload` and templates, from the configuration to the bytes.

use std::sync::Arc;

use bytes::Bytes;

use super::*;
use crate::domain::{Content, Data, Event, EventTime, Generation, Kind, Lease, Origin, SourceId};
use crate::wire::{Request, Unrenderable};

const BODY: &str = r#"{"title":"a \"b\"","cost":{"amount":525.50},"user":{"id":"u1","name":"Ada"},"secret":"s","big":9007199254740993}"#;

/// An event whose data is this whole body.
fn event(body: &str) -> Event {
    let content = match crate::json::is_document(body.as_bytes()) {
        true => Content::Json,
        false => Content::NotJson("expected value".into()),
    };
    Event {
        source: SourceId(0),
        id: "evt_1".into(),
        event_type: Some("cost.alert".into()),
        time: EventTime { unix_ms: 1_700_000_000_000, text: None },
        subject: None,
        key: None,
        priority: None,
        tenant: None,
        producer: "/é orders".into(),
        kind: Kind::Regular,
        body: Bytes::copy_from_slice(body.as_bytes()),
        data: if content == Content::Json { Data::Slice(0..body.len()) } else { Data::Absent },
        content,
        headers: Box::default(),
        fields: Box::default(),
        origin: Origin::kafka("events", 0),
        generation: Generation(1),
        lease: Arc::new(Lease::unlimited()),
    }
}

fn render(text: &str, event: &Event) -> Result<Request, Unrenderable> {
    plan(text).targets[0].blueprint.render(event, 2, 1_700_000_000_000)
}

/// The body that a target with these keys sends.
fn body(keys: &str) -> String {
    let request = render(&with_url(keys), &event(BODY)).expect("it renders");
    String::from_utf8(request.body.to_vec()).expect("UTF-8")
}

fn header(keys: &str, name: &str, event: &Event) -> Option<String> {
    let request = render(&with_url(keys), event).expect("it renders");
    request.headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
}

fn with_url(keys: &str) -> String {
    with_target(&format!("url: https://x.example/\n{keys}"))
}

#[test]
fn a_template_is_the_whole_body() {
    let keys = r#"payload: { template: '{"text": "{{event.data.title}}", "n": {{body.cost.amount}}, "try": {{attempt}}}' }"#;
    assert_eq!(body(keys), r#"{"text": "a \"b\"", "n": 525.50, "try": 2}"#);
    assert_eq!(header(keys, "content-type", &event(BODY)).as_deref(), Some("application/json"));
    let form =
        "payload: { template: 'text={{event.data.title}}', content_type: application/x-www-form-urlencoded }";
    assert_eq!(body(form), "text=a+%22b%22");
    let plain = "payload: { template: '{{event.data.title}} <{{event.id}}>', content_type: text/plain }";
    assert_eq!(body(plain), "a \"b\" <evt_1>");
}

#[test]
fn the_first_systems_context_comes_with_its_dialect() {
    let keys = "dialect: cost-katana
payload:
  template: '{ \"who\": \"{{user.name}}\", \"id\": \"{{event.eventId}}\", \"u\": \"{{event.userId}}\", \"at\": \"{{timestamp}}\", \"v\": \"{{costKatana.version}}\", \"n\": {{event.data.cost.amount}}, \"p\": {{json project}} }'
  extra: { costkatana: { version: '2.0' } }";
    assert_eq!(
        body(keys),
        r#"{"who":"Ada","id":"evt_1","u":"u1","at":"2023-11-14T22:13:20.000Z","v":"2.0","n":525.5,"p":null}"#
    );
    let elsewhere = "payload: { template: '{\"who\": \"{{user.name}}\"}' }";
    assert_eq!(
        faults(&with_url(elsewhere)),
        [
            "h.yaml:5:26: targets.crm.payload.template: at 1:12: there is no `user` here; there are: event body headers target attempt extra"
        ]
    );
}

#[test]
fn every_fault_of_a_template_has_its_place() {
    let keys = "payload:\n  template: |-\n    {\"a\": {{evnt.id}},\n     \"b\": {{jso event}}}\nheaders: { X-A: 'a {{event.typ}}', X-B: '{{event.id' }";
    let found = faults(&with_url(keys));
    assert_eq!(found.len(), 4, "{found:#?}");
    for (fault, expected) in found.iter().zip([
        "h.yaml:7:9: targets.crm.payload.template: at 1:9: there is no `evnt` here; did you mean `event`?",
        "h.yaml:7:9: targets.crm.payload.template: at 2:9: there is no function `jso`; did you mean `json`?",
        "h.yaml:9:21: targets.crm.headers.X-A: at 1:5: `event` has no `typ`; did you mean `type`?",
        "h.yaml:9:45: targets.crm.headers.X-B: at 1:11: the tag has no `}}` here",
    ]) {
        assert!(fault.starts_with(expected), "{fault}\n{expected}");
    }
}

#[test]
fn headers_may_be_templates_and_references_bring_in_no_tags() {
    let keys = "headers: { X-Type: 'a {{event.type}}', X-Subject: '{{event.subject}}', X-Fixed: '\\{{x}}', X-Env: 'k=${env:S} {{event.id}}' }";
    let layers = environment(&[("S", "{{event.type}}")]);
    let plan = plan_with(&with_url(keys), &layers);
    let request = plan.targets[0].blueprint.render(&event(BODY), 1, 0).expect("it renders");
    let shown = |name: &str| request.headers.get(name).map(|value| value.to_str().expect("ASCII").to_owned());

    assert_eq!(shown("x-type").as_deref(), Some("a cost.alert"));
    assert_eq!(shown("x-subject"), None, "a template that comes to nothing is left out");
    assert_eq!(shown("x-fixed").as_deref(), Some("{{x}}"));
    assert_eq!(shown("x-env").as_deref(), Some("k={{event.type}} evt_1"));
    assert!(request.headers["x-env"].is_sensitive());
    let hostile = event(r#"{"t":"a\r\nX-Admin: 1"}"#);
    assert_eq!(
        render(&with_url("headers: { X-T: '{{event.data.t}}' }"), &hostile).expect_err("refused").to_string(),
        "the header `x-t` can't hold the control characters that the event has"
    );
    assert_eq!(
        header("headers: { User-Agent: 'x/{{event.id}}' }", "user-agent", &hostile).as_deref(),
        Some("x/evt_1")
    );
}

#[test]
fn extra_members_may_be_templates() {
    let keys = "payload:
  preset: dcision
  include: []
  extra:
    event: '{{event.type}}!'
    amount: '{{event.data.cost.amount}}'
    gone: '{{event.subject}}'
    meta: { link: 'https://x/{{event.id}}?q=\"{{event.data.title}}', list: ['{{event.data.user}}', 1.50] }
    fixed: { a: 1.0 }";
    assert_eq!(
        body(keys),
        r#"{"event":"cost.alert!","data":{},"amount":525.5,"meta":{"link":"https://x/evt_1?q=\"a \"b\"","list":[{"id":"u1","name":"Ada"},1.5]},"fixed":{"a":1}}"#
    );
    let wrong = "payload: { preset: dcision, extra: { a: { b: '{{evnt}}' } } }";
    assert!(
        faults(&with_url(wrong))[0]
            .starts_with("h.yaml:5:45: targets.crm.payload.extra.a: at 1:3: there is no `evnt` here"),
        "{:?}",
        faults(&with_url(wrong))
    );
}

#[test]
fn include_and_exclude_choose_members_of_the_data() {
    assert_eq!(
        body("payload: { preset: dcision, include: [title, cost] }"),
        r#"{"event":"cost.alert","data":{"title":"a \"b\"","cost":{"amount":525.5}}}"#
    );
    assert_eq!(
        body("payload: { preset: data, exclude: [secret, user], json: sorted }"),
        r#"{"big":9007199254740993,"cost":{"amount":525.50},"title":"a \"b\""}"#
    );
    assert_eq!(
        body("payload: { preset: cost-katana, include: [cost, secret], exclude: secret }"),
        r#"{"event_id":"evt_1","event_type":"cost.alert","occurred_at":"2023-11-14T22:13:20.000Z","cost":{"amount":525.5}}"#
    );
    assert_eq!(
        body("payload: { preset: cloudevents, mode: binary, exclude: [secret, big] }"),
        r#"{"title":"a \"b\"","cost":{"amount":525.50},"user":{"id":"u1","name":"Ada"}}"#
    );
    let structured = body("payload: { preset: cloudevents, mode: structured, include: [cost] }");
    assert!(
        structured.ends_with(r#""datacontenttype":"application/json","data":{"cost":{"amount":525.50}}}"#),
        "{structured}"
    );
    for preset in ["dcision", "cloudevents"] {
        let keys = format!("payload: {{ preset: {preset}, exclude: [a] }}");
        let list = render(&with_url(&keys), &event("[1]"));
        assert_eq!(
            list.expect_err("no object").to_string(),
            "some members of the event's data are sent, and it is no JSON object"
        );
    }
}

#[test]
fn big_integers_are_kept_or_rounded() {
    let keys = |more: &str| format!("payload: {{ preset: dcision, include: [big]{more} }}");
    assert_eq!(body(&keys("")), r#"{"event":"cost.alert","data":{"big":9007199254740993}}"#);
    assert_eq!(
        body(&keys(", big_integers: round")),
        r#"{"event":"cost.alert","data":{"big":9007199254740992}}"#
    );
    assert_eq!(
        faults(&with_url(&keys(", json: exact, big_integers: round"))),
        [
            "h.yaml:5:76: targets.crm.payload.big_integers: only `json: js` rounds integers; remove this, or set it"
        ]
    );
}

#[test]
fn a_template_may_stand_in_a_file_beside_the_configuration() {
    let folder = std::env::temp_dir().join(format!("hookferry-template-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    std::fs::write(folder.join("chat.hbs"), "{\"id\": \"{{event.id}}\"}\n").expect("a file");
    std::fs::write(folder.join("wrong.hbs"), "{\n  \"id\": {{event.idd}} }\n").expect("a file");
    let text = |file: &str| with_url(&format!("payload: {{ template_file: {file} }}"));
    let name = folder.join("h.yaml").display().to_string();
    let examined = |file: &str| examine_text(&name, &text(file), &Layers::default());

    let right = examined("chat.hbs").expect("no fault").plan;
    let request = right.targets[0].blueprint.render(&event(BODY), 1, 0).expect("it renders");
    assert_eq!(request.body, r#"{"id": "evt_1"}"#);
    std::fs::write(folder.join("chat.hbs"), "{\"id\": 1}\n").expect("a file");
    let changed = examined("chat.hbs").expect("no fault").plan;
    assert_ne!(changed.hash, right.hash, "another template is another plan");
    let wrong = examined("wrong.hbs").expect_err("a fault").to_string();
    let place =
        format!("{}:2:11: `event` has no `idd`; did you mean `id`?", folder.join("wrong.hbs").display());
    assert!(wrong.contains(&place), "{wrong}");
    let missing = examined("gone.hbs").expect_err("a fault").to_string();
    assert!(
        missing.contains("targets.crm.payload.template_file: the file `gone.hbs` can't be read"),
        "{missing}"
    );
    std::fs::remove_dir_all(&folder).expect("it is removed");
}

#[test]
fn who_sets_a_template_or_a_preset_drops_the_other_below() {
    let defaults =
        |payload: &str, keys: &str| format!("defaults: {{ payload: {payload} }}\n{}", with_url(keys));
    let sent = |text: &str| {
        let request = render(text, &event(BODY)).expect("it renders");
        String::from_utf8(request.body.to_vec()).expect("UTF-8")
    };
    assert_eq!(sent(&defaults("{ template: '1' }", "payload: raw")), BODY);
    assert_eq!(
        sent(
            &defaults("{ template: '1' }", "payload: { template_file: /dev/null, template: '2' }")
                .replace("template_file: /dev/null, ", "")
        ),
        "2"
    );
    assert!(sent(&defaults("{ template: '1' }", "dialect: dcision")).starts_with("{\"event\""));
    assert_eq!(sent(&defaults("{ template: '1' }", "id: x")), "1");
    assert_eq!(
        faults(&with_url(
            "payload: { template: '1', template_file: x.hbs, include: [a], extra: { a: '{{event.id}}' } }"
        )),
        [
            "h.yaml:5:46: targets.crm.payload.template_file: a payload has one template; remove this, or `template`",
            "h.yaml:5:62: targets.crm.payload.include: a template names itself what it sends; remove this",
            "h.yaml:5:79: targets.crm.payload.extra.a: beside a template, and in a CloudEvent, only constants are possible here",
        ]
    );
}
