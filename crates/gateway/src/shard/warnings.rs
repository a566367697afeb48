//! Log lines that peers can cause any number of times, each kind limited to one a second.

use service::rate_limit::Throttle;

/// One limit for each kind of line.
#[derive(Debug)]
pub(super) struct Warnings {
    /// An update of a session that cannot be made.
    pub(super) session: Throttle,
    /// An event that does not fit a frame of its worker.
    pub(super) too_large: Throttle,
    /// A client that is in as many groups as it may be.
    pub(super) groups: Throttle,
    /// No more connections are accepted.
    pub(super) full: Throttle,
}

impl Default for Warnings {
    fn default() -> Self {
        let [session, too_large, groups, full] = [const { Throttle::per_second() }; 4];
        Self { session, too_large, groups, full }
    }
}
