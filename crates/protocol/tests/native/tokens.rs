//! Queries about tokens of clients, and the results of renewals.

use push_suite_protocol::{
    AccessToken, Answer, ConnectionId, Query, Renewal, Revocation, TokenError, TokenId, Uid,
};

pub(crate) fn renew(client: ConnectionId) -> Query {
    Query::RenewToken { client, token: AccessToken::new("a.b.c").unwrap() }
}

pub(crate) fn revoke(uid: Uid) -> Query {
    Query::Revoke(Revocation {
        ids: vec![TokenId::new("t").unwrap()],
        uids: vec![uid],
        all: true,
        issued_before: Some(70_000),
        ttl: 300,
        disconnect: true,
    })
}

/// Every other result of a renewal, and every cause of a refusal.
pub(crate) fn renewals() -> Vec<(&'static str, Answer)> {
    let refused = |error| Answer::Renewal(Renewal::Refused(error));
    vec![
        ("token-never-expires", Answer::Renewal(Renewal::Renewed { expires_at: None })),
        ("token-invalid", refused(TokenError::Invalid)),
        ("token-expired", refused(TokenError::Expired)),
        ("token-revoked", refused(TokenError::Revoked)),
        ("token-of-other-user", Answer::Renewal(Renewal::OtherUser)),
        ("without-token", Answer::Renewal(Renewal::WithoutToken)),
        ("token-not-connected", Answer::Renewal(Renewal::NotConnected)),
    ]
}
