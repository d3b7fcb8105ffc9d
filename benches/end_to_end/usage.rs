//! What the kernel says of one process: its CPU time and the most memory that it had.

use std::fs;

/// User and system time of all threads that a process has, in nanoseconds; `None` if there is no such process.
///
/// From `schedstat`: `stat` counts in hundredths of a second, which is a percent of a short run.
pub(crate) fn cpu_ns(pid: u32) -> Option<u64> {
    let mut sum = 0;
    for thread in fs::read_dir(format!("/proc/{pid}/task")).ok()?.flatten() {
        // A thread that has just ended is missed with what it used: none of ours ends while it is watched.
        let Ok(text) = fs::read_to_string(thread.path().join("schedstat")) else { continue };
        sum += text.split_whitespace().next()?.parse::<u64>().ok()?;
    }
    Some(sum)
}

/// The most memory that was resident, in KiB.
pub(crate) fn peak_kib(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default();
    peak.trim().trim_end_matches(" kB").parse().unwrap_or(0)
}
