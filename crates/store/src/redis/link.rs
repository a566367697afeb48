//! The task that keeps a connection to the server, and answers at once while there is none.

use std::{pin::pin, sync::Arc, time::Duration};

use runtime::{backoff::Backoff, clock, tls::HttpsClient};
use tokio::{
    sync::{mpsc, oneshot},
    time,
};

use super::{
    address::RedisAddress,
    call::Call,
    failure::{self, Failure},
    session::{Ended, Session},
};
use crate::StoreError;

/// How long connecting may take, with everything that follows until the first call.
const CONNECT: Duration = Duration::from_secs(2);

/// Waits between attempts to connect: at most the first for the first, and the second for any.
const WAITS: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// The server, and the queue of calls to it.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) name: Arc<str>,
    pub(super) address: RedisAddress,
    pub(super) tls: Option<HttpsClient>,
    pub(super) calls: mpsc::Receiver<Call>,
}

impl Link {
    /// Keeps the connection until the queue is closed. Ends if the first attempt fails, whose outcome
    /// `connected` receives.
    pub(super) async fn run(mut self, connected: oneshot::Sender<Result<(), StoreError>>) {
        let mut backoff = Backoff::new(WAITS.0, WAITS.1);
        let mut session = match self.connect().await {
            Ok(session) => {
                let _ = connected.send(Ok(()));
                session
            }
            Err(failure) => {
                let _ = connected.send(Err(failure.error(&self.name)));
                return;
            }
        };
        loop {
            let since = clock::now();
            let failure = match session.serve(&mut self.calls).await {
                Ended::Closed => return,
                Ended::Failed(failure) => failure,
            };
            backoff.ended_after(clock::now() - since);
            session.abandon(&failure);
            tracing::warn!(store = &*self.name, error = failure.cause, "the store is away");
            let Some(next) = self.reconnect(failure, &mut backoff).await else { return };
            tracing::info!(store = &*self.name, "the store is back");
            session = next;
        }
    }

    /// Connects. Borrows nothing, so that the queue is served meanwhile.
    fn connect(&self) -> impl Future<Output = Result<Session, Failure>> + use<> {
        let (name, address, tls) = (Arc::clone(&self.name), self.address.clone(), self.tls.clone());
        async move {
            let session = Session::connect(&name, &address, tls.as_ref());
            time::timeout(CONNECT, session).await.unwrap_or_else(|_| Err(failure::overdue()))
        }
    }

    /// Tries until it succeeds; ends when the queue is closed.
    async fn reconnect(&mut self, mut failure: Failure, backoff: &mut Backoff) -> Option<Session> {
        loop {
            let error = failure.error(&self.name);
            let connect = self.connect();
            let attempt = async {
                backoff.wait().await;
                connect.await
            };
            match refusing(&mut self.calls, &error, attempt).await? {
                Ok(session) => return Some(session),
                Err(another) => {
                    tracing::debug!(store = &*self.name, error = another.cause, "still away");
                    failure = another;
                }
            }
        }
    }
}

/// Waits for `work`, and answers calls with an error meanwhile. `None` when the queue is closed.
async fn refusing<T>(
    calls: &mut mpsc::Receiver<Call>,
    error: &StoreError,
    work: impl Future<Output = T>,
) -> Option<T> {
    let mut work = pin!(work);
    loop {
        tokio::select! {
            output = &mut work => return Some(output),
            call = calls.recv() => call?.answer(Err(error.clone())),
        }
    }
}
