//! Figures of this process, as the system reports them.

use std::fs;

/// Resident memory in bytes; `None` if the system does not report it.
#[must_use]
pub fn resident_bytes() -> Option<u64> {
    memory("VmRSS:")
}

/// Virtual memory in bytes; `None` if the system does not report it.
pub(crate) fn virtual_bytes() -> Option<u64> {
    memory("VmSize:")
}

fn memory(key: &str) -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(key))?;
    let kibibytes: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kibibytes.saturating_mul(1024))
}

/// Open files; `None` if the system does not report their number without listing them, as Linux
/// before 6.2.
#[must_use]
pub fn descriptors() -> Option<u64> {
    // The size of the folder is the number of its entries. Listing them would take long for a
    // process with very many.
    fs::metadata("/proc/self/fd").ok().map(|folder| folder.len()).filter(|count| *count != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_and_files_of_the_process_are_reported() {
        let before = descriptors();
        let files: Vec<_> = (0..10).map(|_| fs::File::open("/proc/self/status").unwrap()).collect();
        assert!(1024 * 1024 < resident_bytes().unwrap());
        // Other tests open and close some meanwhile.
        let listed = fs::read_dir("/proc/self/fd").unwrap().count() as u64;
        if let Some(count) = descriptors().filter(|_| before.is_some()) {
            assert!(count.abs_diff(listed) < 20 && 10 < count, "{count} of {listed}");
        }
        drop(files);
    }
}
