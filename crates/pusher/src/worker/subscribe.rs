//! Subscriptions.

use super::Connection;
use crate::{
    Channel,
    budget::Weight,
    channel::Kind,
    client_message::{Subscribe, cut},
    connect::Refused,
    names, presence, server_message, signature,
    state::{self, NamedMember},
};

/// Why a subscription is refused.
struct Denied {
    /// `type` of the error.
    kind: &'static str,
    error: String,
    /// As an HTTP status.
    status: u16,
}

impl Denied {
    fn new(kind: &'static str, status: u16, error: impl Into<String>) -> Self {
        Self { kind, error: error.into(), status }
    }

    fn unsigned(error: impl Into<String>) -> Self {
        Self::new("AuthError", 401, error)
    }
}

/// The longest name of a channel that an error repeats, in bytes.
const SHOWN: usize = 200;

impl Connection<'_> {
    pub(super) async fn subscribe(&self, subscribe: Subscribe) -> anyhow::Result<()> {
        let channel = match Channel::parse(&subscribe.channel) {
            Ok(channel) => channel,
            Err(fault) => {
                let denied = Denied::new("InvalidChannel", 400, fault.to_string());
                return self.deny(&subscribe.channel, None, denied).await;
            }
        };
        let member = match self.check(&channel, &subscribe) {
            Ok(member) => member,
            Err(denied) => return self.deny(channel.name(), Some(channel.kind()), denied).await,
        };
        // The group first: if this worker ends between the two, the next one repeats both.
        let group = names::channel_group(self.app, &channel);
        match &member {
            // With the message that the subscription has succeeded.
            Some(named) => {
                let (member, snapshot) = (presence::member(named)?, presence::snapshot(&channel)?);
                self.client.join_presence(group, member, snapshot).await?;
            }
            None => self.client.join_group(group).await?,
        }
        if !self.state.has(channel.name()) {
            let user = member.as_ref().map(|named| &named.id);
            self.client.update_session(&state::with_channel(&channel, user)).await?;
            self.shared.metrics.subscribed(channel.kind());
        }
        if member.is_none() {
            let succeeded = server_message::subscription_succeeded(channel.name());
            self.client.send(succeeded).await?;
        }
        match channel.is_cached() {
            true => self.send_cached(&channel).await,
            false => Ok(()),
        }
    }

    /// Sends the last event of a cache channel, unless the client has received it as a subscriber.
    async fn send_cached(&self, channel: &Channel) -> anyhow::Result<()> {
        let (cluster, id) = (self.client.cluster(), self.client.id());
        let group = names::channel_group(self.app, channel);
        let sent = match cluster.retained(group.clone()).await {
            Ok(Some(found)) => cluster.send_retained_or_found(id, group, found),
            found => {
                match found {
                    Ok(_) => self.shared.observer.cache_miss(self.app, channel),
                    // The client's own gateway may have it.
                    Err(error) => tracing::debug!(%channel, %error, "cached event not found"),
                }
                cluster.send_retained(id, group, server_message::cache_miss(channel.name()))
            }
        };
        Ok(sent.await?)
    }

    /// Whether the client may subscribe; and on presence channels, as which member.
    fn check(
        &self,
        channel: &Channel,
        subscribe: &Subscribe,
    ) -> Result<Option<NamedMember>, Denied> {
        let is_new = !self.state.has(channel.name());
        let most = self.app.max_channels();
        if is_new && most <= self.state.channels.len() {
            let error = format!("The connection has {most} channels, the maximum: max_channels");
            return Err(Denied::new("LimitReached", 403, error));
        }
        if let Some(user) = channel.user() {
            let is_own = self.state.user.as_ref().is_some_and(|it| it.id.as_str() == user);
            let error = "The connection is not signed in as the user of this channel";
            return if is_own { Ok(None) } else { Err(Denied::unsigned(error)) };
        }
        if !channel.needs_signature() || !is_new && !channel.is_presence() {
            return Ok(None);
        }
        let socket_id = self.socket_id();
        let data = subscribe.channel_data.as_deref();
        let text = signature::channel_text(socket_id.as_str(), channel.name(), data);
        let auth = subscribe.auth.as_deref().unwrap_or_default();
        if signature::verify(self.app.keys(), auth, &text).is_none() {
            return Err(Denied::unsigned(Self::invalid_signature(&text, auth)));
        }
        match channel.kind() {
            Kind::Presence => {
                let member = self.member(data)?;
                let before = self.state.channels.get(channel.name()).and_then(Option::as_ref);
                if before.is_some_and(|before| *before != member.id) {
                    let error = "The connection is subscribed to the channel as another user";
                    return Err(Denied::new("InvalidChannelData", 400, error));
                }
                Ok(Some(member))
            }
            _ => Ok(None),
        }
    }

    /// The member of a presence channel: as the application has signed it, or the user that the
    /// connection is signed in as.
    fn member(&self, channel_data: Option<&str>) -> Result<NamedMember, Denied> {
        let invalid = |fault| Denied::new("InvalidChannelData", 400, fault);
        match (channel_data, &self.state.user) {
            (Some(data), _) => {
                NamedMember::parse(data, self.app.max_user_info_size()).map_err(invalid)
            }
            (None, Some(user)) => Ok(NamedMember::of(user)),
            (None, None) => {
                let fault = "A presence channel needs channel_data, or a connection that is \
                             signed in";
                Err(invalid(fault.to_owned()))
            }
        }
    }

    async fn deny(&self, channel: &str, kind: Option<Kind>, denied: Denied) -> anyhow::Result<()> {
        self.shared.metrics.refused_subscription(kind);
        if !self.may_err(Weight::Refused) {
            return self.close(Refused::Faults).await;
        }
        let Denied { kind, error, status } = denied;
        let message = server_message::subscription_error(cut(channel, SHOWN), kind, &error, status);
        self.client.send(message).await?;
        Ok(self.client.send(server_message::error(None, &error)).await?)
    }

    pub(super) async fn unsubscribe(&self, name: &str) -> anyhow::Result<()> {
        // Others are none that it could be subscribed to.
        let Ok(channel) = Channel::parse(name) else { return Ok(()) };
        if self.state.has(name) {
            self.client.leave_group(names::channel_group(self.app, &channel)).await?;
            self.client.remove_from_session(&state::channel_key(&channel)).await?;
        }
        Ok(())
    }
}
