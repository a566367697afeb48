//! Apps that are removed or disabled while their clients are connected.

use push_suite_worker::{Cluster, Error};
use service::settings::Current;

use super::DISABLED;
use crate::{App, Apps, names, state::State};

/// Closes the clients of apps that are removed or disabled, forever. Clients that connect meanwhile
/// through a worker that has not reloaded yet are closed at their next message.
pub(super) async fn follow(mut apps: Current<Apps>, cluster: Cluster) {
    let mut before = apps.get();
    loop {
        apps.changed().await;
        let now = apps.get();
        let is_open = |app: &App| now.by_id(app.id()).is_some_and(|app| app.is_enabled());
        for app in before.iter().filter(|app| app.is_enabled() && !is_open(app)) {
            match close_all(&cluster, app).await {
                Ok(clients) => tracing::info!(app = app.id(), clients, "app closed"),
                Err(error) => {
                    tracing::warn!(app = app.id(), %error, "clients of a closed app not found");
                }
            }
        }
        before = now;
    }
}

async fn close_all(cluster: &Cluster, app: &App) -> Result<usize, Error> {
    let clients = cluster.group_sessions(names::app_group(app)).await?;
    for (client, session) in &clients {
        let error_events = State::read(session).is_some_and(|state| state.opened.error_events);
        cluster.close_client(*client, DISABLED.close(error_events)?).await?;
    }
    Ok(clients.len())
}
