//! Every recipe of `docs/recipes` does what it says, against a real Kafka.

use std::collections::BTreeMap;
use std::path::Path;

use hookferry::domain::Moment;
use hookferry::plan::{self, Layers, Plan};
use hookferry::wire::verify::Verifier;
use hyper::header::{HeaderMap, HeaderName, HeaderValue};

use crate::bridge::Bridge;
use crate::process::Folder;
use crate::receiver::{Receiver, Request};
use crate::record::Record;
use crate::scene::Scene;
use crate::stage::Stage;

/// What the variables of the recipes hold.
const SECRET: &str = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";

/// One recipe, taken apart.
struct Recipe {
    configuration: String,
    event: Record,
    /// What its receiver gets.
    path: String,
    headers: BTreeMap<String, String>,
    body: String,
}

impl Recipe {
    fn read(name: &str) -> Recipe {
        let page = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("docs/recipes/{name}.md"));
        let page =
            std::fs::read_to_string(&page).unwrap_or_else(|error| panic!("{}: {error}", page.display()));
        let (_, configuration) = block(&page, "yaml");
        let (about, event) = block(&page, "json");
        let (_, request) = block(&page, "http");
        let headers = about.split(", ").filter_map(|header| header.split_once(": "));
        let headers = headers.map(|(name, value)| (name.to_owned(), value.as_bytes().to_vec())).collect();
        let (head, body) = request.split_once("\n\n").expect("an empty line between head and body");
        let (first, lines) = head.split_once('\n').expect("headers");
        let headers_sent = lines.lines().map(|line| line.split_once(": ").expect("a header"));
        Recipe {
            event: Record { headers, ..Record::bytes(event.trim_end()) },
            path: first.strip_prefix("POST ").expect("a POST").to_owned(),
            headers: headers_sent.map(|(name, value)| (name.to_lowercase(), value.to_owned())).collect(),
            body: body.trim_end().to_owned(),
            configuration,
        }
    }

    fn variables(&self) -> Vec<(String, String)> {
        let names = self.configuration.split("${env:").skip(1).filter_map(|rest| rest.split('}').next());
        let value = |name: &str| match name.ends_with("_URL") {
            true => format!("https://hooks.example.com{}", self.path),
            false => format!("{SECRET}{name}"),
        };
        names.map(|name| (name.to_owned(), value(name))).collect()
    }

    fn plan(&self) -> Plan {
        let fill =
            |text: String, (name, value): &(String, String)| text.replace(&format!("${{env:{name}}}"), value);
        let text = self.variables().iter().fold(self.configuration.clone(), fill);
        plan::load_text("recipe.yaml", &text, &Layers::default()).unwrap_or_else(|faults| panic!("{faults}"))
    }
}

/// The only fenced block of a language: what stands beside the language, and its lines.
fn block(page: &str, language: &str) -> (String, String) {
    let fence = format!("```{language}");
    let mut found = page.match_indices(&fence);
    let (at, _) = found.next().unwrap_or_else(|| panic!("no block of {language}"));
    assert!(found.next().is_none(), "a recipe has one block of {language}");
    let rest = &page[at + fence.len()..];
    let (about, rest) = rest.split_once('\n').expect("a line end");
    let (text, _) = rest.split_once("\n```").expect("an end of the block");
    (about.trim().to_owned(), format!("{text}\n"))
}

/// Delivers the recipe's event to a receiver in place of the target's own.
#[track_caller]
fn proves(name: &str) {
    let recipe = Recipe::read(name);
    let plan = recipe.plan();
    let [target] = &plan.targets[..] else { panic!("a recipe has one target") };
    let scene = Scene::new(&format!("recipe-{name}"), 1);
    scene.publish([recipe.event.clone()]);
    let receiver = Receiver::ok();
    let folder = Folder::new("recipe");
    let here = folder.file(
        "here.yaml",
        &format!(
            "name: {}\nsources: {{ events: {{ kafka: {{ brokers: '{}', topics: ['{}'], start: earliest }} }} }}\n\
             targets: {{ {}: {{ url: '{}', egress: private }} }}\n",
            scene.name,
            scene.cluster.brokers(),
            scene.topic,
            target.name,
            receiver.url(&recipe.path),
        ),
    );
    let variables = recipe.variables();
    let variables: Vec<(&str, &str)> = variables.iter().map(|(name, value)| (&**name, &**value)).collect();
    let bridge = Bridge::overlaid(&recipe.configuration, &here, &variables);

    receiver.wait_count(1);
    let request = &receiver.requests()[0];
    assert_eq!(request.path, recipe.path);
    for (header, wanted) in &recipe.headers {
        let found = request.header(header).unwrap_or_else(|| panic!("no {header} in {request:?}"));
        assert!(wanted == "*" || wanted == found, "{header}: {found}");
    }
    assert_eq!(String::from_utf8_lossy(&request.body).trim_end(), recipe.body);
    verify(target, request);
    bridge.stop();
}

/// The signature, as the receiver would look at it.
#[track_caller]
fn verify(target: &plan::Target, request: &Request) {
    let Some(signature) = &target.request.signature else { return };
    let headers: HeaderMap = request
        .headers
        .iter()
        .map(|(name, value)| (name.parse::<HeaderName>().unwrap(), HeaderValue::from_str(value).unwrap()))
        .collect();
    let verifier = Verifier::compile(signature, &target.id).unwrap_or_else(|faults| panic!("{faults:?}"));
    let verified = verifier.verify(&headers, &request.body, Moment::now().wall_ms);
    assert!(verified.is_ok(), "{verified:?}: {request:?}");
}

#[test]
fn from_cost_katana() {
    proves("from-cost-katana");
}

#[test]
fn from_ops_center() {
    proves("from-ops-center");
}

#[test]
fn from_llm_optimizer() {
    proves("from-llm-optimizer");
}

#[test]
fn from_dcision() {
    proves("from-dcision");
}

#[test]
fn slack() {
    proves("slack");
}

#[test]
fn teams() {
    proves("teams");
}

#[test]
fn stripe_like() {
    proves("stripe-like");
}

#[test]
fn github_like() {
    proves("github-like");
}

#[test]
fn every_recipe_has_a_test() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/recipes");
    let pages =
        std::fs::read_dir(folder).unwrap().map(|page| page.unwrap().file_name().into_string().unwrap());
    let tests = include_str!("recipes.rs");
    for page in pages.filter(|page| page != "README.md") {
        let name = page.strip_suffix(".md").expect("a page");
        assert!(tests.contains(&format!("proves(\"{name}\")")), "{page}");
    }
}
