use super::*;

/// One target with these keys has exactly these faults.
#[track_caller]
fn target_faults(target: &str, expected: &[&str]) {
    assert_eq!(faults(&with_target(target)), expected);
}

#[test]
fn a_mistyped_key_is_named_with_its_place_and_a_suggestion() {
    target_faults(
        "url: https://x.example/\ntimeot: 3s",
        &["h.yaml:5:5: targets.crm.timeot: unknown key; did you mean `timeout`?"],
    );
    target_faults(
        "url: https://x.example/\nzzz: 3s",
        &[
            "h.yaml:5:5: targets.crm.zzz: unknown key; there are: dialect id secrets signature headers payload egress allow_http url tenant auth tls proxy handshake method http enabled description labels timeout connect_timeout success ordering key on_exhausted retry concurrency rate breaker disable_on disable_after",
        ],
    );
}

#[test]
fn all_faults_are_reported_at_once_in_order() {
    let text = "\
nam: x
sources:
  orders:
    kafka: { brokers: 'b:1', topics: ['^(', 'a b'], start: never }
targets:
  crm: { url: 'http://x.example', timeout: 5 }
routes:
  - { to: [crn], types: ['a*'] }
  - { to: [] }
";
    assert_eq!(
        faults(text),
        [
            "h.yaml:1:1: nam: unknown key; did you mean `name`?",
            "h.yaml:4:39: sources.orders.kafka.topics.0: the regular expression can't be compiled: unclosed group",
            "h.yaml:4:45: sources.orders.kafka.topics.1: a Kafka topic's name has 1 to 249 of `a-z A-Z 0-9 . _ -`; a regular expression starts with `^`",
            "h.yaml:4:60: sources.orders.kafka.start: `never` is not possible here; write `latest`, `earliest`, a duration such as `2h`, or a time such as `2026-01-31T12:00:00Z`",
            "h.yaml:6:15: targets.crm.url: `http://` is not encrypted; write `https://`, or set `egress: private` or `allow_http: true`",
            "h.yaml:6:44: targets.crm.timeout: `5` is no duration; write for example `250ms`, `5s`, `1m`, `2h` or `3d`",
            "h.yaml:8:12: routes.route-1.to.0: there is no target `crn`; did you mean `crm`?",
            "h.yaml:8:26: routes.route-1.types.0: `a*` mixes `*` with text in one segment; `*` stands for whole segments",
            "h.yaml:9:11: routes.route-2.to: a route needs at least one target; write for example `to: [NAME]`",
        ]
    );
}

#[test]
fn an_empty_configuration_says_what_is_missing() {
    assert_eq!(
        faults(""),
        [
            "h.yaml:1:1: routes: missing; without a route every event would be dropped",
            "h.yaml:1:1: sources: missing; write for example `sources: { NAME: { kafka: … } }`",
            "h.yaml:1:1: targets: missing; write for example `targets: { NAME: { url: https://… } }`",
        ]
    );
    assert_eq!(faults("[a]"), ["h.yaml:1:1: a configuration is a map (`key: value`)"]);
}

