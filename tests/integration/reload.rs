//! The configuration changes while everything goes on: by a signal, a changed file, the API.

use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use crate::bridge::Bridge;
use crate::nats::Server;
use crate::nats_scene::NatsScene;
use crate::process::{Folder, fresh, hookferry, text};
use crate::receiver::{Answer, Receiver};
use crate::record::Record;
use crate::scene::Scene;
use crate::stage::Stage;
use crate::wait;

const ADMIN: &str = "admin: { listen: '127.0.0.1:0' }\n";

fn target(name: &str, receiver: &Receiver, keys: &str) -> String {
    format!("  {name}: {{ url: '{}', egress: private{keys} }}\n", receiver.url(&format!("/{name}")))
}

fn events(from: usize, to: usize) -> impl Iterator<Item = Record> {
    (from..to).map(|n| Record::json(&json!({ "event_id": format!("e-{n}"), "type": "a" })))
}

/// Waits until this path got so many different events.
#[track_caller]
fn wait_events(receiver: &Receiver, path: &str, count: usize, bridge: &Bridge) {
    let seen = || {
        let requests = receiver.requests_to(path);
        requests.iter().map(|request| request.event()).collect::<std::collections::BTreeSet<_>>().len()
    };
    wait::until(
        &format!("{path} got {count} events"),
        Duration::from_secs(60),
        || format!("{} so far\n{}", seen(), bridge.log_end()),
        || (seen() == count).then_some(()),
    );
}

fn answered(bridge: &Bridge) -> (u16, Value) {
    let (status, body) = bridge.post("/api/v1/reload").expect("the API answers");
    (status, serde_json::from_str(&body).unwrap_or_else(|_| panic!("no JSON: {body}")))
}

/// Under load, by SIGHUP: one target is added, one changed, one stays; nothing is lost and nothing stops.
fn nothing_is_lost_when_targets_come_and_change_under_load<S: Stage>() {
    let scene = S::new("reload-load", 3);
    let (receiver, folder) = (Receiver::ok(), Folder::new("reload-load"));
    let config = |targets: &str, to: &str| {
        let rest = format!("targets:\n{targets}routes: [{{ name: all, to: [{to}] }}]");
        format!("{ADMIN}{}", scene.config(&rest))
    };
    let stays = target("stays", &receiver, ", concurrency: 1");
    let file = folder.file(
        "hookferry.yaml",
        &config(&(stays.clone() + &target("changes", &receiver, "")), "stays, changes"),
    );
    let mut bridge = Bridge::run(&file);
    bridge.wait_ready();
    scene.publish(events(0, 1500));
    wait::until(
        "the first are delivered",
        Duration::from_secs(60),
        || bridge.log_end(),
        || (receiver.count() > 200).then_some(()),
    );

    let changed = stays + &target("changes", &receiver, ", concurrency: 3") + &target("added", &receiver, "");
    folder.file("hookferry.yaml", &config(&changed, "stays, changes, added"));
    bridge.signal(libc::SIGHUP);
    let line = bridge.wait_log(&["the configuration was reloaded", "SIGHUP"]);
    let told = r#"changed="+targets.added, targets.changes.concurrency, routes.all.to""#;
    assert!(line.contains(told), "{line}");
    scene.publish(events(1500, 2000));

    wait_events(&receiver, "/stays", 2000, &bridge);
    wait_events(&receiver, "/changes", 2000, &bridge);
    scene.wait_settled();
    let added = receiver.requests_to("/added").len();
    assert!(added >= 500, "it gets all that came after the reload, and got {added}");
    assert_eq!(bridge.metric("hookferry_deliveries_released_total", &[]), Some(0.0));
    for name in ["stays", "changes"] {
        assert_eq!(receiver.requests_to(&format!("/{name}")).len(), 2000, "{name} got each once");
    }
    bridge.signal(libc::SIGTERM);
    assert_eq!(bridge.wait_exit(Duration::from_secs(30)).code(), Some(0));
}

