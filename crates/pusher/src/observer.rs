//! Clients of this worker as other parts observe them, such as webhooks.

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

/// A change of a channel, over all gateways.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChannelChange<'a> {
    /// It has its first subscriber.
    Occupied,
    /// It has had no subscriber for the grace period.
    Vacated,
    /// A user is a member of the presence channel: the id.
    MemberAdded(&'a str),
    /// A user has had no connection in the presence channel for the grace period: the id.
    MemberRemoved(&'a str),
    /// The number of subscribers; not of presence channels.
    SubscriptionCount(u64),
}

/// Observes clients. The methods are called in handlers, and must not block.
pub trait Observer: Debug + Send + Sync + 'static {
    /// A client event was sent.
    fn client_event(&self, _event: SentClientEvent<'_>) {}

    /// A channel has changed, over all gateways. At least once: after the death of a worker, another
    /// one may see a change again.
    fn channel_changed(&self, _app: &App, _channel: &Channel, _change: ChannelChange<'_>) {}

    /// A client has subscribed to a cache channel without an event.
    fn cache_miss(&self, _app: &App, _channel: &Channel) {}
}

/// Observes nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoObserver;

impl Observer for NoObserver {}