#[test]
fn what_a_target_can_not_have_is_refused() {
    let url = "url: https://x.example/\n";
    let cases = [
        ("timeout: 0s", "h.yaml:5:14: targets.crm.timeout: `0s` is too short; it must be at least 10ms"),
        ("concurrency: 0", "h.yaml:5:18: targets.crm.concurrency: `0` must be a number from 1 to 10000"),
        (
            "enabled: yes",
            "h.yaml:5:14: targets.crm.enabled: `yes` is not possible here; write `true` or `false`",
        ),
        (
            "success: []",
            "h.yaml:5:14: targets.crm.success: an empty list would never let a delivery succeed; write for example `[2xx]`",
        ),
        (
            "success: [6xx]",
            "h.yaml:5:15: targets.crm.success.0: `6xx` is no status; write a number from 100 to 599, or `4xx`",
        ),
        (
            "retry: { retry_on: [netwrk] }",
            "h.yaml:5:25: targets.crm.retry.retry_on.0: `netwrk` is no status; write a number from 100 to 599, or `4xx`, `any`, `network` or `timeout`",
        ),
        (
            "retry: { schedule: [1m], attempts: 3 }",
            "h.yaml:5:14: targets.crm.retry.schedule: `schedule` and `attempts` exclude each other; remove one of them",
        ),
        (
            "retry: { jitter: 2 }",
            "h.yaml:5:22: targets.crm.retry.jitter: `2` is not possible here; write `full`, `none` or a fraction from 0 to 1",
        ),
        (
            "egress: publik",
            "h.yaml:5:13: targets.crm.egress: `publik` is not possible here; write `public`, `private` or `{ allow: […], deny: […] }`",
        ),
        (
            "egress: { allow: ['a b'] }",
            "h.yaml:5:23: targets.crm.egress.allow.0: `a b` is no network; write an address, a range such as `10.1.0.0/16`, a host or `host:port`",
        ),
        (
            "on_exhausted: block",
            "h.yaml:5:19: targets.crm.on_exhausted: `block` is for ordered targets; set `ordering: by_key` or `strict`, or write `dead_letter` or `discard`",
        ),
        (
            "dialect: strip",
            "h.yaml:5:14: targets.crm.dialect: there is no dialect `strip`; did you mean `stripe`?; there are: cost-katana ops-center llm-optimizer dcision standard-webhooks github stripe shopify slack cloudevents-binary cloudevents-structured raw",
        ),
        (
            "payload: { preset: cloudevents, mode: batched }",
            "h.yaml:5:43: targets.crm.payload.mode: `batched` is not possible here; write `binary` or `structured`",
        ),
        (
            "payload: { preset: raw, mode: binary }",
            "h.yaml:5:35: targets.crm.payload.mode: only the preset `cloudevents` has modes; remove this, or name that preset",
        ),
        (
            "payload: { preset: cloudevents, extra: { traceId: x } }",
            "h.yaml:5:55: targets.crm.payload.extra.traceId: no name of an extension attribute: those have `a-z` and `0-9` only, and are none of CloudEvents' own attributes",
        ),
        (
            "headers: { ce-id: x }\npayload: cloudevents",
            "h.yaml:5:23: targets.crm.headers.ce-id: the payload writes the attributes of CloudEvents; set extensions with `payload.extra`",
        ),
        (
            "payload: rav",
            "h.yaml:5:14: targets.crm.payload.preset: there is no payload `rav`; did you mean `raw`?; there are: cost-katana ops-center llm-optimizer dcision standard-webhooks cloudevents data raw",
        ),
        (
            "id: 'a b'",
            "h.yaml:5:9: targets.crm.id: an id has 1 to 200 visible ASCII characters, because headers carry it",
        ),
        ("labels: [a]", "h.yaml:5:13: targets.crm.labels: a map is expected here (`key: value`)"),
        ("description: [a]", "h.yaml:5:18: targets.crm.description: one value is expected here, not a list"),
        (
            "headers: { X-A: b, x-a: c }",
            "h.yaml:5:29: targets.crm.headers.x-a: the header is set twice (names differ only in case); keep one",
        ),
        (
            "signature: hmac",
            "h.yaml:5:16: targets.crm.signature: write `none`, or a map with `message` and `headers`",
        ),
    ];
    for (keys, expected) in cases {
        target_faults(&format!("{url}{keys}"), &[expected]);
    }
}

#[test]
fn a_url_is_judged_without_being_shown() {
    for (url, fault) in [
        ("'ftp://tok/x'", "only `https://` is possible here"),
        (
            "'https://tok:tok@x.example/'",
            "a user or password in the URL is not possible; send them by `auth: { basic: … }`",
        ),
        ("'https://x.example/#tok'", "a fragment (`#…`) is never sent; remove it"),
        (
            "'https://tok..example/'",
            "the host is no name that DNS and TLS can hold: between its dots stand 1 to 63 of `a-z 0-9 _ -`, no `-` first or last, and the last part is no number",
        ),
        ("tok", "no URL (relative URL without a base); write for example `https://host/path`"),
    ] {
        target_faults(&format!("url: {url}"), &[&format!("h.yaml:4:10: targets.crm.url: {fault}")]);
    }
    target_faults("id: x", &["h.yaml:4:5: targets.crm.url: missing; write `url: https://…`"]);
}

