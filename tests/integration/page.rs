//! A page of the documentation: its blocks, and the commands in its text.

use std::path::{Path, PathBuf};

/// A page, as it is written.
pub struct Page {
    /// Its path from the root of the checkout.
    pub name: String,
    pub text: String,
}

/// A fenced block of a page.
#[derive(Debug, PartialEq)]
pub struct Block<'a> {
    /// The line of its first fence, from 1.
    pub line: usize,
    pub language: &'a str,
    /// What stands beside the language.
    pub about: &'a str,
    pub lines: Vec<&'a str>,
    /// The file that the sentence before it names, if that leads to it with a colon.
    pub file: Option<&'a str>,
}

impl Page {
    pub fn read(name: &str) -> Page {
        let path = root().join(name);
        let text = std::fs::read_to_string(&path).unwrap_or_else(|cause| panic!("{name}: {cause}"));
        Page { name: name.to_owned(), text }
    }

    /// README, CONTRIBUTING and everything below `docs/`.
    pub fn all() -> Vec<Page> {
        let mut pages = vec![Page::read("CONTRIBUTING.md"), Page::read("README.md")];
        let docs = files(&root().join("docs"), &["md"]);
        pages.extend(docs.iter().map(|path| {
            let name = path.strip_prefix(root()).expect("it is below the root");
            Page::read(name.to_str().expect("a name"))
        }));
        pages
    }

    pub fn blocks(&self) -> Vec<Block<'_>> {
        let mut blocks: Vec<Block<'_>> = Vec::new();
        let mut paragraph: Vec<&str> = Vec::new();
        let mut open = false;
        for (index, line) in self.text.lines().enumerate() {
            match line.trim_start().strip_prefix("```") {
                Some(_) if open => (open, paragraph) = (false, Vec::new()),
                Some(head) => {
                    let (language, about) = head.split_once(' ').unwrap_or((head, ""));
                    let file = led_to(&paragraph);
                    blocks.push(Block { line: index + 1, language, about, lines: Vec::new(), file });
                    open = true;
                }
                None if open => blocks.last_mut().expect("the open one").lines.push(line),
                None => read_on(&mut paragraph, line),
            }
        }
        blocks
    }

    /// The code in its text, outside blocks.
    pub fn spans(&self) -> Vec<String> {
        let mut paragraphs = vec![String::new()];
        let mut open = false;
        for line in self.text.lines() {
            let is_fence = line.trim_start().starts_with("```");
            open ^= is_fence;
            if is_fence || line.trim().is_empty() {
                paragraphs.push(String::new());
            } else if !open {
                *paragraphs.last_mut().expect("never empty") += &format!("{} ", line.trim());
            }
        }
        let spans = |paragraph: &String| -> Vec<String> {
            paragraph.split('`').skip(1).step_by(2).map(str::to_owned).collect()
        };
        paragraphs.iter().flat_map(spans).collect()
    }
}

impl Block<'_> {
    pub fn is_commands(&self) -> bool {
        matches!(self.language, "sh" | "bash" | "console")
    }

    pub fn is_yaml(&self) -> bool {
        matches!(self.language, "yaml" | "yml")
    }

    pub fn text(&self) -> String {
        self.lines.iter().map(|line| format!("{line}\n")).collect()
    }
}

pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All files below a folder with one of these endings; none if the folder is not there.
pub fn files(folder: &Path, endings: &[&str]) -> Vec<PathBuf> {
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

/// Keeps the paragraph that was read last, also over the empty line after it.
fn read_on<'a>(paragraph: &mut Vec<&'a str>, line: &'a str) {
    match (line.trim().is_empty(), paragraph.last()) {
        (true, Some(last)) if !last.is_empty() => paragraph.push(""),
        (true, _) => paragraph.clear(),
        (false, Some(&"")) => *paragraph = vec![line],
        (false, _) => paragraph.push(line),
    }
}

fn led_to<'a>(paragraph: &[&'a str]) -> Option<&'a str> {
    let mut lines = paragraph.iter().copied().filter(|line| !line.is_empty());
    if !lines.clone().next_back()?.trim_end().ends_with(':') {
        return None;
    }
    lines.find_map(|line| {
        let mut spans = line.split('`').skip(1).step_by(2);
        spans.find(|span| {
            let is_plain = span.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
            is_plain && [".yaml", ".json"].iter().any(|ending| span.ends_with(ending))
        })
    })
}

#[test]
fn blocks_have_a_language_and_the_file_that_leads_to_them() {
    let text = "# A\n\nWrite `b/c`, `d.yaml`\nas it is:\n\n```yaml\na: 1\n```\n\nNo `e.json`.\n```text shown\nx\n\ny\n```\n";
    let page = Page { name: String::new(), text: text.to_owned() };

    let blocks = page.blocks();

    let yaml = Block { line: 6, language: "yaml", about: "", lines: vec!["a: 1"], file: Some("d.yaml") };
    let shown = Block { line: 11, language: "text", about: "shown", lines: vec!["x", "", "y"], file: None };
    assert_eq!(blocks, [yaml, shown]);
}

#[test]
fn code_in_the_text_may_go_over_a_line() {
    let text = "Say `a b\n  c` or `d`.\n\n```sh\n`no`\n```\n| `e` |\n";
    let page = Page { name: String::new(), text: text.to_owned() };
    assert_eq!(page.spans(), ["a b c", "d", "e"]);
}
