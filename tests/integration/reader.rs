//! Somebody who follows a page of the documentation line by line.

use std::collections::BTreeSet;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::nats::lasting_port;
use crate::page::{Block, Page, root};
use crate::process::Folder;
use crate::wait;

/// No page takes longer.
const LIMIT: Duration = Duration::from_secs(300);

/// What a test machine can't carry out: how a command begins, and the tests that stand for it, after the
/// colon by the name of one or in words.
pub const NOT_CARRIED_OUT: [(&str, &str); 9] = [
    ("cargo install ", "process.rs: the binary is there already"),
    ("cargo run --release -- demo", "cli.rs: demo_ends_with_a_summary"),
    ("cargo build", "process.rs: the binary was built"),
    ("cargo test", "main.rs: these are the tests"),
    ("./scripts/test", "main.rs: what runs these tests"),
    ("./scripts/soak", "shutdown.rs: single stops of the kind that it makes a hundred of"),
    (".ci/run", "main.rs: what runs these tests"),
    ("docker compose up ", "compose.rs: what it starts is started there"),
    ("helm upgrade ", "chart.rs: what it installs is rendered and judged there"),
];

/// What only looks, so that it can be done again until it shows what the page says.
const LOOKS: [&str; 4] =
    ["curl ", "hookferry targets ", "hookferry dead-letters list", "hookferry dead-letters show"];

/// What goes on until Ctrl-C.
const GOES_ON: [&str; 2] = ["hookferry run", "hookferry listen"];

/// The reader, with a folder and ports of their own.
pub struct Reader {
    folder: Folder,
    /// What stands in the page, and what is there in this run.
    places: Vec<(&'static str, String)>,
    variables: Vec<(String, String)>,
    admin: u16,
}

impl Reader {
    pub fn new() -> Reader {
        let (admin, receiver) = (lasting_port(), lasting_port());
        let places = vec![
            ("127.0.0.1:9477", format!("127.0.0.1:{admin}")),
            ("127.0.0.1:8080", format!("127.0.0.1:{receiver}")),
            ("listen 8080", format!("listen {receiver}")),
        ];
        let listen = ("HOOKFERRY__ADMIN__LISTEN".to_owned(), format!("127.0.0.1:{admin}"));
        Reader { folder: Folder::new("reader"), places, variables: vec![listen], admin }
    }

    /// With something at another address than the page's.
    pub fn at(mut self, place: &'static str, here: String) -> Reader {
        self.places.push((place, here));
        self
    }

    /// With another value in the configuration.
    pub fn with(mut self, key: &str, value: &str) -> Reader {
        self.variables.push((format!("HOOKFERRY__{key}"), value.to_owned()));
        self
    }