/// By the API: what waits for a removed target waits on in the tier of an hour, and a route that looks at
/// what no route looked at before does so at once.
fn a_removed_target_leaves_what_it_was_owed_in_a_tier<S: Stage>() {
    let scene = S::new("reload-removed", 1);
    let receiver = Receiver::start(|request| match request.path.as_str() {
        "/gone" => Answer::HangThen(503),
        _ => Answer::Status(200),
    });
    let folder = Folder::new("reload-removed");
    let config = |rest: &str| format!("{ADMIN}{}", scene.config(rest));
    let (gone, stays) = (target("gone", &receiver, ", concurrency: 1"), target("stays", &receiver, ""));
    let both = format!("targets:\n{gone}{stays}routes: [{{ name: all, to: [gone, stays] }}]");
    let file = folder.file("hookferry.yaml", &config(&both));
    let bridge = Bridge::run(&file);
    bridge.wait_ready();
    scene.publish(events(0, 5));
    wait_events(&receiver, "/stays", 5, &bridge);
    wait_events(&receiver, "/gone", 1, &bridge);

    let one = format!("targets:\n{stays}routes: [{{ name: all, where: {{ n: 7 }}, to: [stays] }}]");
    folder.file("hookferry.yaml", &config(&one));
    let (status, answer) = answered(&bridge);
    assert_eq!(status, 200, "{answer}");
    let paths: Vec<&str> =
        answer["changes"].as_array().unwrap().iter().filter_map(|change| change["path"].as_str()).collect();
    assert!(paths.contains(&"targets.gone.url") && paths.contains(&"routes.all.where.n"), "{paths:?}");

    bridge.wait_metric("hookferry_moves_total", &[("target", "gone"), ("tier", "1h")], 4.0);
    receiver.release();
    bridge.wait_metric("hookferry_moves_total", &[("target", "gone"), ("tier", "1h")], 5.0);
    scene.wait_settled();
    assert_eq!(scene.count_waiting("1h"), 5);
    assert_eq!(bridge.metric("hookferry_target_state", &[("target", "gone")]), None);
    bridge.wait_metric("hookferry_queue_deliveries", &[("target", "gone")], 0.0);

    scene.publish([
        Record::json(&json!({ "event_id": "other", "type": "a", "n": 8 })),
        Record::json(&json!({ "event_id": "seven", "type": "a", "n": 7 })),
    ]);
    wait_events(&receiver, "/stays", 6, &bridge);
    scene.wait_settled();
    assert_eq!(receiver.requests_to("/stays").last().map(|request| request.event()), Some("seven".into()));
}

/// As Kubernetes mounts a map: the files are links through `..data`, which is replaced by another link.
fn mount(folder: &Path, version: &str, files: &[(&str, &str)]) {
    let own = folder.join(format!("..{version}"));
    std::fs::create_dir(&own).unwrap();
    for (name, text) in files {
        std::fs::write(own.join(name), text).unwrap();
        if !folder.join(name).is_symlink() {
            symlink(Path::new("..data").join(name), folder.join(name)).unwrap();
        }
    }
    symlink(&own, folder.join("..data_tmp")).unwrap();
    std::fs::rename(folder.join("..data_tmp"), folder.join("..data")).unwrap();
}