#[test]
fn keys_of_later_versions_are_refused() {
    let base = with_target("url: https://x.example/");
    for (text, key) in [("store: s", "store"), ("admin: { tokens: [] }", "admin.tokens")] {
        let column = if key.contains('.') { text.find('{').unwrap_or(0) + 3 } else { 1 };
        let line = format!("h.yaml:6:{column}: {key}: not supported yet; remove it");
        assert_eq!(faults(&format!("{base}{text}\n")), [line]);
    }
}

#[test]
fn defaults_hold_no_keys_of_one_target() {
    let text = format!(
        "defaults: {{ url: 'https://a', secrets: [a], tenant: a, egress: private, timeot: 1s, timeout: x }}\n{}",
        with_target("url: https://x.example/")
    );
    assert_eq!(
        faults(&text),
        [
            "h.yaml:1:13: defaults.url: it belongs to one target; write it below `targets.NAME`",
            "h.yaml:1:31: defaults.secrets: it belongs to one target; write it below `targets.NAME`",
            "h.yaml:1:45: defaults.tenant: it belongs to one target; write it below `targets.NAME`",
            "h.yaml:1:64: defaults.egress: only `public` is possible here; open the egress of each target that needs it",
            "h.yaml:1:73: defaults.timeot: unknown key; did you mean `timeout`?",
            "h.yaml:1:94: defaults.timeout: `x` is no duration; write for example `250ms`, `5s`, `1m`, `2h` or `3d`",
        ]
    );
}

#[test]
fn librdkafka_judges_each_property() {
    let text = with_target("url: https://x.example/").replacen(
        "[t] }",
        "[t], properties: { group.id: x, fetch.wait.max.ms: soon, no.such: 1, test.mock.num.brokers: 3 } }",
        1,
    );
    assert_eq!(
        faults(&text),
        [
            "h.yaml:1:72: sources.s.kafka.properties.group.id: hookferry sets this property itself; use `group`",
            "h.yaml:1:85: sources.s.kafka.properties.fetch.wait.max.ms: librdkafka refuses it: Invalid value for configuration property \"fetch.wait.max.ms\"",
            "h.yaml:1:110: sources.s.kafka.properties.no.such: librdkafka refuses it: No such configuration property: \"no.such\"",
            "h.yaml:1:122: sources.s.kafka.properties.test.mock.num.brokers: hookferry sets this property itself; remove it",
        ]
    );
}

#[test]
fn the_other_spelling_of_a_property_that_is_ours_is_refused_as_well() {
    for (property, remedy) in [
        ("topic.auto.offset.reset", "use `start`"),
        ("topic.acks", "every dead letter is confirmed by all replicas"),
        ("topic.request.required.acks", "every dead letter is confirmed by all replicas"),
    ] {
        let text = with_target("url: https://x.example/").replacen(
            "[t] }",
            &format!("[t], properties: {{ {property}: '0' }} }}"),
            1,
        );
        assert_eq!(
            faults(&text),
            [format!(
                "h.yaml:1:72: sources.s.kafka.properties.{property}: hookferry sets this property itself; {remedy}"
            )]
        );
    }
}

#[test]
fn a_source_of_its_own_dead_letters_is_refused() {
    let text = with_target("url: https://x.example/").replacen("[t]", "[t, hookferry.dlq]", 1);
    assert_eq!(
        faults(&text),
        [
            "h.yaml:1:53: sources.s.kafka.topics: the dead letters are written here; a source that reads them would never end"
        ]
    );
}

