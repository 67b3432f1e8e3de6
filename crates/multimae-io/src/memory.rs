//! The memory use of this process.

/// Largest resident memory of this process so far, in bytes; `None` where the system does not tell
/// (Linux does).
#[must_use]
pub fn peak_memory() -> Option<u64> {
    peak_in(&fs_err::read_to_string("/proc/self/status").ok()?)
}

fn peak_in(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(1024 * kibibytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_peak_is_read_in_bytes() {
        let status = "Name:\tmultimae\nVmPeak:\t  999 kB\nVmHWM:\t   12345 kB\nVmRSS:\t 1 kB\n";
        assert_eq!(peak_in(status), Some(12345 * 1024));
        assert_eq!(peak_in("Name:\tmultimae\n"), None);
    }
}
