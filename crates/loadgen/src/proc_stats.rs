//! CPU time and resident memory of processes, from `/proc`.

use std::{fs, path::Path, process, time::Duration};

use anyhow::{Context as _, ensure};

/// CPU time used so far, and current memory.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Usage {
    pub(crate) cpu: Duration,
    /// Bytes in memory.
    pub(crate) resident: u64,
}

/// A process that is watched.
#[derive(Clone, Debug)]
pub(crate) struct Watched {
    pub(crate) name: String,
    pub(crate) pid: u32,
}

impl Watched {
    /// The processes that are meant by a pid or a name.
    pub(crate) fn find(which: &str) -> anyhow::Result<Vec<Self>> {
        if let Ok(pid) = which.parse() {
            let name = name(pid).with_context(|| format!("there is no process {pid}"))?;
            return Ok(Vec::from([Self { name, pid }]));
        }
        // The kernel keeps 15 bytes of a name.
        let which = which.get(..15).unwrap_or(which);
        let pids = fs::read_dir("/proc").context("cannot read /proc")?.filter_map(|entry| {
            let pid: u32 = entry.ok()?.file_name().to_str()?.parse().ok()?;
            (pid != process::id() && name(pid)? == which).then_some(pid)
        });
        let found: Vec<Self> = pids.map(|pid| Self { name: which.to_owned(), pid }).collect();
        ensure!(!found.is_empty(), "no process is called {which}");
        Ok(found)
    }

    pub(crate) fn itself() -> Self {
        Self { name: "bench".to_owned(), pid: process::id() }
    }

    /// Its current usage; zero after it has exited.
    pub(crate) fn usage(&self) -> Option<Usage> {
        let folder = Path::new("/proc").join(self.pid.to_string());
        let ticks = cpu_ticks(&fs::read_to_string(folder.join("stat")).ok()?)?;
        // To the nanosecond while its threads live; in ticks of 10 ms with those that ended.
        let threads = fs::read_dir(folder.join("task")).ok()?.filter_map(|thread| {
            let text = fs::read_to_string(thread.ok()?.path().join("schedstat")).ok()?;
            text.split(' ').next()?.parse::<u64>().ok()
        });
        let exact = Duration::from_nanos(threads.sum());
        let status = fs::read_to_string(folder.join("status")).ok()?;
        Some(Usage { cpu: exact.max(ticks), resident: resident(&status)? })
    }
}

fn name(pid: u32) -> Option<String> {
    let comm = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
    Some(comm.trim_end().to_owned())
}

/// `utime + stime` of `/proc/PID/stat`. A name may hold spaces and brackets.
fn cpu_ticks(stat: &str) -> Option<Duration> {
    let (_, fields) = stat.rsplit_once(") ")?;
    let mut fields = fields.split(' ').skip(11);
    let mut next = || fields.next()?.parse::<u64>().ok();
    // USER_HZ is 100 on every Linux.
    Some(Duration::from_millis((next()? + next()?) * 10))
}

/// `VmRSS` of `/proc/PID/status`, in bytes.
fn resident(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim_end().parse().ok()?;
    Some(kib * 1024)
}

/// How many files this process may open.
pub(crate) fn file_limit() -> Option<usize> {
    let limits = fs::read_to_string("/proc/self/limits").ok()?;
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Asks the kernel to wake this process' sleepers on time; threads started later inherit it.
/// Where it is not allowed, an open loop sends up to 50 µs late, which its report shows.
pub(crate) fn wake_on_time() {
    let _ = fs::write("/proc/self/timerslack_ns", "1");
}

/// The machine, in a few states.
pub(crate) fn machine() -> String {
    let text = |file| fs::read_to_string(file).unwrap_or_default();
    let cpus = text("/proc/cpuinfo");
    let value = |line: &str| line.split_once(':').map(|(_, value)| value.trim().to_owned());
    let model = cpus.lines().find(|line| line.starts_with("model name")).and_then(value);
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let memory = text("/proc/meminfo");
    let kib = memory.lines().find(|line| line.starts_with("MemTotal")).and_then(value);
    let kib = kib.and_then(|kib| kib.strip_suffix(" kB")?.parse::<u64>().ok()).unwrap_or(0);
    let kernel = text("/proc/sys/kernel/osrelease");
    format!(
        "{cores} cores, {}, {} GiB, Linux {}",
        model.unwrap_or_else(|| "unknown processor".to_owned()),
        kib / (1024 * 1024),
        kernel.trim_end()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_time_is_found_behind_any_name() {
        let stat = "7 (a (b) c) S 1 2 3 4 5 6 7 8 9 10 250 50 0 0 20 0 1 0 99 1 1";
        assert_eq!(cpu_ticks(stat), Some(Duration::from_secs(3)));
        assert_eq!(cpu_ticks("7 (x) S 1"), None);
    }

    #[test]
    fn resident_memory_is_in_bytes() {
        let status = "Name:\tx\nVmPeak:\t  9 kB\nVmRSS:\t    2048 kB\n";
        assert_eq!(resident(status), Some(2048 * 1024));
        assert_eq!(resident("Name:\tzombie\n"), None);
    }

    #[test]
    fn this_process_is_found() {
        let itself = Watched::itself();
        assert!(itself.usage().is_some_and(|usage| 0 < usage.resident));
        assert_eq!(Watched::find(&itself.pid.to_string()).unwrap().len(), 1);
        assert!(Watched::find("no process").is_err());
        assert!(file_limit().is_some());
    }
}
