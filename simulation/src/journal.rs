//! Records that workers write of each event before they handle it; they outlive every process.

use std::cell::RefCell;

use simulated::control;
use test_support::record::{Record, RecordedEvent};

thread_local! {
    static JOURNAL: RefCell<Vec<(usize, Record)>> = const { RefCell::new(Vec::new()) };
}

/// Records an event on behalf of a worker instance.
pub(crate) fn append(instance: usize, record: Record) {
    let event = match record.event {
        RecordedEvent::Connect => 0,
        RecordedEvent::Open(_) => 1,
        RecordedEvent::Message(_) => 2,
        RecordedEvent::Close(_) => 3,
        RecordedEvent::Unexpected => 4,
    };
    let client = (u64::from(record.client.gateway) << 32) | u64::from(record.client.connection);
    control::note(
        "handled",
        &[instance as u64, client, record.number, event, u64::from(record.marked)],
    );
    JOURNAL.with_borrow_mut(|journal| journal.push((instance, record)));
}

/// Calls `read` with all records.
pub(crate) fn with_records<T>(read: impl FnOnce(&[(usize, Record)]) -> T) -> T {
    JOURNAL.with_borrow(|journal| read(journal))
}

/// Takes all records.
pub(crate) fn take() -> Vec<(usize, Record)> {
    JOURNAL.take()
}
