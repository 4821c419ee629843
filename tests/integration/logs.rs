//! What a person on call reads while something is away: few lines, and each says what to do.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::bridge::Bridge;
use crate::receiver::{Answer, Receiver};
use crate::scene::{Scene, events, one_target};
use crate::stage::{Private, Stage, on_every_broker};
use crate::wait;

on_every_broker! {
    a_broker_that_dies_under_load_takes_few_lines,
    a_broker_that_was_never_there_takes_few_lines,
}

/// For so long the trouble lasts: longer than a session, and than the time-outs of librdkafka's requests.
const LASTS: Duration = Duration::from_secs(25);

/// One of these says what to do, or that there is nothing to do.
const REMEDIES: [&str; 7] =
    ["heck ", "create", "made again", "made anew", "comes again", "goes on by itself", "mend "];

/// As operators log.
fn at_info(config: &str) -> String {
    assert!(config.contains("level: debug"), "{config}");
    config.replace("level: debug", "level: info")
}

/// The log after so many lines, without the topics and streams that are made at the start.
fn told(bridge: &Bridge, after: usize) -> Vec<String> {
    let log = bridge.log();
    let news = log.lines().skip(after).filter(|line| !line.contains(" INFO created the topic "));
    news.map(str::to_owned).collect()
}

#[track_caller]
fn judge(lines: &[String], most: usize) {
    let all = lines.join("\n");
    assert!(lines.len() <= most, "{} lines:\n{all}", lines.len());
    for line in lines.iter().filter(|line| line.contains(" WARN ") || line.contains("ERROR ")) {
        // A count belongs to the line before that says what it is of.
        let says = line.contains(" and more ") || REMEDIES.iter().any(|remedy| line.contains(remedy));
        assert!(says, "says not what to do: {line}\nin:\n{all}");
    }
}

/// Judges what is told in a time of no fixed length: what comes again, as counts do, is counted once.
#[track_caller]
fn judge_messages(lines: &[String], most: usize) {
    let messages: BTreeSet<String> = lines.iter().map(|line| without_numbers(line)).collect();
    assert!(messages.len() <= most, "{} messages:\n{}", messages.len(), lines.join("\n"));
    // None comes again and again, however long it takes.
    judge(lines, 4 * most);
}

/// With one sign for each number.
fn without_numbers(line: &str) -> String {
    let mut text = String::new();
    let mut in_number = false;
    for c in line.chars() {
        let is_of_number = c.is_ascii_digit() || (in_number && c == '.');
        if !is_of_number {
            text.push(c);
        } else if !in_number {
            text.push('#');
        }
        in_number = is_of_number;
    }
    text
}

#[test]
fn a_message_is_the_same_with_other_numbers() {
    let line = |time: &str, more: usize| format!("{time} WARN and more target=\"t\" more={more}");
    let (early, late) = (line("10:00:01.25Z", 9), line("10:01:11.5Z", 120));
    assert_eq!(without_numbers(&early), "#:#:#Z WARN and more target=\"t\" more=#");
    assert_eq!(without_numbers(&early), without_numbers(&late));
}

/// Judges what is told while a trouble lasts.
#[track_caller]
fn judge_throughout(bridge: &Bridge, after: usize, most: usize) {
    let few = || told(bridge, after).len() <= most;
    wait::throughout("few lines", LASTS, || told(bridge, after).join("\n"), few);
    judge(&told(bridge, after), most);
}

fn a_broker_that_dies_under_load_takes_few_lines<S: Stage>() {
    let mut broker = S::Private::reserve();
    broker.start();
    let scene = S::on(&broker, "dies", 2);
    // Most is taken, some needs a dead letter, some a retry tier.
    let receiver = Receiver::start(|request| {
        let status = match request.json()["n"].as_u64().unwrap_or_default() % 20 {
            7 => 400,
            13 => 503,
            _ => 200,
        };
        Answer::After(Duration::from_millis(20), Box::new(Answer::Status(status)))
    });
    scene.publish(events(0..2000, 2));
    let keys = "concurrency: 2, retry: { schedule: [1m] }, breaker: off";
    let bridge = Bridge::ready(&at_info(&scene.hasty_config(&one_target(&receiver.url("/"), keys, ""))));
    receiver.wait_count(200);
    let after = bridge.log().lines().count();
    broker.kill();
    judge_throughout(&bridge, after, 8);
    broker.start();
    bridge.wait_ready();
    scene.publish(events(2000..2100, 2));
    receiver.wait_events(2100);
    judge_messages(&told(&bridge, after), 14);
    bridge.stop();
}

fn a_broker_that_was_never_there_takes_few_lines<S: Stage>() {
    let broker = S::Private::reserve();
    let scene = S::names_on(&broker, "never");
    let bridge = Bridge::start(&at_info(&scene.config(&one_target("https://x.example/", "", ""))));
    bridge.wait_log(&["WARN", &broker.address()]);
    judge_throughout(&bridge, 0, 4);
}

/// Somebody listens and does not speak Kafka.
#[test]
fn a_wrong_port_takes_few_lines() {
    let (scene, receiver) = (Scene::without_topic(crate::kafka::Cluster::shared(), "port"), Receiver::ok());
    let config = scene.config(&one_target("https://x.example/", "", ""));
    let config = config.replace(scene.cluster.brokers(), receiver.url("").trim_start_matches("http://"));
    let bridge = Bridge::start(&at_info(&config));
    bridge.wait_log(&["WARN", "can't be reached"]);
    judge_throughout(&bridge, 0, 4);
}

#[test]
fn dead_letters_that_can_t_be_written_take_few_lines() {
    let (scene, receiver) = (Scene::new("refused", 1), Receiver::start(|_| Answer::Status(400)));
    // It takes no record without a key.
    scene.cluster.create_topic_with(&scene.dead_letters(), 1, &[("cleanup.policy", "compact")]);
    scene.publish(events(0..1000, 1));
    let bridge = Bridge::start(&at_info(&scene.one_target(&receiver.url("/"), "", "")));
    bridge.wait_log(&["ERROR", "dead letters or retries can't be written"]);
    judge_throughout(&bridge, 0, 6);
}

/// Three targets at 100 events a second.
#[test]
fn targets_that_fail_under_load_take_few_lines() {
    let (scene, receiver) = (Scene::new("failing", 1), Receiver::start(|_| Answer::Status(503)));
    let target = |name: &str| {
        let retry = "retry: { attempts: 3, initial: 100ms, max_delay: 1s }";
        format!("  {name}: {{ url: '{}', egress: private, {retry}, breaker: off }}\n", receiver.url("/"))
    };
    let targets = ["a", "b", "c"].map(target).concat();
    let config = scene.config(&format!("targets:\n{targets}routes: [{{ name: all, to: [a, b, c] }}]"));
    let bridge = Bridge::ready(&at_info(&config));
    let mut published = 0;
    let few = || {
        scene.publish(events(published..published + 3, 1));
        published += 3;
        told(&bridge, 0).len() <= 8
    };
    wait::throughout("few lines", LASTS, || told(&bridge, 0).join("\n"), few);
    // Before the wait: what lasts longer is counted again.
    judge(&told(&bridge, 0), 8);
    let letters = || bridge.metric("hookferry_deliveries_total", &[("outcome", "dead_lettered")]);
    let many = || letters().filter(|letters| *letters > 500.0);
    wait::until("many are dead-lettered", Duration::from_secs(30), || format!("{:?}", letters()), many);
}
