//! The commands, as a user types them.

use crate::process::{Folder, hookferry, text};

const GOOD: &str = "name: shop
sources:
  orders: { kafka: { brokers: 'localhost:9092', topics: [events] } }
targets:
  crm:
    url: 'https://crm.example.com/hooks?token=${env:HOOKFERRY_TEST_UNSET:-hidden-in-the-address}'
    dialect: standard-webhooks
    secrets: ['whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD']
  chat: { url: 'https://chat.example.com/in' }
routes:
  - { name: billing, types: ['billing.*'], where: { cost.amount: { gte: 100 } }, to: [crm, chat] }
";

/// Runs a command on a configuration and gives its exit code and text.
fn run(command: &str, config: &str, more: &[&str]) -> (Option<i32>, String) {
    let folder = Folder::new("cli");
    let path = folder.file("hookferry.yaml", config);
    let mut arguments = vec![command, "-c", path.to_str().unwrap()];
    arguments.extend(more);
    let output = hookferry(&arguments);
    (output.status.code(), text(&output))
}

#[test]
fn check_prints_the_plan_without_secrets() {
    let (code, text) = run("check", GOOD, &[]);
    assert_eq!(code, Some(0), "{text}");
    for part in ["crm", "chat", "billing", "orders", "https://crm.example.com"] {
        assert!(text.contains(part), "{part} in:\n{text}");
    }
    for secret in ["C2FVsBQIhrscChlQIMV", "hidden-in-the-address"] {
        assert!(!text.contains(secret), "the plan shows a secret:\n{text}");
    }
}

#[test]
fn check_names_every_fault_with_its_place() {
    let bad = GOOD
        .replace("https://chat.example.com/in", "chat.example.com")
        .replace("whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD", "whsec_short")
        .replace("[crm, chat]", "[crm, chta]")
        .replace("name: shop", "nmae: shop");
    let (code, text) = run("check", &bad, &[]);
    assert_eq!(code, Some(2), "{text}");
    let wanted = [("hookferry.yaml:1:", "name"), (":8:", "secrets"), (":9:", "url"), (":11:", "chat")];
    for (place, part) in wanted {
        let named = |line: &str| line.contains(place) && line.contains(part);
        assert!(text.lines().any(named), "{place} {part} in:\n{text}");
    }
    assert!(!text.contains("whsec_short"), "{text}");
}

#[test]
fn check_takes_values_from_the_environment() {
    let config = GOOD.replace("whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD", "${env:HOOKFERRY_TEST_UNSET}");
    let (code, text) = run("check", &config, &[]);
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("HOOKFERRY_TEST_UNSET"), "{text}");
    let (code, text) = run("check", &config, &["--allow-unset"]);
    assert_eq!(code, Some(0), "{text}");
}

#[test]
fn a_later_file_is_laid_over_an_earlier_one() {
    let folder = Folder::new("cli");
    let below = folder.file("below.yaml", GOOD);
    let above = folder.file("above.yaml", "targets: { chat: { url: 'https://other.example.com/' } }\n");
    let output = hookferry(&["check", "-c", below.to_str().unwrap(), "-c", above.to_str().unwrap()]);
    let text = text(&output);
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(text.contains("https://other.example.com") && !text.contains("chat.example.com"), "{text}");
}

#[test]
fn explain_says_who_takes_an_event_and_what_would_be_sent() {
    let folder = Folder::new("event");
    let event = |amount: u32| {
        format!("{{\"event_id\":\"e-1\",\"type\":\"billing.due\",\"cost\":{{\"amount\":{amount}}}}}")
    };
    let taken = folder.file("taken.json", &event(150));
    let (code, text) = run("explain", GOOD, &[taken.to_str().unwrap()]);
    assert_eq!(code, Some(0), "{text}");
    for part in ["billing", "crm", "chat", "webhook-id", "webhook-signature"] {
        assert!(text.to_lowercase().contains(part), "{part} in:\n{text}");
    }
    assert!(!text.contains("C2FVsBQIhrscChlQIMV"), "{text}");
    let refused = folder.file("refused.json", &event(50));
    let (_, text) = run("explain", GOOD, &[refused.to_str().unwrap()]);
    assert!(text.contains("cost.amount"), "the refusing condition in:\n{text}");
}

#[test]
fn demo_ends_with_a_summary() {
    let output = hookferry(&["demo", "--events", "50"]);
    let text = text(&output);
    assert_eq!(output.status.code(), Some(0), "{text}");
    for part in ["published", "delivered", "dead-lettered", "routed"] {
        assert!(text.contains(part), "{part} in:\n{text}");
    }
}

#[test]
fn demo_takes_no_configuration() {
    let output = hookferry(&["demo", "-c", "x.yaml"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output).contains("leave -c out"), "{}", text(&output));
}

#[test]
fn an_unknown_command_ends_with_2() {
    assert_eq!(hookferry(&["ferry"]).status.code(), Some(2));
}

#[cfg(feature = "real-brokers")]
mod with_a_broker {
    use super::*;
    use crate::nats_scene::NatsScene;
    use crate::receiver::Receiver;
    use crate::scene::Scene;
    use crate::stage::Stage;

