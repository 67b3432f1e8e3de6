//! The memory use of this process.

/// Largest resident memory of this process so far, in bytes; `None` where the system does not tell
/// (Linux does).
#[must_use]
pub fn peak_memory() -> Option<u64> {
    in_status(&status()?, "VmHWM:")
}

/// Resident memory of this process, in bytes; `None` where the system does not tell (Linux does).
#[must_use]
pub fn resident_memory() -> Option<u64> {
    in_status(&status()?, "VmRSS:")
}

fn status() -> Option<String> {
    fs_err::read_to_string("/proc/self/status").ok()
}

fn in_status(status: &str, field: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(field))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(1024 * kibibytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_in_bytes() {
        let status = "Name:\tmultimae\nVmPeak:\t  999 kB\nVmHWM:\t   12345 kB\nVmRSS:\t 1 kB\n";
        assert_eq!(in_status(status, "VmHWM:"), Some(12345 * 1024));
        assert_eq!(in_status(status, "VmRSS:"), Some(1024));
        assert_eq!(in_status("Name:\tmultimae\n", "VmHWM:"), None);
    }
}
