//! What is wrong with a template is known before any event, with its place.

use super::*;

#[test]
fn wrong_names_are_named_with_their_place() {
    for (text, expected) in [
        (
            "{{evnt.id}}",
            "1:3: there is no `evnt` here; did you mean `event`?; there are: event body headers target attempt extra user project timestamp costKatana",
        ),
        (
            "\n {{event.typ}}",
            "2:4: `event` has no `typ`; did you mean `type`?; it has: id type time subject key source tenant data eventId eventType userId",
        ),
        (
            "{{jsn event}}",
            "1:3: there is no function `jsn`; did you mean `json`?; there are: eq ne gt gte lt lte and or not default required json lookup length join concat upper lower trim truncate replace url ce date number",
        ),
        ("é{{#iff x}}{{/iff}}", "1:5: there is no such block; there are: if unless each with"),
        ("{{json a b}}", "1:3: `json` takes 1 arguments"),
        ("{{target.url}}", "1:3: of a target there is only `target.id`"),
        ("{{#each event.data}}{{../../x}}{{/each}}", "1:23: there are not so many blocks around this"),
        ("{{@index}}", "1:3: it is known only inside of `{{#each}}`"),
        ("{{@foo}}", "1:4: after `@` there are: root index key first last"),
        (
            "{{date event.time '%!'}}",
            "1:3: no format of a date; write `rfc3339`, `unix`, `unix_ms`, or for example `%Y-%m-%d %H:%M`",
        ),
        ("{{date event.time offset='2'}}", "1:3: an `offset` from UTC is written like `+02:00`"),
        ("{{number event.id decimals='x'}}", "1:3: `decimals` is a number from 0 to 20"),
        ("{{number event.id places=2}}", "1:3: `number` takes no `places`"),
        ("{{extra.gone}}", "1:3: `payload.extra` has no such member"),
        (
            "{{this}}",
            "1:3: name what is meant; there are: event body headers target attempt extra user project timestamp costKatana",
        ),
    ] {
        assert_eq!(faults(text, Language::Plain)[0], expected, "{text}");
    }
    assert_eq!(faults("{{a}}{{b}}", Language::Plain).len(), 2, "all faults at once");
}

#[test]
fn wrong_syntax_is_named_with_its_place() {
    for (text, expected) in [
        ("x {{event.id", "1:13: the tag has no `}}` here"),
        ("{{event.id}", "1:11: the tag has no `}}` here"),
        ("{{}}", "1:3: a name is missing here; write for example `{{event.type}}`"),
        (
            "{{event..id}}",
            "1:9: this can't stand in a tag; write for example `{{event.type}}` or `{{json event.data}}`",
        ),
        ("{{{event.id}}", "1:12: a `{{{` has no `}}}` here"),
        ("{{#if event.id}}", "1:1: the block has no `{{/if}}`"),
        ("{{#if event.id}}{{/each}}", "1:17: `{{/each}}` stands where `{{/if}}` is expected"),
        ("{{/if}}", "1:1: `{{/if}}` closes a block that was not opened"),
        ("{{else}}", "1:1: an `{{else}}` stands outside of a block"),
        ("{{#if event.id}}{{else}}{{else}}{{/if}}", "1:25: a block has a second `{{else}}`"),
        ("{{eq 'a event.id}}", "1:6: a text in quotes has no end"),
        ("{{#if (eq event.id}}{{/if}}", "1:19: a `(` has no `)`"),
        ("{{#if eq event.id 1}}{{/if}}", "1:10: the tag has no `}}` here"),
        ("{{> partial}}", "1:3: partials and decorators are not supported"),
        ("{{!-- x }}", "1:1: a comment has no end"),
        ("{{event.id event.type}}", "1:3: only a function takes arguments, as in `{{json event.data}}`"),
    ] {
        assert_eq!(faults(text, Language::Plain)[0], expected, "{text}");
    }
}

#[test]
fn a_template_that_can_never_be_json_is_a_fault() {
    for (text, expected) in [
        (r#"{"a": {{event.id}}"#, "1:19: the JSON is not complete at the end of the template"),
        (
            r#"{"a" {{event.id}}}"#,
            "1:8: a tag can't stand here in JSON: it stands for a whole value, or in a string for a part of it",
        ),
        (
            r#"{ {{event.id}}: 1}"#,
            "1:5: a tag can't stand here in JSON: it stands for a whole value, or in a string for a part of it",
        ),
        (
            r#"{"a": 1{{event.id}}}"#,
            "1:10: a tag can't stand here in JSON: it stands for a whole value, or in a string for a part of it",
        ),
        (r#"{"a": {{event.id}}000}"#, "1:19: `0` can't stand here in JSON"),
        (
            "{\"a\": \"x\n{{event.id}}\"}",
            "1:9: a line break or control character in a string of JSON; write `\\n`",
        ),
        (r#"{"a": "\x{{event.id}}"}"#, "1:9: `x` can't stand here in JSON"),
        (r#"{'a': 1}"#, "1:2: `'` can't stand here in JSON"),
        (r#"{"a": 1,}"#, "1:9: `}` can't stand here in JSON"),
        (
            r#"[{{#if event.id}}"{{/if}}{{event.id}}"]"#,
            "1:28: the branches before this tag leave it in a string or outside of one",
        ),
        (
            r#"[1{{#if event.key}},"{{/if}}{{event.id}}{{#if event.key}}"{{/if}}]"#,
            "1:31: the branches before this tag leave it in a string or outside of one",
        ),
        (
            r#"{{#each event.data}}[{{/each}}"#,
            "1:1: each turn of this block leaves the JSON at another place",
        ),
        ("hello", "1:1: `h` can't stand here in JSON"),
        ("", "1:1: the JSON is not complete at the end of the template"),
    ] {
        assert_eq!(faults(text, Language::Json), [expected], "{text}");
    }
}

#[test]
fn hostile_depth_is_a_fault_and_not_a_crash() {
    let deep = |open: &str, close: &str, count| format!("{}{}", open.repeat(count), close.repeat(count));

    assert!(
        faults(&deep("{{#if event.id}}", "{{/if}}", 5000), Language::Plain)[0]
            .ends_with("blocks are nested too deep")
    );
    assert!(
        faults(&deep("{{#each event.data}}", "{{/each}}", 20), Language::Json)[0].contains("nested too deep")
    );
    let calls = format!("{{{{{}event.id{}}}}}", "not (".repeat(5000), ")".repeat(5000));
    assert!(faults(&calls, Language::Plain)[0].ends_with("parentheses are nested too deep"));
}
