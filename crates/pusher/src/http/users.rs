//! Endpoints for users: members of presence channels, and the end of a user's connections.

use std::collections::HashMap;

use protocol::{ClientId, Fields, Group, LocalMember};
use push_suite_cluster::{Error, Filter, Row};
use serde_json::json;

use super::{Answer, HttpApi, json as json_answer, refused::Refused};
use crate::{App, Channel, UserId, names, state::State};

/// The close of a user's connections: clients do not come back by themselves.
const TERMINATED: (u16, &str) = (4009, "the application has ended the connections of the user");

/// Presence channels whose members are queried at a time.
const AT_ONCE: usize = 32;

impl HttpApi {
    /// The users of a presence channel, in the order of their ids.
    pub(super) async fn list_users(&self, app: &App, name: &str) -> Result<Answer, Refused> {
        let channel = Channel::parse(name)?;
        if !channel.is_presence() {
            return Err(Refused::NotOfThisChannel("Only presence channels have users"));
        }
        let members = self.shared.cluster.presence(names::channel_group(app, &channel)).await?;
        let id = |member: &LocalMember| json!({"id": member.member.id().to_string()});
        let users: Vec<_> = members.iter().map(id).collect();
        Ok(json_answer(json!({"users": users}).to_string()))
    }

    /// Closes the connections of a user: those that are signed in as it, and, unless the app leaves
    /// them out, those that are members of presence channels as it.
    pub(super) async fn terminate(&self, app: &App, user: &str) -> Result<Answer, Refused> {
        let user = UserId::parse(user)?;
        let cluster = &self.shared.cluster;
        let report = cluster.close_uid(names::uid(app, &user), TERMINATED).report().await?;
        let mut closed = report.reached;
        if app.terminates_presence_users() {
            let members = self.clients_of_member(app, &user).await?;
            closed += members.len() as u64;
            for client in members {
                cluster.close_client(client, TERMINATED).await?;
            }
            cluster.flush_linked().await?;
        }
        tracing::debug!(app = app.id(), closed, "terminated a user");
        Ok(json_answer("{}"))
    }

    /// The clients that are members of presence channels as a user.
    async fn clients_of_member(&self, app: &App, user: &UserId) -> Result<Vec<ClientId>, Refused> {
        let cluster = &self.shared.cluster;
        let is_presence = |group: &Group| {
            names::channel_of(app, group).is_some_and(|name| name.starts_with("presence-"))
        };
        let mut groups = cluster.groups().await?;
        groups.retain(is_presence);
        let mut clients = Vec::new();
        // Members are listed before sessions, which are larger and more.
        for groups in groups.chunks(AT_ONCE) {
            let asked = groups.iter().map(|group| cluster.presence(group.clone()));
            let members = futures_util::future::try_join_all(asked).await?;
            let has_user = |members: &Vec<LocalMember>| {
                members.iter().any(|local| local.member.id().as_str() == Some(user.as_str()))
            };
            let found = groups.iter().zip(&members).filter(|(_, members)| has_user(members));
            let groups: Vec<Group> = found.map(|(group, _)| group.clone()).collect();
            if groups.is_empty() {
                continue;
            }
            let fields = Fields { session: true, ..Fields::default() };
            let filter = Filter::Any { groups, uids: Vec::new(), clients: Vec::new() };
            let rows = cluster.select(fields, filter).await?;
            let is_user = |row: &Row| {
                let state = State::read(row.session.as_ref()?)?;
                let members = state.channels.into_values().flatten();
                (state.opened.app == app.id()).then_some(())?;
                members.into_iter().any(|member| member == *user).then_some(row.client)
            };
            clients.extend(rows.iter().filter_map(is_user));
        }
        clients.sort_unstable();
        clients.dedup();
        Ok(clients)
    }

    /// The number of users of each presence channel's group.
    pub(super) async fn user_counts(
        &self,
        groups: Vec<Group>,
    ) -> Result<HashMap<Group, u64>, Error> {
        let counts = self.shared.cluster.presence_counts(groups).await?;
        Ok(counts.into_iter().map(|(group, counts)| (group, counts.members)).collect())
    }
}
