//! Apps that are removed or disabled while their clients are connected.

use std::{sync::Arc, time::Duration};

use push_suite_worker::{Cluster, Error};
use service::settings::Current;
use tokio::time::timeout;

use super::DISABLED;
use crate::{App, Apps, names, state::State};

/// How long after an attempt the clients that could not be closed are tried again.
const RETRY: Duration = Duration::from_secs(5);

/// Closes the clients of apps that are removed or disabled, forever. Clients that connect meanwhile
/// through a worker that has not reloaded yet are closed at their next message.
pub(super) async fn follow(apps: Current<Apps>, cluster: Cluster) {
    Closing::new(apps.get()).follow(apps, &cluster).await;
}

/// Apps whose clients are to be closed.
struct Closing {
    before: Arc<Apps>,
    /// Those of which some clients may be connected, since a gateway could not be reached.
    left: Vec<Arc<App>>,
}

impl Closing {
    const fn new(before: Arc<Apps>) -> Self {
        Self { before, left: Vec::new() }
    }

    async fn follow(mut self, mut apps: Current<Apps>, cluster: &Cluster) {
        loop {
            match self.left.is_empty() {
                true => apps.changed().await,
                // Whether they have changed or not.
                false => drop(timeout(RETRY, apps.changed()).await),
            }
            self.close(apps.get(), cluster).await;
        }
    }

    /// Closes the clients of the apps that were open before and are not now, and of those that are
    /// left.
    async fn close(&mut self, now: Arc<Apps>, cluster: &Cluster) {
        let is_open = |app: &App| now.by_id(app.id()).is_some_and(|app| app.is_enabled());
        let closed = self.before.iter().filter(|app| app.is_enabled()).cloned();
        let mut closed: Vec<Arc<App>> = self.left.drain(..).chain(closed).collect();
        closed.retain(|app| !is_open(app));
        for app in closed {
            match close_all(cluster, &app).await {
                Ok(clients) => tracing::info!(app = app.id(), clients, "app closed"),
                Err(error) => {
                    tracing::warn!(
                        app = app.id(),
                        %error,
                        "some clients of a closed app are connected: trying again"
                    );
                    self.left.push(app);
                }
            }
        }
        self.before = now;
    }
}

/// Closes every client of an app that can be reached.
///
/// # Errors
/// The last one, if there are others.
async fn close_all(cluster: &Cluster, app: &App) -> Result<usize, Error> {
    let clients = cluster.group_sessions(names::app_group(app)).await?;
    let mut closed = Ok(clients.len());
    for (client, session) in clients {
        let error_events = State::read(&session).is_some_and(|state| state.opened.error_events);
        if let Err(error) = cluster.close_client(client, DISABLED.close(error_events)?).await {
            closed = Err(error);
        }
    }
    closed
}

#[cfg(test)]
mod tests {
    use push_suite_worker::{Client, testing::TestCluster};

    use super::*;
    use crate::app::tests::apps;

    const APP: &str = "id = '1'\nkey = 'k'\nsecret = 's'";

    async fn client_of(cluster: &TestCluster, app: &App) -> Client {
        let client = cluster.client();
        client.join_group(names::app_group(app)).await.unwrap();
        client
    }

    #[tokio::test(start_paused = true)]
    async fn clients_of_a_closed_app_are_closed_once_their_gateway_can_be_reached() {
        let cluster = TestCluster::start();
        let before = Arc::new(apps(&[APP]).unwrap());
        let none = || apps(&["id = '2'\nkey = 'k'\nsecret = 's'"]).unwrap();
        let client = client_of(&cluster, before.by_id("1").unwrap()).await;
        let mut closing = Closing::new(before);
        cluster.set_unavailable(true);
        closing.close(Arc::new(none()), cluster.cluster()).await;
        assert_eq!(closing.left.len(), 1);
        // The apps do not change any more.
        let following = closing.follow(Current::fixed(none()), cluster.cluster());
        let observing = async {
            tokio::time::sleep(RETRY * 3).await;
            assert!(!cluster.is_closed(client.id()));
            cluster.set_unavailable(false);
            tokio::time::sleep(RETRY * 2).await;
            assert_eq!(cluster.close_frame(client.id()).unwrap().code(), DISABLED.code());
        };
        tokio::select! {
            () = following => unreachable!("it never ends"),
            () = observing => {}
        }
    }

    #[tokio::test]
    async fn app_that_is_enabled_again_keeps_its_clients() {
        let cluster = TestCluster::start();
        let open = Arc::new(apps(&[APP]).unwrap());
        let client = client_of(&cluster, open.by_id("1").unwrap()).await;
        let mut closing = Closing::new(Arc::clone(&open));
        cluster.set_unavailable(true);
        let disabled = apps(&[&format!("{APP}\nenabled = false")]).unwrap();
        closing.close(Arc::new(disabled), cluster.cluster()).await;
        cluster.set_unavailable(false);
        closing.close(open, cluster.cluster()).await;
        assert!(closing.left.is_empty() && !cluster.is_closed(client.id()));
    }
}
