//! A client's session as the gateway keeps it: a value.

use protocol::{Session, SessionError, session::Changes};

/// A session, and the updates of it that are not made yet.
///
/// To make an update costs as much as the session is long, so updates are made when the session is
/// read: a thousand in a row cost that once. They are also made when they come to a good part of the
/// session itself, so that no more is kept for them than that.
#[derive(Debug, Default)]
pub(super) struct StoredSession {
    session: Session,
    pending: Option<Box<Changes>>,
}

/// How many bytes of updates may wait at least.
const PENDING: usize = 4096;

impl StoredSession {
    /// Bytes that it holds.
    pub(super) fn len(&self) -> usize {
        let pending = self.pending.as_ref().map_or(0, |pending| pending.weight());
        self.session.as_encoded().len() + pending
    }

    /// Whether there is nothing in it, and no update of it.
    pub(super) fn is_empty(&self) -> bool {
        self.session.is_empty() && self.pending.is_none()
    }

    /// The session. Updates that wait are [made](Self::settle) first.
    ///
    /// # Errors
    /// When they cannot be made; the session is as it was before them.
    pub(super) fn read(&mut self) -> (&Session, Result<(), SessionError>) {
        let settled = self.settle();
        (&self.session, settled)
    }

    pub(super) fn set(&mut self, session: Session) {
        *self = Self { session, pending: None };
    }

    /// Changes part of the session.
    ///
    /// # Errors
    /// When this update, or those that had to be made before it, cannot be made.
    pub(super) fn update(&mut self, update: &Session) -> Result<(), SessionError> {
        if update.is_empty() {
            return Ok(());
        }
        let changes = Changes::of(update)?;
        let mut settled = Ok(());
        let pending = match self.pending.take() {
            None => Box::new(changes),
            Some(mut pending) => match pending.absorb(changes) {
                Ok(()) => pending,
                Err(changes) => {
                    settled = self.session.apply(*pending);
                    Box::new(changes)
                }
            },
        };
        let is_much = PENDING.max(self.session.as_encoded().len() / 4) < pending.weight();
        self.pending = Some(pending);
        if is_much { settled.and(self.settle()) } else { settled }
    }

    fn settle(&mut self) -> Result<(), SessionError> {
        match self.pending.take() {
            Some(pending) => self.session.apply(*pending),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(text: &str) -> Session {
        Session::from_encoded(text.to_owned().into()).unwrap()
    }

    fn shown(stored: &mut StoredSession) -> String {
        let (session, settled) = stored.read();
        settled.unwrap();
        String::from_utf8(session.as_encoded().to_vec()).unwrap()
    }

    #[test]
    fn updates_are_made_when_the_session_is_read() {
        let mut stored = StoredSession::default();
        stored.set(session(r#"{"a":1}"#));
        stored.update(&session(r#"{"b":2}"#)).unwrap();
        stored.update(&session(r#"{"b":3}"#)).unwrap();
        assert_eq!(stored.session, session(r#"{"a":1}"#));
        assert_eq!(shown(&mut stored), r#"{"a":1,"b":3}"#);
        stored.update(&session(r#"{"c":4}"#)).unwrap();
        stored.set(session(r#"{"d":5}"#));
        assert_eq!(shown(&mut stored), r#"{"d":5}"#, "what is replaced is not updated");
    }

    #[test]
    fn updates_that_come_to_much_are_made_at_once() {
        let mut stored = StoredSession::default();
        for round in 0..1000 {
            let update = format!(r#"{{"k{round}":"{}"}}"#, "x".repeat(100));
            stored.update(&session(&update)).unwrap();
            let pending = stored.len() - stored.session.as_encoded().len();
            assert!(pending <= PENDING.max(stored.session.as_encoded().len() / 4) + 200);
        }
        assert_eq!(stored.read().0.decode().unwrap().len(), 1000);
    }

    #[test]
    fn update_that_cannot_be_made_leaves_the_session_and_says_so() {
        let mut stored = StoredSession::default();
        stored.set(session(r#"{"a":1}"#));
        assert!(stored.update(&session("[1]")).is_err());
        stored.update(&session(r#"{"b":2}"#)).unwrap();
        assert_eq!(shown(&mut stored), r#"{"a":1,"b":2}"#);
    }
}
