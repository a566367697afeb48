//! The register process: reads settings, serves, drains.

use std::process::ExitCode;

use register::{Args, Config, Register};
use runtime::tls::MutualTls;

/// Returns the memory of a burst to the system within seconds; see `.cargo/config.toml`.
#[cfg(feature = "jemalloc")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    service::main::<Args, Config>(async |config, mut starting| {
        starting.reread.extend(config.gate.inner().map(MutualTls::files));
        let register = Register::bind(config)?;
        let addr = register.addr();
        register.describe(&mut starting.metrics);
        let running = starting.started(&format!("listening on {addr}"))?;
        tracing::info!(%addr, "listening");
        register.serve(running.shutdown.cancelled()).await;
        Ok(())
    })
}