#[test]
fn a_source_of_what_hookferry_itself_writes_is_refused() {
    for (topic, what) in [
        ("hookferry.retry.1m", "deliveries that wait are"),
        ("hookferry.retry.now", "deliveries that wait are"),
        ("hookferry.dlq-state", "what became of dead letters is"),
    ] {
        let text = with_target("url: https://x.example/").replacen("[t]", &format!("[t, {topic}]"), 1);
        assert_eq!(
            faults(&text),
            [format!(
                "h.yaml:1:53: sources.s.kafka.topics: {what} written here; a source that reads them would never end"
            )]
        );
    }
    let other = with_target("url: https://x.example/").replacen("[t]", "[other.retry.1m]", 1);
    assert_eq!(plan(&other).sources.len(), 1);
}

#[test]
fn a_group_that_hookferry_itself_uses_for_something_else_is_refused() {
    let with = |groups: [&str; 2]| {
        let source = |name: &str, group: &str| {
            format!("  {name}: {{ kafka: {{ brokers: b, topics: [{name}], group: {group} }} }}\n")
        };
        let sources = source("s", groups[0]) + &source("other", groups[1]);
        format!(
            "sources:\n{sources}targets: {{ crm: {{ url: 'https://x.example/', ordering: strict }} }}\nroutes: [{{ to: [crm] }}]\n"
        )
    };
    let rest = "are read as a group of this name too; choose another";
    assert_eq!(
        faults(&with(["hookferry.retry", "other"])),
        [format!("h.yaml:2:49: sources.s.kafka.group: the retry tiers {rest}")]
    );
    assert_eq!(
        faults(&with(["g", "g.crm"])),
        [format!(
            "h.yaml:3:57: sources.other.kafka.group: the events of s for its ordered target crm {rest}"
        )]
    );
    assert_eq!(plan(&with(["g", "g"])).sources.len(), 2);
    let retry = with(["hookferry", "other"]).replace("crm", "retry");
    assert_eq!(faults(&retry), [format!("h.yaml:2:49: sources.s.kafka.group: the retry tiers {rest}")]);
}

#[test]
fn dead_letters_lie_nowhere_else_of_hookferrys() {
    let text = with_target("url: https://x.example/")
        + "dead_letters: { topic: hookferry.retry.5m, stream: hookferry-retry, subject: hookferry.retry.x }\n";
    let waiting = "deliveries that wait are written here; choose another name";
    assert_eq!(
        faults(&text),
        [
            format!("h.yaml:6:24: dead_letters.topic: {waiting}"),
            format!("h.yaml:6:52: dead_letters.stream: {waiting}"),
            format!("h.yaml:6:78: dead_letters.subject: {waiting}"),
        ]
    );
}

#[test]
fn conditions_and_places_are_judged() {
    let text = with_target("url: https://x.example/").replacen(
        "to: [crm]",
        "to: [crm], where: { a..b: 1, c: { gtx: 1 }, d: , headr:x: 2, e: { missing: maybe } }",
        1,
    );
    assert_eq!(
        faults(&text),
        [
            "h.yaml:5:32: routes.route-1.where.a..b: a path has names between its dots, such as `cost.amount`; write keys with dots as a JSON Pointer, such as `/a/b.c`",
            "h.yaml:5:46: routes.route-1.where.c.gtx: unknown key; did you mean `gt`?",
            "h.yaml:5:57: routes.route-1.where.d: a value is missing here; write a value, a list, or operators such as `{ gte: 100 }`",
            "h.yaml:5:61: routes.route-1.where.headr:x: the word before `:` is no place; did you mean `header`?; a path with a colon is written `body:…`",
            "h.yaml:5:87: routes.route-1.where.e.missing: `maybe` is not possible here; write `pass` or `refuse`",
        ]
    );
}

#[test]
fn a_filter_whose_operand_got_lost_is_refused() {
    let text = with_target("url: https://x.example/").replacen(
        "to: [crm]",
        "to: [crm], where: { a: { gte: }, b: { in: ~, missing: } }",
        1,
    );
    let lost = "a value is missing here; write one, or remove the key";
    assert_eq!(
        faults(&text),
        [
            format!("h.yaml:5:37: routes.route-1.where.a.gte: {lost}"),
            format!("h.yaml:5:50: routes.route-1.where.b.in: {lost}"),
            format!("h.yaml:5:57: routes.route-1.where.b.missing: {lost}"),
        ]
    );
}

