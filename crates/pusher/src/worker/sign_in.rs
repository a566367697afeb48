//! Sign-in: a connection becomes that of a user.

use super::Connection;
use crate::{
    budget::Weight,
    client_message::SignIn,
    connect::Refused,
    names, server_message, signature,
    state::{self, MAX_WATCHLIST, NamedUser},
};

/// The code of an error: the watchlist is too long.
const LONG_WATCHLIST: u16 = 4302;

/// Maximum number of queries for the users of a watchlist. Each after the second follows a change
/// during the one before, of which there is a notice as well.
const QUERIES: usize = 4;

impl Connection<'_> {
    pub(super) async fn sign_in(&self, sign_in: SignIn) -> anyhow::Result<()> {
        let SignIn { auth, user_data } = sign_in;
        let NamedUser { user, watchlist, is_cut } = match self.signed_user(&auth, &user_data) {
            Ok(named) => named,
            Err(fault) if self.app.authorization_timeout().is_none() => {
                return self.fault(Weight::Refused, &fault).await;
            }
            Err(fault) => {
                self.client.send(server_message::error(None, &fault)).await?;
                return self.close(Refused::Unauthorized).await;
            }
        };
        if let Some(before) = &self.state.user {
            if before.id != user.id {
                let fault = "The connection is signed in as another user";
                return self.fault(Weight::Refused, fault).await;
            }
            return Ok(self.client.send(server_message::signin_success(&user_data)).await?);
        }
        self.client.bind_uid(names::uid(self.app, &user.id)).await?;
        self.client.join_group(names::user_group(self.app, &user.id)).await?;
        self.client.update_session(&state::with_user(&user)?).await?;
        self.client.send(server_message::signin_success(&user_data)).await?;
        self.shared.metrics.sign_ins.inc();
        if is_cut {
            let fault = format!("The watchlist has more than {MAX_WATCHLIST} users");
            self.client.send(server_message::error(Some(LONG_WATCHLIST), &fault)).await?;
        }
        match watchlist.is_empty() {
            true => Ok(()),
            false => self.watch(&watchlist).await,
        }
    }

    fn signed_user(&self, auth: &str, user_data: &str) -> Result<NamedUser, String> {
        let socket_id = self.socket_id();
        let text = signature::user_text(socket_id.as_str(), user_data);
        match signature::verify(self.app.keys(), auth, &text) {
            Some(_) => NamedUser::parse(user_data, self.app.max_user_info_size()),
            None => Err(Self::invalid_signature(&text, auth)),
        }
    }

    /// Follows the presence of users.
    async fn watch(&self, watchlist: &[crate::UserId]) -> anyhow::Result<()> {
        for user in watchlist {
            self.client.join_group(names::watchers_group(self.app, user)).await?;
        }
        let mut shown = vec![None; watchlist.len()];
        // A notice of a later change may have overtaken what is shown, so it is compared with the
        // users as they are once the client's gateway has it.
        for _ in 0..QUERIES {
            let uids = watchlist.iter().map(|user| names::uid(self.app, user));
            let are_online = match self.client.cluster().are_uids_online(uids).await {
                Ok(are_online) => are_online,
                Err(error) => {
                    // The client is signed in, and its users are shown as they come and go.
                    tracing::debug!(client = %self.client.id(), %error, "watchlist not shown");
                    return Ok(());
                }
            };
            let of = |online: bool| -> Vec<_> {
                let users = watchlist.iter().zip(&are_online).zip(&shown);
                let users =
                    users.filter(|((_, is), before)| **is == online && **before != Some(online));
                users.map(|((user, _), _)| user).collect()
            };
            let (online, offline) = (of(true), of(false));
            if online.is_empty() && offline.is_empty() {
                return Ok(());
            }
            let message = server_message::watchlist_events(&online, &offline);
            self.client.send(message).report().await?;
            shown = are_online.into_iter().map(Some).collect();
        }
        Ok(())
    }
}
