//! Panics: none may happen in any process, even if it is caught.

use std::{cell::RefCell, panic, sync::Once};

thread_local! {
    static PANICS: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

static HOOK: Once = Once::new();

/// Records panics from now on, by thread.
pub fn note() {
    HOOK.call_once(|| {
        let other = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            PANICS.with_borrow_mut(|panics| panics.push(info.to_string()));
            other(info);
        }));
    });
}

/// Takes those of this thread.
pub(crate) fn take() -> Vec<String> {
    PANICS.take()
}
