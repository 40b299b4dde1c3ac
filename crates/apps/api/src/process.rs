//! What `/proc` says of this process (proc_pid_stat(5), proc_pid_limits(5)). What cannot be read counts as 0.

use control::Process;

pub(crate) fn read() -> Process {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let open_files = std::fs::read_dir("/proc/self/fd").map_or(0, |entries| entries.count() as u64);
    Process { open_files, open_files_max: open_files_max(&limits), ..of_stat(&stat) }
}

/// Fields 14 and 15 are ticks of user and system time, 24 is resident pages; counted from behind the name, which may hold
/// anything. Linux has 100 ticks a second for user space, and pages of 4 KiB where the server is built for.
fn of_stat(stat: &str) -> Process {
    let fields: Vec<&str> =
        stat.rsplit_once(')').map(|(_, rest)| rest.split_whitespace().collect()).unwrap_or_default();
    let field = |number: usize| fields.get(number - 3).and_then(|text| text.parse::<u32>().ok()).unwrap_or_default();
    Process {
        resident_bytes: u64::from(field(24)) * 4096,
        cpu_seconds: f64::from(field(14) + field(15)) / 100.0,
        ..Process::default()
    }
}

fn open_files_max(limits: &str) -> u64 {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_whose_name_is_strange_is_read_right() {
        let stat =
            "7 (a) b) S 1 7 7 0 -1 4194560 900 0 0 0 150 50 0 0 20 0 4 0 100 9000000 2048 18446744073709551615 1";
        let process = of_stat(stat);
        assert_eq!((process.resident_bytes, process.cpu_seconds), (2048 * 4096, 2.0));
        assert_eq!(
            open_files_max("Limit  Soft  Hard\nMax open files            1024                 524288  files\n"),
            1024
        );
        let own = read();
        assert!(own.resident_bytes > 1 << 20 && own.open_files > 2 && own.open_files_max > 2, "{own:?}");
    }
}
