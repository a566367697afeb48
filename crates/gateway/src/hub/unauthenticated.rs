//! Limits for unauthenticated peers: their number, and the rate of warnings about them.

use std::rc::Rc;

use runtime::rate_limit::Throttle;

/// All unauthenticated peers of a gateway.
#[derive(Debug)]
pub(super) struct UnauthenticatedPeers {
    each: Rc<()>,
    most: usize,
    /// Rate limit for warnings about refused peers.
    pub(super) warnings: Throttle,
}

/// One unauthenticated peer. To be dropped once it is authenticated or closed.
#[derive(Debug)]
pub(super) struct UnauthenticatedPeer {
    _one: Rc<()>,
}

impl UnauthenticatedPeers {
    /// Allows at most `most` unauthenticated peers at a time.
    pub(super) fn new(most: usize) -> Self {
        Self { each: Rc::default(), most, warnings: Throttle::per_second() }
    }

    /// Admits another peer; `None` at the limit.
    pub(super) fn admit(&self) -> Option<UnauthenticatedPeer> {
        // `each` itself is one of the references.
        let room = Rc::strong_count(&self.each) <= self.most;
        room.then(|| UnauthenticatedPeer { _one: Rc::clone(&self.each) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unauthenticated_peers_are_limited() {
        let peers = UnauthenticatedPeers::new(100);
        let mut all: Vec<_> = (0..100).map(|_| peers.admit().unwrap()).collect();
        assert!(peers.admit().is_none());
        all.pop();
        let last = peers.admit();
        assert!(last.is_some() && peers.admit().is_none());
    }
}
