//! Records that workers write of each event before they handle it; they outlive every process.

use std::cell::RefCell;

use simulated::control;

use crate::record::Record;

thread_local! {
    static JOURNAL: RefCell<Vec<(usize, Record)>> = const { RefCell::new(Vec::new()) };
}

/// Records an event on behalf of a worker instance.
pub(crate) fn note(life: usize, record: Record) {
    let told = match record.told {
        crate::record::Told::Connect => 0,
        crate::record::Told::Open(_) => 1,
        crate::record::Told::Message(_) => 2,
        crate::record::Told::Close(_) => 3,
        crate::record::Told::Nonsense => 4,
    };
    let client = (u64::from(record.client.gateway) << 32) | u64::from(record.client.connection);
    control::note("handled", &[life as u64, client, record.number, told, u64::from(record.marked)]);
    JOURNAL.with_borrow_mut(|journal| journal.push((life, record)));
}

/// Calls `look` with all records.
pub(crate) fn look<T>(look: impl FnOnce(&[(usize, Record)]) -> T) -> T {
    JOURNAL.with_borrow(|journal| look(journal))
}

/// Takes all records.
pub(crate) fn take() -> Vec<(usize, Record)> {
    JOURNAL.take()
}
