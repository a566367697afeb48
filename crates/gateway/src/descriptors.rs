//! How the files that the process may have open are shared out: a value.

/// How many connections of each kind there may be, so that none of them keeps the others out: a worker
/// that comes back and a health check must be accepted while clients take all that they may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Descriptors {
    /// Connections of clients.
    pub(crate) clients: usize,
    /// Peers at the inner port that have not shown the secret yet.
    pub(crate) unauthenticated: usize,
}

/// What the process itself needs: standard streams, files, the other listeners.
const PROCESS: u64 = 16;

/// Of a thread: its poll and what it is woken with.
const PER_THREAD: u64 = 2;

/// Of a listener on a thread: its socket, and the connection that it has accepted and not placed yet.
const PER_LISTENER: u64 = 2;

/// Connections of admin pages and registers.
const ADMIN: (u64, u64) = (4, 96);

/// Connections at the inner port, half of which must have shown the secret.
const INNER: (u64, u64) = (8, 2048);

/// How many peers may be without the secret where there are descriptors enough: each may keep its link
/// for as long as it takes to be found silent, and have one frame of 64 KiB kept.
const UNAUTHENTICATED: usize = 4096;

impl Descriptors {
    /// Shares out `limit` descriptors, or any number, of a gateway with so many threads, each
    /// of which accepts on so many listeners.
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
    fn most_descriptors_are_for_clients_and_some_are_kept_back() {
        for (limit, threads) in [(64, 1), (256, 2), (1024, 8), (20_000, 2), (1 << 20, 64)] {
            let Descriptors { clients, unauthenticated } =
                Descriptors::share_out(Some(limit), threads, 1);
            let limit = limit as usize;
            assert!(limit / 4 <= clients && clients < limit - 16, "{clients} of {limit}");
            assert!(4 <= unauthenticated && unauthenticated <= (limit - clients) / 2);
        }
    }

    #[test]
    fn without_a_limit_only_strangers_are_limited() {
        let shares = Descriptors::share_out(None, 4, 1);
        assert_eq!(shares, Descriptors { clients: usize::MAX, unauthenticated: UNAUTHENTICATED });
        assert_eq!(
            Descriptors::share_out(Some(10), 4, 1).clients,
            1,
            "it says at once what it lacks"
        );
    }
}