#[test]
fn a_regular_expression_is_one_that_the_broker_client_reads_the_same() {
    for (expression, remedy) in [
        (r"^a\d+", r"`\d` is not possible here; write `[0-9]`"),
        (r"^a\D", r"`\D` is not possible here; write `[^0-9]`"),
        (r"^a[\w]", r"`\w` is not possible here; write `[a-zA-Z0-9_]`"),
        (r"^a\W", r"`\W` is not possible here; write `[^a-zA-Z0-9_]`"),
        (
            r"^a\b",
            r"a `\` before a letter or digit is not possible here; write the characters that are meant, such as `[0-9]` or `[a-z]`",
        ),
        (r"^(?:a|b)", "`(?` is not possible here; write a plain group, `(a|b)`"),
        (r"^(?i)a", "`(?` is not possible here; write a plain group, `(a|b)`"),
    ] {
        let text = with_target("url: https://x.example/").replacen("[t]", &format!("['{expression}']"), 1);
        assert_eq!(faults(&text), [format!("h.yaml:1:54: sources.s.kafka.topics.0: {remedy}")]);
    }
    let text = with_target("url: https://x.example/").replacen("[t]", r"['^(a|b)\.[0-9]+$', '^a\\']", 1);
    assert_eq!(plan(&text).sources[0].kafka().unwrap().topics.len(), 2);
}

#[test]
fn a_payload_that_is_sent_as_it_is_takes_no_json_settings() {
    let remedy = "a raw payload is sent as it is; remove this, or name the preset of a JSON payload";
    target_faults(
        "url: https://x.example/\ndialect: github\npayload: { json: js, extra: { a: 1 } }",
        &[
            &format!("h.yaml:6:22: targets.crm.payload.json: {remedy}"),
            &format!("h.yaml:6:33: targets.crm.payload.extra: {remedy}"),
        ],
    );
    let defaults =
        format!("defaults: {{ payload: {{ json: js }} }}\n{}", with_target("url: https://x.example/"));
    assert_eq!(plan(&defaults).targets.len(), 1, "what lies under all targets is used where it can be");
}

#[test]
fn a_private_host_is_refused_with_the_only_remedy() {
    let fault = "a private address is never called with `egress: public`; set `egress: private`";
    for keys in
        ["url: http://localhost:8080", "url: https://10.0.0.5/", "url: http://127.0.0.1/\nallow_http: true"]
    {
        target_faults(keys, &[&format!("h.yaml:4:10: targets.crm.url: {fault}")]);
    }
}

#[test]
fn a_window_smaller_than_the_default_event_is_named_itself() {
    let text =
        format!("limits: {{ window: {{ bytes: 64KiB }} }}\n{}", with_target("url: https://x.example/"));
    assert_eq!(
        faults(&text),
        [
            "h.yaml:1:28: limits.window.bytes: smaller than `limits.max_event`, which is `1MiB`; write at least `1MiB`, or lower `limits.max_event`"
        ]
    );
}

#[test]
fn a_tab_in_the_indentation_gets_its_hint() {
    let lines = faults("sources:\n\ts: 1\n");
    assert!(lines.iter().any(|line| line.ends_with("; indent with spaces, not with tabs")), "{lines:?}");
}

