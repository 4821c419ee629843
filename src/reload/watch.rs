use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use notify::event::{AccessKind, AccessMode};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};

use super::{Requests, Trigger};
use crate::plan::Layers;

/// Changes that follow each other within this are one.
const QUIET: Duration = Duration::from_millis(300);
/// Who never stops writing is not waited for longer.
const LONGEST: Duration = Duration::from_secs(5);

/// Watches the files of a configuration, until it is dropped, and asks for a reload when one changes.
///
/// Folders are watched, not files: an editor puts a new file in the place of the old one, and
/// Kubernetes lets the link `..data` of a mounted map point to another folder.
#[derive(Debug)]
pub(super) struct Watch {
    _watcher: RecommendedWatcher,
}

impl Watch {
    /// Watches what `layers` name, and the files that values were `referred` to.
    pub(super) fn start(
        layers: &Layers,
        referred: &BTreeSet<PathBuf>,
        requests: Requests,
    ) -> notify::Result<Watch> {
        let mut folders = BTreeSet::new();
        let mut files = BTreeSet::new();
        for path in layers.places().iter().chain(referred) {
            if path.is_dir() {
                folders.insert(path.clone());
            } else {
                folders.insert(folder_of(path));
                files.extend(path.file_name().map(OsString::from));
            }
        }
        let (tell, changed) = channel();
        let mut watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
            // What could not be told may have been a change.
            if event.map_or(true, |event| is_change(&event, &files)) {
                let _ = tell.send(());
            }
        })?;
        for folder in &folders {
            watcher.watch(folder, RecursiveMode::NonRecursive)?;
        }
        std::thread::Builder::new()
            .name("watch".to_owned())
            .spawn(move || ask_when_quiet(&changed, &requests))
            .map_err(notify::Error::io)?;
        Ok(Watch { _watcher: watcher })
    }
}

fn folder_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}

/// Whether a file that matters may read otherwise. That it was read is none, for we do so ourselves.
fn is_change(event: &Event, files: &BTreeSet<OsString>) -> bool {
    let is_written = match event.kind {
        EventKind::Access(kind) => kind == AccessKind::Close(AccessMode::Write),
        _ => true,
    };
    let matters = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default();
        let kind = path.extension().and_then(|kind| kind.to_str());
        files.contains(name)
            || name.as_encoded_bytes().starts_with(b"..")
            || matches!(kind, Some("yaml" | "yml" | "json"))
    };
    is_written && (event.need_rescan() || event.paths.iter().any(matters))
}

/// Asks once for all changes that come together; ends with the watcher.
fn ask_when_quiet(changed: &Receiver<()>, requests: &Requests) {
    while changed.recv().is_ok() {
        let until = Instant::now() + LONGEST;
        while Instant::now() < until {
            match changed.recv_timeout(QUIET) {
                Ok(()) => {}
                // Its place has been taken by another watch, which knows nothing of this change.
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => break,
            }
        }
        requests.ask(Trigger::Watch);
    }
}
