//! Streams with messages that the store did not take: a value.

use std::collections::HashSet;

use protocol::StreamName;
use runtime::sync::Mutex;

/// Number of streams that are remembered one by one; beyond that, all of them count.
const STREAMS: usize = 10_000;

/// Streams that get a new epoch with the next message that this process appends: before that, a
/// client that comes back has not recovered.
#[derive(Debug, Default)]
pub(crate) struct Unrecorded(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    // Names are untrusted input, so their hash is keyed.
    streams: HashSet<StreamName>,
    /// Of streams beyond those that are remembered: those that were renewed since.
    renewed: Option<HashSet<StreamName>>,
}

impl Unrecorded {
    /// A message of the stream was delivered without being appended.
    pub(crate) fn add(&self, stream: &StreamName) {
        let mut state = self.0.lock();
        if STREAMS <= state.streams.len() && !state.streams.contains(stream) {
            state.renewed = Some(HashSet::new());
            return;
        }
        if let Some(renewed) = &mut state.renewed {
            renewed.remove(stream);
        }
        state.streams.insert(stream.clone());
    }

    /// Whether the stream lacks messages.
    pub(crate) fn has(&self, stream: &StreamName) -> bool {
        let state = self.0.lock();
        let is_beyond = state.renewed.as_ref().is_some_and(|renewed| !renewed.contains(stream));
        is_beyond || state.streams.contains(stream)
    }

    /// The stream has a new epoch.
    pub(crate) fn renewed(&self, stream: &StreamName) {
        let mut state = self.0.lock();
        state.streams.remove(stream);
        if let Some(renewed) = &mut state.renewed {
            if STREAMS <= renewed.len() {
                // They are renewed once more than necessary, which is safe.
                renewed.clear();
            }
            renewed.insert(stream.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use protocol::Uid;

    use super::*;

    fn stream(number: usize) -> StreamName {
        StreamName::Uid(Uid::from(number))
    }

    #[test]
    fn stream_lacks_messages_until_it_is_renewed() {
        let unrecorded = Unrecorded::default();
        assert!(!unrecorded.has(&stream(1)));
        unrecorded.add(&stream(1));
        assert!(unrecorded.has(&stream(1)) && !unrecorded.has(&stream(2)));
        unrecorded.renewed(&stream(1));
        assert!(!unrecorded.has(&stream(1)));
    }

    #[test]
    fn beyond_the_bound_every_stream_counts() {
        let unrecorded = Unrecorded::default();
        (0..=STREAMS).for_each(|number| unrecorded.add(&stream(number)));
        assert!(unrecorded.has(&stream(STREAMS)) && unrecorded.has(&stream(STREAMS + 1)));
        for number in [0, STREAMS, STREAMS + 1] {
            unrecorded.renewed(&stream(number));
            assert!(!unrecorded.has(&stream(number)));
        }
        unrecorded.add(&stream(0));
        assert!(unrecorded.has(&stream(0)));
    }
}
