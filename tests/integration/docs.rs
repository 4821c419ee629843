//! Every configuration that a reader can copy is accepted by `check`, and every command is one that there is.

use std::path::Path;

use clap::Parser;
use hookferry::cli::Arguments;

use crate::page::{Page, files, root};
use crate::process::{Folder, hookferry, text};
use crate::reader::can_be_followed;

fn faults(path: &Path) -> Option<String> {
    let output = hookferry(&["check", "--allow-unset", "-c", path.to_str().unwrap()]);
    (output.status.code() != Some(0)).then(|| text(&output))
}

#[test]
fn every_yaml_block_is_a_whole_valid_configuration() {
    let folder = Folder::new("docs");
    let mut bad = Vec::new();
    let mut checked = 0;
    for page in Page::all() {
        for block in page.blocks().iter().filter(|block| block.is_yaml()) {
            checked += 1;
            let file = folder.file("block.yaml", &block.text());
            bad.extend(faults(&file).map(|text| format!("{}:{}:\n{text}", page.name, block.line)));
        }
    }
    assert!(checked > 0, "no YAML block was found: the README must show a configuration");
    assert!(bad.is_empty(), "{}", bad.join("\n"));
}

#[test]
fn every_example_configuration_is_valid() {
    let examples = files(&root().join("config"), &["yaml", "yml", "json"]);
    assert!(!examples.is_empty(), "config/ holds no example");
    let bad: Vec<_> =
        examples.iter().filter_map(|path| Some(format!("{}:\n{}", path.display(), faults(path)?))).collect();
    assert!(bad.is_empty(), "{}", bad.join("\n"));
}

/// What the command line says against a command as it is written, with what may be left out left out.
fn refusal(command: &str) -> Option<String> {
    let (command, _) = command.split_once('#').unwrap_or((command, ""));
    let words = command.split_whitespace().map(|word| word.trim_matches(['\'', '"']));
    let words: Vec<&str> = words.take_while(|word| !matches!(*word, "|" | ">" | "&&")).collect();
    match Arguments::try_parse_from(words.iter().filter(|word| !word.starts_with('['))) {
        Err(answer) if answer.use_stderr() => Some(answer.to_string()),
        _ => None,
    }
}

#[test]
fn every_command_is_one_of_the_command_line() {
    let mut bad = Vec::new();
    let mut parsed = 0;
    for page in Page::all() {
        let blocks = page.blocks();
        let typed = blocks.iter().filter(|block| block.is_commands()).flat_map(|block| &block.lines);
        let commands = page.spans().into_iter().chain(typed.map(|line| (*line).to_owned()));
        for command in commands.filter(|command| command.starts_with("hookferry ")) {
            parsed += 1;
            bad.extend(refusal(&command).map(|answer| format!("{}: {command}\n{answer}", page.name)));
        }
    }
    assert!(parsed > 0, "no command was found");
    assert!(bad.is_empty(), "{}", bad.join("\n"));
}

#[test]
fn a_command_that_there_is_not_is_refused() {
    assert!(refusal("hookferry listen [PORT]").is_none());
    assert!(refusal("hookferry schema > hookferry.schema.json  # for editors").is_none());
    assert!(refusal("hookferry listen --every 3").is_some());
    assert!(refusal("hookferry ferry").is_some());
}

/// How a heading is linked to.
fn anchor(heading: &str) -> String {
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || "-_ ".contains(*c));
    kept.flat_map(char::to_lowercase).map(|c| if c == ' ' { '-' } else { c }).collect()
}

/// What a link within the checkout leads to, if that is not there.
fn dead_end(page: &Page, link: &str) -> Option<String> {
    let (file, heading) = link.split_once('#').unwrap_or((link, ""));
    let folder = root().join(&page.name).parent().expect("a folder").to_owned();
    let path = if file.is_empty() { root().join(&page.name) } else { folder.join(file) };
    let there = match (path.exists(), heading) {
        (exists, "") => exists,
        (false, _) => false,
        (true, heading) => std::fs::read_to_string(&path)
            .unwrap_or_default()
            .lines()
            .any(|line| line.starts_with('#') && anchor(line.trim_start_matches('#').trim()) == heading),
    };
    (!there).then(|| format!("{}: {link}", page.name))
}

#[test]
fn every_link_within_the_checkout_leads_somewhere() {
    let mut dead = Vec::new();
    let mut followed = 0;
    for page in Page::all() {
        let links = page.text.split("](").skip(1).filter_map(|rest| rest.split([')', ' ', '\n']).next());
        for link in links.filter(|link| !link.contains("://")) {
            followed += 1;
            dead.extend(dead_end(&page, link));
        }
    }
    assert!(followed > 0, "no link was found");
    assert!(dead.is_empty(), "{}", dead.join("\n"));
}

/// walkthrough.rs follows the pages; here it is made sure that it leaves out none but those of whose
/// commands a test machine can carry out none.
#[test]
fn every_page_with_commands_is_followed() {
    let followed = include_str!("walkthrough.rs");
    for page in Page::all() {
        let is_followed = followed.contains(&format!(".follow(\"{}\")", page.name));
        assert_eq!(
            can_be_followed(&page),
            is_followed,
            "{} is followed by walkthrough.rs iff it has a command that is carried out",
            page.name
        );
    }
}
