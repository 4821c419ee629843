//! The memory that the system lets this process have.

use std::path::{Path, PathBuf};

/// What counts as no limit: version 1 writes a number near the largest one.
const UNLIMITED: u64 = 1 << 60;

/// The least limit of this process's control groups, in bytes; `None` without any.
pub(super) fn memory_limit() -> Option<u64> {
    let groups = std::fs::read_to_string("/proc/self/cgroup").ok()?;
    limit_below(Path::new("/sys/fs/cgroup"), &groups)
}

/// By the text of `/proc/self/cgroup` (cgroups(7)). A group's limit holds for all below it. In a
/// container the named path may not be there; then the root is the container's own group.
fn limit_below(root: &Path, groups: &str) -> Option<u64> {
    groups.lines().flat_map(|line| limit_files(root, line)).filter_map(|file| limit(&file)).min()
}

/// The files that may limit the group that a line names, from it up to the root.
fn limit_files(root: &Path, line: &str) -> Vec<PathBuf> {
    let mut parts = line.splitn(3, ':');
    let (Some(_), Some(controllers), Some(path)) = (parts.next(), parts.next(), parts.next()) else {
        return Vec::new();
    };
    let (root, name) = match controllers {
        "" => (root.to_owned(), "memory.max"),
        some if some.split(',').any(|controller| controller == "memory") => {
            (root.join("memory"), "memory.limit_in_bytes")
        }
        _ => return Vec::new(),
    };
    let group = root.join(path.trim_start_matches('/'));
    group.ancestors().take_while(|above| above.starts_with(&root)).map(|above| above.join(name)).collect()
}

fn limit(file: &Path) -> Option<u64> {
    let bytes = std::fs::read_to_string(file).ok()?.trim().parse().ok()?;
    (bytes < UNLIMITED).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A tree of control groups that goes away at the end of its test.
    struct Tree(PathBuf);

    impl Tree {
        fn with(stem: &str, files: &[(&str, &str)]) -> Tree {
            let root = std::env::temp_dir().join(format!("hookferry-{stem}-{}", std::process::id()));
            for (file, text) in files {
                let file = root.join(file);
                let folder = file.parent().expect("a file in a folder");
                std::fs::create_dir_all(folder).expect("a temporary folder");
                std::fs::write(file, text).expect("a temporary file");
            }
            Tree(root)
        }
    }

    impl Drop for Tree {
        fn drop(&mut self) {
            // What is left in the temporary folder harms nobody.
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn version_two_limits_by_the_least_of_a_group_and_those_above() {
        let tree = Tree::with("cgroup2", &[("a/b/memory.max", "max\n"), ("a/memory.max", "1048576\n")]);
        assert_eq!(limit_below(&tree.0, "0::/a/b\n"), Some(1_048_576));
        assert_eq!(limit_below(&tree.0, "0::/other\n"), None);
    }

    #[test]
    fn in_a_container_the_root_is_its_own_group() {
        let tree = Tree::with("cgroup-container", &[("memory.max", "2097152\n")]);
        assert_eq!(limit_below(&tree.0, "0::/not/to/be/seen\n"), Some(2_097_152));
    }

    #[test]
    fn version_one_has_a_tree_of_its_own_for_memory() {
        let files = [
            ("memory/a/memory.limit_in_bytes", "4096\n"),
            ("memory/memory.limit_in_bytes", "9223372036854771712\n"),
        ];
        let tree = Tree::with("cgroup1", &files);
        assert_eq!(limit_below(&tree.0, "5:cpu,cpuacct:/a\n4:memory:/a\n"), Some(4096));
        assert_eq!(limit_below(&tree.0, "4:memory:/b\n"), None, "a number that is no limit");
    }

    #[test]
    fn what_is_no_list_of_groups_limits_nothing() {
        for text in ["", "x", "0:", "::::"] {
            assert_eq!(limit_below(Path::new("/nowhere"), text), None, "{text}");
        }
    }
}
