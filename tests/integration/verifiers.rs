//! Receivers that judge signatures and that nobody of ours wrote the cryptography of: packages of npm
//! and PyPI, and a few lines each in Node.js, Python, Go and Java (`tests/interop/`). `scripts/interop`
//! installs what they need.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{OnceLock, mpsc};
use std::time::Duration;

use crate::process::Folder;

/// How long the slowest of them may take to start, on a machine that is busy.
const START: Duration = Duration::from_secs(120);

/// Which of the live secrets a receiver knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Known {
    New,
    Old,
}

/// The secrets of all receivers, each newest first: text, `whsec_…`, and `whsk_…` with its public half.
pub const TEXT: [&str; 2] = ["interop-new-0123456789abcdef", "interop-old-0123456789abcdef"];
pub const WHSEC: [&str; 2] =
    ["whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=", "whsec_QEFCQ0RFRkdISUpLTE1OT1BRUlNUVVZX"];
pub const WHSK: [&str; 2] = [
    "whsk_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
    "whsk_QEFCQ0RFRkdISUpLTE1OT1BRUlNUVVZXWFlaW1xdXl8=",
];
const WHPK: [&str; 2] = [
    "whpk_A6EHv/POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg=",
    "whpk_JUO5L/EJVRFHatyDadtt3JM2ZaEZeN2hQE7hBmypVZ0=",
];

/// All of them, running. Each ends with this process, because its standard input does.
pub struct Verifiers {
    node: Process,
    python: Process,
    go: Process,
    java: Process,
    _folder: Folder,
}

struct Process {
    port: u16,
    _child: Child,
}

impl Verifiers {
    /// Those of this test run, which share one set of processes.
    pub fn running() -> &'static Verifiers {
        static RUNNING: OnceLock<Verifiers> = OnceLock::new();
        RUNNING.get_or_init(Verifiers::start)
    }

    fn start() -> Verifiers {
        let installed = std::env::var("HOOKFERRY_TEST_INTEROP")
            .expect("HOOKFERRY_TEST_INTEROP is not set: run the tests with ./scripts/test");
        let installed = Path::new(&installed);
        let programs = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop");
        // Modules are looked for beside the programs.
        let folder = Folder::new("interop");
        copy(&programs.join("node"), folder.path());
        std::os::unix::fs::symlink(installed.join("node_modules"), folder.path().join("node_modules"))
            .unwrap();
        let python = installed.join("python/bin/python");
        Verifiers {
            node: Process::start(Command::new("node").arg(folder.path().join("receiver.mjs"))),
            python: Process::start(Command::new(python).arg("-B").arg(programs.join("python/receiver.py"))),
            go: Process::start(&mut Command::new(installed.join("receiver-go"))),
            java: Process::start(Command::new("java").arg(programs.join("java/Receiver.java"))),
            _folder: folder,
        }
    }

    /// Where a receiver is, which knows this one secret.
    pub fn url(&self, receiver: &str, dialect: &str, known: Known) -> String {
        let (kind, package) = receiver.split_once('/').unwrap_or((receiver, dialect));
        let process = match kind {
            "express-raw" | "express-json" | "next" | "npm" => &self.node,
            "flask" | "pypi" => &self.python,
            "go" => &self.go,
            "java" => &self.java,
            other => panic!("there is no receiver {other}"),
        };
        let which = if known == Known::New { "new" } else { "old" };
        format!("http://127.0.0.1:{}/{kind}/{package}/{which}", process.port)
    }
}

impl Process {
    fn start(command: &mut Command) -> Process {
        for (kind, secrets) in [("TEXT", TEXT), ("WHSEC", WHSEC), ("WHPK", WHPK)] {
            command.env(format!("{kind}_NEW"), secrets[0]).env(format!("{kind}_OLD"), secrets[1]);
        }
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|cause| panic!("{command:?} can't be started: {cause}; see scripts/interop"));
        let (tell, told) = mpsc::channel();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        std::thread::spawn(move || {
            let port = lines
                .next()
                .and_then(Result::ok)
                .and_then(|line| line.strip_prefix("listening ")?.parse().ok());
            let _ = tell.send(port);
            // What it says later is read too, so that it never waits for a reader.
            lines.for_each(drop);
        });
        let port = told.recv_timeout(START).unwrap_or_default();
        let port = port.unwrap_or_else(|| {
            let _ = child.kill();
            panic!("{command:?} does not listen within {START:?}; its own words are above");
        });
        Process { port, _child: child }
    }
}

fn copy(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).unwrap() {
        let path: PathBuf = entry.unwrap().path();
        if path.is_file() {
            std::fs::copy(&path, to.join(path.file_name().unwrap())).unwrap();
        }
    }
}
