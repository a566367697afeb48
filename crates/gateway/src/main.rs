//! The gateway process: loads settings, serves, drains.

use std::process::ExitCode;

use gateway::{Args, Config, Gateway};

/// Returns unused memory to the system within seconds of a burst; see `.cargo/config.toml`.
#[cfg(feature = "jemalloc")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    service::main::<Args, Config>(async |config, mut starting| {
        starting.reread.extend(config.reread());
        let gateway = Gateway::bind(config, &mut starting.metrics, starting.health.clone())?;
        gateway.show_settings(std::mem::take(&mut starting.settings));
        let (clients, inner) = (gateway.addrs(), gateway.inner_addr());
        let running = starting.started(&format!("serving clients on {clients:?}"))?;
        tracing::info!(?clients, %inner, "listening");
        gateway.serve_until(running.shutdown.clone(), running.grace).await
    })
}
