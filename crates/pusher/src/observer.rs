//! What other parts observe of the clients of this worker, such as webhooks.

use std::fmt::Debug;

use crate::{App, Channel, SocketId, UserId};

/// A client event that was sent to the other subscribers of its channel.
#[derive(Clone, Copy, Debug)]
pub struct SentClientEvent<'a> {
    /// The app.
    pub app: &'a App,
    /// The channel.
    pub channel: &'a Channel,
    /// The name of the event.
    pub name: &'a str,
    /// The data as JSON, as the client has written it.
    pub data: &'a str,
    /// The client.
    pub socket_id: &'a SocketId,
    /// On presence channels, the user.
    pub user: Option<&'a UserId>,
}

/// Observes clients. The methods are called in handlers, and must not block.
pub trait Observer: Debug + Send + Sync + 'static {
    /// A client event was sent.
    fn client_event(&self, _event: SentClientEvent<'_>) {}

    /// A client has subscribed to a cache channel without an event.
    fn cache_miss(&self, _app: &App, _channel: &Channel) {}
}

/// Observes nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoObserver;

impl Observer for NoObserver {}
