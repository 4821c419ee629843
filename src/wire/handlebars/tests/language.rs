//! Handlebars' own language.

use super::*;

#[test]
fn conditions_are_handlebars_own() {
    for (path, truthy) in [
        ("event.data.title", true),
        ("event.data.flag", false),
        ("event.data.zero", false),
        ("event.data.none", false),
        ("event.data.gone", false),
        ("event.data.empty", false),
        ("event.data.list", false),
        ("event.data.tags", true),
        ("event.data.cost", true),
        ("event.subject", false),
    ] {
        let expected = if truthy { "yes" } else { "no" };
        assert_eq!(plain(&format!("{{{{#if {path}}}}}yes{{{{else}}}}no{{{{/if}}}}")), expected, "{path}");
        assert_eq!(
            plain(&format!("{{{{#unless {path}}}}}no{{{{^}}}}yes{{{{/unless}}}}")),
            expected,
            "{path}"
        );
    }
    assert_eq!(plain("{{#if event.data.zero includeZero=true}}yes{{/if}}"), "yes");
    let chain = "{{#if event.data.flag}}a{{else if (eq event.type 'cost.alert')}}b{{else}}c{{/if}}";
    assert_eq!(plain(chain), "b");
}

#[test]
fn comparisons_and_logic() {
    for (condition, expected) in [
        ("(eq event.data.cost.amount 525.5)", "true"),
        ("(eq event.data.cost.currency \"USD\")", "true"),
        ("(eq event.data.cost.currency event.type)", "false"),
        ("(eq event.data.none event.subject)", "true"),
        ("(eq event.data.zero event.data.flag)", "false"),
        ("(ne event.data.tags event.data.tags)", "false"),
        ("(gt event.data.cost.amount 525)", "true"),
        ("(gte 9007199254740993 1)", "true"),
        ("(lt event.data.cost.amount \"9\")", "false"),
        ("(lt \"a\" 'b')", "true"),
        ("(lte event.subject 5)", "false"),
        ("(and true (not event.data.zero))", "true"),
        ("(or event.data.flag event.data.zero)", "0"),
        ("(or event.data.flag \"x\")", "x"),
    ] {
        assert_eq!(plain(&format!("{{{{default {condition} \"\"}}}}")), expected, "{condition}");
    }
}

#[test]
fn loops_know_where_they_are() {
    assert_eq!(
        plain(
            "{{#each event.data.items}}{{@index}}{{sku}}{{@first}}{{@last}}{{../event.id}}{{@root.event.id}} {{/each}}"
        ),
        "0Atruefalseevt_42evt_42 1Bfalsetrueevt_42evt_42 "
    );
    assert_eq!(plain("{{#each event.data.cost}}{{@key}}={{this}};{{/each}}"), "amount=525.50;currency=USD;");
    assert_eq!(plain("{{#each event.data.list}}x{{else}}none{{/each}}"), "none");
    assert_eq!(plain("{{#each event.data.items as |item i|}}{{i}}{{item.sku}}{{/each}}"), "0A1B");
    assert_eq!(
        plain(
            "{{#each event.data.items}}{{#each ../event.data.tags}}{{@../index}}{{@index}}{{../sku}}{{this}} {{/each}}{{/each}}"
        ),
        "00Ax 01Ay z 10Bx 11By z "
    );
    assert_eq!(plain("{{#with event.data.cost}}{{currency}}{{./amount}}{{/with}}"), "USD525.50");
    assert_eq!(plain("{{#with event.subject as |s|}}{{s}}{{else}}-{{/with}}"), "-");
}

