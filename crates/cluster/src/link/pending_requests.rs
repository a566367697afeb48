//! Matches responses to the requests that wait for them.

use runtime::sync::{Mutex, MutexGuard};
use rustc_hash::FxHashMap;
use tokio::sync::oneshot;

/// The maximum number of unanswered requests of one link. Beyond it, requests fail at once.
const MAX_UNANSWERED: usize = 64 * 1024;

/// Waiting requests, by number.
#[derive(Debug)]
pub(crate) struct PendingRequests<T> {
    state: Mutex<State<T>>,
}

#[derive(Debug)]
struct State<T> {
    last: u64,
    waiting: FxHashMap<u64, oneshot::Sender<T>>,
    closed: bool,
}

/// A pending request; dropping it frees its place.
#[derive(Debug)]
pub(crate) struct Ticket<'a, T> {
    pub(crate) number: u64,
    answer: oneshot::Receiver<T>,
    owner: &'a PendingRequests<T>,
}

/// Too many requests are pending.
#[derive(Debug)]
pub(crate) struct TooMany;

impl<T> Default for PendingRequests<T> {
    fn default() -> Self {
        Self::after(0)
    }
}

impl<T> PendingRequests<T> {
    /// Numbers requests from the one after `last`.
    pub(crate) fn after(last: u64) -> Self {
        let state = State { last, waiting: FxHashMap::default(), closed: false };
        Self { state: Mutex::new(state) }
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock()
    }

    /// Registers a request and assigns its number.
    pub(crate) fn ticket(&self) -> Result<Ticket<'_, T>, TooMany> {
        let mut state = self.lock();
        if MAX_UNANSWERED <= state.waiting.len() {
            return Err(TooMany);
        }
        let (sender, answer) = oneshot::channel();
        state.last += 1;
        let number = state.last;
        if !state.closed {
            state.waiting.insert(number, sender);
        }
        Ok(Ticket { number, answer, owner: self })
    }

    /// Delivers a response, unless its request was dropped.
    pub(crate) fn resolve(&self, number: u64, value: T) {
        let waiting = self.lock().waiting.remove(&number);
        if let Some(waiting) = waiting {
            let _ = waiting.send(value);
        }
    }

    /// No further response will arrive.
    pub(crate) fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        state.waiting.clear();
    }
}

impl<T> Ticket<'_, T> {
    /// Waits for the response; `None` when the link has closed. Not to be called again once it has
    /// returned.
    pub(crate) async fn wait(&mut self) -> Option<T> {
        (&mut self.answer).await.ok()
    }
}

impl<T> Drop for Ticket<'_, T> {
    fn drop(&mut self) {
        self.owner.lock().waiting.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn responses_in_any_order_reach_their_requests() {
        let correlated = PendingRequests::default();
        let (mut first, mut second) = (correlated.ticket().unwrap(), correlated.ticket().unwrap());
        correlated.resolve(second.number, "second");
        correlated.resolve(first.number, "first");
        correlated.resolve(99, "unknown");
        assert_eq!(first.wait().await, Some("first"));
        assert_eq!(second.wait().await, Some("second"));
    }

    #[tokio::test]
    async fn request_on_a_closed_link_fails_at_once() {
        let correlated = PendingRequests::<()>::default();
        let mut before = correlated.ticket().unwrap();
        correlated.close();
        assert_eq!(before.wait().await, None);
        assert_eq!(correlated.ticket().unwrap().wait().await, None);
    }

    #[test]
    fn dropped_requests_free_their_places() {
        let correlated = PendingRequests::<()>::default();
        let tickets: Vec<_> = (0..MAX_UNANSWERED).map(|_| correlated.ticket().unwrap()).collect();
        assert!(correlated.ticket().is_err());
        drop(tickets);
        assert!(correlated.ticket().is_ok());
    }
}
