//! How much memory this process may use, as far as the system tells it in a file.

use std::fs;
use std::path::{Component, Path, PathBuf};

use crate::limits::{MEMORY_QUOTA_LEAST_BYTES, MEMORY_QUOTA_SHARE};

/// What the circuits of a relay may hold together.
pub(crate) fn quota_bytes() -> usize {
    quota_of(available(Path::new("/")))
}

fn quota_of(available: Option<u64>) -> usize {
    let share = available.unwrap_or(0) / MEMORY_QUOTA_SHARE;
    usize::try_from(share).unwrap_or(usize::MAX).max(MEMORY_QUOTA_LEAST_BYTES)
}

/// Bytes of memory, or of the smallest control group around this process. Linux only: others have no such files.
fn available(root: &Path) -> Option<u64> {
    [total(root), group(root)].into_iter().flatten().min()
}

fn total(root: &Path) -> Option<u64> {
    let text = fs::read_to_string(root.join("proc/meminfo")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
    kib.checked_mul(1024)
}

fn group(root: &Path) -> Option<u64> {
    let text = fs::read_to_string(root.join("proc/self/cgroup")).ok()?;
    let limits = text.lines().filter_map(|line| {
        let (_, rest) = line.split_once(':')?;
        let (controllers, path) = rest.split_once(':')?;
        let (mount, file) = if controllers.is_empty() {
            ("sys/fs/cgroup", "memory.max")
        } else if controllers.split(',').any(|name| name == "memory") {
            ("sys/fs/cgroup/memory", "memory.limit_in_bytes")
        } else {
            return None;
        };
        smallest(&root.join(mount), path, file)
    });
    limits.min()
}

/// The smallest limit of a group and those around it. A group without a limit says "max", or a number larger than any memory.
fn smallest(mount: &Path, path: &str, file: &str) -> Option<u64> {
    // A group outside of what this process sees has `..` in its path: then the mount itself is the nearest that can be seen.
    let inside = Path::new(path).components().filter(|part| matches!(part, Component::Normal(_)));
    let group: PathBuf = inside.collect();
    let limits = group
        .ancestors()
        .filter_map(|group| fs::read_to_string(mount.join(group).join(file)).ok()?.trim().parse().ok());
    limits.min()
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    /// Files and what is in them.
    type Files = &'static [(&'static str, &'static str)];

    fn system(name: &str, files: Files) -> PathBuf {
        let root = std::env::temp_dir().join(format!("anonnet-memory-{}-{name}", std::process::id()));
        for (path, text) in files {
            let path = root.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        root
    }

    #[test]
    fn a_quarter_of_the_memory_and_no_less_than_256_mib() {
        assert_eq!(quota_of(None), MEMORY_QUOTA_LEAST_BYTES);
        assert_eq!(quota_of(Some(GIB / 2)), 256 << 20);
        assert_eq!(quota_of(Some(16 * GIB)), 4 << 30);
        assert!(quota_bytes() >= MEMORY_QUOTA_LEAST_BYTES);
    }

    #[test]
    fn the_smallest_of_what_the_system_says_counts() {
        const MEMINFO: (&str, &str) = ("proc/meminfo", "MemTotal:       16777216 kB\nMemFree: 1 kB\n");
        let cases: [(&str, Files, Option<u64>); 6] = [
            ("none", &[("proc/other", "")], None),
            ("plain", &[MEMINFO], Some(16 * GIB)),
            (
                "unlimited",
                &[MEMINFO, ("proc/self/cgroup", "0::/a\n"), ("sys/fs/cgroup/a/memory.max", "max\n")],
                Some(16 * GIB),
            ),
            (
                "around",
                &[
                    MEMINFO,
                    ("proc/self/cgroup", "0::/a/b\n"),
                    ("sys/fs/cgroup/a/memory.max", "1073741824\n"),
                    ("sys/fs/cgroup/a/b/memory.max", "2147483648\n"),
                ],
                Some(GIB),
            ),
            (
                "namespace",
                &[
                    MEMINFO,
                    ("proc/self/cgroup", "0::/../x\n"),
                    ("sys/fs/cgroup/memory.max", "536870912\n"),
                ],
                Some(GIB / 2),
            ),
            (
                "first version",
                &[
                    MEMINFO,
                    ("proc/self/cgroup", "3:cpu,memory:/box\n2:cpuset:/other\n"),
                    ("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n"),
                    ("sys/fs/cgroup/memory/box/memory.limit_in_bytes", "2147483648\n"),
                ],
                Some(2 * GIB),
            ),
        ];
        for (name, files, expected) in cases {
            let root = system(name, files);
            assert_eq!(available(&root), expected, "{name}");
            fs::remove_dir_all(root).unwrap();
        }
    }
}
