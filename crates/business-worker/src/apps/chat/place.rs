//! Where a chatting client is: what it can do there, and what it can see.

use business_worker::{Client, ClientId, Error, Group, Session};
use jiff::Zoned;
use serde_json::{Map, Value};

/// A client and its surroundings. A seam, so that the chat's behaviour is tested without sockets.
pub(super) trait Place: Sync {
    /// Who the client is.
    fn me(&self) -> ClientId;

    /// What is remembered of it.
    fn session(&self) -> Session;

    /// Remembers this too.
    fn remember(
        &self,
        changes: Map<String, Value>,
    ) -> impl Future<Output = Result<(), Error>> + Send;

    /// Enters a group.
    fn join(&self, group: Group) -> impl Future<Output = Result<(), Error>> + Send;

    /// Leaves a group.
    fn leave(&self, group: Group) -> impl Future<Output = Result<(), Error>> + Send;

    /// Sends to the client itself.
    fn tell_me(&self, text: String) -> impl Future<Output = Result<(), Error>> + Send;

    /// Sends to another.
    fn tell(
        &self,
        client: ClientId,
        text: String,
    ) -> impl Future<Output = Result<(), Error>> + Send;

    /// Sends to everyone in a group except these.
    fn tell_group(
        &self,
        group: Group,
        except: &[ClientId],
        text: String,
    ) -> impl Future<Output = Result<(), Error>> + Send;

    /// What is remembered of another; `None` if it is not there.
    fn session_of(
        &self,
        client: ClientId,
    ) -> impl Future<Output = Result<Option<Session>, Error>> + Send;

    /// What is remembered of everyone in a group.
    fn sessions(
        &self,
        group: Group,
    ) -> impl Future<Output = Result<Vec<(ClientId, Session)>, Error>> + Send;

    /// The local time, as the page shows it.
    fn now(&self) -> String;
}

impl Place for Client {
    fn me(&self) -> ClientId {
        self.id()
    }

    fn session(&self) -> Session {
        self.encoded_session()
    }

    async fn remember(&self, changes: Map<String, Value>) -> Result<(), Error> {
        self.update_session(&changes).await
    }

    async fn join(&self, group: Group) -> Result<(), Error> {
        self.join_group(group).await
    }

    async fn leave(&self, group: Group) -> Result<(), Error> {
        self.leave_group(group).await
    }

    async fn tell_me(&self, text: String) -> Result<(), Error> {
        self.send(text).await
    }

    async fn tell(&self, client: ClientId, text: String) -> Result<(), Error> {
        self.cluster().send_to_client(client, text).await
    }

    async fn tell_group(
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

    fn now(&self) -> String {
        Zoned::now().strftime("%Y-%m-%d %H:%M:%S").to_string()
    }
}
