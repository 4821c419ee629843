//! From `-c` and the environment to one document.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::string::FromUtf8Error;
use std::sync::Arc;

use secrecy::zeroize::Zeroizing;

use super::cgroup;
use super::environment;
use super::fault::Findings;
use super::interpolate::{Interpolation, WhenUnset};
use super::merge;
use super::origin::{Origin, Position};
use super::read;
use super::tree::{Map, Node, Value};

/// What a configuration is made of.
#[derive(Clone, Default)]
pub struct Layers {
    /// Files and folders in the order of their `-c`; each is laid over the ones before it. None:
    /// `./hookferry.yaml` if it exists, else `/etc/hookferry/`.
    pub paths: Vec<PathBuf>,
    /// The environment: `HOOKFERRY__…` is laid over all files, and `${env:NAME}` looks here.
    pub environment: BTreeMap<String, String>,
    /// What happens to references without a value.
    pub when_unset: WhenUnset,
    /// The memory that the system lets the process have, in bytes; `None`: as much as there is.
    pub memory_limit: Option<u64>,
}

/// The environment may hold secrets and is not shown.
impl fmt::Debug for Layers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut layers = f.debug_struct("Layers");
        layers.field("paths", &self.paths).field("when_unset", &self.when_unset).finish_non_exhaustive()
    }
}

impl Layers {
    /// Whether there is a configuration that need not be named.
    pub fn are_in_the_usual_place() -> bool {
        USUAL.iter().any(|path| Path::new(path).exists())
    }

    /// The files and folders that are read: those that are named, else the usual one.
    pub fn places(&self) -> Vec<PathBuf> {
        match self.paths.is_empty() {
            true => USUAL.iter().map(PathBuf::from).find(|path| path.exists()).into_iter().collect(),
            false => self.paths.clone(),
        }
    }

    /// These files and folders, with the environment of this process. Variables that are not
    /// Unicode are left out.
    pub fn of_process(paths: Vec<PathBuf>, when_unset: WhenUnset) -> Layers {
        let variables = std::env::vars_os();
        let unicode =
            variables.filter_map(|(name, text)| Some((name.into_string().ok()?, text.into_string().ok()?)));
        Layers { paths, environment: unicode.collect(), when_unset, memory_limit: cgroup::memory_limit() }
    }
}

/// One configuration before anything in it has a type.
pub(super) struct Document {
    /// All layers of the user over each other.
    pub root: Node,
    /// How many files there were.
    pub files: usize,
    /// The memory that the system lets the process have, in bytes.
    pub memory_limit: Option<u64>,
}

/// A file that was found.
struct Text {
    name: Arc<str>,
    /// Secrets may stand in it.
    text: Zeroizing<String>,
}

/// Reads all layers. Faults of files that can't be read are in `findings`.
pub(super) fn assemble(layers: &Layers, findings: &Findings) -> Document {
    let paths = layers.places();
    if paths.is_empty() {
        let message = "there is no ./hookferry.yaml and no /etc/hookferry/; name a file or folder with `-c`";
        findings.unreadable(&Origin::Program, message);
    }
    let mut files = 0;
    let mut laid = Vec::new();
    for path in &paths {
        let texts = texts(path, findings);
        files += texts.len();
        let united = texts
            .iter()
            .filter_map(|text| document(layers, text, findings))
            .reduce(|first, second| merge::unite(first, second, findings));
        laid.extend(united);
    }
    assembled(layers, laid, files, findings)
}

/// Reads one text as the only file.
pub(super) fn assemble_text(layers: &Layers, name: &str, text: &str, findings: &Findings) -> Document {
    let text = Text { name: name.into(), text: Zeroizing::new(text.to_owned()) };
    assembled(layers, document(layers, &text, findings).into_iter().collect(), 1, findings)
}

fn assembled(layers: &Layers, laid: Vec<Node>, files: usize, findings: &Findings) -> Document {
    let empty = Node { origin: Origin::Program, value: Value::Map(Map::default()) };
    let all = laid.into_iter().chain(environment::layer(&layers.environment, findings));
    Document {
        root: all.reduce(merge::lay_document_over).unwrap_or(empty),
        files,
        memory_limit: layers.memory_limit,
    }
}

/// Where a configuration is looked for that is not named.
const USUAL: [&str; 2] = ["hookferry.yaml", "/etc/hookferry"];

fn document(layers: &Layers, text: &Text, findings: &Findings) -> Option<Node> {
    let mut root = read::read(&text.name, &text.text, findings)?;
    if root.is_null() {
        root.value = Value::Map(Map::default());
    }
    if root.as_map().is_none() {
        findings.unreadable(&root.origin, "a configuration is a map (`key: value`)");
        return None;
    }
    let interpolation =
        Interpolation { variables: &layers.environment, when_unset: layers.when_unset, findings };
    interpolation.resolve(&mut root, "");
    Some(root)
}

/// The file's text, or those of a folder, sorted by name.
fn texts(path: &Path, findings: &Findings) -> Vec<Text> {
    let files = match path.is_dir() {
        true => folder(path),
        false => Ok(vec![path.to_owned()]),
    };
    let unreadable = |path: &Path, error: &std::io::Error| {
        let message = format!("can't be read: {error}; name a file or folder with `-c`");
        findings.unreadable(&whole(path), message);
    };
    let files = files.unwrap_or_else(|error| {
        unreadable(path, &error);
        Vec::new()
    });
    if files.is_empty() && path.is_dir() {
        findings.unreadable(&whole(path), "the folder holds no `*.yaml`, `*.yml` or `*.json`");
    }
    let text = |path: PathBuf| {
        let bytes = std::fs::read(&path).map_err(|error| unreadable(&path, &error)).ok()?;
        let name: Arc<str> = path.to_string_lossy().into();
        let text = String::from_utf8(bytes).map_err(|error| not_utf8(&name, &error, findings)).ok()?;
        Some(Text { name, text: Zeroizing::new(text) })
    };
    files.into_iter().filter_map(text).collect()
}

fn not_utf8(file: &Arc<str>, error: &FromUtf8Error, findings: &Findings) {
    let valid = error.as_bytes().get(..error.utf8_error().valid_up_to()).unwrap_or_default();
    let valid = String::from_utf8_lossy(valid);
    let line = 1 + valid.matches('\n').count() as u64;
    let column =
        1 + valid.lines().last().filter(|_| !valid.ends_with('\n')).map_or(0, |line| line.chars().count())
            as u64;
    let position = Position { file: file.clone(), line, column };
    findings.unreadable(&Origin::File(position), "the file is not UTF-8; save it as UTF-8");
}

/// The configuration files of a folder: not those below it, and none whose name starts with a dot
/// (Kubernetes keeps the versions of a mounted map under such names).
fn folder(path: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(path)? {
        let file = entry?.path();
        let hidden = file.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
        let kind = file.extension().and_then(|extension| extension.to_str());
        if !hidden && matches!(kind, Some("yaml" | "yml" | "json")) && file.is_file() {
            files.push(file);
        }
    }
    files.sort();
    Ok(files)
}

fn whole(path: &Path) -> Origin {
    Origin::File(Position { file: path.to_string_lossy().into(), line: 1, column: 1 })
}
