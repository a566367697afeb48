//! Endpoints that query channels.

use std::collections::HashMap;

use protocol::{Group, Retained};
use push_suite_cluster::Error;
use serde_json::{Map, Value, json};

use super::{
    Answer, Asked, HttpApi, attributes::Attributes, json as json_answer, refused::Refused,
};
use crate::{App, Channel, names};

impl HttpApi {
    /// Occupied channels, without those of users. They are in the order of their names.
    pub(super) async fn list_channels(&self, app: &App, asked: Asked) -> Result<Answer, Refused> {
        let prefix = asked.filter_by_prefix;
        let info = Attributes::parse(&asked.info)?;
        if info.user_count && !prefix.starts_with("presence-") {
            return Err(Refused::NotOfThisChannel(
                "user_count needs a filter_by_prefix that begins with presence-",
            ));
        }
        if info.cache {
            return Err(Refused::NotOfThisChannel("cache is an attribute of one channel"));
        }
        let groups = self.shared.cluster.groups().await?;
        let named = groups.iter().filter_map(|group| names::channel_of(app, group));
        let mut channels: Vec<Channel> = named
            .filter(|name| name.starts_with(&prefix))
            .filter_map(|name| Channel::parse(name).ok())
            .filter(|channel| channel.user().is_none())
            .collect();
        channels.sort_unstable_by(|one, other| one.name().cmp(other.name()));
        let asked = channels.iter().map(|channel| (names::channel_group(app, channel), info));
        let states = self.states(asked.collect()).await?;
        let names = channels.iter().map(|channel| channel.name().to_owned());
        let states = states.into_iter().map(Value::Object);
        let channels: Map<String, Value> = names.zip(states).collect();
        Ok(json_answer(json!({"channels": channels}).to_string()))
    }

    /// Whether a channel is occupied, and what else is asked.
    pub(super) async fn show_channel(
        &self,
        app: &App,
        name: &str,
        asked: Asked,
    ) -> Result<Answer, Refused> {
        let channel = Channel::parse(name)?;
        let info = Attributes::parse(&asked.info)?;
        if info.user_count && !channel.is_presence() {
            return Err(Refused::NotOfThisChannel("user_count is of presence channels only"));
        }
        if info.cache && !channel.is_cached() {
            return Err(Refused::NotOfThisChannel("cache is of cache channels only"));
        }
        let group = names::channel_group(app, &channel);
        let count = self.shared.cluster.group_count(group.clone()).await?;
        let mut shown = Map::new();
        shown.insert("occupied".to_owned(), Value::from(count != 0));
        if info.subscription_count {
            shown.insert("subscription_count".to_owned(), count.into());
        }
        let others = Attributes { subscription_count: false, ..info };
        shown.extend(self.states(vec![(group, others)]).await?.into_iter().flatten());
        Ok(json_answer(Value::Object(shown).to_string()))
    }

    /// The number of clients of the app.
    pub(super) async fn count_connections(&self, app: &App) -> Result<Answer, Refused> {
        let count = self.shared.cluster.group_count(names::app_group(app)).await?;
        Ok(json_answer(json!({"connections": count}).to_string()))
    }

    /// The attributes of each channel, asked together.
    pub(super) async fn states(
        &self,
        asked: Vec<(Group, Attributes)>,
    ) -> Result<Vec<Map<String, Value>>, Refused> {
        let of = |wanted: fn(&Attributes) -> bool| {
            let groups = asked.iter().filter(move |(_, info)| wanted(info));
            groups.map(|(group, _)| group.clone()).collect::<Vec<Group>>()
        };
        let connections = self.connections(of(|info| info.subscription_count)).await?;
        let users = self.user_counts(of(|info| info.user_count)).await?;
        let mut cached = HashMap::new();
        for group in of(|info| info.cache) {
            let retained = self.shared.cluster.retained(group.clone()).await?;
            cached.insert(group, retained.as_ref().map_or(Value::Null, last_event));
        }
        let states = asked.iter().map(|(group, info)| {
            let mut state = Map::new();
            if info.user_count {
                let count = users.get(group).copied().unwrap_or_default();
                state.insert("user_count".to_owned(), count.into());
            }
            if info.subscription_count {
                let count = connections.get(group).copied().unwrap_or_default();
                state.insert("subscription_count".to_owned(), count.into());
            }
            if info.cache {
                let last = cached.get(group).cloned().unwrap_or_default();
                state.insert("cache".to_owned(), last);
            }
            state
        });
        Ok(states.collect())
    }

    async fn connections(&self, groups: Vec<Group>) -> Result<HashMap<Group, u64>, Error> {
        match groups.is_empty() {
            true => Ok(HashMap::new()),
            false => Ok(self.shared.cluster.group_counts(groups).await?.into_iter().collect()),
        }
    }
}

/// The attributes to query of those that a publisher asks, of all its channels the same: those that
/// the channel has, without the last event, which is the published one.
pub(super) fn asked_by_publisher(
    app: &App,
    channel: &Channel,
    info: Attributes,
) -> (Group, Attributes) {
    let user_count = info.user_count && channel.is_presence();
    (names::channel_group(app, channel), Attributes { user_count, cache: false, ..info })
}

/// The last event of a cache channel: its data, and for how many seconds it is still kept.
fn last_event(retained: &Retained) -> Value {
    let event: Value = serde_json::from_slice(&retained.message.body).unwrap_or_default();
    json!({"data": event["data"], "ttl": retained.retention.left().as_secs()})
}
