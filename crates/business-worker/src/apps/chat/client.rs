//! The cluster operations that the chat uses on behalf of one client.

use jiff::{Timestamp, Zoned};
use push_suite_worker::{Client, ClientId, Close, Error, Group, Session};
use serde_json::{Map, Value};

/// A client and its cluster. A trait, so that the chat is tested without sockets.
pub(super) trait ChatClient: Sync {
    /// The client's id.
    fn me(&self) -> ClientId;

    /// The client's session.
    fn session(&self) -> Session;

    /// Updates the client's session.
    fn update_session(
        &self,
        changes: Map<String, Value>,
    ) -> impl Future<Output = Result<(), Error>> + Send;

    /// Adds the client to a group.
    fn join(&self, group: Group) -> impl Future<Output = Result<(), Error>> + Send;

    /// Removes the client from a group.
    fn leave(&self, group: Group) -> impl Future<Output = Result<(), Error>> + Send;

    /// Sends to the client itself.
    fn send_to_self(&self, text: String) -> impl Future<Output = Result<(), Error>> + Send;

    /// Sends to another client.
    fn send_to(
        &self,
        client: ClientId,
        text: String,
    ) -> impl Future<Output = Result<(), Error>> + Send;

    /// Sends to the members of a group, except these.
    fn send_to_group(
        &self,
        group: Group,
        except: &[ClientId],
        text: String,
    ) -> impl Future<Output = Result<(), Error>> + Send;

    /// The session of another client; `None` if it is not connected.
    fn session_of(
        &self,
        client: ClientId,
    ) -> impl Future<Output = Result<Option<Session>, Error>> + Send;

    /// The sessions of the members of a group.
    fn sessions(
        &self,
        group: Group,
    ) -> impl Future<Output = Result<Vec<(ClientId, Session)>, Error>> + Send;

    /// Closes another client, or this one.
    fn close(
        &self,
        client: ClientId,
        close: Close,
    ) -> impl Future<Output = Result<(), Error>> + Send;

    /// The local time, as the page shows it.
    fn now(&self) -> String;

    /// The time in milliseconds since 1970.
    fn milliseconds(&self) -> i64;
}

impl ChatClient for Client {
    fn me(&self) -> ClientId {
        self.id()
    }

    fn session(&self) -> Session {
        self.encoded_session()
    }

    async fn update_session(&self, changes: Map<String, Value>) -> Result<(), Error> {
        Self::update_session(self, &changes).await
    }

    async fn join(&self, group: Group) -> Result<(), Error> {
        self.join_group(group).await
    }

    async fn leave(&self, group: Group) -> Result<(), Error> {
        self.leave_group(group).await
    }

    async fn send_to_self(&self, text: String) -> Result<(), Error> {
        self.send(text).await
    }

    async fn send_to(&self, client: ClientId, text: String) -> Result<(), Error> {
        self.cluster().send_to_client(client, text).await
    }

    async fn send_to_group(
        &self,
        group: Group,
        except: &[ClientId],
        text: String,
    ) -> Result<(), Error> {
        self.cluster().send_to_groups([group], except, text).await
    }

    async fn session_of(&self, client: ClientId) -> Result<Option<Session>, Error> {
        self.cluster().session(client).await
    }

    async fn sessions(&self, group: Group) -> Result<Vec<(ClientId, Session)>, Error> {
        self.cluster().group_sessions(group).await
    }

    async fn close(&self, client: ClientId, close: Close) -> Result<(), Error> {
        self.cluster().close_client(client, close).await
    }

    fn now(&self) -> String {
        Zoned::now().strftime("%Y-%m-%d %H:%M:%S").to_string()
    }

    fn milliseconds(&self) -> i64 {
        Timestamp::now().as_millisecond()
    }
}
