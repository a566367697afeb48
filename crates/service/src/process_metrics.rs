//! Metrics of the process itself, under the names that dashboards expect, and of its build.

use std::{
    env, fmt, fs,
    time::{SystemTime, UNIX_EPOCH},
};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric as _},
    metrics::{counter::ConstCounter, gauge::ConstGauge, info::Info},
    registry::Registry,
};
use rustix::time::{ClockId, clock_gettime};

use crate::{limits, process_figures};

/// The version of the suite.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The commit, if the build states one.
const COMMIT: &str = match option_env!("PUSH_SUITE_COMMIT") {
    Some(commit) if !commit.is_empty() => commit,
    _ => "unknown",
};

/// Registers `pushsuite_build_info` and `process_*`. The process counts as started now.
pub(crate) fn register(registry: &mut Registry) {
    let exe = env::current_exe().unwrap_or_default();
    let program = exe.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let labels: Vec<(&str, String)> =
        vec![("program", program), ("version", VERSION.into()), ("commit", COMMIT.into())];
    let help = "The program, and the version and commit that it was built from";
    registry.register("pushsuite_build", help, Info::new(labels));
    let started = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    registry.register_collector(Box::new(Process { started: started.as_secs_f64() }));
}

/// Figures that are read when they are asked for.
#[derive(Debug)]
struct Process {
    /// Seconds since the epoch.
    started: f64,
}

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let mut gauge = |name: &str, help: &str, value: Option<u64>| {
            let Some(value) = value else { return Ok(()) };
            let gauge = ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
            gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)
        };
        let resident = process_figures::resident_bytes();
        gauge("process_resident_memory_bytes", "Resident memory", resident)?;
        let all = process_figures::virtual_bytes();
        gauge("process_virtual_memory_bytes", "Virtual memory", all)?;
        gauge("process_open_fds", "Open file descriptors", open_descriptors())?;
        gauge("process_max_fds", "Limit of open file descriptors", limits::descriptors())?;
        let started = ConstGauge::new(self.started);
        let help = "Start of the process, in seconds since the epoch";
        let name = "process_start_time_seconds";
        started.encode(encoder.encode_descriptor(name, help, None, started.metric_type())?)?;
        let cpu = clock_gettime(ClockId::ProcessCPUTime);
        let cpu = ConstCounter::new(cpu.tv_sec as f64 + cpu.tv_nsec as f64 / 1e9);
        let help = "CPU time used by all threads, in user and kernel mode";
        let name = "process_cpu_seconds";
        cpu.encode(encoder.encode_descriptor(name, help, None, cpu.metric_type())?)
    }
}

/// On kernels that do not state the number, the entries are counted: a scrape may take that long.
fn open_descriptors() -> Option<u64> {
    let count = || Some(fs::read_dir("/proc/self/fd").ok()?.count() as u64);
    process_figures::descriptors().or_else(count)
}

#[cfg(test)]
mod tests {
    use std::{fs::File, time::Instant};

    use prometheus_client::encoding::text;

    use super::*;

    fn value(registry: &Registry, name: &str) -> f64 {
        let mut page = String::new();
        text::encode(&mut page, registry).unwrap();
        let line = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("{name} in {page}")).parse().unwrap()
    }

    #[test]
    fn process_metrics_follow_the_process() {
        let mut registry = Registry::default();
        register(&mut registry);
        let value = |name| value(&registry, name);
        let (descriptors, cpu) = (value("process_open_fds"), value("process_cpu_seconds_total"));
        let files: Vec<File> = (0..100).map(|_| File::open("/proc/self/stat").unwrap()).collect();
        // Other tests of this process open and close files meanwhile.
        assert!(descriptors + 50.0 < value("process_open_fds"), "{descriptors}");
        drop(files);
        let since = Instant::now();
        while since.elapsed().as_millis() < 50 {}
        assert!(cpu + 0.01 < value("process_cpu_seconds_total"));
        let resident = value("process_resident_memory_bytes");
        assert!(1e6 < resident && resident < value("process_virtual_memory_bytes"));
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
        let started = value("process_start_time_seconds");
        assert!(now - 60.0 < started && started <= now, "{started} is not just before {now}");
        assert!(value("process_open_fds") <= value("process_max_fds"));
    }
}
