use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::concealed::Concealed;
use super::origin::Origin;

/// One thing that is wrong with the configuration. Never holds the text of a secret.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Fault {
    /// Where it is.
    pub at: Origin,
    /// The key, for example `targets.crm.timeout`; empty if no key is meant.
    pub path: String,
    /// What is wrong, and what to do.
    pub message: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.at {
            Origin::File(position) | Origin::Defaults(position) => write!(f, "{position}: ")?,
            Origin::Program => f.write_str("configuration: ")?,
            other => write!(f, "{other}: ")?,
        }
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.message)
    }
}

/// Everything that is wrong with the configuration: at least one fault, ordered by place. `Display`
/// writes one line for each.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Faults(Vec<Fault>);

impl Faults {
    /// The faults, ordered by place.
    pub fn iter(&self) -> impl Iterator<Item = &Fault> {
        self.0.iter()
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, fault) in self.0.iter().enumerate() {
            let end_of_line = if index == 0 { "" } else { "\n" };
            write!(f, "{end_of_line}{fault}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Faults {}

/// What there is to say of a configuration without a fault.
pub(super) struct Conclusion {
    pub(super) notices: Vec<String>,
    /// What may not be shown.
    pub(super) concealed: Concealed,
    /// The files that values came from.
    pub(super) referred: BTreeSet<PathBuf>,
}

/// Collects faults and notices while the configuration is judged.
#[derive(Debug, Default)]
pub(super) struct Findings {
    faults: RefCell<Vec<Fault>>,
    notices: RefCell<Vec<String>>,
    concealed: RefCell<Concealed>,
    referred: RefCell<BTreeSet<PathBuf>>,
    contents: RefCell<BTreeMap<String, String>>,
    /// A file could not be read, so what seems missing may stand there.
    partial: Cell<bool>,
}

impl Findings {
    /// Something is wrong.
    pub(super) fn fault(&self, at: &Origin, path: impl Into<String>, message: impl Into<String>) {
        let fault = Fault { at: at.clone(), path: path.into(), message: message.into() };
        self.faults.borrow_mut().push(fault);
    }

    /// A whole file can't be used.
    pub(super) fn unreadable(&self, at: &Origin, message: impl Into<String>) {
        self.partial.set(true);
        self.fault(at, "", message);
    }

    /// Something is missing. Not a fault while a file could not be read: it may stand there.
    pub(super) fn missing(&self, at: &Origin, path: impl Into<String>, message: impl Into<String>) {
        if !self.partial.get() {
            self.fault(at, path, message);
        }
    }

    /// Something that the user should know although it is no fault.
    pub(super) fn notice(&self, text: impl Into<String>) {
        self.notices.borrow_mut().push(text.into());
    }

    /// A reference brought in a text that may not be shown.
    pub(super) fn conceal(&self, text: &str) {
        self.concealed.borrow_mut().add(text);
    }

    /// A value comes from this file.
    pub(super) fn refer(&self, file: &Path) {
        self.referred.borrow_mut().insert(file.to_owned());
    }

    /// What stands in the file that the setting at `path` names or is made of. Anybody may see it.
    pub(super) fn content(&self, path: &str, text: &str) {
        self.contents.borrow_mut().insert(path.to_owned(), text.to_owned());
    }

    /// All contents, by the settings that they belong to.
    pub(super) fn contents(&self) -> BTreeMap<String, String> {
        self.contents.borrow().clone()
    }

    /// What was found, if there is no fault.
    pub(super) fn conclude(self) -> Result<Conclusion, Faults> {
        let mut faults = self.faults.into_inner();
        if faults.is_empty() {
            return Ok(Conclusion {
                notices: self.notices.into_inner(),
                concealed: self.concealed.into_inner(),
                referred: self.referred.into_inner(),
            });
        }
        // What stands in `defaults` is read once for each target.
        faults.sort();
        faults.dedup();
        Err(Faults(faults))
    }
}
