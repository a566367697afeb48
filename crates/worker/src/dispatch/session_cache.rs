//! A client's session as its handlers see it: the gateway's latest copy, and the edits since.

use std::collections::VecDeque;

use protocol::{Session, SessionError};

/// A worker's copy of a session.
///
/// An edit is applied here at once, and reaches the gateway later. A copy that the gateway sent
/// before it received the edit does not contain it; the edit is then applied again on top of that
/// copy, as the gateway itself will do.
#[derive(Debug, Default)]
pub(crate) struct SessionCache {
    session: Session,
    /// Number of edits so far.
    edits: u64,
    /// Edits not yet acknowledged by the gateway, with their numbers.
    pending: VecDeque<(u64, Edit)>,
}

#[derive(Debug)]
enum Edit {
    Set(Session),
    Update(Session),
}

/// Pending edits beyond this are merged, so that memory is bounded for a handler that makes many.
/// An edit by another peer that lies between merged ones is then hidden by the earlier of them,
/// until the gateway has acknowledged all.
const MAX_PENDING: usize = 16;

impl SessionCache {
    pub(super) fn new(session: Session) -> Self {
        Self { session, ..Self::default() }
    }

    pub(crate) const fn session(&self) -> &Session {
        &self.session
    }

    /// Replaces the session and returns the edit's number.
    pub(crate) fn set(&mut self, session: Session) -> u64 {
        self.session = session.clone();
        // Earlier edits have no effect any more.
        self.pending.clear();
        self.add(Edit::Set(session))
    }

    /// Updates part of the session and returns the edit's number.
    ///
    /// # Errors
    /// As [`Session::merge`]; the session is then unchanged.
    pub(crate) fn update(&mut self, changes: &Session) -> Result<u64, SessionError> {
        self.session.merge(changes)?;
        Ok(self.add(Edit::Update(changes.clone())))
    }

    fn add(&mut self, edit: Edit) -> u64 {
        self.edits += 1;
        self.pending.push_back((self.edits, edit));
        if MAX_PENDING < self.pending.len()
            && let Some((_, mut first)) = self.pending.pop_front()
            && let Some((number, second)) = self.pending.pop_front()
        {
            let (Edit::Set(session) | Edit::Update(session)) = &mut first;
            second.apply(session);
            self.pending.push_front((number, first));
        }
        self.edits
    }

    /// Applies an update from the gateway: the last edit that it has received, and its copy of the
    /// session, if sent.
    pub(crate) fn synchronize(&mut self, edits: u64, session: Option<Session>) {
        while self.pending.front().is_some_and(|(number, _)| *number <= edits) {
            self.pending.pop_front();
        }
        if self.pending.is_empty() {
            // Frees the allocation: an idle client should not keep one.
            self.pending = VecDeque::new();
        }
        if let Some(session) = session {
            self.session = session;
            self.pending.iter().for_each(|(_, edit)| edit.apply(&mut self.session));
        }
    }
}

impl Edit {
    fn apply(&self, session: &mut Session) {
        match self {
            Self::Set(new) => *session = new.clone(),
            // An update that fails here fails in the gateway as well: it leaves the session as it
            // is, and logs that.
            Self::Update(changes) => drop(session.merge(changes)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(encoded: &'static str) -> Session {
        Session::from_encoded(encoded.into()).unwrap()
    }

    fn text(cache: &SessionCache) -> String {
        String::from_utf8(cache.session().as_encoded().to_vec()).unwrap()
    }

    #[test]
    fn acknowledged_edit_is_not_applied_again() {
        let mut cache = SessionCache::new(session(r#"{"a":1}"#));
        assert_eq!(cache.set(session(r#"{"a":2}"#)), 1);
        assert_eq!(cache.update(&session(r#"{"b":3}"#)).unwrap(), 2);
        assert_eq!(text(&cache), r#"{"a":2,"b":3}"#);
        cache.synchronize(1, Some(session(r#"{"a":5}"#)));
        assert_eq!(text(&cache), r#"{"a":5,"b":3}"#, "only the first edit was acknowledged");
        cache.synchronize(2, Some(session(r#"{"b":6}"#)));
        assert_eq!(text(&cache), r#"{"b":6}"#);
    }

    #[test]
    fn edit_stays_pending_until_acknowledged() {
        let mut cache = SessionCache::default();
        cache.update(&session(r#"{"a":1}"#)).unwrap();
        cache.synchronize(0, None);
        cache.synchronize(0, Some(Session::default()));
        assert_eq!(text(&cache), r#"{"a":1}"#);
        cache.synchronize(1, None);
        assert_eq!(cache.pending.capacity(), 0);
        cache.synchronize(1, Some(Session::default()));
        assert_eq!(text(&cache), "");
    }

    #[test]
    fn pending_edits_are_bounded() {
        let mut cache = SessionCache::default();
        let names: Vec<_> = (0..100).map(|at| format!("n{at}")).collect();
        for name in &names {
            let changes = Session::from_encoded(format!(r#"{{"{name}":1}}"#).into()).unwrap();
            cache.update(&changes).unwrap();
        }
        assert_eq!(cache.pending.len(), MAX_PENDING);
        cache.synchronize(0, Some(session(r#"{"other":1}"#)));
        let all = cache.session().decode().unwrap();
        assert!(names.iter().all(|name| all.contains_key(name)) && all.contains_key("other"));
        cache.synchronize(100, Some(Session::default()));
        assert_eq!(text(&cache), "");
    }
}
