//! Matches what comes back to who waits for it.

use std::sync::{Mutex, MutexGuard, PoisonError};

use rustc_hash::FxHashMap;
use tokio::sync::oneshot;

/// The most answers one link may owe. Beyond it, asking fails at once.
const MAX_UNANSWERED: usize = 64 * 1024;

/// Those who wait, by the number they were given.
#[derive(Debug)]
pub(crate) struct Correlated<T> {
    state: Mutex<State<T>>,
}

#[derive(Debug)]
struct State<T> {
    last: u64,
    waiting: FxHashMap<u64, oneshot::Sender<T>>,
    closed: bool,
}

/// A place in the queue; giving it up makes room.
#[derive(Debug)]
pub(crate) struct Ticket<'a, T> {
    pub(crate) number: u64,
    answer: oneshot::Receiver<T>,
    owner: &'a Correlated<T>,
}

/// Too many wait already.
#[derive(Debug)]
pub(crate) struct TooMany;

impl<T> Default for Correlated<T> {
    fn default() -> Self {
        let state = State { last: 0, waiting: FxHashMap::default(), closed: false };
        Self { state: Mutex::new(state) }
    }
}

impl<T> Correlated<T> {
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        // Every change is one step, so a panic elsewhere leaves nothing half done.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a number to wait under.
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

    /// Hands over what came back. Who no longer waits does not get it.
    pub(crate) fn resolve(&self, number: u64, value: T) {
        let waiting = self.lock().waiting.remove(&number);
        if let Some(waiting) = waiting {
            let _ = waiting.send(value);
        }
    }

    /// Nothing will come back any more.
    pub(crate) fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        state.waiting.clear();
    }
}

impl<T> Ticket<'_, T> {
    /// Waits; `None` when the link is gone. Not to be called again once it has returned.
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
    async fn each_gets_its_own_whatever_the_order() {
        let correlated = Correlated::default();
        let (mut first, mut second) = (correlated.ticket().unwrap(), correlated.ticket().unwrap());
        correlated.resolve(second.number, "second");
        correlated.resolve(first.number, "first");
        correlated.resolve(99, "nobody");
        assert_eq!(first.wait().await, Some("first"));
        assert_eq!(second.wait().await, Some("second"));
    }

    #[tokio::test]
    async fn nobody_waits_for_a_link_that_is_gone() {
        let correlated = Correlated::<()>::default();
        let mut before = correlated.ticket().unwrap();
        correlated.close();
        assert_eq!(before.wait().await, None);
        assert_eq!(correlated.ticket().unwrap().wait().await, None);
    }

    #[test]
    fn giving_up_makes_room() {
        let correlated = Correlated::<()>::default();
        let tickets: Vec<_> = (0..MAX_UNANSWERED).map(|_| correlated.ticket().unwrap()).collect();
        assert!(correlated.ticket().is_err());
        drop(tickets);
        assert!(correlated.ticket().is_ok());
    }
}
