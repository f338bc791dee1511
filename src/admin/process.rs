//! What the kernel tells about this process, from `/proc` and the cgroup file systems.

use std::fs;
use std::path::{Path, PathBuf};

use crate::telemetry::ProcessStats;

/// Ticks per second in `/proc`: USER_HZ, 100 on every architecture that Rust supports.
const TICKS_PER_SECOND: f64 = 100.0;

/// Reads everything anew. What cannot be read is 0.
pub(super) fn read() -> ProcessStats {
    let stat = Stat::parse(&text("/proc/self/stat")).unwrap_or_default();
    let status = text("/proc/self/status");
    let boot_seconds = field(&text("/proc/stat"), "btime").unwrap_or_default();
    ProcessStats {
        cpu_seconds: stat.cpu_ticks as f64 / TICKS_PER_SECOND,
        resident_bytes: field(&status, "VmRSS:").unwrap_or_default() * 1024,
        virtual_bytes: field(&status, "VmSize:").unwrap_or_default() * 1024,
        memory_limit_bytes: memory_limit_bytes(),
        open_fds: open_fds(),
        max_fds: max_fds(&text("/proc/self/limits")).unwrap_or_default(),
        threads: field(&status, "Threads:").unwrap_or_default(),
        start_time_seconds: boot_seconds as f64 + stat.start_ticks as f64 / TICKS_PER_SECOND,
    }
}

fn text(path: impl AsRef<Path>) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

#[derive(Debug, Default, PartialEq)]
struct Stat {
    /// User and system time.
    cpu_ticks: u64,
    /// Since the machine started.
    start_ticks: u64,
}

impl Stat {
    /// Fields of proc_pid_stat(5), where the first has the number 1.
    fn parse(stat: &str) -> Option<Self> {
        // The name of the program, field 2, is in parentheses and may hold spaces and parentheses.
        let (_, from_third) = stat.rsplit_once(") ")?;
        let fields: Vec<&str> = from_third.split_ascii_whitespace().collect();
        let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
        Some(Self { cpu_ticks: field(14)? + field(15)?, start_ticks: field(22)? })
    }
}

/// The first number after `name` at the start of a line.
fn field(text: &str, name: &str) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
    rest.split_ascii_whitespace().next()?.parse().ok()
}

fn open_fds() -> u64 {
    // Since Linux 6.2 the size of the directory is the number of descriptors: no need to list
    // some 100,000 of them.
    let counted = fs::metadata("/proc/self/fd").map_or(0, |folder| folder.len());
    if counted > 0 {
        return counted;
    }
    // One of the entries is that of the listing itself.
    fs::read_dir("/proc/self/fd").map_or(0, |entries| entries.count().saturating_sub(1) as u64)
}

/// The soft limit, since that is the one that bites.
fn max_fds(limits: &str) -> Option<u64> {
    let values = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    match values.split_ascii_whitespace().next()? {
        "unlimited" => Some(u64::MAX),
        number => number.parse().ok(),
    }
}

/// The lowest of the limits of the cgroups that the process is in, and the machine's memory.
fn memory_limit_bytes() -> u64 {
    let machine = field(&text("/proc/meminfo"), "MemTotal:").map(|kib| kib * 1024);
    let groups = limit_files(&text("/proc/self/cgroup"));
    // "max" is no number, and means none; so does the absence of a file.
    let limits = groups.iter().filter_map(|path| text(path).trim().parse().ok());
    limits.chain(machine).min().unwrap_or_default()
}

/// Files that may hold a memory limit: of the group and of those above it, cgroups(7).
///
/// Inside a container the path may be the host's while only the root is mounted; the root is
/// among the files in any case.
fn limit_files(cgroup: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for line in cgroup.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else { continue };
        let (root, name) = match controllers {
            "" => ("/sys/fs/cgroup", "memory.max"),
            "memory" => ("/sys/fs/cgroup/memory", "memory.limit_in_bytes"),
            _ => continue,
        };
        let groups = Path::new(path.trim_start_matches('/')).ancestors();
        files.extend(groups.map(|group| Path::new(root).join(group).join(name)));
    }
    files
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::time::{SystemTime, UNIX_EPOCH};

    #[test]
    fn a_program_name_with_parentheses_does_not_shift_the_fields() {
        let stat = "7 (a) b (c) S 1 2 3 0 -1 4194304 101 0 0 0 250 50 0 0 20 0 1 0 206698 3133440";
        let expected = Stat { cpu_ticks: 300, start_ticks: 206_698 };
        assert_eq!(Stat::parse(stat), Some(expected));
        assert_eq!(Stat::parse("7 (cut) S 1"), None);
    }

    #[test]
    fn the_soft_limit_of_descriptors_counts() {
        let line = "Max open files            1024                 4096                 files";
        assert_eq!(max_fds(line), Some(1024));
        let line = "Max open files            unlimited            unlimited            files";
        assert_eq!(max_fds(line), Some(u64::MAX));
        assert_eq!(max_fds("Max processes  7  7  processes"), None);
    }

    #[test]
    fn a_group_is_limited_by_those_above_it_too() {
        let files = limit_files("4:memory:/a\n3:cpuset:/a\n0::/b/c\n");
        let expected = [
            "/sys/fs/cgroup/memory/a/memory.limit_in_bytes",
            "/sys/fs/cgroup/memory/memory.limit_in_bytes",
            "/sys/fs/cgroup/b/c/memory.max",
            "/sys/fs/cgroup/b/memory.max",
            "/sys/fs/cgroup/memory.max",
        ];
        assert_eq!(files, expected.map(PathBuf::from));
    }

    #[test]
    fn this_process_has_plausible_numbers() {
        let stats = read();
        assert!(stats.resident_bytes > 100 * 1024 && stats.resident_bytes < stats.virtual_bytes);
        assert!(stats.memory_limit_bytes > stats.resident_bytes);
        assert!(stats.threads >= 1);
        assert!(stats.open_fds >= 3 && stats.open_fds <= stats.max_fds, "{stats:?}");
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
        // The boot time has the resolution of a second.
        assert!((-2.0..24.0 * 3600.0).contains(&(now - stats.start_time_seconds)), "{stats:?}");
    }

    #[test]
    fn an_open_file_is_counted() {
        let files: Vec<File> = (0..100).map(|_| File::open("/proc/self/stat").unwrap()).collect();
        assert!(open_fds() >= files.len() as u64);
    }
}
