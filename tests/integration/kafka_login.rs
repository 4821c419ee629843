//! Kafka brokers with TLS that let in only whom they know, and only to what is theirs.

use std::collections::HashSet;
use std::sync::Mutex;
use std::time::Duration;

use crate::bridge::Bridge;
use crate::kafka::Guarded;
use crate::process::{Folder, hookferry, text};
use crate::receiver::{Answer, Receiver};
use crate::scene::{Scene, event, one_target};
use crate::secure::Authority;
use crate::stage::Stage;
use crate::wait;

const PASSWORD: &str = "right-one";

/// A guarded broker and a scene on it.
struct Login {
    guarded: Guarded,
    scene: Scene,
    authority: Authority,
    folder: Folder,
}

impl Login {
    fn new(stem: &str) -> Login {
        let authority = Authority::new("hookferry tests");
        let folder = Folder::new("authority");
        folder.file("ca.pem", &authority.pem);
        let (guarded, cluster) = Guarded::start(&authority, &[("ferry", PASSWORD)]);
        let scene = Scene::without_topic(cluster, stem);
        scene.create(1);
        Login { guarded, scene, authority, folder }
    }

    /// With the properties of docs/configuration.md, and more of them.
    fn config(&self, password: &str, properties: &str, rest: &str) -> String {
        let Login { guarded, scene, .. } = self;
        let properties = format!(
            "security.protocol: SASL_SSL, sasl.mechanism: SCRAM-SHA-512, sasl.username: ferry, \
             sasl.password: '{password}', topic.metadata.refresh.interval.ms: 1000, {properties}"
        );
        scene.kafka_config("", &properties, rest).replace(scene.cluster.brokers(), &guarded.address())
    }

    /// The property that trusts the broker's authority.
    fn trust(&self) -> String {
        format!("ssl.ca.location: '{}'", self.folder.path().join("ca.pem").display())
    }

    /// Gives the user rights.
    #[track_caller]
    fn allow(&self, operations: &[&str], resource: &[&str]) {
        self.change("--add", "--allow-principal", operations, resource);
    }

    #[track_caller]
    fn change(&self, change: &str, principal: &str, operations: &[&str], resource: &[&str]) {
        let operations: Vec<&str> =
            operations.iter().flat_map(|operation| ["--operation", operation]).collect();
        self.guarded.rights(&[&[change, principal, "User:ferry"], &*operations, resource].concat());
    }

    /// The rights that docs/configuration.md names, for a source of this topic.
    fn allow_documented(&self) {
        let Scene { name, topic, group, .. } = &self.scene;
        self.allow(&["READ"], &["--topic", topic, "--group", group, "--group", &format!("{group}.strict")]);
        self.allow(&["READ"], &["--group", &format!("{name}.retry")]);
        let own = [format!("{name}.dlq"), format!("{name}.dlq-state"), format!("{name}.retry.")];
        let all = ["READ", "WRITE", "CREATE", "DESCRIBE", "DescribeConfigs", "DELETE"];
        let kinds = ["literal", "literal", "prefixed"];
        for (topic, kind) in own.iter().zip(kinds) {
            self.allow(&all, &["--topic", topic, "--resource-pattern-type", kind]);
        }
    }
}

