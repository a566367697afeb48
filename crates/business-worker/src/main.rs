//! The business-worker process: reads settings, runs one of the built-in apps, drains.

use std::{process::ExitCode, sync::Arc};

use business_worker::{App, Args, Bench, Chat, Echo, Settings, Tables};
use hooks::Webhook;
use pusher::Pusher;

/// Returns the memory of a burst to the system within seconds; see `.cargo/config.toml`.
#[cfg(feature = "jemalloc")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    service::main_with_tables::<Args, Tables, Settings>(
        |settings| push_suite_worker::runtime(&settings.config),
        async |Settings { app, config, tables }, mut starting| match app {
            App::Chat => push_suite_worker::serve(Chat, config, starting).await,
            App::Echo => push_suite_worker::serve(Echo, config, starting).await,
            App::Bench => push_suite_worker::serve(Bench, config, starting).await,
            App::Pusher => {
                let apps = tables.part(|tables| Arc::clone(&tables.pusher));
                let pusher = Pusher::new(&config.secret, apps);
                let registry = &mut starting.metrics;
                pusher.register_metrics(registry.sub_registry_with_prefix("pushsuite_pusher"));
                push_suite_worker::serve(pusher, config, starting).await
            }
            App::Webhook => {
                let hooks = tables.part(|tables| Arc::clone(&tables.webhooks));
                let registry = starting.metrics.sub_registry_with_prefix("pushsuite_webhook");
                let app = Webhook::new(hooks, starting.shutdown.clone(), registry);
                push_suite_worker::serve(app, config, starting).await
            }
        },
    )
}
