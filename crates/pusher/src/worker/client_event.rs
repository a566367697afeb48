//! Client events: from one subscriber of a channel to the others.

use runtime::clock;

use super::Connection;
use crate::{
    Channel, budget::Weight, client_message::ClientEvent, connect::Refused, names,
    observer::SentClientEvent, server_message,
};

/// The code of an error: too many client events, or one that is too large.
const LIMITED: u16 = 4301;

impl Connection<'_> {
    pub(super) async fn client_event(&self, event: ClientEvent<'_>) -> anyhow::Result<()> {
        let ClientEvent { name, channel, data } = event;
        // Membership comes first: others learn nothing about the channel.
        let Some(user) = self.state.channels.get(&*channel) else {
            let fault = "The connection is not subscribed to the channel of the client event";
            return self.fault(Weight::Malformed, fault).await;
        };
        let channel = Channel::parse(&channel)?;
        if !channel.takes_client_events() {
            let fault = "Client events are for private and presence channels without encryption";
            return self.fault(Weight::Refused, fault).await;
        }
        if !self.app.takes_client_events() {
            let fault = "The app does not allow client events: see client_messages";
            return self.fault(Weight::Refused, fault).await;
        }
        let most = self.app.max_event_size();
        if most < data.len() {
            let size = data.len();
            let fault = format!("The data has {size} bytes, the maximum is {most}: max_event_size");
            return self.limited(&fault).await;
        }
        let rate = self.app.client_events_per_second();
        if !self.shared.budgets.lock().take_event(self.client.id(), rate, clock::now()) {
            let fault = format!("More than {rate} client events in a second");
            return self.limited(&fault).await;
        }
        let shown = user.as_ref().map(|user| user.as_str());
        let message = server_message::client_event(&name, channel.name(), data, shown);
        let group = names::channel_group(self.app, &channel);
        self.client.cluster().send_to_groups([group], &[self.client.id()], message).await?;
        self.shared.metrics.client_events.inc();
        self.shared.observer.client_event(SentClientEvent {
            app: self.app,
            channel: &channel,
            name: &name,
            data,
            socket_id: &self.socket_id(),
            user: user.as_ref(),
        });
        Ok(())
    }

    /// Answers an event that exceeds a limit.
    async fn limited(&self, fault: &str) -> anyhow::Result<()> {
        self.shared.metrics.limited_client_events.inc();
        match self.may_err(Weight::Refused) {
            true => Ok(self.client.send(server_message::error(Some(LIMITED), fault)).await?),
            false => self.close(Refused::Faults).await,
        }
    }
}
