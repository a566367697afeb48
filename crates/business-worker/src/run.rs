//! The process: its app, and the listener of the push API.

use std::sync::Arc;

use anyhow::Context as _;
use hooks::Webhook;
use service::Starting;

use crate::{
    App, Bench, Chat, Echo, Settings,
    listener::{Listener, serve_alone},
    pusher_app::PusherApp,
};

/// Runs the app, and the push API if it is enabled, until shutdown.
///
/// # Errors
/// When a port cannot be bound.
pub async fn run(settings: Settings, mut starting: Starting) -> anyhow::Result<()> {
    let Settings { app, config, tables, http } = settings;
    let listener = match http {
        Some(http) => Some(Listener::bind(&http, &config, &tables, &mut starting)?),
        None => None,
    };
    if let App::None = app {
        let listener = listener.context("--app none: requires --http-listen")?;
        return serve_alone(listener, config, starting).await;
    }
    let pusher = matches!(app, App::Pusher).then(|| PusherApp::new(&tables, &mut starting));
    let serving = listener.map(|listener| {
        let links = listener.cluster().clone();
        let more = pusher.as_ref().map(|app| app.routes(links, &config, &mut starting));
        listener.start(more.unwrap_or_default())
    });
    let served = match app {
        App::Chat => push_suite_worker::serve(Chat, config, starting).await,
        App::Echo => push_suite_worker::serve(Echo, config, starting).await,
        App::Bench => push_suite_worker::serve(Bench, config, starting).await,
        App::Pusher => match pusher {
            Some(pusher) => pusher.serve(config, starting).await,
            None => Ok(()),
        },
        App::Webhook => {
            let hooks = tables.part(|tables| Arc::clone(&tables.webhooks));
            let registry = starting.metrics.sub_registry_with_prefix("pushsuite_webhook");
            let app = Webhook::new(hooks, starting.shutdown.clone(), registry);
            push_suite_worker::serve(app, config, starting).await
        }
        App::None => Ok(()),
    };
    if let Some(serving) = serving {
        serving.finish().await;
    }
    served
}
