//! `reload`: what brings the configuration anew.

use super::walk::Keys;

/// `reload`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Reload {
    /// Whether the files are watched, and a change of them reloads the configuration.
    pub watch: bool,
}

pub(super) fn reload(keys: &mut Keys<'_>) -> Reload {
    let Some(item) = keys.get("reload") else { return Reload::default() };
    let mut keys = item.keys();
    let watch = keys.get("watch").is_some_and(|item| item.flag());
    keys.done();
    Reload { watch }
}