#[test]
fn paths_reach_everything() {
    assert_eq!(plain("{{event.data.items.1.sku}}{{event.data.items.[0].sku}}{{event/data/tags/0}}"), "BAx");
    assert_eq!(plain("{{event.data.tags.length}}{{length event.data.empty}}{{body.type}}"), "20cost.alert");
    assert_eq!(
        plain("{{target.id}} {{event.source}} {{event.time}} {{@root.attempt}}"),
        "crm /orders 2023-11-14T22:13:20.123Z 3"
    );
    assert_eq!(plain("{{lookup event.data event.key}}{{lookup event.data.items.0 'sku'}}"), "A");
    assert_eq!(rendered("{{headers}}"), r#"{"X-Trace":"t\"1","x-trace":"t2"}"#);
}

#[test]
fn functions_write_numbers_dates_and_texts() {
    for (call, expected) in [
        ("number event.data.cost.amount decimals=2", "525.50"),
        ("number 1234567.891 decimals=1 separator=' ' point=','", "1 234 567,9"),
        ("number 12345678901234567890 separator=','", "12,345,678,901,234,567,890"),
        ("number \"-0.001\" decimals=2", "0.00"),
        ("number event.data.title", ""),
        ("date event.time '%Y-%m-%d %H:%M'", "2023-11-14 22:13"),
        ("date event.time '%H:%M' offset='+02:00'", "00:13"),
        ("date event.data.at", "2023-11-14T22:13:20Z"),
        ("date event.data.at offset='-01:30'", "2023-11-14T20:43:20-01:30"),
        ("date event.time 'unix_ms'", "1700000000123"),
        ("date event.data.title", ""),
        ("upper event.type", "COST.ALERT"),
        ("truncate event.type 5", "cost…"),
        ("truncate event.type 20", "cost.alert"),
        ("replace event.type '.' '/'", "cost/alert"),
        ("join event.data.tags ' + '", "x + y z"),
        ("concat event.id '-' attempt", "evt_42-3"),
        ("url event.data.tags.1", "y%20z"),
        ("trim ' x '", "x"),
        ("json event.data.none", "null"),
        ("json event.data.gone", ""),
    ] {
        assert_eq!(plain(&format!("{{{{{call}}}}}")), expected, "{call}");
    }
    assert_eq!(
        rendered(r#"{"n":{{number event.data.cost.amount decimals=1}},"s":{{number 1234 separator=","}}}"#),
        r#"{"n":525.5,"s":"1,234"}"#
    );
    assert_eq!(
        unrenderable(r#"{"s":{{required event.subject}}}"#),
        "the template needs event.subject, and the event has none"
    );
}

#[test]
fn white_space_and_comments_go_as_in_handlebars() {
    assert_eq!(plain("a {{~event.id~}} b"), "aevt_42b");
    assert_eq!(plain("a\n  {{#if event.id}}  \nb\n{{/if}}\nc"), "a\nb\nc");
    assert_eq!(plain("a {{#if event.id}}\nb\n{{/if}} c"), "a \nb\n c");
    assert_eq!(plain("x{{! a comment }}{{!-- with }} in it --}}y\n{{! alone }}\nz"), "xy\nz");
    assert_eq!(plain(r"\{{event.id}} \\{{event.id}} }} {"), r"{{event.id}} \evt_42 }} {");
    assert_eq!(plain("{{&event.key}}{{{event.key}}}"), "k\"1k\"1");
}

#[test]
fn the_first_systems_templates_work_unchanged() {
    let chat = r#"{"text": "{{event.data.title}}\n{{event.eventType}}", "username": "{{user.name}}", "project": {{json project}}, "v": "{{costKatana.version}}", "at": "{{timestamp}}", "u": "{{event.userId}}"{{#if event.data.cost}}, "cost": {{event.data.cost.amount}}{{/if}}}"#;
    assert_eq!(
        rendered(chat),
        r#"{"text": "a \"b\"\n<é>\ncost.alert", "username": "Ada", "project": {"id":"p1"}, "v": "2.0", "at": "2023-11-14T22:13:20.123Z", "u": "u1", "cost": 525.50}"#
    );
    let whole = rendered("{{json event}}");
    assert!(
        whole.starts_with(r#"{"eventId":"evt_42","eventType":"cost.alert","userId":"u1","data":{"title""#),
        "{whole}"
    );
    assert_eq!(rendered("{{extra}}"), r#"{"costkatana":{"version":"2.0"}}"#);
}

#[test]
fn a_body_that_is_not_json_can_be_named_as_a_whole_only() {
    let content = Content::NotJson("expected value".into());
    let event = Event { content, data: Data::Absent, ..with_body("say \"hi\"") };
    let text = |text| try_rendered(text, &event, Language::Json, JsonForm::Exact);

    assert_eq!(text(r#"{"text":"{{body}}"}"#), Ok(r#"{"text":"say \"hi\""}"#.to_owned()));
    assert_eq!(text(r#"{"id":{{event.id}}}"#), Ok(r#"{"id":"evt_42"}"#.to_owned()));
    assert_eq!(
        text("{{body.a}}"),
        Err("the template looks into `body`, and the body is not JSON: expected value".to_owned())
    );
    assert_eq!(
        text("{{event.data}}"),
        Err("the template looks into `event.data`, and the body is not JSON: expected value".to_owned())
    );
}
