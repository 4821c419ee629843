//! The hookferry binary as a command that ends, and what tests need around it.

use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};

/// The binary under test.
pub const BINARY: &str = env!("CARGO_BIN_EXE_hookferry");

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

/// Runs one command to its end, without any `HOOKFERRY__` variable of the caller.
pub fn hookferry<S: AsRef<std::ffi::OsStr>>(arguments: &[S]) -> Output {
    Command::new(BINARY).args(arguments).output().unwrap()
}

/// What a command printed, both streams.
pub fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}
