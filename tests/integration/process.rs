//! The hookferry binary as a command that ends, and what tests need around it.

use std::io::Read;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// No command that is run here takes longer.
const LIMIT: Duration = Duration::from_secs(180);

/// The binary under test, without any `HOOKFERRY__` variable of the caller and with nothing to read.
pub fn command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hookferry"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("HOOKFERRY__") {
            command.env_remove(name);
        }
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// A name that no other test of this or an earlier run uses; fit for `name:`, topics and groups.
pub fn fresh(stem: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let started = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("{stem}-{}-{}-{number}", std::process::id(), started.as_millis() % 100_000_000)
}

/// A folder that is removed when this is dropped.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new(stem: &str) -> Folder {
        let path = std::env::temp_dir().join(fresh(&format!("hookferry-{stem}")));
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    #[cfg(feature = "real-brokers")]
    pub fn path(&self) -> &std::path::Path {
        &self.0
    }

    /// Writes a file and returns its path.
    pub fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, text).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Runs one command to its end.
pub fn hookferry<S: AsRef<std::ffi::OsStr>>(arguments: &[S]) -> Output {
    hookferry_in(&[], arguments)
}

/// As [`hookferry`], in an environment with these variables.
pub fn hookferry_in<S: AsRef<std::ffi::OsStr>>(variables: &[(&str, &str)], arguments: &[S]) -> Output {
    let mut child = command().envs(variables.iter().copied()).args(arguments).spawn().unwrap();
    let stdout = drain(child.stdout.take().unwrap());
    let stderr = drain(child.stderr.take().unwrap());
    let deadline = Instant::now() + LIMIT;
    let (status, is_late) = loop {
        match child.try_wait().unwrap() {
            Some(status) => break (status, false),
            None if Instant::now() >= deadline => {
                child.kill().unwrap();
                break (child.wait().unwrap(), true);
            }
            None => std::thread::sleep(Duration::from_millis(10)),
        }
    };
    let output = Output { status, stdout: stdout.join().unwrap(), stderr: stderr.join().unwrap() };
    assert!(!is_late, "it did not end within {LIMIT:?}; it said:\n{}", text(&output));
    output
}

/// Reads all of a stream, so that the child never waits for a reader.
fn drain(mut stream: impl Read + Send + 'static) -> JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut read = Vec::new();
        stream.read_to_end(&mut read).unwrap();
        read
    })
}

/// What a command printed, both streams.
pub fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}