/// By the file watch: a good file, a secret of another map, a bad file, and the mended one.
#[test]
fn mounted_maps_are_followed_and_a_bad_one_is_not() {
    let scene = Scene::new("reload-watch", 1);
    let (receiver, folder) = (Receiver::ok(), Folder::new("reload-watch"));
    let [maps, keys] = ["config", "secret"].map(|name| {
        let path = folder.path().join(name);
        std::fs::create_dir(&path).unwrap();
        path
    });
    let secret = format!(", headers: {{ x-key: '${{file:{}}}' }}", keys.join("key").display());
    let config = |keys: &str| {
        let rest = format!(
            "reload: {{ watch: true }}\ntargets:\n{}routes: [{{ name: all, to: [crm] }}]",
            target("crm", &receiver, keys)
        );
        format!("{ADMIN}{}", scene.config(&rest))
    };
    mount(&keys, "1", &[("key", "first\n")]);
    mount(&maps, "1", &[("hookferry.yaml", &config(&secret))]);
    let bridge = Bridge::run(&maps);
    bridge.wait_ready();
    let sent = |event: &str| {
        let of =
            |receiver: &Receiver| receiver.requests().into_iter().find(|request| request.event() == event);
        scene.publish([Record::json(&json!({ "event_id": event, "type": "a" }))]);
        let state = || bridge.log_end();
        wait::until(event, Duration::from_secs(30), state, || of(&receiver))
    };
    assert_eq!(sent("one").header("x-key"), Some("first"));

    mount(&keys, "2", &[("key", "second\n")]);
    let line = bridge.wait_log(&["the configuration was reloaded", "a changed file"]);
    assert!(line.contains("targets.crm.headers.x-key") && !line.contains("second"), "{line}");
    assert_eq!(sent("two").header("x-key"), Some("second"));

    let info = |bridge: &Bridge| {
        let (_, page) = bridge.get("/metrics").expect("metrics");
        page.lines().find(|line| line.starts_with("hookferry_config_info")).map(str::to_owned)
    };
    let before = info(&bridge);
    let bad = config(&secret).replace("to: [crm]", "to: [crn]");
    mount(&maps, "2", &[("hookferry.yaml", &bad)]);
    bridge.wait_log(&["the one before stays in force", "hookferry.yaml:", "did you mean `crm`?"]);
    bridge.wait_metric("hookferry_config_last_reload_successful", &[], 0.0);
    assert_eq!(info(&bridge), before);
    let (status, answer) = answered(&bridge);
    assert_eq!(status, 422, "{answer}");
    let fault = &answer["faults"][0];
    assert_eq!((&fault["path"], fault["at"]["line"].is_u64()), (&json!("routes.all.to.0"), true), "{answer}");
    assert_eq!(sent("three").header("x-key"), Some("second"), "the plan before is in force");

    // Mended by going back: nothing differs, and all is well again.
    mount(&maps, "back", &[("hookferry.yaml", &config(&secret))]);
    bridge.wait_metric("hookferry_config_last_reload_successful", &[], 1.0);

    mount(&maps, "3", &[("hookferry.yaml", &config(&format!("{secret}, timeout: 9s")))]);
    // Compared with the one in force, and not with the first.
    bridge.wait_log(&["the configuration was reloaded", r#"changed="targets.crm.timeout""#]);
    assert_eq!(bridge.metric("hookferry_config_last_reload_successful", &[]), Some(1.0));
    assert_ne!(info(&bridge), before);

    let other = config(&secret).replace(&scene.topic, "other-topic");
    mount(&maps, "4", &[("hookferry.yaml", &other)]);
    bridge.wait_log(&["needs a restart: sources.events.kafka.topics"]);
    let (status, answer) = answered(&bridge);
    assert_eq!((status, &answer["needs_restart"]), (409, &json!(["sources.events.kafka.topics"])));
    assert!(sent("four").header("x-key").is_some());
}

#[test]
fn a_file_that_only_the_new_configuration_names_is_watched_and_its_token_counts() {
    let scene = Scene::new("reload-named", 1);
    let (receiver, folder) = (Receiver::ok(), Folder::new("reload-named"));
    let keys = Folder::new("reload-keys");
    let config = |admin: &str, keys: &str| {
        let rest = format!(
            "reload: {{ watch: true }}\ntargets:\n{}routes: [{{ name: all, to: [crm] }}]",
            target("crm", &receiver, keys)
        );
        format!("admin: {{ listen: '127.0.0.1:0'{admin} }}\n{}", scene.config(&rest))
    };
    let file = folder.file("hookferry.yaml", &config("", ""));
    let bridge = Bridge::run(&file);
    bridge.wait_ready();
    assert_eq!(answered(&bridge).0, 200);

    let key = keys.file("key", "first");
    let named = format!(", headers: {{ x-key: '${{file:{}}}' }}", key.display());
    folder.file("hookferry.yaml", &config(", token: 'a-token-for-tests-0123456789'", &named));
    bridge.wait_log(&["the configuration was reloaded", "targets.crm.headers.x-key", "admin.token"]);
    let (status, _) = bridge.post("/api/v1/reload").expect("the API answers");
    assert_eq!(status, 401, "the new token counts");
    keys.file("key", "second");
    bridge.wait_log(&["the configuration was reloaded", r#"changed="targets.crm.headers.x-key""#]);
    bridge.stop();
}

/// Looks at the last events without a trace: no group is joined, and nothing is committed.
fn compares_events<S: Stage>() {
    let stage = S::new("diff-events", 2);
    let (folder, receiver) = (Folder::new("diff-events"), Receiver::ok());
    let config = |types: &str| {
        stage.config(&format!(
            "targets:\n{}routes: [{{ name: all, types: [{types}], to: [crm] }}]",
            target("crm", &receiver, "")
        ))
    };
    let old = folder.file("old.yaml", &config("a, b"));
    let new = folder.file("new.yaml", &config("b, c"));
    let record =
        |kind: &str, n: usize| Record::json(&json!({ "event_id": format!("{kind}-{n}"), "type": kind }));
    stage.publish((0..10).map(|n| record("a", n)));
    stage.publish([record("b", 0), record("a", 10), record("c", 0)]);

    let (old, new) = (old.to_str().unwrap(), new.to_str().unwrap());
    let said = hookferry(&["diff", old, new, "--source", "events", "--last", "3"]);
    let lines = text(&said);
    assert!(said.status.success(), "{lines}");
    for part in [
        "types: [a, b] -> [b, c]",
        "of the last 3 events of events, 2 go elsewhere",
        " a a-10: -crm",
        " c c-0: +crm",
    ] {
        assert!(lines.contains(part), "{part:?} in:\n{lines}");
    }
    let said = hookferry(&["diff", old, new, "--source", "events", "--format", "json"]);
    let said: Value = serde_json::from_slice(&said.stdout).expect("JSON");
    assert_eq!((&said["events"]["read"], &said["events"]["moved"]), (&json!(13), &json!(12)), "{said}");
    assert!(stage.is_untouched());
    assert_eq!(receiver.count(), 0);
}

/// What stands in the way is named, and everything goes on by the configuration before.
#[track_caller]
fn refuses(bridge: &Bridge, file: &Path, config: &str, key: &str) {
    std::fs::write(file, config).unwrap();
    let (status, answer) = answered(bridge);
    assert_eq!((status, &answer["needs_restart"]), (409, &json!([key])), "{answer}");
    bridge.wait_log(&["ERROR", "the one before stays in force", &format!("needs a restart: {key}")]);
}

#[test]
fn a_durable_goes_on_with_other_routes_and_can_t_be_another_one() {
    let scene = NatsScene::stream("reload-stream");
    let receiver = Receiver::start(|request| match request.path.as_str() {
        "/slow" => Answer::Hang,
        _ => Answer::Status(200),
    });
    let folder = Folder::new("reload-stream");
    let (slow, fast) = (target("slow", &receiver, ", timeout: 2m"), target("fast", &receiver, ""));
    let config = |nats: &str, to: &str| {
        let rest = format!("targets:\n{slow}{fast}routes: [{{ name: all, to: [{to}] }}]");
        format!("{ADMIN}{}", scene.nats_config(nats, &rest))
    };
    let file = folder.file("hookferry.yaml", &config("", "slow"));
    let bridge = Bridge::run(&file);
    bridge.wait_ready();
    scene.publish(events(0, 20));
    wait_events(&receiver, "/slow", 20, &bridge);

    refuses(&bridge, &file, &config("max_ack_pending: 7", "fast"), "sources.events.nats.max_ack_pending");
    folder.file("hookferry.yaml", &config("", "fast"));
    let (status, answer) = answered(&bridge);
    assert_eq!(status, 200, "{answer}");
    scene.publish(events(20, 40));
    wait_events(&receiver, "/fast", 20, &bridge);
    receiver.release();
    scene.wait_settled();
    let info = scene.consumer().unwrap();
    assert_eq!((info.num_redelivered, info.num_pending), (0, 0), "{info:?}");
    bridge.stop();
    let came = [receiver.requests_to("/slow").len(), receiver.requests_to("/fast").len()];
    assert_eq!(came, [20, 20], "each went where the routes of its time sent it, once");
}

#[test]
fn core_nats_goes_on_with_other_routes_and_can_t_be_another_group() {
    let (server, name) = (Server::shared(), fresh("reload-core"));
    let (receiver, folder) = (Receiver::ok(), Folder::new("reload-core"));
    let (old, new) = (target("old", &receiver, ""), target("new", &receiver, ""));
    let config = |queue: &str, to: &str| {
        format!(
            "{ADMIN}name: {name}
sources:
  events: {{ nats: {{ servers: '{}', subjects: ['{name}.events.>'], queue: '{name}-{queue}' }} }}
targets:\n{old}{new}routes: [{{ name: all, to: [{to}] }}]",
            server.url()
        )
    };
    let file = folder.file("hookferry.yaml", &config("group", "old"));
    let bridge = Bridge::run(&file);
    bridge.wait_ready();
    let subject = format!("{name}.events.made");
    // A subscription is there once something comes through it.
    wait::until(
        "it listens",
        Duration::from_secs(30),
        || bridge.log_end(),
        || {
            server.publish_core(&subject, [Record::json(&json!({ "event_id": "probe", "type": "a" }))]);
            (receiver.count() > 0).then_some(())
        },
    );

    refuses(&bridge, &file, &config("other", "new"), "sources.events.nats.queue");
    server.publish_core(&subject, events(0, 100));
    wait_events(&receiver, "/old", 101, &bridge);
    folder.file("hookferry.yaml", &config("group", "new"));
    bridge.signal(libc::SIGHUP);
    bridge.wait_log(&["the configuration was reloaded", "SIGHUP", "routes.all.to"]);
    server.publish_core(&subject, events(100, 200));
    wait_events(&receiver, "/new", 100, &bridge);
    let lost = bridge.metric("hookferry_events_lost_total", &[("source", "events")]);
    assert_eq!(lost, Some(0.0));
    bridge.stop();
    let old: Vec<String> = receiver.requests_to("/old").iter().map(|request| request.event()).collect();
    assert_eq!(old.iter().filter(|event| *event != "probe").count(), 100, "none came twice");
}

/// What a full window keeps back was read by the plan before: what the new one looks at is looked for then.
fn what_was_read_before_goes_by_the_routes_of_now<S: Stage>() {
    let scene = S::new("reload-hands", 1);
    let receiver = Receiver::start(|request| match request.path.as_str() {
        "/slow" => Answer::Hang,
        _ => Answer::Status(200),
    });
    let folder = Folder::new("reload-hands");
    let targets = target("slow", &receiver, ", timeout: 2m") + &target("fast", &receiver, "");
    let config = |route: &str| {
        let limits = "limits: { window: { events: 10 } }";
        let rest = format!("{limits}\ntargets:\n{targets}routes: [{{ name: all, {route} }}]");
        format!("{ADMIN}{}", scene.config(&rest))
    };
    let file = folder.file("hookferry.yaml", &config("to: [slow]"));
    let bridge = Bridge::run(&file);
    bridge.wait_ready();
    let event = |n: usize| Record::json(&json!({ "event_id": format!("e-{n}"), "type": "a", "n": n }));
    scene.publish((0..20).map(event));
    wait_events(&receiver, "/slow", 10, &bridge);

    folder.file("hookferry.yaml", &config("where: { n: 10 }, to: [fast]"));
    let (status, answer) = answered(&bridge);
    assert_eq!(status, 200, "{answer}");
    receiver.release();
    scene.wait_settled();
    wait_events(&receiver, "/fast", 1, &bridge);
    assert_eq!(receiver.requests_to("/fast")[0].event(), "e-10");
    assert_eq!(receiver.requests_to("/slow").len(), 10);
    bridge.stop();
}

fn parts_of_events_are_where_the_configuration_of_now_says<S: Stage>() {
    let scene = S::new("reload-parts", 1);
    let (receiver, folder) = (Receiver::ok(), Folder::new("reload-parts"));
    let rest =
        format!("targets:\n{}routes: [{{ name: all, types: [b], to: [crm] }}]", target("crm", &receiver, ""));
    let config = |source: &str| format!("{ADMIN}{}", scene.config_with(source, &rest));
    let file = folder.file("hookferry.yaml", &config(""));
    let bridge = Bridge::run(&file);
    bridge.wait_ready();
    let event = |id: &str| Record::json(&json!({ "event_id": id, "type": "a" })).with("kind", "b");
    scene.publish([event("before")]);
    scene.wait_settled();

    folder.file("hookferry.yaml", &config("event: { type: [header:kind] }"));
    let (status, answer) = answered(&bridge);
    assert_eq!(status, 200, "{answer}");
    // The source is told at once, and what it reads in the same turn is read as before.
    let taken = || {
        scene.publish([event("after")]);
        receiver.requests().into_iter().next()
    };
    let first = wait::until("an event is taken", Duration::from_secs(30), || bridge.log_end(), taken);
    assert_eq!(first.event(), "after");
    bridge.stop();
}

/// Even a bad file changes nothing about how it stops.
fn a_reload_while_it_stops_is_ignored<S: Stage>() {
    let scene = S::new("reload-drain", 1);
    let receiver = Receiver::start(|_| Answer::Hang);
    let folder = Folder::new("reload-drain");
    let rest = format!("targets:\n{}routes: [{{ name: all, to: [slow] }}]", target("slow", &receiver, ""));
    let file = folder.file("hookferry.yaml", &format!("{ADMIN}{}", scene.config(&rest)));
    let mut bridge = Bridge::run(&file);
    bridge.wait_ready();
    scene.publish(events(0, 3));
    wait_events(&receiver, "/slow", 3, &bridge);

    bridge.signal(libc::SIGTERM);
    bridge.wait_log(&["stopping: what is in flight may finish"]);
    folder.file("hookferry.yaml", "nonsense: true");
    bridge.signal(libc::SIGHUP);
    bridge.wait_log(&["SIGHUP", "the process is stopping; the configuration is not read again"]);
    bridge.wait_not_ready("");
    receiver.release();
    assert_eq!(bridge.wait_exit(Duration::from_secs(30)).code(), Some(0), "{}", bridge.log_end());
    scene.wait_settled();
    assert_eq!(receiver.count(), 3, "what was in flight ended");
    assert!(bridge.log_lines(&["not reloaded"]).is_empty());
}

crate::stage::on_every_broker! {
    nothing_is_lost_when_targets_come_and_change_under_load,
    a_removed_target_leaves_what_it_was_owed_in_a_tier,
    a_reload_while_it_stops_is_ignored,
    what_was_read_before_goes_by_the_routes_of_now,
    parts_of_events_are_where_the_configuration_of_now_says,
    compares_events,
}
