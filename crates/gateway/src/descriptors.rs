//! Allocation of the file descriptor limit to kinds of connections.

/// Limits for each kind of connection, so that none of them can exhaust the descriptors: a worker
/// that reconnects and a health check must be accepted even while clients are at their limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Descriptors {
    /// Client connections.
    pub(crate) clients: usize,
    /// Connections of unauthenticated peers at the inner port.
    pub(crate) unauthenticated: usize,
}

/// Descriptors of the process itself: standard streams, files, other listeners.
const PROCESS: u64 = 16;

/// Descriptors of a thread: its epoll instance and its waker.
const PER_THREAD: u64 = 2;

/// Descriptors of a listener on a thread: its socket, and an accepted connection that is not
/// assigned yet.
const PER_LISTENER: u64 = 2;

/// Minimum and maximum for connections of admin pages and registers.
const ADMIN: (u64, u64) = (4, 96);

/// Minimum and maximum for connections at the inner port, half of which are reserved for
/// authenticated peers.
const INNER: (u64, u64) = (8, 2048);

/// Maximum number of unauthenticated peers if there are enough descriptors. Each may keep its link
/// until the authentication timeout and occupy one buffered frame of 64 KiB.
const UNAUTHENTICATED: usize = 4096;

impl Descriptors {
    /// Allocates `limit` descriptors, or any number, for a gateway with `threads` threads and
    /// `listeners` listeners on each.
    pub(crate) fn share_out(limit: Option<u64>, threads: usize, listeners: usize) -> Self {
        let Some(limit) = limit else {
            return Self { clients: usize::MAX, unauthenticated: UNAUTHENTICATED };
        };
        let admin = (limit / 32).clamp(ADMIN.0, ADMIN.1);
        let inner = (limit / 8).clamp(INNER.0, INNER.1);
        let per_thread = PER_THREAD + PER_LISTENER * listeners as u64;
        let reserved = PROCESS + threads as u64 * per_thread + admin + inner;
        let clients = usize::try_from(limit.saturating_sub(reserved)).unwrap_or(usize::MAX);
        let unauthenticated = UNAUTHENTICATED.min(inner as usize / 2);
        Self { clients: clients.max(1), unauthenticated }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn most_descriptors_are_for_clients_and_some_are_reserved() {
        for (limit, threads) in [(64, 1), (256, 2), (1024, 8), (20_000, 2), (1 << 20, 64)] {
            let Descriptors { clients, unauthenticated } =
                Descriptors::share_out(Some(limit), threads, 1);
            let limit = limit as usize;
            assert!(limit / 4 <= clients && clients < limit - 16, "{clients} of {limit}");
            assert!(4 <= unauthenticated && unauthenticated <= (limit - clients) / 2);
        }
    }

    #[test]
    fn only_unauthenticated_peers_are_limited_without_descriptor_limit() {
        let shares = Descriptors::share_out(None, 4, 1);
        assert_eq!(shares, Descriptors { clients: usize::MAX, unauthenticated: UNAUTHENTICATED });
        assert_eq!(
            Descriptors::share_out(Some(10), 4, 1).clients,
            1,
            "a limit that is too low still leaves one client"
        );
    }
}
