//! Every row of the table of signatures and headers is accepted by verifiers that are not ours, and a
//! request that was tampered with, is old, or has another secret is refused by each of them.

use std::time::Duration;

use bytes::Bytes;
use hookferry::domain::Moment;
use hookferry::wire::Request;
use serde_json::{Value, json};

use crate::bridge::Bridge;
use crate::record::Record;
use crate::rendering;
use crate::scene::Scene;
use crate::stage::Stage;
use crate::verifiers::{Known, TEXT, Verifiers, WHSEC, WHSK};

/// What a message holds that does not survive a careless serialisation.
const BODY: &str = r#"{"event_id":"i-1","type":"cost.alert","time":"2025-01-02T03:04:05Z","data":{"severity":"high","title":"Too much: größer </b> \/ \u00e9 \u2028 \ud83d\ude00","cost":{"amount":525.50,"currency":"USD"},"b":1.0,"10":1e21,"2":0.0000001,"zero":-0,"list":[1e2, {}, []]}}"#;

const MINUTE_MS: i64 = 60_000;

/// A row of the table, with who judges it.
struct Row {
    dialect: &'static str,
    receivers: &'static [&'static str],
    secrets: [&'static str; 2],
    time: Time,
    header: Header,
}

/// Whether a request says when it was signed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Time {
    Signed,
    Absent,
}

/// How many signatures the header carries while a secret is rotated.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Header {
    OfAllSecrets,
    OfTheNewest,
}

const COST_KATANA: Row = Row {
    dialect: "cost-katana",
    receivers: &["express-raw", "express-json", "next", "flask", "go", "java"],
    secrets: TEXT,
    time: Time::Signed,
    header: Header::OfTheNewest,
};
const OPS_CENTER: Row = Row {
    dialect: "ops-center",
    receivers: &["express-raw", "next", "flask", "go", "java"],
    time: Time::Absent,
    ..COST_KATANA
};
const LLM_OPTIMIZER: Row = Row { dialect: "llm-optimizer", ..COST_KATANA };
const DCISION: Row = Row { dialect: "dcision", ..COST_KATANA };
const STANDARD_WEBHOOKS: Row = Row {
    dialect: "standard-webhooks",
    receivers: &[
        "express-raw",
        "next",
        "flask",
        "go",
        "java",
        "npm/standardwebhooks",
        "npm/svix",
        "pypi/standardwebhooks",
        "pypi/svix",
    ],
    secrets: WHSEC,
    time: Time::Signed,
    header: Header::OfAllSecrets,
};
/// The same row with `v1a`.
const STANDARD_WEBHOOKS_ED25519: Row = Row {
    dialect: "standard-webhooks-ed25519",
    receivers: &["express-raw", "next", "go", "java"],
    secrets: WHSK,
    ..STANDARD_WEBHOOKS
};
const GITHUB: Row = Row {
    dialect: "github",
    receivers: &["express-raw", "next", "flask", "go", "java", "npm/octokit"],
    ..OPS_CENTER
};
const STRIPE: Row = Row {
    dialect: "stripe",
    receivers: &["express-raw", "next", "flask", "go", "java", "npm/stripe", "pypi/stripe"],
    header: Header::OfAllSecrets,
    ..COST_KATANA
};
const SHOPIFY: Row = Row {
    dialect: "shopify",
    receivers: &["express-raw", "next", "flask", "go", "java", "npm/shopify"],
    ..OPS_CENTER
};
const SLACK: Row = Row {
    dialect: "slack",
    receivers: &["express-raw", "next", "flask", "go", "java", "pypi/slack_sdk"],
    ..COST_KATANA
};
const ROWS: [&Row; 10] = [
    &COST_KATANA,
    &OPS_CENTER,
    &LLM_OPTIMIZER,
    &DCISION,
    &STANDARD_WEBHOOKS,
    &STANDARD_WEBHOOKS_ED25519,
    &GITHUB,
    &STRIPE,
    &SHOPIFY,
    &SLACK,
];

impl Row {
    /// The keys of a target of this dialect, apart from where it is.
    fn target(&self, secrets: &[&str]) -> String {
        let dialect = self.dialect.trim_end_matches("-ed25519");
        let more = match dialect {
            "shopify" => {
                ", headers: { X-Shopify-Shop-Domain: shop.example.com, X-Shopify-API-Version: '2026-01' }"
            }
            // Its order is not the matter here, and would cost a consumer group for each target.
            "dcision" => ", ordering: none",
            _ => "",
        };
        format!("dialect: {dialect}, secrets: ['{}']{more}", secrets.join("', '"))
    }

    /// The request of an attempt at this time.
    fn request(&self, secrets: &[&str], at_ms: i64) -> Request {
        rendering::request(&self.target(secrets), BODY.as_bytes(), &[], at_ms)
    }
}

