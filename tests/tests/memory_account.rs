//! The client bytes that a gateway accounts for, compared with its resident memory.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{cell::Cell, net::SocketAddr, time::Duration};

use suite_tests::{Raw, Suite, eventually, ports, raw::masked};
use tokio::task::JoinSet;

/// Number of clients with the same input.
const CLIENTS: usize = 200;

/// Bytes per connection that are not accounted for, in an unoptimized build.
const CONNECTION: usize = 24 << 10;

/// Further overhead: buffers of links, and freed memory that the allocator retains.
const BESIDES: usize = 24 << 20;

/// Almost the largest message within the default limit.
const LARGE: usize = 1_000_000;

/// Bytes that a client of a listener sends before it becomes idle.
type Input = fn() -> Vec<u8>;

#[tokio::test]
async fn account_covers_resident_memory_for_a_byte_behind_a_large_message() {
    let ws: Input = || [masked(0x82, &[b'x'; LARGE]), vec![0x82]].concat();
    let frame: Input = || {
        let length = (LARGE as u32 + 4).to_be_bytes();
        [&length[..], &[b'x'; LARGE], &[0]].concat()
    };
    let text: Input = || [&[b'x'; LARGE][..], b"\ny"].concat();
    for (scheme, input) in [("ws", ws), ("frame", frame), ("text", text)] {
        account_covers(scheme, input).await;
    }
}

#[tokio::test]
async fn account_covers_resident_memory_for_unfinished_messages() {
    let partial: Input = || masked(0x82, &[b'x'; 300_000])[..200_000].to_vec();
    let fragments: Input =
        || [masked(0x02, &[b'x'; 1000]), masked(0, &[b'x'; 1000]).repeat(199)].concat();
    let line: Input = || vec![b'x'; 200_000];
    for (scheme, input) in [("ws", partial), ("ws", fragments), ("text", line)] {
        account_covers(scheme, input).await;
    }
}

#[tokio::test]
async fn account_covers_resident_memory_for_a_head_behind_many_requests() {
    let input: Input = || {
        let pages = "HEAD / HTTP/1.1\r\n\r\n".repeat(500);
        format!("{pages}GET / HTTP/1.1\r\nX: y").into_bytes()
    };
    let suite = Suite::builder().gateways(1).workers(1).start().await;
    let addr = suite.gateways[0].clients;
    check(&suite, addr, false, input).await;
}

async fn account_covers(scheme: &str, input: Input) {
    let builder = Suite::builder().gateways(1).workers(1);
    let extra = ports::free();
    let listen = format!("{scheme}://{extra}");
    let suite = builder.gateway_flag("--listen", &listen).start().await;
    check(&suite, extra, scheme == "ws", input).await;
}

async fn check(suite: &Suite, addr: SocketAddr, upgrade: bool, input: Input) {
    let gateway = &suite.gateways[0];
    let last = Cell::new((0, 0));
    let before = gateway.resident();
    let mut clients = Vec::new();
    for _ in 0..CLIENTS / 20 {
        let mut some = JoinSet::new();
        for _ in 0..20 {
            some.spawn(async move {
                let mut client = match upgrade {
                    true => Raw::websocket(addr).await,
                    false => Raw::connect(addr).await,
                };
                client.send(&input()).await;
                client
            });
        }
        clients.extend(some.join_all().await);
    }
    // Until everything sent has been received and passed on, the link holds more.
    let what = "the account to cover the growth (bytes)";
    eventually((what, &last), async || {
        let accounted = gateway.metric("pushsuite_gateway_client_bytes").await? as usize;
        let grown = gateway.resident().saturating_sub(before);
        let covers = grown <= accounted + accounted / 4 + CLIENTS * CONNECTION + BESIDES;
        let settled = last.replace((accounted, grown)) == (accounted, grown);
        tokio::time::sleep(Duration::from_millis(100)).await;
        (settled && covers).then_some(())
    })
    .await;
    let open = gateway.metric("pushsuite_gateway_connections_open").await.unwrap();
    assert_eq!(open as usize, CLIENTS, "no client is closed");
}
