use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use super::*;
use crate::domain::{Backoff, Jitter};
use crate::plan::examine;

/// A folder that goes away at the end of its test.
struct Folder(PathBuf);

impl Folder {
    fn with(files: &[(&str, &str)]) -> Folder {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("hookferry-plan-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&folder).expect("a temporary folder");
        for (name, text) in files {
            std::fs::write(folder.join(name), text).expect("a temporary file");
        }
        Folder(folder)
    }

    /// Loads these files or folders (`.` is the folder itself), with the folder's path left out of faults.
    fn examine(&self, names: &[&str]) -> Result<Examined, String> {
        let paths = names.iter().map(|name| if *name == "." { self.0.clone() } else { self.0.join(name) });
        let layers = Layers { paths: paths.collect(), ..Layers::default() };
        examine(&layers).map_err(|faults| self.relative(&faults.to_string()))
    }

    fn relative(&self, text: &str) -> String {
        text.replace(&format!("{}/", self.0.display()), "").replace(&*self.0.to_string_lossy(), "FOLDER")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What is left in the temporary folder harms nobody.
        let _ = std::fs::remove_dir_all(Path::new(&self.0));
    }
}

const BASE: &str = "\
sources: { s: { kafka: { brokers: 'b:9092', topics: [t] } } }
targets:
  crm: { url: https://x.example/, labels: { a: '1', b: '2' }, timeout: 3s, success: [2xx, 304] }
routes:
  - { name: one, to: [crm] }
  - { name: two, types: [a], to: [crm] }
";

#[test]
fn a_later_file_is_laid_over_an_earlier_one() {
    let over = "\
targets: { crm: { labels: { b: '3' }, timeout: null, success: [200] } }
routes: [{ name: two, types: [b] }, { name: three, to: [crm] }]
";
    let folder = Folder::with(&[("base.yaml", BASE), ("over.yaml", over)]);

    let Examined { plan, settings, .. } = folder.examine(&["base.yaml", "over.yaml"]).expect("no faults");

    let names: Vec<&str> = plan.routes.iter().map(|route| &*route.name).collect();
    assert_eq!(names, ["one", "two", "three"]);
    assert!(plan.routes[1].types.matches("b") && !plan.routes[1].types.matches("a"), "lists replace");
    assert_eq!(plan.routes[1].to.len(), 1, "what is not named stays");
    let shown = |path: &str| {
        let setting = settings.iter().find(|setting| setting.path == path).expect(path);
        format!("{} from {}", setting.value, folder.relative(&setting.from.to_string()))
    };
    assert_eq!(shown("targets.crm.labels.a"), "1 from base.yaml:3:48");
    assert_eq!(shown("targets.crm.labels.b"), "3 from over.yaml:1:32");
    assert_eq!(shown("targets.crm.timeout"), "10s from program default", "null removes");
    assert_eq!(shown("targets.crm.success"), "[200] from over.yaml:1:63");
}

#[test]
fn a_folder_unites_its_files() {
    let sources = "sources: { s: { kafka: { brokers: 'b:9092', topics: [t] } } }";
    let folder = Folder::with(&[
        ("a.yaml", sources),
        ("b.yml", "targets: { crm: { url: https://x.example/ } }\nroutes: [{ name: one, to: [crm] }]"),
        (
            "c.json",
            r#"{"targets": {"chat": {"url": "https://y.example/"}}, "routes": [{"name": "two", "to": ["chat"]}]}"#,
        ),
        (".hidden.yaml", "broken: ["),
        ("notes.txt", "broken: ["),
    ]);

    let plan = folder.examine(&["."]).expect("no faults").plan;

    let routes: Vec<&str> = plan.routes.iter().map(|route| &*route.name).collect();
    assert_eq!((routes, plan.targets.len()), (vec!["one", "two"], 2));
}

#[test]
fn what_a_folder_defines_twice_is_named_with_both_places() {
    let folder = Folder::with(&[
        ("a.yaml", BASE),
        ("b.yaml", "name: x\ntargets: { crm: { timeout: 1s } }\nroutes: [{ to: [crm] }]"),
        ("c.yaml", "name: y"),
    ]);

    let faults = folder.examine(&["."]).map(|_| ()).expect_err("three faults");

    assert_eq!(
        faults,
        "b.yaml:2:12: targets.crm: defined twice; it is defined first at a.yaml:3:3\n\
         b.yaml:3:10: routes.route-3.name: missing; with several files every route needs a name\n\
         c.yaml:1:1: name: defined twice; it is defined first at b.yaml:1:1"
    );
}

#[test]
fn a_broken_file_does_not_hide_the_faults_of_others() {
    let folder = Folder::with(&[
        ("a.yaml", "sources: [\n"),
        (
            "b.yaml",
            "targets: { crm: { url: https://x.example/, timeot: 1s } }\nroutes: [{ name: one, from: [s], to: [crm] }]",
        ),
    ]);

    let faults = folder.examine(&["."]).map(|_| ()).expect_err("two faults");

    let lines: Vec<&str> = faults.lines().collect();
    assert_eq!(lines.len(), 2, "the missing source may stand in the broken file:\n{faults}");
    assert!(lines[0].starts_with("a.yaml:"), "{faults}");
    assert_eq!(lines[1], "b.yaml:1:44: targets.crm.timeot: unknown key; did you mean `timeout`?");
}

#[test]
fn what_can_not_be_found_is_named() {
    let folder = Folder::with(&[]);

    let missing = folder.examine(&["no.yaml"]).map(|_| ()).expect_err("no such file");
    assert_eq!(
        missing,
        "no.yaml:1:1: can't be read: No such file or directory (os error 2); name a file or folder with `-c`"
    );
    let empty = folder.examine(&["."]).map(|_| ()).expect_err("an empty folder");
    assert_eq!(empty, "FOLDER:1:1: the folder holds no `*.yaml`, `*.yml` or `*.json`");
}

#[test]
fn the_environment_is_laid_over_all_files() {
    let layers = environment(&[
        ("HOOKFERRY__ADMIN__LISTEN", "0.0.0.0:1"),
        ("HOOKFERRY__TARGETS__CRM__TIMEOUT", "4s"),
        ("HOOKFERRY__TARGETS__CRM__SUCCESS", "200, 201"),
        ("HOOKFERRY__SOURCES__S__KAFKA__BROKERS", "one:1,two:2"),
        ("HOOKFERRY__SOURCES__S__EVENT__TYPE", "header:kind, body:kind"),
        ("HOOKFERRY__TARGETS__CRM__EGRESS__ALLOW", "10.1.0.0/16, host.internal:8443"),
        ("HOOKFERRY__TARGETS__CRM__LABELS__TOPICS", "a, b"),
        ("HOOKFERRY_SERVICE_PORT", "80"),
        ("HOOKFERRY_ADMIN_LISTEN", "x"),
    ]);

    let plan = plan_with(BASE, &layers);

    assert_eq!(plan.admin.listen.to_string(), "0.0.0.0:1");
    assert_eq!(plan.targets[0].timeout.as_secs(), 4);
    assert!(plan.targets[0].success.contains(201) && !plan.targets[0].success.contains(204));
    assert_eq!(plan.sources[0].kafka().unwrap().brokers, "one:1,two:2");
    assert_eq!(plan.sources[0].event.event_type.as_ref().map(Vec::len), Some(2));
    let egress = &plan.targets[0].egress;
    assert!(matches!(egress, crate::plan::Egress::Listed { allow, .. } if allow.len() == 2), "{egress:?}");
    assert!(plan.targets[0].labels.iter().any(|(name, text)| name == "topics" && text == "a, b"));
}

#[test]
fn a_fault_of_the_environment_names_the_variable() {
    let layers = environment(&[
        ("HOOKFERRY__ADMIN__LISTN", "0.0.0.0:1"),
        ("HOOKFERRY__TARGETS__CRM__TIMEOUT", "hunter2"),
        ("HOOKFERRY__TARGETS__CRM__HEADERS__X", "v"),
        ("HOOKFERRY__SOURCES__S__KAFKA__PROPERTIES__ACKS", "v"),
    ]);

    assert_eq!(
        faults_with(BASE, &layers),
        [
            "env HOOKFERRY__ADMIN__LISTN: admin.listn: unknown key; did you mean `listen`?",
            "env HOOKFERRY__SOURCES__S__KAFKA__PROPERTIES__ACKS: sources.s.kafka.properties.acks: can't be set by the environment; write it in a file",
            "env HOOKFERRY__TARGETS__CRM__HEADERS__X: targets.crm.headers.x: can't be set by the environment; write it in a file",
            "env HOOKFERRY__TARGETS__CRM__TIMEOUT: targets.crm.timeout: the value (not shown) is no duration; write for example `250ms`, `5s`, `1m`, `2h` or `3d`",
        ]
    );
}

#[test]
fn a_variable_that_names_no_key_is_a_fault_and_costs_no_other() {
    let malformed =
        ["HOOKFERRY__", "HOOKFERRY____LOG__LEVEL", "HOOKFERRY__ADMIN____LISTEN", "HOOKFERRY__LOG__"];
    for name in malformed {
        let layers = environment(&[(name, "hunter2"), ("HOOKFERRY__TARGETS__CRM__TIMEOUT", "soon")]);

        let faults = faults_with(BASE, &layers);

        let no_key = "the name holds no key; write for example `HOOKFERRY__ADMIN__LISTEN`";
        assert!(faults.contains(&format!("env {name}: {no_key}")), "{faults:?}");
        let others =
            faults.iter().filter(|fault| fault.starts_with("env HOOKFERRY__TARGETS__CRM__TIMEOUT: "));
        assert_eq!((others.count(), faults.len()), (1, 2), "the others count: {faults:?}");
    }
}

#[test]
fn each_layer_of_a_target_wins_over_those_below() {
    let text = format!(
        "defaults: {{ timeout: 1s, concurrency: 2, success: [200] }}\n{}",
        with_target("url: https://x.example/\ndialect: cost-katana\nconcurrency: 9")
    );

    assert_eq!(setting(&text, "targets.crm.concurrency"), "9 from h.yaml:7:18");
    assert_eq!(setting(&text, "targets.crm.timeout"), "30s from dialect cost-katana");
    assert_eq!(setting(&text, "targets.crm.success"), "[2xx] from dialect cost-katana");
    assert_eq!(setting(&text, "targets.crm.egress"), "public from program default");
    let text = text.replace("dialect: cost-katana", "dialect: raw");
    assert_eq!(setting(&text, "targets.crm.timeout"), "1s from h.yaml:1:22 (defaults)");
}

#[test]
fn who_sets_one_form_of_retry_drops_the_other_and_its_jitter() {
    let retry = |defaults: &str, target: &str| {
        let text = with_target(&format!("url: https://x.example/\n{target}"));
        plan(&format!("defaults: {{ {defaults} }}\n{text}")).targets[0].retry.backoff.clone()
    };

    let schedule = retry("retry: { attempts: 3, jitter: 0.2 }", "retry: { schedule: [1s] }");
    assert!(matches!(schedule, Backoff::Schedule { waits, jitter: Jitter::None } if waits.len() == 1));
    let own = retry("", "retry: { jitter: full }");
    assert!(matches!(own, Backoff::Schedule { waits, jitter: Jitter::Full } if waits.len() == 8));
    let factor = retry("", "retry: { factor: 3 }");
    assert!(matches!(factor, Backoff::Exponential { attempts: Some(8), jitter: Jitter::Full, .. }));
    let exponential = retry("retry: { schedule: [1s], jitter: 0.2 }", "retry: { attempts: 3 }");
    assert!(matches!(
        exponential,
        Backoff::Exponential { attempts: Some(3), initial, jitter: Jitter::Full, .. } if initial.as_secs() == 1
    ));
    let kept = retry("retry: { attempts: 3, jitter: 0.2 }", "retry: { initial: 2s }");
    assert!(matches!(kept, Backoff::Exponential { attempts: Some(3), jitter: Jitter::Fraction(_), .. }));
    let dialect = retry("retry: { attempts: 3 }", "dialect: ops-center");
    assert!(matches!(dialect, Backoff::Schedule { waits, .. } if waits.len() == 5));
    let unlimited = retry("", "dialect: ops-center\nretry: { attempts: unlimited }");
    assert!(matches!(unlimited, Backoff::Exponential { attempts: None, jitter: Jitter::Full, .. }));
}

#[test]
fn a_payload_by_name_and_one_by_map_are_laid_over_each_other() {
    let text = with_target("url: https://x.example/\ndialect: dcision\npayload: { json: sorted }");

    assert_eq!(setting(&text, "targets.crm.payload.preset"), "dcision from dialect dcision");
    assert_eq!(setting(&text, "targets.crm.payload.json"), "sorted from h.yaml:6:22");
}

#[test]
fn a_label_may_have_the_name_of_a_key_with_several_forms() {
    let text = with_target("url: https://x.example/\nlabels: { payload: b, headers: c }\ndialect: dcision");
    let text =
        format!("defaults: {{ labels: {{ payload: a, retry: a }}, payload: {{ json: sorted }} }}\n{text}");

    let labels = &plan(&text).targets[0].labels;

    let expected = [("payload", "b"), ("retry", "a"), ("headers", "c")];
    assert_eq!(labels, &expected.map(|(name, label)| (name.to_owned(), label.to_owned())));
}

#[test]
fn names_of_targets_compare_exactly_and_their_keys_have_one_form() {
    let over = "targets: { headers: { payload: ops-center, headers: { x-a: '2' } } }";
    let base = BASE.replace("crm: {", "headers: { payload: { json: sorted }, headers: { X-A: '1' },");
    let folder = Folder::with(&[("base.yaml", &base.replace("[crm]", "[headers]")), ("over.yaml", over)]);

    let settings = folder.examine(&["base.yaml", "over.yaml"]).expect("no faults").settings;

    let shown =
        |path: &str| settings.iter().find(|setting| setting.path == path).map(|one| one.value.clone());
    assert_eq!(shown("targets.headers.payload.preset").as_deref(), Some("ops-center"));
    assert_eq!(shown("targets.headers.payload.json").as_deref(), Some("sorted"));
    assert_eq!(shown("targets.headers.headers.x-a").as_deref(), Some("***"));
    assert_eq!(shown("targets.headers.headers.X-A"), None);
}

#[test]
fn a_dialects_header_is_replaced_in_any_case() {
    let text = with_target("url: https://x.example/\ndialect: ops-center\nheaders: { user-agent: mine }");

    assert_eq!(setting(&text, "targets.crm.headers.user-agent"), "*** from h.yaml:6:28");
    assert_eq!(setting(&text, "targets.crm.headers.User-Agent"), "targets.crm.headers.User-Agent is not set");
}

#[test]
fn a_bare_name_declares_a_type_or_takes_one_back() {
    let base = format!("{BASE}event_types: {{ declare: {{ a: , b: , c.d: {{ category: x }} }} }}\n");
    let over = "event_types: { declare: { b: , e: } }";
    let folder = Folder::with(&[("base.yaml", &base), ("over.yaml", over)]);
    let plan = folder.examine(&["base.yaml", "over.yaml"]).expect("no faults").plan;
    let declared: Vec<&str> = plan.event_types.declared.keys().map(|name| &**name).collect();
    assert_eq!(declared, ["a", "c.d", "e"]);
}
