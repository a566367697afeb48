//! Endpoints for users: members of presence channels, and the end of a user's connections.

use std::collections::HashMap;

use axum::{http::StatusCode, response::Response};
use protocol::Group;
use push_suite_cluster::Error;
use serde_json::json;

use super::{HttpApi, json as answer, refused::Refused};
use crate::{App, Channel, UserId, names};

/// The close of a user's connections: clients do not come back by themselves.
const TERMINATED: (u16, &str) = (4009, "the application has ended the connections of the user");

impl HttpApi {
    /// The users of a presence channel, in the order of their ids.
    pub(super) async fn list_users(&self, app: &App, name: &str) -> Result<Response, Refused> {
        let channel = Channel::parse(name)?;
        if !channel.is_presence() {
            return Err(Refused::NotOfThisChannel("Only presence channels have users"));
        }
        let users = self.members(names::channel_group(app, &channel)).await?;
        let users: Vec<_> = users.into_iter().map(|id| json!({"id": id})).collect();
        Ok(answer(StatusCode::OK, json!({"users": users}).to_string()))
    }

    /// Closes the connections of a user.
    pub(super) async fn terminate(&self, app: &App, user: &str) -> Result<Response, Refused> {
        let user = UserId::parse(user)?;
        let uid = names::uid(app, &user);
        let report = self.shared.cluster.close_uid(uid, TERMINATED).report().await?;
        tracing::debug!(app = app.id(), closed = report.reached, "terminated a user");
        Ok(answer(StatusCode::OK, "{}"))
    }

    /// The users of a presence channel's group.
    async fn members(&self, _group: Group) -> Result<Vec<String>, Error> {
        Ok(Vec::new())
    }

    /// The number of users of each presence channel's group.
    pub(super) async fn user_counts(
        &self,
        groups: Vec<Group>,
    ) -> Result<HashMap<Group, u64>, Error> {
        let mut counts = HashMap::with_capacity(groups.len());
        for group in groups {
            let users = self.members(group.clone()).await?;
            counts.insert(group, users.len() as u64);
        }
        Ok(counts)
    }
}
