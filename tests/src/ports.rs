//! Free ports.

use std::{
    hash::{BuildHasher as _, RandomState},
    net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket},
    ops::Range,
    sync::Mutex,
};

/// Below the ephemeral range (used for port 0 and for outgoing connections): a port of that range
/// could be taken by another process before the process under test, started or restarted, binds it.
const PORTS: Range<u16> = 10_000..32_000;

/// How many ports a test program claims at a time.
const BLOCK: u16 = 250;

static CLAIMED: Mutex<Claimed> = Mutex::new(Claimed { blocks: Vec::new(), unused: Vec::new() });

/// The ports of this test program.
struct Claimed {
    /// Bound to the first port of each block, which no other test program claims therefore. Tests
    /// listen on TCP only.
    blocks: Vec<UdpSocket>,
    unused: Vec<u16>,
}

/// A free port on loopback; never returns the same one twice, nor one that another test program may
/// return meanwhile.
///
/// # Panics
/// If no port is free.
pub fn free() -> SocketAddr {
    let mut claimed = CLAIMED.lock().unwrap();
    loop {
        let port = claimed.unused.pop();
        let port = port.unwrap_or_else(|| claimed.another_block());
        // Something else may listen there.
        if TcpListener::bind(local(port)).is_ok() {
            return local(port);
        }
    }
}

impl Claimed {
    /// Claims a block, and returns one of its ports.
    fn another_block(&mut self) -> u16 {
        let random = RandomState::new();
        let mut blocks: Vec<_> = PORTS.step_by(usize::from(BLOCK)).collect();
        blocks.sort_by_key(|first| random.hash_one(first));
        let bound = blocks.into_iter().find_map(|first| {
            let socket = UdpSocket::bind(local(first)).ok()?;
            Some((first, socket))
        });
        let (first, socket) = bound.expect("some port is free");
        self.blocks.push(socket);
        self.unused.extend(first + 1..first + BLOCK);
        first
    }
}

fn local(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}
