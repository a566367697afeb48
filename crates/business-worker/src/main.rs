//! The business-worker process: reads settings, runs one of the built-in apps and the push API, drains.

use std::process::ExitCode;

use business_worker::{Args, Settings, Tables, run};

/// Returns the memory of a burst to the system within seconds; see `.cargo/config.toml`.
#[cfg(feature = "jemalloc")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    service::main_with_tables::<Args, Tables, Settings>(
        |settings| push_suite_worker::runtime(&settings.config),
        run,
    )
}
