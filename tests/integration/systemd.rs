//! The unit of systemd, as systemd's own tool judges it.

use std::process::Command;

use crate::composition::read;
use crate::process::{Folder, text};

#[test]
fn the_unit_is_understood_and_leaves_little_open() {
    let unit = read("deploy/systemd/hookferry.service");
    let folder = Folder::new("systemd");
    // It must name a program that is there.
    let here = unit.replace("/usr/local/bin/hookferry", env!("CARGO_BIN_EXE_hookferry"));
    assert_ne!(here, unit);
    let here = folder.file("hookferry.service", &here);
    let analyze = |arguments: &[&str]| {
        let output = Command::new("systemd-analyze").args(arguments).arg(&here).output();
        output.unwrap_or_else(|cause| panic!("systemd-analyze: {cause}; see scripts/manifests"))
    };
    let verified = analyze(&["verify"]);
    // Of a key that it does not know it only says so.
    assert!(verified.status.success() && text(&verified).is_empty(), "{}", text(&verified));
    let exposure = analyze(&["security", "--offline=true", "--threshold=15"]);
    assert!(exposure.status.success(), "{}", text(&exposure));
}

/// What an operator counts on, and systemd does not know of.
#[test]
fn the_unit_fits_the_program() {
    let unit = read("deploy/systemd/hookferry.service");
    let value =
        |key: &str| unit.lines().find_map(|line| line.strip_prefix(&format!("{key}="))).unwrap_or_default();
    assert_eq!(value("Type"), "notify");
    assert_eq!(value("ExecStart"), "/usr/local/bin/hookferry run -c /etc/hookferry/");
    assert_eq!(value("ExecReload"), "/bin/kill -HUP $MAINPID");
    assert_eq!(value("RestartPreventExitStatus"), "2", "the exit code for a bad configuration");
    assert_eq!(value("ProcSubset"), "", "process_start_time_seconds needs /proc/stat");
    let program = read("src/plan/program.yaml");
    let deadline = program
        .lines()
        .find_map(|line| line.trim().strip_prefix("shutdown: { deadline: "))
        .expect("a default");
    let seconds: u32 = deadline.trim_end_matches(['s', ' ', '}']).parse().expect("seconds");
    assert!(value("TimeoutStopSec").parse::<u32>().expect("seconds") > seconds, "longer than {deadline}");
}