#[test]
fn the_documented_rights_are_enough_and_the_password_is_never_shown() {
    let login = Login::new("rights");
    login.allow_documented();
    let seen = Mutex::new(HashSet::new());
    let receiver = Receiver::start(move |request| match request.json()["n"].as_u64() {
        Some(0) => Answer::Status(400),
        Some(1) if seen.lock().unwrap().insert(request.path.clone()) => Answer::Status(503),
        _ => Answer::Status(200),
    });
    let url = receiver.url("");
    let rest = format!(
        "defaults: {{ retry: {{ schedule: [30s], hold: 1s }} }}
targets:
  loose: {{ url: '{url}/loose', egress: private }}
  strict: {{ url: '{url}/strict', egress: private, ordering: strict }}
routes:
  - {{ name: all, types: ['*'], to: [loose, strict] }}"
    );
    let config = login.config(PASSWORD, &login.trust(), &rest);
    let file = login.folder.file("hookferry.yaml", &config);
    let file = file.to_str().unwrap();
    login.scene.publish([event(0), event(1), event(2)]);

    let checked = hookferry(&["check", "--connect", "-c", file]);
    assert_eq!(checked.status.code(), Some(0), "{}", text(&checked));
    let bridge = Bridge::rehearsing(&config, 10);
    let delivered = |target| [("target", target), ("outcome", "delivered")];
    for target in ["loose", "strict"] {
        bridge.wait_metric("hookferry_deliveries_total", &delivered(target), 2.0);
    }
    login.scene.wait_letters(2);
    login.scene.wait_settled();
    let redriven = hookferry(&["dead-letters", "redrive", "--target", "loose", "--yes", "-c", file]);
    assert_eq!(redriven.status.code(), Some(0), "{}", text(&redriven));
    login.scene.wait_letters(3);
    let log = bridge.log();
    let is_refusal = |line: &&str| line.contains("uthoriz") || line.contains("does not allow");
    // That targets without order have no group of their own is asked for, and may be refused.
    let refusals = log.lines().filter(|line| !line.contains("DEBUG")).filter(is_refusal);
    assert_eq!(refusals.collect::<Vec<_>>(), Vec::<&str>::new());
    let shown = format!("{log}{}{}", text(&checked), text(&redriven));
    assert!(!shown.contains(PASSWORD), "{shown}");
    bridge.stop();
}

#[test]
fn who_is_not_let_in_is_told_what_helps_and_goes_on_once_that_is_done() {
    let login = Login::new("refused");
    let receiver = Receiver::ok();
    let rest = one_target(&receiver.url("/"), "", "");
    let refused = |password, properties: &str, says: &str, more: &[&str]| {
        let bridge = Bridge::start(&login.config(password, properties, &rest));
        bridge.wait_not_ready(says);
        bridge.wait_log(&["ERROR", says]);
        more.iter().for_each(|line| drop(bridge.wait_log(&[line])));
        assert_eq!(bridge.get("/healthz").map(|(status, _)| status), Some(200), "waiting is healthy");
        assert!(!bridge.log().contains("wrong-one"), "{}", bridge.log());
        bridge.stop();
    };
    refused("wrong-one", &login.trust(), "`sasl.password`", &[]);
    // The machine's own authorities count, among which ours is not.
    let looked = "Setting default CA certificate location for kafka to";
    refused(PASSWORD, "debug: security", "`ssl.*`", &[looked]);

    // What is asked for a group that is refused lasts as long as if nobody answered.
    let config = login.config(PASSWORD, &login.trust(), &rest);
    let group = format!("READ on the group {}", login.scene.group);
    login.allow(&["READ"], &["--topic", &login.scene.topic]);
    let bridge = Bridge::start(&config);
    bridge.wait_not_ready(&group);
    wait::until(
        "it has been refused twice",
        Duration::from_secs(60),
        || bridge.log_end(),
        || (bridge.log_lines(&["DEBUG", "1 topics are there"]).len() > 2).then_some(()),
    );
    bridge.wait_not_ready(&group);
    assert_eq!(bridge.log_lines(&["can't be reached"]), Vec::<String>::new());
    bridge.stop();
    login.change("--remove", "--allow-principal", &["READ"], &["--topic", &login.scene.topic]);

    let bridge = Bridge::start(&config);
    bridge.wait_not_ready(&format!("read the topic {}; allow it READ", login.scene.topic));
    login.scene.publish([event(0)]);
    login.allow(&["READ"], &["--topic", &login.scene.topic]);
    bridge.wait_log(&["DEBUG", "1 topics are there"]);
    bridge.wait_not_ready(&group);
    login.allow_documented();
    receiver.wait_events(1);
    bridge.wait_ready();
    assert_eq!(bridge.log_lines(&["can't be reached"]), Vec::<String>::new());
    bridge.stop();
}

