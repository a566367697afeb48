//! Tokens of clients: verified in the handshake, renewed, expired, revoked.

use auth::{Claims, Found, Full, Identity, Rejection, Revocations};
use protocol::{AccessToken, ConnectionId, Event, Grant, Renewal, Revocation};
use runtime::clock;

use crate::{
    closed::CloseCause,
    shard::{Shard, connections::Phase, indexes::Expiry, slot::SlotKey},
    tokens::{self, GRACE},
};

/// The token of a request, taken out of it.
pub(super) type Taken = Result<Option<Found>, Rejection>;

/// Maximum number of clients whose workers are notified in one tick, and of clients that are closed in
/// it because they have expired.
const EXPIRED_PER_TICK: usize = 512;

impl Shard {
    /// The grant of a handshake with this token, and the claims that are recorded.
    pub(super) fn token_grant(&self, taken: Option<Taken>) -> Result<(Claims, Grant), Rejection> {
        let found = taken.unwrap_or(Ok(None))?.ok_or(Rejection::Missing)?;
        let tokens = self.settings.tokens.as_ref().ok_or(Rejection::Missing)?;
        let claims = tokens.verify(&found.token, clock::unix_seconds())?;
        let grant = tokens::grant(&claims).map_err(|_| Rejection::Malformed)?;
        Ok((claims, grant))
    }

    /// Records the token of a client whose handshake was accepted with it.
    pub(super) fn hold_token(&mut self, key: SlotKey, claims: Claims) {
        let connection = &self.connections[key];
        if let (Phase::Open(_), Some(id)) = (&connection.phase, connection.id) {
            let expiry = self.expiry(claims.expires_at);
            self.token_holders.insert(id, claims.identity, expiry);
        }
    }

    /// Refuses a handshake because of its token.
    pub(super) fn refuse_token(&mut self, key: SlotKey, rejection: Rejection) {
        self.count_rejected(rejection);
        tracing::debug!(remote = %self.connections[key].remote, %rejection, "token not accepted");
        match tokens::refusal(rejection) {
            Ok(refusal) => self.refuse_handshake(key, refusal),
            Err(_) => self.close(key, CloseCause::InvalidGrant),
        }
    }

    fn count_rejected(&self, rejection: Rejection) {
        self.gateway.metrics.count_token_refused(rejection.code());
    }

    /// Gives a client a new token.
    pub(in crate::shard) fn renew_token(
        &mut self,
        client: ConnectionId,
        token: &AccessToken,
    ) -> Renewal {
        let Some(key) = self.directory.get(client).map(|client| client.handle) else {
            return Renewal::NotConnected;
        };
        let (Some(tokens), Some(before)) = (&self.settings.tokens, self.token_holders.get(client))
        else {
            return Renewal::WithoutToken;
        };
        match tokens.verify(token, clock::unix_seconds()) {
            Err(rejection) => {
                self.count_rejected(rejection);
                Renewal::Refused(rejection.error())
            }
            Ok(claims) if claims.identity.uid != before.uid => {
                self.close(key, CloseCause::TokenOfOtherUser);
                Renewal::OtherUser
            }
            Ok(claims) => {
                let expires_at = claims.expires_at;
                let expiry = self.expiry(expires_at);
                self.token_holders.insert(client, claims.identity, expiry);
                Renewal::Renewed { expires_at }
            }
        }
    }

    /// Sets when the connection of a client expires. Returns whether it is connected.
    pub(in crate::shard) fn set_expiry(&mut self, id: ConnectionId, at: Option<u64>) -> bool {
        let is_known = self.directory.get(id).is_some();
        if is_known {
            let expiry = self.expiry(at);
            self.token_holders.set_expiry(id, expiry);
        }
        is_known
    }

    fn expiry(&self, at: Option<u64>) -> Expiry {
        Expiry::new(at, self.settings.expiry_notice, clock::unix_seconds())
    }

    /// Notifies workers of connections that expire, and closes clients whose connections have.
    pub(super) fn check_expiries(&mut self) {
        if !self.token_holders.never_expire() {
            let now = clock::unix_seconds();
            self.announce_expiries(now);
            self.close_expired(now);
        }
    }

    /// Notifies the workers of clients whose connections expire soon.
    fn announce_expiries(&mut self, now: u64) {
        for _ in 0..EXPIRED_PER_TICK {
            let Some((client, expires_at)) = self.token_holders.next_notice(now) else {
                return;
            };
            if let Some(key) = self.directory.get(client).map(|client| client.handle) {
                self.emit(key, Event::Expiring { expires_at }, &[]);
            }
        }
    }

    /// Closes clients whose connections have expired and were not renewed within [`GRACE`].
    fn close_expired(&mut self, now: u64) {
        let late = now.saturating_sub(GRACE);
        for _ in 0..EXPIRED_PER_TICK {
            let Some(client) = self.token_holders.expired(late) else {
                return;
            };
            self.token_holders.remove(client);
            self.close_holder(client, CloseCause::TokenExpired);
        }
    }

    /// Closes a client because of its token.
    pub(in crate::shard) fn close_holder(&mut self, client: ConnectionId, cause: CloseCause) {
        if let Some(key) = self.directory.get(client).map(|client| client.handle) {
            self.close(key, cause);
        }
    }
}

/// Clients to be closed because of a revocation.
#[derive(Debug)]
pub(in crate::shard) struct RevokedClients {
    revocations: Revocations,
    now: u64,
    /// Whether any are to be closed.
    disconnect: bool,
    /// The last client that was considered.
    after: Option<ConnectionId>,
    /// The number of clients closed.
    pub(in crate::shard) closed: u64,
}

impl Shard {
    /// Adds a revocation. Its clients are closed with [`close_revoked`](Self::close_revoked); one
    /// that connects later is refused.
    pub(in crate::shard) fn revoke(&self, revocation: &Revocation) -> Result<RevokedClients, Full> {
        let now = clock::unix_seconds();
        let mut revocations = Revocations::default();
        if let Some(tokens) = &self.settings.tokens {
            tokens.revoke(revocation, now)?;
            revocations.add(revocation, now)?;
        }
        let disconnect = revocation.disconnect;
        Ok(RevokedClients { revocations, now, disconnect, after: None, closed: 0 })
    }

    /// Closes revoked clients among the next `most`. Returns whether there may be more.
    pub(in crate::shard) fn close_revoked(
        &mut self,
        revoked: &mut RevokedClients,
        most: usize,
    ) -> bool {
        if !revoked.disconnect || revoked.revocations.is_empty() {
            return false;
        }
        let mut found = Vec::new();
        let is_revoked = |token: &Identity| revoked.revocations.contains(token, revoked.now);
        revoked.after = self.token_holders.revoked(revoked.after, most, is_revoked, &mut found);
        for client in found {
            self.close_holder(client, CloseCause::TokenRevoked);
            revoked.closed += 1;
        }
        revoked.after.is_some()
    }
}
