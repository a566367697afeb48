//! Free ports.

use std::{
    collections::BTreeSet,
    hash::{BuildHasher as _, RandomState},
    net::{Ipv4Addr, SocketAddr, TcpListener},
    sync::Mutex,
};

/// A free port on loopback; never returns the same one twice.
///
/// It is below the ephemeral range (used for port 0 and for outgoing connections): a port of that
/// range could be taken by another process before the process under test, started or restarted,
/// binds it.
///
/// # Panics
/// If no port is free.
pub fn free() -> SocketAddr {
    static CLAIMED: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());
    let mut claimed = CLAIMED.lock().unwrap();
    let random = RandomState::new();
    let mut candidates = (0..1_000_u64).map(|at| 10_000 + (random.hash_one(at) % 22_000) as u16);
    // Claim first: trying to bind a port that another test already has would occupy it briefly.
    let port = candidates
        .find(|port| claimed.insert(*port) && TcpListener::bind(local(*port)).is_ok())
        .expect("some port is free");
    local(port)
}

fn local(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}
