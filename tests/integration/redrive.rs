//! Dead letters for people: listed, shown, redriven and purged from the command line.

use std::path::PathBuf;
use std::process::Output;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use serde_json::{Value, json};

use crate::bridge::Bridge;
use crate::nats_scene::NatsScene;
use crate::process::{Folder, hookferry, text};
use crate::receiver::{Answer, Receiver};
use crate::record::Record;
use crate::scene::{Scene, event};
use crate::stage::{Stage, on_every_broker};

on_every_broker! {
    letters_are_listed_and_shown,
    a_redrive_is_a_record_for_its_target_alone,
    nothing_is_changed_without_consent,
    purged_letters_are_gone,
    a_letter_without_its_value_is_named_and_left,
    what_waits_for_a_person_is_counted,
    what_is_redriven_is_delivered_by_a_running_replica,
}

/// The tier that redriven letters wait in.
trait NowTier: Stage {
    /// All that waits there.
    fn waiting_now(&self) -> Vec<Record>;
}

impl NowTier for Scene {
    fn waiting_now(&self) -> Vec<Record> {
        self.cluster.read_all(&format!("{}.retry.now", self.name))
    }
}

impl NowTier for NatsScene {
    fn waiting_now(&self) -> Vec<Record> {
        let mut waiting = self.server.read_all(&format!("{}-retry", self.name));
        waiting.retain(|record| record.subject.as_deref().is_some_and(|subject| subject.ends_with(".now")));
        waiting
    }
}

/// Dead letters of a bridge that has ended: three for `crm`, two for `chat`, and one event's own.
struct Letters<S> {
    scene: S,
    _folder: Folder,
    config: PathBuf,
}

impl<S: NowTier> Letters<S> {
    fn written(stem: &str) -> Letters<S> {
        let scene = S::new(stem, 1);
        let receiver = Receiver::start(|_| Answer::Status(400));
        let url = receiver.url("");
        let config = scene.config(&format!(
            "targets:
  crm: {{ url: '{url}/crm', egress: private }}
  chat: {{ url: '{url}/chat', egress: private }}
routes:
  - {{ name: all, types: [test.made], to: [crm] }}
  - {{ name: few, types: ['*'], where: {{ n: {{ lt: 2 }} }}, to: [chat] }}"
        ));
        scene.publish([event(0).with("x-own", "kept"), event(1), event(2), Record::bytes("{ not json")]);
        let bridge = Bridge::ready(&config);
        scene.wait_letters(6);
        scene.wait_settled();
        bridge.stop();
        let folder = Folder::new("letters");
        let config = folder.file("hookferry.yaml", &config);
        Letters { scene, _folder: folder, config }
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let config = self.config.to_str().unwrap();
        let all: Vec<&str> =
            ["dead-letters"].iter().chain(arguments).chain(&["-c", config]).copied().collect();
        hookferry(&all)
    }

