//! Publishes an event to channels.

use std::time::Duration;

use protocol::ClientId;
use push_suite_cluster::{Cluster, Error};

use crate::{App, Channel, names, server_message};

/// How long the last event of a cache channel is kept for new subscribers.
pub const CACHED_FOR: Duration = Duration::from_secs(30 * 60);

/// An event that a back end or a worker publishes.
#[derive(Clone, Copy, Debug)]
pub struct Triggered<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its data, passed on unchanged. Clients expect JSON.
    pub data: &'a str,
}

/// Publishes an event to channels of an app, except to one client, usually the one that has caused
/// it: see [`SocketIds::decode`](crate::SocketIds::decode). A channel that is listed twice gets it
/// once; a cache channel keeps it for new subscribers for [`CACHED_FOR`]. `Ok` means that the event
/// is queued for every gateway; [`Cluster::flush`] waits until they have it.
///
/// The size of the event and the number of channels are the caller's to check.
///
/// # Errors
/// Those of [commands](Error#commands).
pub async fn trigger(
    cluster: &Cluster,
    app: &App,
    channels: &[Channel],
    event: Triggered<'_>,
    exclude: Option<ClientId>,
) -> Result<(), Error> {
    for (index, channel) in channels.iter().enumerate() {
        if channels[..index].contains(channel) {
            continue;
        }
        let message = server_message::event(event.name, channel.name(), event.data);
        let group = names::channel_group(app, channel);
        let exclude = exclude.as_slice();
        match channel.is_cached() {
            true => cluster.send_and_retain(group, exclude, message, CACHED_FOR).await?,
            false => cluster.send_to_groups([group], exclude, message).await?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use push_suite_worker::{Message, testing::TestCluster};

    use super::*;
    use crate::app::tests::app;

    #[tokio::test]
    async fn event_reaches_the_subscribers_of_each_channel_once_except_the_excluded_client() {
        let app = app("id = '1'\nkey = 'k'\nsecret = 's'");
        let cluster = TestCluster::start();
        let (one, two) = (cluster.client(), cluster.client());
        let channels = ["a", "b", "a"].map(|name| Channel::parse(name).unwrap());
        for client in [&one, &two] {
            client.join_group(names::channel_group(&app, &channels[0])).await.unwrap();
        }
        two.join_group(names::channel_group(&app, &channels[1])).await.unwrap();
        let event = Triggered { name: "e", data: "x" };
        trigger(cluster.cluster(), &app, &channels, event, Some(one.id())).await.unwrap();
        assert_eq!(cluster.received(one.id()), []);
        let expected = ["a", "b"].map(|name| Message::text(server_message::event("e", name, "x")));
        assert_eq!(cluster.received(two.id()), expected);
        trigger(cluster.cluster(), &app, &channels, event, None).await.unwrap();
        assert_eq!(cluster.received(one.id()).len(), 1);
    }
}
