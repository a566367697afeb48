//! Tokens of clients: renewal and revocation (`--handshake-auth jwt`).

use protocol::{AccessToken, Answer, ClientId, Command, Query, Renewal, Revocation};

use crate::{Cluster, Error, error::at_most_targets, merge};

/// Tokens of clients. Their gateways verify them with `--handshake-auth jwt`.
impl Cluster {
    /// Gives a client a new token, which it has sent to its worker: the gateway verifies it, and the
    /// connection then expires with it. Groups and session of the new token are not applied. A
    /// client whose token is that of another user is closed with 4403.
    ///
    /// # Errors
    /// [`Error::Token`] for a token that is empty or longer than 8 KiB. Also those of
    /// [queries](Error#queries).
    pub async fn renew_token(
        &self,
        client: ClientId,
        token: impl AsRef<str>,
    ) -> Result<Renewal, Error> {
        let token = AccessToken::new(token)?;
        match self.ask(client, Query::RenewToken { client: client.connection, token }).await? {
            None => Ok(Renewal::NotConnected),
            Some((_, Answer::Renewal(renewal))) => Ok(renewal),
            Some((link, _)) => Err(link.mismatch()),
        }
    }

    /// Sets when the connection of a client expires, in seconds since 1970, in place of the time of
    /// its token; `None`: never. With or without tokens: the gateway reports it to the client's
    /// worker before, and closes the client with 4401, 25 s behind that time, unless it is set again
    /// or the client has a new token.
    ///
    /// # Errors
    /// Those of [commands](Error#commands).
    pub async fn set_expiry(&self, client: ClientId, expires_at: Option<u64>) -> Result<(), Error> {
        let command = Command::SetExpiry { client: client.connection, expires_at };
        self.command(client, command).await
    }

    /// Revokes tokens on every gateway: none is accepted or renewed any more. Returns the number of
    /// clients that were closed because of it, with 4403.
    ///
    /// A gateway keeps it until its `ttl` ends, and forgets it when it ends itself; one that is
    /// started later does not know it. A revocation that is to survive that belongs into the file of
    /// `--jwt-revocations` as well. After an error, call it again: it does no harm where it is in
    /// effect already.
    ///
    /// # Errors
    /// [`Error::TooMany`] for more than 10,000 ids or uids, [`Error::RevocationsFull`] when a gateway
    /// has no room for them. Also those of [queries](Error#queries).
    pub async fn revoke(&self, revocation: Revocation) -> Result<u64, Error> {
        at_most_targets(revocation.ids.len().max(revocation.uids.len()))?;
        let answers = self.ask_all(|_| Some(Query::Revoke(revocation.clone()))).await?;
        let full = answers.iter().find(|(_, answer)| *answer == Answer::RevocationsFull);
        match full {
            Some((gateway, _)) => Err(Error::RevocationsFull { gateway: gateway.to_string() }),
            None => Ok(merge::count(answers)?),
        }
    }
}
