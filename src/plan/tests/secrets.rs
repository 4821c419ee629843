//! From the files to the keys: what is loaded again is read again.

use std::path::{Path, PathBuf};

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::*;
use crate::plan::{Plan, changes, examine, load};
use crate::source::Sample;

const BODY: &str = r#"{"type":"invoice.paid"}"#;
const NOW_MS: i64 = 1_700_000_000_000;

/// A folder that is removed when this is dropped.
struct Folder(PathBuf);

impl Folder {
    fn new(stem: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("hookferry-{stem}-{}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a temporary folder");
        Folder(path)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        std::fs::write(self.path(name), text).expect("a temporary file");
        self.path(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What is left in the temporary folder harms nobody.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The signatures of one request, as the receiver sees them.
fn signed(plan: &Plan) -> String {
    let event = Sample { body: BODY.as_bytes(), ..Sample::default() }.read(plan, &plan.sources[0]);
    let request = plan.targets[0].blueprint.render(&event, 1, NOW_MS).expect("a request");
    request.headers["stripe-signature"].to_str().expect("text").to_owned()
}

fn by(secrets: &[&str]) -> String {
    let mac = |secret: &&str| {
        let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("a key");
        mac.update(format!("1700000000.{BODY}").as_bytes());
        let hex: String = mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        format!(",v1={hex}")
    };
    format!("t=1700000000{}", secrets.iter().map(mac).collect::<String>())
}

fn reference(path: &Path) -> String {
    format!("\"${{file:{}}}\"", path.display())
}

#[test]
fn a_file_is_read_again_when_the_configuration_is_loaded_again() {
    let folder = Folder::new("rotation");
    let newest = folder.write("newest", "first-secret\n");
    let oldest = folder.write("oldest", "zeroth-secret");
    let secrets = format!("secrets: [{}, {}]", reference(&newest), reference(&oldest));
    let text = with_target(&format!("url: https://x.example/\ndialect: stripe\n{secrets}"));
    let layers = Layers { paths: vec![folder.write("hookferry.yaml", &text)], ..Layers::default() };
    let load = || load(&layers);

    let before = load().expect("a plan");
    assert_eq!(signed(&before), by(&["first-secret", "zeroth-secret"]), "newest first, without the newline");

    // A rotation: nothing but the files changes.
    folder.write("newest", "second-secret\r\n");
    folder.write("oldest", "first-secret");
    let after = load().expect("a plan");
    assert_eq!(signed(&after), by(&["second-secret", "first-secret"]));
    assert_eq!(signed(&before), by(&["first-secret", "zeroth-secret"]), "the old plan stays as it was");

    for (change, reason) in [(Some("\n"), "is empty"), (None, "can't be read: No such file")] {
        match change {
            Some(text) => drop(folder.write("newest", text)),
            None => std::fs::remove_file(&newest).expect("it was there"),
        }
        let faults = load().expect_err("a fault").to_string();
        let place = "hookferry.yaml:6:15: targets.crm.secrets.0: the file";
        assert!(faults.contains(place) && faults.contains(reason), "{faults}");
        assert!(!faults.contains("first-secret"), "{faults}");
    }
}

#[test]
fn what_people_see_of_a_target_shows_no_reference() {
    let folder = Folder::new("shown");
    let host = folder.write("host", "hidden.example");
    let layers = environment(&[("ID", "hidden-id"), ("HOST", "x.example"), ("PATH", "hidden-path")]);
    let shown = |target: &str| plan_with(&with_target(target), &layers).into_target().shown;

    let clear = shown("url: https://x.example:8443/in?key=k\nid: plain");
    assert_eq!((&*clear.id, &*clear.url), ("plain", "https://x.example:8443"));
    let variables = shown("url: 'https://${env:HOST}/${env:PATH}'\nid: '${env:ID}'");
    assert_eq!((&*variables.id, &*variables.url), ("***", "https://x.example"));
    let files = shown(&format!("url: 'https://${{file:{}}}/in'", host.display()));
    assert_eq!((&*files.id, &*files.url), ("crm", "***"));
}

#[test]
fn a_schema_is_read_from_a_file_beside_the_configuration() {
    let folder = Folder::new("schema");
    folder.write("invoice.json", r#"{ "required": ["amount"] }"#);
    folder.write("wrong.json", r#"{ "required": "amount" }"#);
    let load = |file: &str| {
        let types =
            format!("event_types: {{ declare: {{ a: {{ schema_file: {file} }} }}, unknown: dead_letter }}");
        let text = format!("{types}\n{}", with_target("url: https://x.example/"));
        load(&Layers { paths: vec![folder.write("hookferry.yaml", &text)], ..Layers::default() })
    };
    let plan = load("invoice.json").expect("a plan");
    let misfit = |body: &str| {
        let sample = Sample { body: body.as_bytes(), ..Sample::default() };
        plan.event_types.misfit(&sample.read(&plan, &plan.sources[0]))
    };
    assert_eq!(misfit(r#"{"type":"a","data":{"amount":1}}"#), None);
    let why = misfit(r#"{"type":"a","data":{}}"#).expect("a misfit");
    assert!(why.contains("\"amount\" is a required property"), "{why}");
    let faults = load("wrong.json").expect_err("a fault").to_string();
    assert!(faults.contains("schema_file: there is no JSON Schema in the file: at /required: "), "{faults}");
}

#[test]
fn a_file_that_is_named_and_reads_otherwise_is_a_change() {
    let folder = Folder::new("named");
    folder.write("schema.json", r#"{ "required": ["amount"] }"#);
    folder.write("chat.hbs", r#"{"id": 1}"#);
    let types = "event_types: { declare: { invoice.paid: { schema_file: schema.json } } }";
    let target = with_target("url: https://x.example/\npayload: { template_file: chat.hbs }");
    let paths = vec![folder.write("hookferry.yaml", &format!("{types}\n{target}"))];
    let examined = || examine(&Layers { paths: paths.clone(), ..Layers::default() }).expect("a plan");

    for (file, text, setting) in [
        ("schema.json", r#"{ "required": ["total"] }"#, "event_types.declare.invoice.paid.schema_file"),
        ("chat.hbs", r#"{"id": 2}"#, "targets.crm.payload.template_file"),
    ] {
        let (old, same) = (examined(), examined());
        assert_eq!(old.plan.hash, same.plan.hash);
        assert!(changes(&old.settings, &same.settings).is_empty());
        assert!(old.plan.referred.contains(&folder.path(file)), "it is watched: {:?}", old.plan.referred);
        folder.write(file, text);
        let new = examined();
        let changed: Vec<String> =
            changes(&old.settings, &new.settings).into_iter().map(|change| change.path).collect();
        assert_eq!(changed, [setting]);
        assert_ne!(old.plan.hash, new.plan.hash, "{file}");
    }
}
