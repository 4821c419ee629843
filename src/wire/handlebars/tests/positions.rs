//! Values are written for the place in the JSON where they stand.

use super::*;

#[test]
fn in_a_string_a_value_is_a_part_of_it_and_elsewhere_it_is_json() {
    assert_eq!(
        rendered(
            r#"{"text": "{{event.data.title}}!", "title": {{event.data.title}}, "n": {{event.data.cost.amount}}}"#
        ),
        r#"{"text": "a \"b\"\n<é>!", "title": "a \"b\"\n<é>", "n": 525.50}"#
    );
    assert_eq!(rendered(r#"[{{event.key}},"{{event.key}}",{{headers.x-trace}}]"#), r#"["k\"1","k\"1","t2"]"#);
    assert_eq!(rendered("{{event.data.cost}}"), r#"{"amount":525.50,"currency":"USD"}"#);
    assert_eq!(
        rendered(
            r#"{"a":"{{event.data.cost}}","b":"{{json event.data.tags}}","c":"{{event.data.tags}}","{{event.id}}":{{attempt}}}"#
        ),
        r#"{"a":"{\"amount\":525.50,\"currency\":\"USD\"}","b":"[\"x\",\"y z\"]","c":"x,y z","evt_42":3}"#
    );
}

#[test]
fn what_is_missing_is_nothing_in_a_string_and_null_elsewhere() {
    assert_eq!(
        rendered(
            r#"{"a":"<{{event.data.gone.deep}}>","b":{{event.subject}},"c":{{event.data.none}},"d":"{{event.data.none}}"}"#
        ),
        r#"{"a":"<>","b":null,"c":null,"d":""}"#
    );
    assert_eq!(
        rendered(
            r#"{"a":"{{default event.data.gone event.data.empty "x"}}","b":{{default event.subject 7}}}"#
        ),
        r#"{"a":"x","b":7}"#
    );
}

#[test]
fn raw_is_written_as_it_is_and_only_if_it_stays_in_its_place() {
    assert_eq!(
        rendered(
            r#"{"a":{{{event.data.nested}}},"b":{{{json event.data.cost}}},"c":"{{{event.type}}}","d":{{{event.subject}}}}"#
        ),
        r#"{"a":{"k":[1]},"b":{"amount":525.50,"currency":"USD"},"c":"cost.alert","d":null}"#
    );
    assert_eq!(
        unrenderable(r#"{"a":"{{{event.data.title}}}"}"#),
        "what the template writes unescaped (`{{{ }}}`) can't stand in a string of JSON as it is; write `{{ }}`"
    );
    assert_eq!(
        unrenderable(r#"{"a":{{{event.data.title}}}}"#),
        "what the template writes unescaped (`{{{ }}}`) is no JSON value; write `{{ }}`"
    );
}

#[test]
fn branches_and_loops_may_write_commas() {
    let list = r#"[{{#each event.data.items}}{{#unless @first}},{{/unless}}{"sku":"{{sku}}"}{{/each}}]"#;
    assert_eq!(rendered(list), r#"[{"sku":"A"},{"sku":"B"}]"#);
    let last = r#"{"a":[{{#each event.data.items}}{{this.n}}{{#if @last}}{{else}}, {{/if}}{{/each}}]}"#;
    assert_eq!(rendered(last), r#"{"a":[1, 0]}"#);
    let member = r#"{"a":1{{#if event.subject}},"b":"{{event.subject}}"{{/if}}{{#if event.key}},"k":{{event.key}}{{/if}}}"#;
    assert_eq!(rendered(member), r#"{"a":1,"k":"k\"1"}"#);
    let text = r#""{{#each event.data.tags}}{{@index}}:{{this}}{{#unless @last}}\n{{/unless}}{{/each}}""#;
    assert_eq!(rendered(text), r#""0:x\n1:y z""#);
}

#[test]
fn what_turns_out_to_be_no_json_is_unrenderable() {
    assert_eq!(
        unrenderable(r#"[{{#each event.data.items}}{{#if n}},{{/if}}{{sku}}{{/each}}]"#),
        "what the template makes of this event is no JSON: expected value at line 1 column 2"
    );
    assert_eq!(
        unrenderable(r#"[{{#each event.data.items}}{{n}}{{/each}}]"#),
        "the template writes a value right behind another one",
        "and not the number 10"
    );
}

#[test]
fn the_form_of_json_is_applied_to_the_whole_text() {
    let event = with_body(BODY);
    let text = r#"{ "b" : "{{event.data.cost.amount}}", "2": {{event.data.cost.amount}}, "1": [ 1.0 ] }"#;
    let form = |form| try_rendered(text, &event, Language::Json, form).expect("it renders");

    assert_eq!(form(JsonForm::Js), r#"{"1":[1],"2":525.5,"b":"525.5"}"#);
    assert_eq!(form(JsonForm::Sorted), r#"{"1":[1.0],"2":525.50,"b":"525.50"}"#);
    assert_eq!(form(JsonForm::Exact), r#"{ "b" : "525.50", "2": 525.50, "1": [ 1.0 ] }"#);
}

#[test]
fn other_languages_escape_in_their_own_way() {
    let event = with_body(r#"{"data":{"t":"<a href='x'>&`=\"\u00e9 +"}}"#);
    let text =
        |language| try_rendered("{{event.data.t}}|{{{event.data.t}}}", &event, language, JsonForm::Exact);

    assert_eq!(
        text(Language::Html).expect("HTML"),
        "&lt;a href&#x3D;&#x27;x&#x27;&gt;&amp;&#x60;&#x3D;&quot;é +|<a href='x'>&`=\"é +"
    );
    assert_eq!(
        text(Language::Form).expect("a form").split('|').next(),
        Some("%3Ca+href%3D%27x%27%3E%26%60%3D%22%C3%A9+%2B")
    );
    assert_eq!(text(Language::Plain).expect("text"), "<a href='x'>&`=\"é +|<a href='x'>&`=\"é +");
    for (content_type, language) in [
        ("application/json", Language::Json),
        ("Application/CloudEvents+JSON; charset=utf-8", Language::Json),
        ("text/html", Language::Html),
        ("application/atom+xml", Language::Html),
        ("application/x-www-form-urlencoded", Language::Form),
        ("text/plain; charset=utf-8", Language::Plain),
        ("nonsense", Language::Plain),
    ] {
        assert_eq!(Language::of(content_type), language, "{content_type}");
    }
}