    /// With a file that the page takes for granted.
    pub fn having(self, name: &str, text: &str) -> Reader {
        let text = self.adapted(text);
        self.folder.file(name, &text);
        self
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Follows a page to its end: every command ends well, and shows what the page says.
    #[track_caller]
    pub fn follow(&self, name: &str) {
        let page = Page::read(name);
        assert!(can_be_followed(&page), "no command of {name} is carried out: to follow it shows nothing");
        let script = self.folder.file("page.sh", &self.adapted(&commands(&page)));
        let log = self.folder.path().join("reader.log");
        let output = std::fs::File::create(&log).unwrap();
        let programs = Path::new(env!("CARGO_BIN_EXE_hookferry")).parent().expect("a folder");
        let path = format!("{}:{}", programs.display(), std::env::var("PATH").unwrap_or_default());
        let mut child = Command::new("bash")
            .arg(root().join("tests/integration/reader.sh"))
            .args([script.as_os_str(), self.admin.to_string().as_ref()])
            .current_dir(self.folder.path())
            .env("PATH", path)
            .envs(self.variables.iter().cloned())
            .stdin(Stdio::null())
            .stdout(output.try_clone().unwrap())
            .stderr(output)
            .process_group(0)
            .spawn()
            .unwrap();
        let group = Group(child.id() as libc::pid_t);
        let said = || std::fs::read_to_string(&log).unwrap_or_default();
        let status = wait::until(name, LIMIT, said, || child.try_wait().unwrap());
        drop(group);
        assert!(status.success(), "{name} is not as it says:\n{}", said());
    }

    fn adapted(&self, text: &str) -> String {
        self.places.iter().fold(text.to_owned(), |text, (there, here)| text.replace(there, here))
    }
}

/// The reader's processes; none is left when this is dropped.
struct Group(libc::pid_t);

impl Drop for Group {
    fn drop(&mut self) {
        // SAFETY: kill has no memory effects; the group is that of our own child.
        unsafe { libc::kill(-self.0, libc::SIGKILL) };
    }
}

/// Whether some command of the page is carried out.
pub fn can_be_followed(page: &Page) -> bool {
    let blocks = page.blocks();
    let mut lines = blocks.iter().filter(|block| block.is_commands()).flat_map(|block| &block.lines);
    lines.any(|line| {
        let is_said_only = line.trim().is_empty() || line.trim_start().starts_with('#');
        !is_said_only && !is_left_out(line)
    })
}

/// The page as a script for reader.sh: line by line, without what is only read.
fn commands(page: &Page) -> String {
    let mut lines = vec![String::new(); page.text.lines().count()];
    for block in page.blocks() {
        let (first, last) = (block.line - 1, block.line + block.lines.len());
        let (head, foot) = if block.is_commands() {
            let again = if only_looks(&block) { " again" } else { "" };
            ("commands() { :".to_owned(), format!("}}; carry_out{again}"))
        } else if let Some(file) = block.file {
            (format!("cat >'{file}' <<'END-OF-BLOCK'"), "END-OF-BLOCK".to_owned())
        } else if block.about == "shown" {
            ("shown <<'END-OF-BLOCK'".to_owned(), "END-OF-BLOCK".to_owned())
        } else {
            continue;
        };
        lines[first] = head;
        for (line, text) in lines[first + 1..last].iter_mut().zip(&block.lines) {
            *line = if block.is_commands() { typed(text) } else { (*text).to_owned() };
        }
        lines[last] = foot;
    }
    lines.join("\n") + "\n"
}

fn only_looks(block: &Block<'_>) -> bool {
    block.lines.iter().all(|line| LOOKS.iter().any(|start| line.starts_with(start)))
}

fn is_left_out(line: &str) -> bool {
    NOT_CARRIED_OUT.iter().any(|(start, _)| line.starts_with(start))
}

fn typed(line: &str) -> String {
    if is_left_out(line) {
        return format!("# {line}");
    }
    match GOES_ON.iter().any(|start| line.starts_with(start)) {
        true => format!("terminal {line}"),
        false => line.to_owned(),
    }
}

#[test]
fn a_page_becomes_its_commands_line_by_line() {
    let text = "Write `a.yaml`:\n```yaml\na: 1\n```\n```sh\nhookferry run\ncargo build\nls\n```\n```text shown\nx\n```\nEnd.\n";
    let page = Page { name: String::new(), text: text.to_owned() };
    let script = "\ncat >'a.yaml' <<'END-OF-BLOCK'\na: 1\nEND-OF-BLOCK\ncommands() { :\nterminal hookferry run\n# cargo build\nls\n}; carry_out\nshown <<'END-OF-BLOCK'\nx\nEND-OF-BLOCK\n\n";
    assert_eq!(commands(&page), script);
}

#[test]
fn a_page_is_followed_for_a_command_that_is_carried_out() {
    let can_be = |text: &str| can_be_followed(&Page { name: String::new(), text: text.to_owned() });
    assert!(can_be("```sh\ncargo build\nls\n```\n"));
    assert!(!can_be("```sh\ncargo build  # first\n\n    # slowly\n```\n```text\nls\n```\n"));
    assert!(!can_be("Say `ls`.\n"));
}

#[test]
fn what_is_not_carried_out_stands_in_a_page_and_has_a_test() {
    let pages = Page::all();
    let lines: BTreeSet<&str> = pages
        .iter()
        .flat_map(Page::blocks)
        .filter(Block::is_commands)
        .flat_map(|block| block.lines)
        .collect();
    for (start, instead) in NOT_CARRIED_OUT {
        assert!(
            lines.iter().any(|line| line.starts_with(start)),
            "no page says {start}: take it from the list"
        );
        let (file, test) = instead.split_once(": ").expect("a file of tests");
        let tests = std::fs::read_to_string(root().join("tests/integration").join(file));
        let tests = tests.unwrap_or_else(|cause| panic!("{start}: {file}: {cause}"));
        // One word is the name of a test.
        let is_there = test.contains(' ') || tests.contains(&format!("fn {test}("));
        assert!(is_there, "{start}: {file} has no test {test}");
    }
}
