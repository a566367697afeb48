//! A client's session as its methods see it: what the gateway told last, and the edits made since.

use std::collections::VecDeque;

use protocol::{Session, SessionError};

/// The copy of a session that a worker keeps.
///
/// An edit is made here at once, and is on its way to the gateway for a while. Whatever the gateway
/// sent before the edit reached it knows nothing of it; such an edit is made again on top of what
/// was sent, as the gateway itself will make it.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    session: Session,
    /// How many edits were made.
    edits: u64,
    /// Those of which the gateway has not said that it has them, with their numbers.
    pending: VecDeque<(u64, Edit)>,
}

#[derive(Debug)]
enum Edit {
    Set(Session),
    Update(Session),
}

/// More pending edits than this become one, so that a method that makes many keeps few. One from
/// elsewhere that came in between these is then overtaken by the earlier ones, until the gateway
/// has them all.
const MAX_PENDING: usize = 16;

impl Memory {
    pub(super) fn new(session: Session) -> Self {
        Self { session, ..Self::default() }
    }

    pub(crate) const fn session(&self) -> &Session {
        &self.session
    }

    /// Replaces the session, and gives the edit's number.
    pub(crate) fn set(&mut self, session: Session) -> u64 {
        self.session = session.clone();
        // Nothing of what was before is left.
        self.pending.clear();
        self.add(Edit::Set(session))
    }

    /// Changes part of the session, and gives the edit's number.
    ///
    /// # Errors
    /// As [`Session::merge`]; it is left as it was then.
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
            second.make(session);
            self.pending.push_front((number, first));
        }
        self.edits
    }

    /// The gateway has the edits up to this one; and what else it says, if anything.
    pub(super) fn told(&mut self, edits: u64, session: Option<Session>) {
        while self.pending.front().is_some_and(|(number, _)| *number <= edits) {
            self.pending.pop_front();
        }
        if self.pending.is_empty() {
            // A client that is silent keeps nothing.
            self.pending = VecDeque::new();
        }
        if let Some(session) = session {
            self.session = session;
            self.pending.iter().for_each(|(_, edit)| edit.make(&mut self.session));
        }
    }
}

impl Edit {
    fn make(&self, session: &mut Session) {
        match self {
            Self::Set(new) => *session = new.clone(),
            // One that cannot be made here, the gateway cannot make either: it leaves the session
            // as it is, and says so in its log.
            Self::Update(changes) => drop(session.merge(changes)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(text: &'static str) -> Session {
        Session::from_encoded(text.into()).unwrap()
    }

    fn shows(memory: &Memory) -> String {
        String::from_utf8(memory.session().as_encoded().to_vec()).unwrap()
    }

    #[test]
    fn what_the_gateway_has_is_not_made_again() {
        let mut memory = Memory::new(session(r#"{"a":1}"#));
        assert_eq!(memory.set(session(r#"{"a":2}"#)), 1);
        assert_eq!(memory.update(&session(r#"{"b":3}"#)).unwrap(), 2);
        assert_eq!(shows(&memory), r#"{"a":2,"b":3}"#);
        memory.told(1, Some(session(r#"{"a":5}"#)));
        assert_eq!(shows(&memory), r#"{"a":5,"b":3}"#, "the first has come before, the second not");
        memory.told(2, Some(session(r#"{"b":6}"#)));
        assert_eq!(shows(&memory), r#"{"b":6}"#);
    }

    #[test]
    fn an_edit_stays_until_the_gateway_has_it() {
        let mut memory = Memory::default();
        memory.update(&session(r#"{"a":1}"#)).unwrap();
        memory.told(0, None);
        memory.told(0, Some(Session::default()));
        assert_eq!(shows(&memory), r#"{"a":1}"#);
        memory.told(1, None);
        assert_eq!(memory.pending.capacity(), 0);
        memory.told(1, Some(Session::default()));
        assert_eq!(shows(&memory), "");
    }

    #[test]
    fn many_edits_keep_few() {
        let mut memory = Memory::default();
        let names: Vec<_> = (0..100).map(|at| format!("n{at}")).collect();
        for name in &names {
            let changes = Session::from_encoded(format!(r#"{{"{name}":1}}"#).into()).unwrap();
            memory.update(&changes).unwrap();
        }
        assert_eq!(memory.pending.len(), MAX_PENDING);
        memory.told(0, Some(session(r#"{"other":1}"#)));
        let all = memory.session().decode().unwrap();
        assert!(names.iter().all(|name| all.contains_key(name)) && all.contains_key("other"));
        memory.told(100, Some(Session::default()));
        assert_eq!(shows(&memory), "");
    }
}
