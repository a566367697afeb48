//! Panics: none may happen in any process, also if it is caught.

use std::{cell::RefCell, panic, sync::Once};

thread_local! {
    static PANICS: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

static HOOK: Once = Once::new();

/// Has panics noted from now on, by thread.
pub fn note() {
    HOOK.call_once(|| {
        let other = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            PANICS.with_borrow_mut(|panics| panics.push(info.to_string()));
            other(info);
        }));
    });
}

/// Those of this thread.
pub(crate) fn take() -> Vec<String> {
    PANICS.take()
}
