//! A client's session as the gateway keeps it: a value.

use protocol::{Session, SessionError, session::Changes};

/// A session, and its pending updates.
///
/// Applying an update costs time proportional to the session, so updates are applied when the
/// session is read: a thousand in a row cost that once. They are also applied once they amount to a
/// good part of the session itself, which limits the memory for them.
#[derive(Debug, Default)]
pub(super) struct StoredSession {
    session: Session,
    pending: Option<Box<Changes>>,
}

/// Updates up to this many bytes may always be pending.
const PENDING: usize = 4096;

impl StoredSession {
    /// Bytes of the session and its pending updates.
    pub(super) fn len(&self) -> usize {
        let pending = self.pending.as_ref().map_or(0, |pending| pending.weight());
        self.session.as_encoded().len() + pending
    }

    /// Whether it is empty, without pending updates.
    pub(super) fn is_empty(&self) -> bool {
        self.session.is_empty() && self.pending.is_none()
    }

    /// The session, after [applying](Self::apply_pending) pending updates.
    ///
    /// # Errors
    /// When they cannot be applied; the session is unchanged then.
    pub(super) fn read(&mut self) -> (&Session, Result<(), SessionError>) {
        let applied = self.apply_pending();
        (&self.session, applied)
    }

    pub(super) fn set(&mut self, session: Session) {
        *self = Self { session, pending: None };
    }

    /// Updates part of the session.
    ///
    /// # Errors
    /// When this update, or pending ones that had to be applied first, cannot be applied.
    pub(super) fn update(&mut self, update: &Session) -> Result<(), SessionError> {
        if update.is_empty() {
            return Ok(());
        }
        let changes = Changes::of(update)?;
        let mut applied = Ok(());
        let pending = match self.pending.take() {
            None => Box::new(changes),
            Some(mut pending) => match pending.absorb(changes) {
                Ok(()) => pending,
                Err(changes) => {
                    applied = self.session.apply(*pending);
                    Box::new(changes)
                }
            },
        };
        let is_large = PENDING.max(self.session.as_encoded().len() / 4) < pending.weight();
        self.pending = Some(pending);
        if is_large { applied.and(self.apply_pending()) } else { applied }
    }

    /// Removes keys, after applying pending updates.
    ///
    /// # Errors
    /// When these cannot be applied, or the keys not be removed.
    pub(super) fn remove(&mut self, keys: &[String]) -> Result<(), SessionError> {
        let applied = self.apply_pending();
        applied.and(self.session.remove(keys))
    }

    fn apply_pending(&mut self) -> Result<(), SessionError> {
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
        let (session, applied) = stored.read();
        applied.unwrap();
        String::from_utf8(session.as_encoded().to_vec()).unwrap()
    }

    #[test]
    fn updates_are_applied_when_the_session_is_read() {
        let mut stored = StoredSession::default();
        stored.set(session(r#"{"a":1}"#));
        stored.update(&session(r#"{"b":2}"#)).unwrap();
        stored.update(&session(r#"{"b":3}"#)).unwrap();
        assert_eq!(stored.session, session(r#"{"a":1}"#));
        assert_eq!(shown(&mut stored), r#"{"a":1,"b":3}"#);
        stored.update(&session(r#"{"c":4}"#)).unwrap();
        stored.set(session(r#"{"d":5}"#));
        assert_eq!(
            shown(&mut stored),
            r#"{"d":5}"#,
            "pending updates of a replaced session are dropped"
        );
    }

    #[test]
    fn keys_are_removed_from_pending_updates_as_well() {
        let mut stored = StoredSession::default();
        stored.set(session(r#"{"a":1,"b":2}"#));
        stored.update(&session(r#"{"b":3,"c":4}"#)).unwrap();
        stored.remove(&["b".to_owned(), "none".to_owned()]).unwrap();
        assert_eq!(shown(&mut stored), r#"{"a":1,"c":4}"#);
        stored.remove(&["a".to_owned(), "c".to_owned()]).unwrap();
        assert!(stored.is_empty());
    }

    #[test]
    fn large_pending_updates_are_applied_at_once() {
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
    fn invalid_update_is_an_error_and_leaves_the_session() {
        let mut stored = StoredSession::default();
        stored.set(session(r#"{"a":1}"#));
        assert!(stored.update(&session("[1]")).is_err());
        stored.update(&session(r#"{"b":2}"#)).unwrap();
        assert_eq!(shown(&mut stored), r#"{"a":1,"b":2}"#);
    }
}