#[test]
fn each_mechanism_and_a_certificate_of_ones_own_let_us_in() {
    let login = Login::new("mechanisms");
    login.allow_documented();
    let rest = one_target("https://127.0.0.1:9/", "", "");
    let check = |config: &str| {
        let file = login.folder.file("hookferry.yaml", config);
        text(&hookferry(&["check", "--connect", "-c", file.to_str().unwrap()]))
    };
    let certificate = |authority: &Authority| {
        let (certificate, key) = authority.identity("ferry");
        let certificate = login.folder.file("client.pem", &certificate);
        let key = login.folder.file("client.key", &key);
        format!(
            "ssl.certificate.location: '{}', ssl.key.location: '{}'",
            certificate.display(),
            key.display()
        )
    };
    let there = format!("the topic {} is there", login.scene.topic);
    for mechanism in ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] {
        let config = login.config(PASSWORD, &login.trust(), &rest);
        let said = check(&config.replace("SCRAM-SHA-512", mechanism));
        assert!(said.contains(&there), "{mechanism}: {said}");
    }
    let with = |authority| {
        let properties = format!("security.protocol: SSL, {}, {}", login.trust(), certificate(authority));
        let config = login.scene.kafka_config("", &properties, &rest);
        check(&config.replace(login.scene.cluster.brokers(), &login.guarded.mutual_address()))
    };
    let said = with(&login.authority);
    assert!(said.contains(&there), "{said}");
    let said = with(&Authority::new("another"));
    assert!(said.contains("do not answer") && said.contains("bad certificate"), "{said}");
}

#[test]
fn check_connect_tells_what_keeps_us_out() {
    let login = Login::new("checked");
    let check = |password, properties: &str| {
        let config = login.config(password, properties, &one_target("http://127.0.0.1:9/", "", ""));
        let file = login.folder.file("hookferry.yaml", &config);
        let output = hookferry(&["check", "--connect", "-c", file.to_str().unwrap()]);
        assert_ne!(output.status.code(), Some(0), "{}", text(&output));
        text(&output)
    };
    let Scene { name, topic, group, .. } = &login.scene;
    let cases: [(String, &[&str]); 3] = [
        (check("wrong-one", &login.trust()), &["`sasl.password`"]),
        (check(PASSWORD, ""), &["`ssl.*`"]),
        (
            check(PASSWORD, &login.trust()),
            &[
                &format!("the topic {topic} can't be used"),
                "allow this user READ on it",
                &format!("the topic {name}.dlq can't be used"),
                "allow this user READ, WRITE, CREATE",
                &format!("the group {group} can't be used"),
                &format!("the group {name}.retry can't be used"),
                "READ on the group",
            ],
        ),
    ];
    for (said, wanted) in cases {
        for text in wanted {
            assert!(said.contains(text), "{text}: {said}");
        }
    }
}

#[test]
fn a_topic_that_is_hidden_from_the_user_of_a_pattern_is_not_said_to_be_lost() {
    let login = Login::new("hidden");
    login.allow_documented();
    let Scene { topic, .. } = &login.scene;
    let receiver = Receiver::start(|_| Answer::Hang);
    login.scene.publish((0..20).map(event));
    let limits = "limits: { window: { events: 5 } }";
    let target = one_target(&receiver.url("/"), "timeout: 120s", limits);
    let config = login.config(PASSWORD, &login.trust(), &target);
    let pattern = format!("^{}$", regex::escape(topic));
    let bridge = Bridge::ready(&config.replace(&format!("'{topic}'"), &format!("'{pattern}'")));
    receiver.wait_count(5);
    login.change("--remove", "--allow-principal", &["READ"], &["--topic", topic]);
    bridge.wait_log(&["WARN", topic, "allow it READ and DESCRIBE"]);
    // Missing in two looks, it would be gone.
    wait::until(
        "three looks",
        Duration::from_secs(60),
        || bridge.log_end(),
        || (bridge.log_lines(&["DEBUG", "1 can't be read now"]).len() > 2).then_some(()),
    );
    receiver.release();

    login.allow(&["READ"], &["--topic", topic]);
    receiver.wait_events(20);
    login.scene.wait_settled();
    let lost = [("source", "events"), ("reason", "deleted")];
    bridge.wait_metric("hookferry_events_lost_total", &lost, 0.0);
    bridge.stop();
}
