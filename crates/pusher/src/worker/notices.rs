//! Changes of channels and users over all gateways, as their owner decides them.

use std::{sync::Arc, time::Duration};

use protocol::Group;
use push_suite_worker::{Cluster, Error, Notice, NoticeKind};
use runtime::clock;

use super::Shared;
use crate::{
    App, Channel, UserId,
    names::{self, Watched},
    observer::ChannelChange,
    server_message,
};

/// How often numbers that were held back are sent.
const EVERY: Duration = Duration::from_secs(1);

impl Shared {
    /// The app of a watched group, and the channel or user that the group is of.
    fn watched(&self, group: &Group) -> Option<(Arc<App>, Watched)> {
        let (app, watched) = names::watched(group)?;
        Some((Arc::clone(self.apps.get().by_id(app)?), watched))
    }

    /// The channel of a group, if it is one of a known app.
    pub(super) fn channel(&self, group: &Group) -> Option<Channel> {
        match names::watched(group)? {
            (_, Watched::Channel(channel)) => Some(channel),
            (_, Watched::User(_)) => None,
        }
    }

    pub(super) async fn notice(&self, notice: &Notice) -> Result<(), Error> {
        let Some(cluster) = self.cluster.get() else { return Ok(()) };
        match (self.watched(&notice.group), &notice.kind) {
            (Some((app, Watched::User(user))), NoticeKind::Occupied) => {
                watchers(cluster, &app, &user, true).await
            }
            (Some((app, Watched::User(user))), NoticeKind::Vacated) => {
                watchers(cluster, &app, &user, false).await
            }
            (Some((app, Watched::Channel(channel))), kind) => {
                let change = match kind {
                    NoticeKind::Occupied => ChannelChange::Occupied,
                    NoticeKind::Vacated => ChannelChange::Vacated,
                    NoticeKind::MemberAdded(member) => match member.id().as_str() {
                        Some(id) => ChannelChange::MemberAdded(id),
                        None => return Ok(()),
                    },
                    NoticeKind::MemberRemoved(id) => match id.as_str() {
                        Some(id) => ChannelChange::MemberRemoved(id),
                        None => return Ok(()),
                    },
                    NoticeKind::Clients(count) => {
                        let now = clock::now();
                        let sends = self.counts.lock().changed(&notice.group, *count, now);
                        return match sends {
                            true => self.count(cluster, &app, &channel, *count).await,
                            false => Ok(()),
                        };
                    }
                    _ => return Ok(()),
                };
                self.observer.channel_changed(&app, &channel, change);
                Ok(())
            }
            (Some((_, Watched::User(_))) | None, _) => Ok(()),
        }
    }

    /// Sends the number of subscribers of a channel.
    async fn count(
        &self,
        cluster: &Cluster,
        app: &App,
        channel: &Channel,
        count: u64,
    ) -> Result<(), Error> {
        if channel.is_presence() || channel.user().is_some() {
            return Ok(());
        }
        self.observer.channel_changed(app, channel, ChannelChange::SubscriptionCount(count));
        if app.sends_subscription_count() && count != 0 {
            let message = server_message::subscription_count(channel.name(), count);
            cluster.send_to_group(names::channel_group(app, channel), message).await?;
        }
        Ok(())
    }
}

async fn watchers(
    cluster: &Cluster,
    app: &App,
    user: &UserId,
    is_online: bool,
) -> Result<(), Error> {
    let (user, none) = ([user], [user; 0]);
    let message = match is_online {
        true => server_message::watchlist_events(&user, &none),
        false => server_message::watchlist_events(&none, &user),
    };
    cluster.send_to_group(names::watchers_group(app, user[0]), message).await
}

/// Sends the numbers that were held back, forever.
pub(super) async fn send_counts(shared: Arc<Shared>, cluster: Cluster) {
    loop {
        tokio::time::sleep(EVERY).await;
        let due = shared.counts.lock().due(clock::now());
        for (group, count) in due {
            let Some((app, Watched::Channel(channel))) = shared.watched(&group) else { continue };
            if let Err(error) = shared.count(&cluster, &app, &channel, count).await {
                tracing::debug!(%group, %error, "number of subscribers not sent");
            }
        }
    }
}