/// Sends requests to receivers, and tells what they say.
struct Courier {
    runtime: tokio::runtime::Runtime,
    client: reqwest::Client,
}

impl Courier {
    fn new() -> Courier {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let client = crate::client::builder().timeout(Duration::from_secs(30)).build().unwrap();
        Courier { runtime, client }
    }

    fn answer(&self, url: &str, request: &Request) -> (u16, String) {
        let request = self.client.post(url).headers(request.headers.clone()).body(request.body.to_vec());
        self.runtime.block_on(async {
            let reply = request.send().await.unwrap();
            (reply.status().as_u16(), reply.text().await.unwrap())
        })
    }

    #[track_caller]
    fn accepted(&self, url: &str, what: &str, request: &Request) {
        let (status, text) = self.answer(url, request);
        assert_eq!(status, 200, "{url} must accept {what}, and says: {text}\n{request:?}");
    }

    /// Refused as such: 401. A receiver that fails over it (500) would only be asked again.
    #[track_caller]
    fn refused(&self, url: &str, what: &str, request: &Request) {
        let (status, text) = self.answer(url, request);
        assert_eq!(status, 401, "{url} must refuse {what}, and says: {text}\n{request:?}");
    }
}

/// As long, valid JSON still, and another text.
fn tampered(request: &Request) -> Request {
    let body = String::from_utf8(request.body.to_vec()).unwrap().replace("Too much", "Too mush");
    assert_ne!(body.as_bytes(), &*request.body, "the body holds the title");
    Request { body: Bytes::from(body), ..request.clone() }
}

fn prove(row: &Row) {
    let (verifiers, courier) = (Verifiers::running(), Courier::new());
    let now_ms = Moment::now().wall_ms;
    let [new, old] = row.secrets;
    let one = row.request(&[new], now_ms);
    let rotating = row.request(&[new, old], now_ms);
    for receiver in row.receivers {
        let knows_new = verifiers.url(receiver, row.dialect, Known::New);
        let knows_old = verifiers.url(receiver, row.dialect, Known::Old);
        courier.accepted(&knows_new, "a request of now", &one);
        courier.refused(&knows_new, "a tampered body", &tampered(&one));
        courier.refused(&knows_old, "another secret", &one);
        courier.accepted(&knows_new, "two live secrets", &rotating);
        courier.refused(&knows_new, "a tampered body of two live secrets", &tampered(&rotating));
        match row.header {
            Header::OfAllSecrets => courier.accepted(&knows_old, "two live secrets", &rotating),
            Header::OfTheNewest => courier.refused(&knows_old, "the newest of two secrets", &rotating),
        }
        if row.time == Time::Signed {
            for minutes in [-4, 4] {
                let near = row.request(&[new], now_ms + minutes * MINUTE_MS);
                courier.accepted(&knows_new, "a timestamp within five minutes", &near);
            }
            courier.refused(&knows_new, "an old timestamp", &row.request(&[new], now_ms - 10 * MINUTE_MS));
            let ahead = row.request(&[new], now_ms + 10 * MINUTE_MS);
            // Stripe's own packages look backwards only.
            match receiver.ends_with("/stripe") {
                true => courier.accepted(&knows_new, "a timestamp in the future", &ahead),
                false => courier.refused(&knows_new, "a timestamp in the future", &ahead),
            }
        }
    }
}

#[test]
fn row_1_cost_katana() {
    prove(&COST_KATANA);
}

#[test]
fn row_2_ops_center() {
    prove(&OPS_CENTER);
}

#[test]
fn row_3_llm_optimizer() {
    prove(&LLM_OPTIMIZER);
}

#[test]
fn row_4_dcision() {
    prove(&DCISION);
}

#[test]
fn row_5_standard_webhooks() {
    prove(&STANDARD_WEBHOOKS);
}

#[test]
fn row_5_standard_webhooks_with_ed25519() {
    prove(&STANDARD_WEBHOOKS_ED25519);
}

/// While receivers move from one scheme to the other, both are live.
#[test]
fn row_5_standard_webhooks_with_secrets_of_both_kinds() {
    let (verifiers, courier) = (Verifiers::running(), Courier::new());
    let both = STANDARD_WEBHOOKS.request(&[WHSK[0], WHSEC[0]], Moment::now().wall_ms);
    for row in [&STANDARD_WEBHOOKS, &STANDARD_WEBHOOKS_ED25519] {
        for receiver in row.receivers {
            let url = verifiers.url(receiver, row.dialect, Known::New);
            courier.accepted(&url, "a secret of each kind", &both);
            courier.refused(&url, "a tampered body", &tampered(&both));
        }
    }
}