#[test]
fn a_file_that_is_not_text_or_not_there_is_named() {
    let folder = std::env::temp_dir().join(format!("hookferry-files-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a temporary folder");
    let file = folder.join("a.yaml");
    std::fs::write(&file, b"name: a\n# \xff").expect("a temporary file");
    let of = |path: &std::path::Path| {
        let layers = Layers { paths: vec![path.to_owned()], ..Layers::default() };
        crate::plan::load(&layers).expect_err("faults").to_string()
    };
    let (binary, missing) = (of(&file), of(&folder.join("b.yaml")));
    // What is left in the temporary folder harms nobody.
    let _ = std::fs::remove_dir_all(&folder);
    assert_eq!(binary, format!("{}:2:3: the file is not UTF-8; save it as UTF-8", file.display()));
    assert!(missing.ends_with("name a file or folder with `-c`"), "{missing}");
}

#[test]
fn a_window_holds_the_largest_event() {
    let text = format!(
        "limits: {{ max_event: 2MiB, window: {{ bytes: 1MiB }} }}\n{}",
        with_target("url: https://x.example/")
    );
    assert_eq!(
        faults(&text),
        [
            "h.yaml:1:22: limits.max_event: larger than `limits.window.bytes`: such an event would never fit; raise that, or lower this"
        ]
    );
}

#[test]
fn a_key_that_stands_twice_is_named_with_both_places() {
    target_faults(
        "url: https://x.example/\ntimeout: 1s\ntimeout: 2s",
        &["h.yaml:6:5: targets.crm.timeout: the key stands twice; it stands first at h.yaml:5:5"],
    );
}

#[test]
fn a_syntax_fault_beside_an_unquoted_reference_gets_the_quoting_hint() {
    let lines = faults(&with_target("secrets: [${env:A}]"));
    let [line] = &lines[..] else { panic!("one fault: {lines:?}") };
    assert!(line.starts_with("h.yaml:4:"), "{line}");
    assert!(line.ends_with("quote a `${…}` inside `[ ]` and `{ }`: \"${env:NAME}\""), "{line}");

    let lines = faults(&with_target("secrets: [\"${env:A}\""));
    assert!(lines.iter().all(|line| !line.contains("quote a")), "{lines:?}");
}

#[test]
fn names_are_bounded() {
    let text = with_target("url: https://x.example/").replace("crm", "Crm").replacen(" s:", " s.t:", 1);
    assert_eq!(
        faults(&text),
        [
            "h.yaml:1:12: sources.s.t: a name has 1 to 63 of `a-z 0-9 _ -` and starts with a letter or digit",
            "h.yaml:3:3: targets.Crm: a name has 1 to 63 of `a-z 0-9 _ -` and starts with a letter or digit",
        ]
    );
}

#[test]
fn a_second_route_of_a_name_is_refused() {
    let text = with_target("url: https://x.example/").replacen(
        "{ to: [crm] }",
        "{ name: a, to: [crm] }, { name: a, to: [crm], form: [s] }, { to: [crm], from: [z] }",
        1,
    );
    assert_eq!(
        faults(&text),
        [
            "h.yaml:5:34: routes.a: a second route with the name `a`; the first is at h.yaml:5:10",
            "h.yaml:5:56: routes.a.form: unknown key; did you mean `from`?",
            "h.yaml:5:89: routes.route-3.from.0: there is no source `z`; did you mean `s`?",
        ]
    );
}

#[test]
fn hostile_documents_are_refused_in_bounded_time_and_depth() {
    let deep = faults(&"[".repeat(100_000));
    assert_eq!(deep.len(), 1, "{deep:?}");
    let mut bomb = "a0: &a0 [x, x]\n".to_owned();
    for level in 1..40 {
        let below = level - 1;
        bomb.push_str(&format!("a{level}: &a{level} [*a{below}, *a{below}]\n"));
    }
    assert_eq!(faults(&bomb).len(), 1);
}

proptest::proptest! {
    #[test]
    fn no_text_makes_loading_panic(text in "[a-z:{}\\[\\]\\-&*!|>'\"%@` \n#,.0-9$~<]{0,80}") {
        let _ = examined(&text);
    }

    #[test]
    fn no_value_makes_loading_panic(value in "\\PC{0,12}", place in 0usize..40) {
        let text = with_target("url: https://x.example/\ndialect: llm-optimizer\nsecrets: [a]\nretry: { jitter: 0.1, max_age: 1s }\negress: { allow: [10.0.0.1] }\nsuccess: [2xx]");
        let quoted = serde_json::Value::from(value).to_string();
        let words: Vec<&str> = text.split(' ').collect();
        let mutated: Vec<&str> =
            words.iter().enumerate().map(|(index, word)| if index == place { &*quoted } else { word }).collect();
        let _ = examined(&mutated.join(" "));
    }
}