    #[test]
    fn publish_puts_events_into_the_topic_of_a_source() {
        let scene = Scene::new("publish", 1);
        let config = scene.one_target("https://example.com/", "", "").replace("egress: private, ", "");
        let folder = Folder::new("publish");
        let one = folder.file("one.json", "{\n  \"event_id\": \"p-1\",\n  \"type\": \"a.b\"\n}\n");
        let lines = "{\"event_id\":\"p-2\"}\n{\"event_id\":\"p-3\"}\n";
        let lines = folder.file("lines.jsonl", lines);
        let files = ["--source", "events", one.to_str().unwrap(), lines.to_str().unwrap()];
        let with = ["--key", "k", "--header", "a=1", "--header", "b=x=y"];
        let (code, text) = run("publish", &config, &[files.as_slice(), &with].concat());
        assert_eq!(code, Some(0), "{text}");
        assert!(!text.contains("warning"), "{text}");
        let records = scene.cluster.wait_records(&scene.topic, 3);
        let id = |record: &crate::record::Record| {
            let value: serde_json::Value = serde_json::from_slice(record.value.as_deref().unwrap()).unwrap();
            value["event_id"].as_str().unwrap().to_owned()
        };
        assert_eq!(records.iter().map(id).collect::<Vec<_>>(), ["p-1", "p-2", "p-3"]);
        for record in &records {
            assert_eq!(record.key.as_deref(), Some(b"k".as_slice()));
            assert_eq!((record.header("a"), record.header("b")), (Some("1"), Some("x=y")));
        }
    }

    #[test]
    fn publish_puts_events_into_the_stream_of_a_source() {
        let scene = NatsScene::stream("publish");
        let config = scene.one_target("https://example.com/", "", "").replace("egress: private, ", "");
        let folder = Folder::new("publish");
        let lines = folder.file("lines.jsonl", "{\"event_id\":\"p-1\"}\n{\"event_id\":\"p-2\"}\n");
        let subject = scene.subject("own");
        let (code, text) =
            run("publish", &config, &[lines.to_str().unwrap(), "--subject", &subject, "--header", "a=1"]);
        assert_eq!(code, Some(0), "{text}");
        let records = scene.server.wait_records(&scene.stream, 2);
        for (record, value) in records.iter().zip(["{\"event_id\":\"p-1\"}", "{\"event_id\":\"p-2\"}"]) {
            assert_eq!(record.value.as_deref(), Some(value.as_bytes()));
            assert_eq!((record.subject.as_deref(), record.header("a")), (Some(subject.as_str()), Some("1")));
        }
        let (code, text) = run("publish", &config, &[lines.to_str().unwrap(), "--key", "k"]);
        assert_eq!(
            code.map(|code| code != 0),
            Some(true),
            "a pattern names no subject, and there are no keys: {text}"
        );
    }

    #[test]
    fn check_connect_tells_what_is_wrong_with_a_durable() {
        let scene = NatsScene::stream("connect");
        let receiver = Receiver::ok();
        let config = scene.one_target(&receiver.url("/"), "", "");
        let (code, text) = run("check", &config, &["--connect"]);
        assert_eq!(code, Some(0), "nothing is wrong while there is none: {text}");
        assert!(scene.consumer().is_none(), "and none is made");
        let other = async_nats::jetstream::consumer::pull::Config {
            durable_name: Some(scene.durable.clone()),
            max_deliver: 5,
            ..Default::default()
        };
        scene.server.create_consumer(&scene.stream, other);
        let (code, text) = run("check", &config, &["--connect"]);
        assert_ne!(code, Some(0), "{text}");
        for part in ["max_deliver is 5", "nats consumer edit", &scene.durable] {
            assert!(text.contains(part), "{part} in:\n{text}");
        }
    }
    #[test]
    fn check_connect_looks_at_the_durables_of_ordered_targets() {
        use async_nats::jetstream::consumer::pull;
        use async_nats::jetstream::stream::{Config, RetentionPolicy};

        let scene = NatsScene::stream("ordered");
        let receiver = Receiver::ok();
        let strict = |scene: &NatsScene| scene.one_target(&receiver.url("/"), "ordering: strict", "");
        let own = format!("{}-sink", scene.durable);
        let (code, text) = run("check", &strict(&scene), &["--connect"]);
        assert_eq!(code, Some(0), "{text}");
        assert!(text.contains(&format!("the first start makes the durable {own}")), "{text}");
        let other = pull::Config { durable_name: Some(own.clone()), max_deliver: 5, ..Default::default() };
        scene.server.create_consumer(&scene.stream, other);
        let (code, text) = run("check", &strict(&scene), &["--connect"]);
        assert_ne!(code, Some(0), "{text}");
        assert!(text.contains(&own) && text.contains("max_deliver is 5"), "{text}");

        let scene = NatsScene::named(scene.server, "ordered");
        let queue = Config { retention: RetentionPolicy::WorkQueue, ..scene.stream_config() };
        scene.server.create_stream(queue);
        let (code, text) = run("check", &strict(&scene), &["--connect"]);
        assert_ne!(code, Some(0), "{text}");
        assert!(text.contains("the target sink is ordered") && text.contains("a work queue"), "{text}");
    }
}