#[test]
fn row_6_github() {
    prove(&GITHUB);
}

#[test]
fn row_7_stripe() {
    prove(&STRIPE);
}

#[test]
fn row_8_shopify() {
    prove(&SHOPIFY);
}

#[test]
fn row_9_slack() {
    prove(&SLACK);
}

/// What both packages that read CloudEvents must give back: all attributes, and the data.
#[test]
fn cloudevents_are_read_whole_by_other_peoples_packages() {
    let (verifiers, courier) = (Verifiers::running(), Courier::new());
    let attributes = json!({ "specversion": "1.0", "id": "c-1", "source": "/shop/7", "type": "order.paid", "subject": "order/7",
        "time": "2025-01-02T03:04:05.678Z", "dataschema": "https://x.example/order.json", "region": "eu-1" });
    let with = |content_type: &str, data: Value, bytes: Option<&str>| {
        let mut wanted = attributes.clone();
        wanted["datacontenttype"] = json!(content_type);
        json!({ "attributes": wanted, "data": data, "bytes": bytes })
    };
    let mut envelope = attributes.clone();
    envelope["data"] = json!({ "n": 1.5, "text": "größer" });
    let envelope = envelope.to_string();
    let headers: Vec<(String, String)> = attributes
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, value)| (format!("ce_{name}"), value.as_str().unwrap_or_default().to_owned()))
        .collect();
    let mut binary: Vec<(&str, &str)> =
        headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    binary.push(("content-type", "application/octet-stream"));
    let structured = [("content-type", "application/cloudevents+json")];
    let messages = [
        (
            envelope.as_bytes(),
            &structured[..],
            with("application/json", json!({ "n": 1.5, "text": "größer" }), None),
        ),
        (&b"\x00\xff\x10"[..], &binary[..], with("application/octet-stream", Value::Null, Some("AP8Q"))),
    ];
    for package in ["npm/cloudevents", "pypi/cloudevents"] {
        let url = verifiers.url(package, "", Known::New);
        for (mode, (body, headers, wanted)) in ["binary", "structured"]
            .iter()
            .flat_map(|mode| messages.iter().map(move |message| (mode, message)))
        {
            let keys = format!("dialect: cloudevents-{mode}");
            let request = rendering::request(&keys, body, headers, rendering::AT_MS);
            let (status, text) = courier.answer(&url, &request);
            assert_eq!(status, 200, "{package} must accept {mode}, and says: {text}\n{request:?}");
            let read: Value = serde_json::from_str(&text).unwrap();
            assert_eq!(read, *wanted, "{package}, {mode}: {request:?}");
        }
        let mut without = rendering::request(
            "dialect: cloudevents-binary",
            envelope.as_bytes(),
            &structured,
            rendering::AT_MS,
        );
        without.headers.remove("ce-type");
        assert_ne!(courier.answer(&url, &without).0, 200, "{package} judges what comes");
    }
}

/// A receiver that knows an old secret only is content while both are live, if the header holds a list.
#[test]
fn every_receiver_accepts_what_the_bridge_delivers() {
    let scene = Scene::new("interop", 1);
    let verifiers = Verifiers::running();
    let (mut targets, mut names) = (String::new(), Vec::new());
    for row in ROWS {
        let lists: &[Known] = match row.header {
            Header::OfAllSecrets => &[Known::New, Known::Old],
            Header::OfTheNewest => &[Known::New],
        };
        for (receiver, known) in
            row.receivers.iter().flat_map(|receiver| lists.iter().map(move |known| (receiver, known)))
        {
            let name = format!("t{}-{}-{}", names.len(), row.dialect, receiver.replace('/', "-"));
            let url = verifiers.url(receiver, row.dialect, *known);
            targets +=
                &format!("  {name}: {{ url: '{url}', egress: private, {} }}\n", row.target(&row.secrets));
            names.push(name);
        }
    }
    scene.cluster.produce(&scene.topic, [Record::bytes(BODY)]);
    let routes = format!("targets:\n{targets}routes:\n  - {{ types: ['*'], to: [{}] }}", names.join(", "));
    let bridge = Bridge::ready(&scene.config(&routes));
    let delivered = names.len() as f64;
    bridge.wait_metric("hookferry_deliveries_total", &[("outcome", "delivered")], delivered);
    scene.wait_settled();
    for name in &names {
        let accepted = bridge.metric("hookferry_attempts_total", &[("target", name), ("result", "2xx")]);
        assert_eq!(accepted, Some(1.0), "{name}, at the first attempt");
    }
    assert_eq!(bridge.metric("hookferry_attempts_total", &[]), Some(delivered), "and none was refused");
    bridge.stop();
}