    /// What a command answers as JSON.
    #[track_caller]
    fn answer(&self, arguments: &[&str]) -> Value {
        let output = self.run(&[arguments, &["--format", "json"]].concat());
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", text(&output));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// The events of what `list` lists, each with its target.
    #[track_caller]
    fn listed(&self, arguments: &[&str]) -> Vec<(String, String)> {
        let listed = self.answer(&[&["list"], arguments].concat());
        let word = |letter: &Value, name: &str| letter[name].as_str().unwrap_or_default().to_owned();
        let mut listed: Vec<_> = (listed.as_array().unwrap().iter())
            .map(|letter| (word(letter, "event_id"), word(letter, "target")))
            .collect();
        listed.sort();
        listed
    }

    /// What the records in the tier say, by event.
    fn redriven(&self) -> Vec<Value> {
        let document = |record: &Record| {
            let header = record.header("hookferry-retry").expect("the header of tiers");
            serde_json::from_str::<Value>(header).unwrap()
        };
        let mut documents: Vec<Value> = self.scene.waiting_now().iter().map(document).collect();
        documents.sort_by_key(|document| document["event"]["id"].to_string());
        documents
    }
}

fn letters_are_listed_and_shown<S: NowTier>() {
    let letters = Letters::<S>::written("listed");
    let count = |arguments: &[&str]| letters.listed(arguments).len();
    assert_eq!(count(&[]), 6);
    let chat = ["e-0", "e-1"].map(|id| (id.to_owned(), "chat".to_owned()));
    assert_eq!(letters.listed(&["--target", "chat"]), chat);
    assert_eq!(count(&["--target", "chat", "--target", "crm"]), 5);
    assert_eq!(count(&["--target="]), 1, "an event's own");
    assert_eq!(count(&["--reason", "poisoned"]), 1);
    assert_eq!(count(&["--reason", "rejected", "--type", "test.*", "--limit", "4"]), 4);
    assert_eq!(count(&["--type", "other.*"]), 0);
    assert_eq!((count(&["--older-than", "1h"]), count(&["--newer-than", "1h"])), (0, 6));
    assert_eq!(count(&["--source", "events"]), 6);

    let table = text(&letters.run(&["list", "--target", "crm"]));
    assert_eq!(table.lines().count(), 4, "{table}");
    assert!(
        table.lines().nth(1).is_some_and(|row| row.contains("rejected") && row.contains("400")),
        "{table}"
    );

    let position = letters.answer(&["list", "--target", "chat", "--limit", "1"])[0]["position"].clone();
    let shown = letters.answer(&["show", position.as_str().unwrap()]);
    assert_eq!(shown["value"], json!({ "event_id": "e-0", "type": "test.made", "n": 0 }));
    assert_eq!((&shown["headers"][0], &shown["source"]), (&json!(["x-own", "kept"]), &json!("events")));
    assert_eq!(shown["history"][0]["result"], "400");
    let by_event = text(&letters.run(&["show", "--event-id", "e-2"]));
    assert!(by_event.contains("target      crm\n") && by_event.contains("\"n\": 2\n"), "{by_event}");
    let missing = letters.run(&["show", "nowhere/0/1"]);
    assert_eq!(missing.status.code(), Some(1), "{}", text(&missing));
}

fn a_redrive_is_a_record_for_its_target_alone<S: NowTier>() {
    let letters = Letters::<S>::written("redrive");
    let answer = letters.answer(&["redrive", "--target", "crm", "--yes"]);
    assert_eq!((&answer["redriven"], &answer["failed"]), (&json!(3), &json!(0)));

    let redriven = letters.redriven();
    assert_eq!(redriven.len(), 3);
    for (n, document) in redriven.iter().enumerate() {
        assert_eq!((&document["target"], &document["routes"]), (&json!("crm"), &json!(["all"])));
        assert_eq!((&document["tier"], &document["attempts"]), (&json!("now"), &json!(0)));
        assert_eq!(
            (&document["source"], &document["event"]["id"]),
            (&json!("events"), &json!(format!("e-{n}")))
        );
        assert_eq!(document["event"]["topic"], letters.scene.place());
        assert_eq!(document["failure"]["history"][0][1], "400");
    }
    assert_eq!(redriven[0]["event"]["headers"], json!([["x-own", "kept"]]));
    let values: Vec<_> = letters.scene.waiting_now().into_iter().map(|record| record.value).collect();
    assert!(values.contains(&event(2).value), "{values:?}");
    // They are done with, and what has a state is still there to be looked at.
    assert_eq!(letters.listed(&["--target", "crm"]), []);
    assert_eq!(letters.listed(&["--target", "crm", "--all"]).len(), if S::KEYS { 3 } else { 0 });
    assert_eq!(letters.answer(&["redrive", "--target", "crm", "--yes"])["redriven"], 0);

    // An event of its own is routed anew, by the routes that could not judge it.
    letters.answer(&["redrive", "--reason", "poisoned", "--yes"]);
    let redriven = letters.redriven();
    let anew = redriven.iter().find(|document| document["target"].is_null()).expect("one without target");
    assert_eq!(anew["routes"], json!(["all", "few"]));
    assert_eq!(letters.listed(&[]).len(), 2);
}

fn nothing_is_changed_without_consent<S: NowTier>() {
    let letters = Letters::<S>::written("consent");
    for change in ["redrive", "purge"] {
        let refused = letters.run(&[change]);
        assert_eq!(refused.status.code(), Some(2), "{}", text(&refused));
        let said = text(&refused);
        assert!(said.contains("6 dead letters of 2 targets: crm 3, chat 2, (events) 1; reasons:"), "{said}");
        assert!(said.contains("say --yes"), "{said}");
        let counted = letters.answer(&[change, "--dry-run"]);
        assert_eq!(counted["dead_letters"], 6);
    }
    assert_eq!((letters.listed(&[]).len(), letters.redriven().len()), (6, 0));
}

fn purged_letters_are_gone<S: NowTier>() {
    let letters = Letters::<S>::written("purge");
    let first = letters.answer(&["list", "--target", "chat"])[0]["position"].clone();
    assert_eq!(letters.answer(&["purge", first.as_str().unwrap(), "--yes"])["purged"], 1);
    assert_eq!(letters.listed(&["--target", "chat"]), [("e-1".to_owned(), "chat".to_owned())]);
    assert_eq!(letters.answer(&["purge", "--yes"])["purged"], 5);
    assert_eq!(letters.listed(&[]), []);
    assert_eq!(letters.redriven().len(), 0);
}

fn what_waits_for_a_person_is_counted<S: NowTier>() {
    let letters = Letters::<S>::written("pending");
    letters.answer(&["purge", "--reason", "poisoned", "--yes"]);
    // It finds what was written and purged before it ran, and hears of what is done meanwhile.
    let bridge = Bridge::start(&std::fs::read_to_string(&letters.config).unwrap());
    let pending = |target, count| {
        bridge.wait_metric("hookferry_dead_letters_pending", &[("target", target)], count);
    };
    pending("crm", 3.0);
    pending("chat", 2.0);
    pending("", 0.0);
    letters.answer(&["purge", "--target", "chat", "--yes"]);
    pending("chat", 0.0);
    pending("crm", 3.0);
}

fn a_letter_without_its_value_is_named_and_left<S: NowTier>() {
    let scene = S::new("valueless", 1);
    let receiver = Receiver::start(|_| Answer::Status(400));
    let large = json!({ "event_id": "large", "type": "test.made", "n": "x".repeat(500) });
    scene.publish([Record::json(&large), event(1)]);
    let config = scene.one_target(&receiver.url("/"), "", "limits: { max_event: 400B }");
    let bridge = Bridge::ready(&config);
    scene.wait_letters(2);
    bridge.stop();
    let folder = Folder::new("letters");
    let config = folder.file("hookferry.yaml", &config);
    let letters = Letters { scene, _folder: folder, config };

    let redriven = letters.run(&["redrive", "--yes"]);
    let said = text(&redriven);
    assert_eq!(redriven.status.code(), Some(1), "{said}");
    assert!(said.contains("redriven 1 of 2 dead letters"), "{said}");
    assert!(said.contains(": its value was left out for its size"), "{said}");
    assert_eq!((letters.listed(&[]).len(), letters.listed(&["--reason", "oversized"]).len()), (1, 1));
}

fn what_is_redriven_is_delivered_by_a_running_replica<S: Stage>() {
    let stage = S::new("redriven", 1);
    let answer = Arc::new(AtomicU16::new(400));
    let asked = answer.clone();
    let receiver = Receiver::start(move |_| Answer::Status(asked.load(Ordering::Relaxed)));
    let config = stage.one_target(&receiver.url("/hook"), "", "");
    let bridge = Bridge::ready(&config);
    stage.publish([event(0)]);
    let letters = stage.wait_letters(1);
    let folder = Folder::new("redriven");
    let file = folder.file("hookferry.yaml", &config);
    let run = |arguments: &[&str]| {
        let all = [&["dead-letters"], arguments, &["-c", file.to_str().unwrap()]].concat();
        let output = hookferry(&all);
        assert_eq!(output.status.code(), Some(0), "{}", text(&output));
        text(&output)
    };
    // Refused once more, it is in the dead letters again, however soon that is.
    run(&["redrive", "--yes"]);
    receiver.wait_count(2);
    crate::wait::until(
        "it is a dead letter again",
        std::time::Duration::from_secs(30),
        || run(&["list"]),
        || run(&["list"]).contains("e-0").then_some(()),
    );
    answer.store(200, Ordering::Relaxed);
    run(&["redrive", "--yes"]);
    receiver.wait_count(3);
    let requests = receiver.requests();
    assert_eq!(requests[0].event(), requests[2].event());
    assert_eq!(Some(requests[2].event().as_str()), letters[0].header("hookferry-event-id"));
    bridge.wait_metric("hookferry_redriven_total", &[("target", "sink")], 2.0);
    bridge.wait_metric("hookferry_dead_letters_pending", &[("target", "sink")], 0.0);
    bridge.stop();
}
