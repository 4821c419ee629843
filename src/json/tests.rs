use proptest::prelude::*;

use super::*;
use crate::domain::{Field, Path};

fn path(segments: &[&str]) -> Path {
    Path(segments.iter().map(|segment| (*segment).into()).collect())
}

/// What stands at each path of a valid body.
fn find<'a>(body: &'a str, paths: &[&[&str]]) -> Vec<Option<&'a str>> {
    let paths: Vec<Path> = paths.iter().map(|segments| path(segments)).collect();
    let mut found = vec![Some("left from before")];
    read(body.as_bytes(), &Selection::new(&paths), &mut found).expect("valid JSON");
    found
}

fn reason(body: &[u8]) -> String {
    let mut found = Vec::new();
    let selection = Selection::new(&[path(&["a"])]);
    let fault = read(body, &selection, &mut found).expect_err("not JSON");
    assert_eq!(found, [None]);
    fault.to_string()
}

fn written(raw: &str, form: JsonForm) -> String {
    let mut out = Vec::new();
    write(raw, form, &mut out).expect("not too deep");
    String::from_utf8(out).expect("UTF-8")
}

#[test]
fn values_are_found_by_member_names_and_array_indices() {
    let body = r#" { "a" : {"b": [1, {"c": " x "}], "": null}, "d": [ ] } "#;

    assert_eq!(
        find(
            body,
            &[&[], &["a"], &["a", "b", "1", "c"], &["a", ""], &["a", "b", "01"], &["a", "x"], &["d", "0"]]
        ),
        [
            Some(body.trim()),
            Some(r#"{"b": [1, {"c": " x "}], "": null}"#),
            Some(r#"" x ""#),
            Some("null"),
            None,
            None,
            None,
        ]
    );
    assert_eq!(find("[[5]]", &[&["0", "0"], &["0"], &["0"]]), [Some("5"), Some("[5]"), Some("[5]")]);
    assert_eq!(find(" 7 ", &[&[], &["a"]]), [Some("7"), None]);
    assert_eq!(find(r#"{"1": "name"}"#, &[&["1"]]), [Some("\"name\"")]);
}

#[test]
fn the_last_duplicate_replaces_everything_under_the_earlier_one() {
    let body = r#"{"a":{"b":1,"c":2},"a":{"b":3},"e":1,"e":2}"#;

    assert_eq!(find(body, &[&["a", "b"], &["a", "c"], &["e"]]), [Some("3"), None, Some("2")]);
    assert_eq!(find(r#"{"a":{"b":1},"a":7}"#, &[&["a", "b"], &["a"]]), [None, Some("7")]);
}

#[test]
fn keys_compare_without_their_escapes() {
    assert_eq!(find(r#"{"\u0061\n":1}"#, &[&["a\n"]]), [Some("1")]);
}

#[test]
fn lone_surrogates_are_valid_everywhere() {
    let body = r#"{"\ud800":"\udfff","a":{"b":"\ud83d\ud83d\ude00"},"c":"\ud800"}"#;

    assert_eq!(find(body, &[&["a", "b"], &["c"]]), [Some(r#""\ud83d\ud83d\ude00""#), Some(r#""\ud800""#)]);
    assert_eq!(text(r#""\ud83d\ud83d\ude00""#).as_deref(), Some("\u{fffd}\u{1f600}"));
}

#[test]
fn what_is_no_json_document_is_refused_with_its_place() {
    assert_eq!(reason(b"{\"a\":1,}"), "trailing comma at line 1 column 8");
    assert_eq!(reason(b"{\"a\":1}\n {}"), "trailing characters at line 2 column 2");
    assert_eq!(reason(b"{\"a\": [1, 2}"), "expected `,` or `]` at line 1 column 12");
    assert_eq!(reason(b"{\"b\": 01}"), "invalid number at line 1 column 8");
    assert_eq!(reason(b"{'a':1}"), "key must be a string at line 1 column 2");
    assert!(reason(b"{\"a\n\":1}").starts_with("control character"), "{}", reason(b"{\"a\n\":1}"));
    assert!(reason(b"{\"\\ud8\":1}").starts_with("invalid escape"), "{}", reason(b"{\"\\ud8\":1}"));
    assert!(reason(b"{\"a\":\"\x01\"}").starts_with("control character"));
    assert_eq!(reason(b"  "), "it is empty");
    assert_eq!(reason(b"{\"a\":\"\xff\"}"), "it is not valid UTF-8 at byte 7");
    assert!(reason(b"\xef\xbb\xbf{}").contains("byte order mark"));
    assert!(reason(b"\0\0\0\0\x07\x10abc").contains("Confluent"));
    assert!(reason(b"\0\xff\xff\xff\x07").contains("Confluent"));
    assert!(!reason(b"{\"secret-content\"").contains("secret-content"));
}

#[test]
fn hostile_nesting_overflows_nothing() {
    let deep = format!("{{\"a\":{}{}}}", "[".repeat(500_000), "]".repeat(500_000));

    assert_eq!(find(&deep, &[&["a", "0", "0"]])[0].map(str::len), Some(1_000_000 - 4));
    assert!(reason(&deep.as_bytes()[..600_000]).starts_with("EOF while parsing"));
    let raw = &deep[5..deep.len() - 1];
    assert_eq!(write(raw, JsonForm::Js, &mut Vec::new()), Err(TooDeep));
    assert_eq!(write(raw, JsonForm::Sorted, &mut Vec::new()), Err(TooDeep));
    assert_eq!(written(raw, JsonForm::Exact), raw);
    let allowed = format!("{}{}", "[".repeat(128), "]".repeat(128));
    assert_eq!(written(&allowed, JsonForm::Js), allowed);
    assert_eq!(write(&format!("[{allowed}]"), JsonForm::Js, &mut Vec::new()), Err(TooDeep));
}

#[test]
fn json_becomes_fields() {
    assert_eq!(field("null"), Field::Null);
    assert_eq!(field("true"), Field::Bool(true));
    assert_eq!(field("-9007199254740993"), Field::Integer(-9007199254740993));
    assert_eq!(field("1.5e1"), Field::Float(15.0));
    assert_eq!(field("18446744073709551616"), Field::Float(18446744073709551616.0));
    assert_eq!(field(r#""a\"\ud800""#), Field::Text("a\"\u{fffd}".into()));
    assert_eq!(field("{}"), Field::Object);
    assert_eq!(
        field(r#"[ "a,]" , 1,{"b":[2]},[3] ]"#),
        Field::List([Field::Text("a,]".into()), Field::Integer(1), Field::Object, Field::Object].into())
    );
    assert_eq!(field("[ ]"), Field::List([].into()));
}

#[test]
fn scalars_become_text() {
    assert_eq!(text(r#""a\u00e9\n""#).as_deref(), Some("a\u{e9}\n"));
    assert_eq!(text("1.50").as_deref(), Some("1.50"));
    assert_eq!(text("false").as_deref(), Some("false"));
    assert_eq!((text("null"), text("[]"), text("{}")), (None, None, None));
}

#[test]
fn members_resolve_duplicates_as_javascript_does() {
    let members = members(r#"{"a" : 1 , "b":[{"a":2}], "\u0061":"x" }"#).expect("an object");

    assert_eq!(
        members,
        [Member { key: r#""\u0061""#, value: r#""x""# }, Member { key: "\"b\"", value: r#"[{"a":2}]"# }]
    );
    assert_eq!(members[0].name(), "a");
    assert_eq!(super::members("[]"), None);
    assert_eq!(super::members("{ }"), Some(vec![]));
}

#[test]
fn quoting_takes_the_shortest_escapes() {
    let mut out = Vec::new();

    quote("\"\\/\u{8}\u{c}\n\r\t\u{0}\u{1f}\u{7f}<\u{2028}\u{1f600}", &mut out);

    let expected = "\"\\\"\\\\/\\b\\f\\n\\r\\t\\u0000\\u001f\u{7f}<\u{2028}\u{1f600}\"";
    assert_eq!(String::from_utf8(out).unwrap(), expected);
}

#[test]
fn exact_drops_white_space_and_nothing_else() {
    let raw = "{ \"b \\\" \" : [ 1.0 ,\t-0 ] ,\n\"a\\\\\":{ },\"a\\\\\": \"\\/ x\" }";
    assert_eq!(written(raw, JsonForm::Exact), r#"{"b \" ":[1.0,-0],"a\\":{},"a\\":"\/ x"}"#);
}

#[test]
fn sorted_orders_keys_by_code_point_and_keeps_numbers() {
    let raw = r#"{"b":1.0,"\u0061":[{"z":1,"y":"\/"}],"10":0,"9":0,"B":0,"é":0,"😀":0,"ﬀ":0,"b":2.0}"#;
    assert_eq!(
        written(raw, JsonForm::Sorted),
        r#"{"10":0,"9":0,"B":0,"a":[{"y":"/","z":1}],"b":2.0,"é":0,"ﬀ":0,"😀":0}"#
    );
    assert_eq!(
        written("[\"\\u2028|\u{2029}\u{2027}\\u0001\\u003c\\ud800\"]", JsonForm::Sorted),
        "[\"\\u2028|\\u2029\u{2027}\\u0001<\\ud800\"]"
    );
}

#[test]
fn integers_that_a_double_cannot_hold_are_found_wherever_they_are() {
    for with in [
        "9007199254740993",
        "-9007199254740993",
        "[1,{\"a\":[9007199254740993]}]",
        "{\"a\":1,\"b\":12345678901234567890}",
        &format!("[{}]", "9".repeat(400)),
    ] {
        assert!(has_big_integer(with.as_bytes()), "{with}");
        for shift in 0..16 {
            let shifted = format!("[\"{}\",{with}]", "-".repeat(shift));
            assert!(has_big_integer(shifted.as_bytes()), "{shifted}");
        }
    }
    for without in [
        "9007199254740992",
        "[1e30,9007199254740993.0,0.9007199254740993]",
        "{\"9007199254740993\":\"9007199254740993 \\\" 9007199254740993\"}",
        "100000000000000000000",
        "null",
    ] {
        assert!(!has_big_integer(without.as_bytes()), "{without}");
    }
}

#[test]
fn integers_that_a_double_cannot_hold_are_rounded_if_that_is_asked_for() {
    // The expectations come from Node.js 20.
    for (raw, rounded) in [
        ("9007199254740993", "9007199254740992"),
        ("1152921504606846976", "1152921504606847000"),
        ("-1234567890123456789012345", "-1.2345678901234568e+24"),
        ("-100000000000000000000", "-100000000000000000000"),
        ("525.50", "525.5"),
    ] {
        assert_eq!(written(raw, JsonForm::JsRounded), rounded, "for {raw}");
    }
}

#[test]
fn parts_of_a_text_are_found_by_name_and_index() {
    let raw = r#"{"a":[1,{"b":2}],"\u0061":[3,[4]],"1":5}"#;
    assert_eq!(at(raw, "a"), Some("[3,[4]]"));
    assert_eq!((at("[3,[4]]", "1"), at("[3,[4]]", "01"), at("[3]", "1")), (Some("[4]"), None, None));
    assert_eq!((at(raw, "1"), at(raw, "b"), at("7", "a"), at("", "a")), (Some("5"), None, None, None));
    assert_eq!(elements(" [1]"), None);
    assert_eq!(elements("[ 1 , [2] ]"), Some(vec!["1", "[2]"]));
    assert!(same("1", "1.0") && same("9007199254740993", "9007199254740993") && same("[1,{}]", "[1, {}]"));
    assert!(same(r#"{"a":1,"b":"x"}"#, r#"{"b":"\u0078","a":1}"#));
    assert!(!same("9007199254740993", "9007199254740992") && !same("1", "\"1\"") && !same("[1]", "[2]"));
    assert!(is_document(b" {} ") && !is_document(b"{} {}") && !is_document(b""));
}

#[test]
fn js_writes_what_json_stringify_writes() {
    // The expectations come from Node.js 20, except for those of integers that it changes.
    for (raw, expected) in [
        ("525.50", "525.5"),
        ("1.0", "1"),
        ("1e2", "100"),
        ("0.0000001", "1e-7"),
        ("0.000001", "0.000001"),
        ("123e-20", "1.23e-18"),
        ("1e21", "1e+21"),
        ("1E+20", "100000000000000000000"),
        ("123456789012345678e3", "123456789012345680000"),
        ("1.5e300", "1.5e+300"),
        ("-0", "0"),
        ("-0.0", "0"),
        ("-1e-400", "0"),
        ("1e400", "null"),
        ("5e-324", "5e-324"),
        ("0.1234567890123456789", "0.12345678901234568"),
        ("-123.456", "-123.456"),
        ("-1370877320911852.25", "-1370877320911852.2"),
        ("1370877320911852.75", "1370877320911852.8"),
        ("9007199254740991", "9007199254740991"),
        ("1000000000000000000000", "1e+21"),
        ("-100000000000000000000", "-100000000000000000000"),
        // Node.js: …992, …7000 and 1.2345678901234568e+24.
        ("9007199254740993", "9007199254740993"),
        ("1152921504606846976", "1152921504606846976"),
        ("-1234567890123456789012345", "-1234567890123456789012345"),
        (r#""\/\u003c\u2028\u00e9""#, "\"/<\u{2028}\u{e9}\""),
        (r#""\u0008\u000c\u000A\u000d\u0009\u0000\u001F\u007f""#, "\"\\b\\f\\n\\r\\t\\u0000\\u001f\u{7f}\""),
        (r#""\uD83D\uDE00\uD83D\uD83D\uDE00\uDE00""#, "\"\u{1f600}\\ud83d\u{1f600}\\ude00\""),
        (r#""\ud800\n\ud800""#, r#""\ud800\n\ud800""#),
        (r#" { "b" : [ 1.0 , { } , [ ] ] , "a" : null } "#, r#"{"b":[1,{},[]],"a":null}"#),
        (
            r#"{"b":0,"10":1,"9":2,"01":3,"-1":4,"4294967294":5,"4294967295":6,"1.5":7,"":8}"#,
            r#"{"9":2,"10":1,"4294967294":5,"b":0,"01":3,"-1":4,"4294967295":6,"1.5":7,"":8}"#,
        ),
        (r#"{"a":1,"b":2,"\u0061":{"2":1,"1":2}}"#, r#"{"a":{"1":2,"2":1},"b":2}"#),
        (r#"{"__proto__":1,"constructor":2,"\ud800":3}"#, r#"{"__proto__":1,"constructor":2,"\ud800":3}"#),
    ] {
        assert_eq!(written(raw, JsonForm::Js), expected, "for {raw}");
    }
}

/// JSON text with white space, escapes, odd numbers, and keys that repeat or look like integers.
fn json() -> impl Strategy<Value = String> {
    let number = prop_oneof![
        any::<i64>().prop_map(|value| value.to_string()),
        any::<f64>()
            .prop_filter("JSON has no NaN", |value| value.is_finite())
            .prop_map(|value| format!("{value:e}")),
        "-?(0|[1-9][0-9]{0,30})(\\.[0-9]{1,20})?([eE][+-]?[0-9]{1,3})?",
    ];
    let string =
        "\"([ -!#-\\[\\]-~é😀]|\\\\[\"\\\\/bfnrt]|\\\\u[0-9a-fA-F]{4}|\\\\u[dD][89a-fA-F][0-9a-f]{2}){0,6}\"";
    let key = prop_oneof!["\"[ab0-9]{0,2}\"", "\"[0-9]{9,11}\"", string];
    let leaf = prop_oneof![number, string, "true|false|null"];
    leaf.prop_recursive(4, 40, 6, move |inner| {
        let member = (key.clone(), inner.clone()).prop_map(|(key, value)| format!("{key} : {value}"));
        prop_oneof![
            prop::collection::vec(inner, 0..5).prop_map(|all| format!("[{}\t]", all.join(" ,\n"))),
            prop::collection::vec(member, 0..7).prop_map(|all| format!("{{ {}}}", all.join(","))),
        ]
    })
}

proptest! {
    #[test]
    fn every_form_is_a_fixed_point_of_itself_and_valid(raw in json()) {
        for form in [JsonForm::Exact, JsonForm::Js, JsonForm::JsRounded, JsonForm::Sorted] {
            let once = written(&raw, form);
            prop_assert_eq!(find(&once, &[&[]]), [Some(once.as_str())]);
            prop_assert_eq!(&written(&once, form), &once);
        }
    }

    #[test]
    fn exact_and_sorted_keep_the_values(raw in json()) {
        // serde_json's own tree refuses lone surrogates and huge exponents.
        if let Ok(value) = serde_json::from_str::<serde_json::Value>(&raw) {
            prop_assert_eq!(&serde_json::from_str::<serde_json::Value>(&written(&raw, JsonForm::Exact)).unwrap(), &value);
            prop_assert_eq!(&serde_json::from_str::<serde_json::Value>(&written(&raw, JsonForm::Sorted)).unwrap(), &value);
        }
    }

    #[test]
    fn nothing_panics_on_arbitrary_text(raw in "[\\[\\]{}:,\"\\\\u0-9a e.+-]{0,30}") {
        for form in [JsonForm::Exact, JsonForm::Js, JsonForm::Sorted] {
            let _ = write(&raw, form, &mut Vec::new());
        }
        let _ = (members(&raw), field(&raw), text(&raw), elements(&raw), at(&raw, "0"), same(&raw, &raw));
        let accepted = read(raw.as_bytes(), &Selection::new(&[path(&["a"])]), &mut Vec::new()).is_ok();
        prop_assert_eq!(accepted, serde_json::from_str::<serde::de::IgnoredAny>(&raw).is_ok());
    }
}
