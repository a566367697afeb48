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
    Remove(Vec<String>),
}

/// Pending edits beyond this are merged, so that memory is bounded for a handler that makes many.
/// An edit by another peer that lies between merged ones is then hidden by the earlier of them,
/// until the gateway has acknowledged all. If two cannot be merged, all become one, which replaces
/// the session.
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

    /// Removes keys and returns the edit's number.
    ///
    /// # Errors
    /// As [`Session::remove`]; the session is then unchanged.
    pub(crate) fn remove(&mut self, keys: &[String]) -> Result<u64, SessionError> {
        self.session.remove(keys)?;
        Ok(self.add(Edit::Remove(keys.to_vec())))
    }

    /// The number of an edit whose outcome only the gateway knows.
    pub(crate) const fn reserve(&mut self) -> u64 {
        self.edits += 1;
        self.edits
    }

    /// The gateway has replaced the session by the edit of this number, and so applied all before.
    pub(crate) fn replaced(&mut self, edit: u64, session: Session) {
        self.pending.retain(|(number, _)| edit < *number);
        self.refreshed(edit, session.clone());
        self.pending.push_front((edit, Edit::Set(session)));
    }

    /// The gateway had this session when it has applied all edits before the one of this number.
    pub(crate) fn refreshed(&mut self, edit: u64, session: Session) {
        self.session = session;
        let later = self.pending.iter().filter(|(number, _)| edit < *number);
        later.for_each(|(_, edit)| edit.apply(&mut self.session));
    }

    fn add(&mut self, edit: Edit) -> u64 {
        self.edits += 1;
        self.pending.push_back((self.edits, edit));
        if MAX_PENDING < self.pending.len()
            && let Some((_, first)) = self.pending.pop_front()
            && let Some((number, second)) = self.pending.pop_front()
        {
            match first.followed_by(&second) {
                Some(both) => self.pending.push_front((number, both)),
                None => {
                    self.pending.clear();
                    self.pending.push_back((self.edits, Edit::Set(self.session.clone())));
                }
            }
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
            Self::Remove(keys) => drop(session.remove(keys)),
        }
    }

    /// One edit that is equivalent to both; `None` if there is none, whatever the session.
    fn followed_by(mut self, second: &Self) -> Option<Self> {
        match (&mut self, second) {
            (_, Self::Set(session)) => return Some(Self::Set(session.clone())),
            (Self::Set(session), _) => second.apply(session),
            (Self::Update(changes), Self::Update(_)) => second.apply(changes),
            (Self::Update(_) | Self::Remove(_), _) => return None,
        }
        Some(self)
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
    fn removal_is_applied_again_like_any_other_edit() {
        let mut cache = SessionCache::new(session(r#"{"a":1,"b":2}"#));
        cache.update(&session(r#"{"c":3}"#)).unwrap();
        assert_eq!(cache.remove(&["a".to_owned(), "c".to_owned()]).unwrap(), 2);
        assert_eq!(text(&cache), r#"{"b":2}"#);
        cache.synchronize(0, Some(session(r#"{"a":1,"d":4}"#)));
        assert_eq!(text(&cache), r#"{"d":4}"#);
        cache.synchronize(2, Some(session(r#"{"a":5}"#)));
        assert_eq!(text(&cache), r#"{"a":5}"#, "the removal was acknowledged");
    }

    #[test]
    fn swapped_session_is_kept_over_older_copies() {
        let mut cache = SessionCache::new(session(r#"{"a":1}"#));
        cache.update(&session(r#"{"b":2}"#)).unwrap();
        let edit = cache.reserve();
        cache.update(&session(r#"{"later":1}"#)).unwrap();
        cache.replaced(edit, session(r#"{"new":1}"#));
        assert_eq!(text(&cache), r#"{"new":1,"later":1}"#);
        // The gateway has sent this copy before it received any of the edits.
        cache.synchronize(0, Some(session(r#"{"a":1}"#)));
        assert_eq!(text(&cache), r#"{"new":1,"later":1}"#);
        cache.synchronize(edit, Some(session(r#"{"by":"php"}"#)));
        assert_eq!(text(&cache), r#"{"by":"php","later":1}"#);
        let edit = cache.reserve();
        cache.refreshed(edit, session(r#"{"other":1}"#));
        assert_eq!(text(&cache), r#"{"other":1}"#);
    }

    #[test]
    fn pending_removals_are_bounded() {
        let mut cache = SessionCache::new(session(r#"{"kept":1,"n5":1}"#));
        for at in 0..100 {
            cache.update(&session(r#"{"x":1}"#)).unwrap();
            cache.remove(&[format!("n{at}")]).unwrap();
            assert!(cache.pending.len() <= MAX_PENDING);
        }
        cache.synchronize(0, Some(session(r#"{"kept":1,"n5":1}"#)));
        assert_eq!(text(&cache), r#"{"kept":1,"x":1}"#);
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
