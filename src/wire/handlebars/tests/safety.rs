//! No event gets out of its place, whatever is in it.

use proptest::prelude::*;
use serde_json::Value as Tree;

use super::*;

/// Tags in every kind of place, under branches and in loops.
const TEMPLATE: &str = r#"{"s":"<{{event.data.v}}|{{event.key}}|{{headers.h}}>","v":{{event.data.v}},"j":"{{json event.data.v}}","{{event.data.k}}":1,
 "l":[{{#each event.data.l}}{{#unless @first}},{{/unless}}{"k":"{{@key}}","t":"{{this}}","v":{{this}}}{{/each}}],
 "b":"{{#if event.data.v}}{{upper event.data.v}}{{else}}{{default event.data.k "none"}}{{/if}}","d":{{date event.data.v}},"n":{{number event.data.v}}}"#;

/// The shape that every rendering has: which members there are, and of which kind those are that
/// the template itself writes.
fn has_its_shape(text: &str, elements: usize, key: &str) -> Result<(), TestCaseError> {
    let value: Tree =
        serde_json::from_str(text).map_err(|error| TestCaseError::fail(format!("{error}: {text}")))?;
    let members = value.as_object().expect("an object");
    let mut expected = vec!["s", "v", "j", key, "l", "b", "d", "n"];
    // A key from the event can only take the place of another one.
    if ["s", "v", "j", "l", "b", "d", "n"].contains(&key) {
        expected.remove(3);
    }
    expected.sort_unstable();
    let mut found: Vec<&str> = members.keys().map(String::as_str).collect();
    found.sort_unstable();
    prop_assert_eq!(found, expected);
    for name in ["s", "j", "b"] {
        prop_assert!(key == name || value[name].is_string(), "{} {}", name, text);
    }
    let list = value["l"].as_array().expect("a list");
    prop_assert_eq!(list.len(), elements);
    for element in list {
        prop_assert!(element["k"].is_string() && element["t"].is_string());
        prop_assert_eq!(element.as_object().map(serde_json::Map::len), Some(3));
    }
    Ok(())
}

fn json_value() -> impl Strategy<Value = Tree> {
    let leaf = prop_oneof![
        Just(Tree::Null),
        any::<bool>().prop_map(Tree::from),
        any::<i64>().prop_map(Tree::from),
        any::<f64>().prop_map(Tree::from),
        hostile().prop_map(Tree::from),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Tree::from),
            prop::collection::vec((hostile(), inner), 0..4)
                .prop_map(|members| Tree::Object(members.into_iter().collect())),
        ]
    })
}

/// Texts that would get out of a place that is not escaped.
fn hostile() -> impl Strategy<Value = String> {
    prop_oneof![
        "\\PC{0,8}",
        "[\"\\\\{}\\[\\],:a\n\r\t\u{0}\u{1f}\u{7f}\u{2028}\u{1f600}]{0,10}",
        Just("\",\"admin\":true,\"x\":\"".to_owned()),
        Just("{{event.id}}".to_owned()),
        Just("\\".to_owned()),
        Just("\\u0022".to_owned()),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn no_text_of_an_event_changes_the_shape(
        value in json_value(), list in prop::collection::vec(json_value(), 0..4), name in hostile(), header in hostile(),
    ) {
        let body = serde_json::json!({ "data": { "v": value, "k": name, "l": list } }).to_string();
        let mut event = with_body(&body);
        event.key = Some(header.clone().into());
        event.headers = [("h".into(), Bytes::from(header.clone()))].into();

        for form in [JsonForm::Exact, JsonForm::Js, JsonForm::JsRounded, JsonForm::Sorted] {
            let text = try_rendered(TEMPLATE, &event, Language::Json, form);
            has_its_shape(&text.map_err(TestCaseError::fail)?, list.len(), &name)?;
        }
    }

    #[test]
    fn a_text_in_a_string_reads_back_as_it_was(text in hostile()) {
        let body = serde_json::json!({ "data": { "v": text } }).to_string();
        let rendered = try_rendered(r#"["{{event.data.v}}",{{event.data.v}}]"#, &with_body(&body), Language::Json, JsonForm::Exact);
        let read: Tree = serde_json::from_str(&rendered.expect("it renders")).expect("JSON");
        prop_assert_eq!(read, serde_json::json!([&text, &text]));
    }

    #[test]
    fn raw_text_is_in_its_place_or_refused(text in hostile()) {
        let body = serde_json::json!({ "data": { "v": text } }).to_string();
        for template in [r#"{"a":"{{{event.data.v}}}","b":[1]}"#, r#"{"a":"","b":[{{{event.data.v}}}]}"#] {
            let rendered = try_rendered(template, &with_body(&body), Language::Json, JsonForm::Exact);
            let Ok(rendered) = rendered else { continue };
            let read: Tree = serde_json::from_str(&rendered).expect("JSON");
            prop_assert_eq!(read.as_object().map(serde_json::Map::len), Some(2));
            prop_assert!(read["a"].is_string());
            prop_assert_eq!(read["b"].as_array().map(Vec::len), Some(1));
        }
    }

    #[test]
    fn no_template_panics(text in "(\\{\\{|\\}\\}|\\{\\{\\{|\\{\\{#if |\\{\\{/if\\}\\}|\\{\\{else\\}\\}|\\{\\{#each |event\\.data|\\.\\./|this|@index|[\"'(){}\\[\\]\\\\~!|=., ax0é\n-]){0,12}") {
        for language in [Language::Json, Language::Plain] {
            if let Ok(template) = Template::compile(&text, &[], language, &katana()) {
                let event = with_body(BODY);
                let facts = Facts { event: &event, target_id: "crm", attempt: 1 };
                if let (Ok(out), Language::Json) = (template.render(facts, JsonForm::Exact), language) {
                    prop_assert!(json::is_document(&out));
                }
            }
        }
    }
}

#[test]
fn a_template_that_multiplies_an_event_ends() {
    let list = vec!["x"; 2000];
    let event = with_body(&serde_json::json!({ "data": { "l": list } }).to_string());
    let text = "{{#each event.data.l}}{{#each @root.event.data.l}}{{#each @root.event.data.l}}{{this}}{{/each}}{{/each}}{{/each}}";

    let too_much = |text, event: &Event| {
        let refusal = try_rendered(text, event, Language::Plain, JsonForm::Exact).expect_err(text);
        assert!(refusal.starts_with("the template makes too much of this event"), "{refusal}");
    };
    too_much(text, &event);
    let long = "x".repeat(500_000);
    let list = vec![""; 100_000];
    let event = with_body(&serde_json::json!({ "data": { "t": long, "l": list, "x": "x" } }).to_string());
    too_much("{{#each event.data.l}}{{lookup @root.event.data.l @index}}{{/each}}", &event);
    too_much("{{#each event.data.l}}{{#if @root.event}}{{/if}}{{/each}}", &event);
    too_much("{{replace event.data.t event.data.x event.data.t}}", &event);
    too_much("{{join event.data.l event.data.t}}", &event);
}
