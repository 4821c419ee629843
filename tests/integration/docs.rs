//! Every configuration that a reader can copy is accepted by `check`.

use std::path::{Path, PathBuf};

use crate::process::{Folder, hookferry, text};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All files below a folder with one of these endings; none if the folder is not there.
fn files(folder: &Path, endings: &[&str]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let Ok(entries) = std::fs::read_dir(folder) else { return found };
    for entry in entries {
        let path = entry.unwrap().path();
        let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
        if path.is_dir() {
            found.extend(files(&path, endings));
        } else if endings.contains(&ending) {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// The fenced YAML blocks of a page, each with the line that it starts at.
fn yaml_blocks(page: &str) -> Vec<(usize, String)> {
    let mut blocks = Vec::new();
    let mut open: Option<(usize, String)> = None;
    for (number, line) in page.lines().enumerate() {
        let fence = line.trim_start().strip_prefix("```");
        match (fence, &mut open) {
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (Some(language), None) if is_yaml(language) => open = Some((number + 2, String::new())),
            (None, Some((_, text))) => *text += &format!("{line}\n"),
            _ => {}
        }
    }
    blocks
}

fn is_yaml(language: &str) -> bool {
    matches!(language.split([' ', ',']).next(), Some("yaml" | "yml"))
}

fn faults(path: &Path) -> Option<String> {
    let output = hookferry(&["check", "--allow-unset", "-c", path.to_str().unwrap()]);
    (output.status.code() != Some(0)).then(|| text(&output))
}

#[test]
fn every_yaml_block_is_a_whole_valid_configuration() {
    let mut pages = vec![root().join("README.md")];
    pages.extend(files(&root().join("docs"), &["md"]));
    let folder = Folder::new("docs");
    let mut bad = Vec::new();
    let mut checked = 0;
    for page in pages {
        for (line, block) in yaml_blocks(&std::fs::read_to_string(&page).unwrap()) {
            checked += 1;
            let file = folder.file("block.yaml", &block);
            bad.extend(faults(&file).map(|text| format!("{}:{line}:\n{text}", page.display())));
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

#[test]
fn blocks_are_found_by_their_language() {
    let page = "a\n```yaml\nname: x\n```\n```sh\nno\n```\n  ```yml\n  b: 1\n  ```\n";
    assert_eq!(yaml_blocks(page), [(3, "name: x\n".to_owned()), (9, "  b: 1\n".to_owned())]);
}
