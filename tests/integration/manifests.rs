//! What judges manifests, where `scripts/manifests` installed it.

use std::path::{Path, PathBuf};
use std::process::Command;

fn installed(program: &str) -> PathBuf {
    let folder = std::env::var("HOOKFERRY_TEST_MANIFESTS")
        .expect("HOOKFERRY_TEST_MANIFESTS is not set: run the tests with ./scripts/test");
    Path::new(&folder).join(program)
}

/// A command of a Python package.
pub fn python(program: &str) -> Command {
    Command::new(installed("python/bin").join(program))
}

/// What judges dashboards by the schema of Grafana's makers (`tests/manifests/dashboards`).
pub fn grafana() -> Command {
    Command::new(installed("dashboards"))
}

/// A command of helm's for a Kubernetes of today (it takes a very old one for granted), which keeps nothing
/// on this machine.
pub fn helm(name: &str) -> Command {
    let mut command = Command::new(installed("helm"));
    command.args([name, "--kube-version", "1.30.0"]);
    command
        .envs(["HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME"].map(|name| (name, "/nonexistent")));
    command
}
