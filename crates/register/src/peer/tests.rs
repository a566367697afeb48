//! Requests and deadlines of one connection, with paused time and in-memory pipes.

use protocol::discovery::RefusedPeers;
use tokio::io::{DuplexStream, duplex, split};

use super::*;
use crate::PING_TTL;

const SUBSCRIBE: &[u8] = b"{\"event\":\"worker_connect\",\"secret_key\":\"\"}\n";
const PING: &[u8] = b"{\"event\":\"ping\"}\n";
const PING_WITH_ANSWER: &[u8] = b"{\"event\":\"ping\",\"answer\":true}\n";
const PONG: &[u8] = b"{\"event\":\"pong\"}\n";
const EMPTY_LIST: &[u8] = b"{\"event\":\"broadcast_addresses\",\"addresses\":[]}\n";

fn shared() -> Arc<Shared> {
    Arc::new(Shared::new(Secret::default(), false, Some(PING_TTL), InnerAcceptor::default()))
}

fn connect(shared: &Arc<Shared>) -> DuplexStream {
    let (ours, theirs) = duplex(1024);
    let (reader, writer) = split(theirs);
    tokio::spawn(serve(
        reader,
        writer,
        SocketAddr::from(([127, 0, 0, 1], 4321)),
        Arc::clone(shared),
    ));
    ours
}

/// The remaining bytes, and the time until EOF.
async fn rest(stream: &mut DuplexStream) -> (Vec<u8>, Duration) {
    let (start, mut bytes) = (Instant::now(), Vec::new());
    stream.read_to_end(&mut bytes).await.unwrap();
    (bytes, start.elapsed())
}

async fn is_open(stream: &mut DuplexStream) -> bool {
    timeout(Duration::from_millis(1), stream.read_u8()).await.is_err()
}

async fn answer(stream: &mut DuplexStream) -> Vec<u8> {
    let mut bytes = vec![0; EMPTY_LIST.len()];
    stream.read_exact(&mut bytes).await.unwrap();
    bytes
}

fn about(took: Duration, expected: Duration) -> bool {
    // Virtual time; timers fire on whole milliseconds.
    expected <= took && took <= expected + Duration::from_millis(5)
}

#[tokio::test(start_paused = true)]
async fn silent_connection_is_closed_after_ten_seconds_without_response() {
    let (bytes, took) = rest(&mut connect(&shared())).await;
    assert!(bytes.is_empty());
    assert!(about(took, FIRST_LINE_TIMEOUT), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn unauthenticated_connections_are_limited() {
    let shared = shared();
    let mut peer = connect(&shared);
    peer.write_all(SUBSCRIBE).await.unwrap();
    assert_eq!(answer(&mut peer).await, EMPTY_LIST);
    let mut unauthenticated: Vec<_> = (0..MAX_UNAUTHENTICATED).map(|_| connect(&shared)).collect();
    tokio::task::yield_now().await;
    let (bytes, took) = rest(&mut connect(&shared)).await;
    assert!(bytes.is_empty() && took < CLOSE_TIMEOUT * 2, "{took:?}");
    assert!(is_open(&mut peer).await, "an authenticated peer stays connected");
    // One of them authenticates and so releases its permit.
    unauthenticated[0].write_all(SUBSCRIBE).await.unwrap();
    assert_eq!(answer(&mut unauthenticated[0]).await, EMPTY_LIST);
    assert!(is_open(&mut connect(&shared)).await);
}

#[tokio::test(start_paused = true)]
async fn partial_line_does_not_extend_deadline() {
    let mut stream = connect(&shared());
    stream.write_all(b"{\"event\":").await.unwrap();
    tokio::time::sleep(Duration::from_secs(9)).await;
    stream.write_all(b"\"ping\"").await.unwrap();
    let (bytes, took) = rest(&mut stream).await;
    assert!(bytes.is_empty());
    assert!(about(took, Duration::from_secs(1)), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn complete_line_of_any_kind_meets_deadline() {
    for line in [PING, SUBSCRIBE] {
        let mut stream = connect(&shared());
        tokio::time::sleep(Duration::from_secs(9)).await;
        stream.write_all(line).await.unwrap();
        if line == SUBSCRIBE {
            assert_eq!(answer(&mut stream).await, EMPTY_LIST);
        }
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert!(is_open(&mut stream).await);
    }
}

#[tokio::test(start_paused = true)]
async fn peer_that_never_pings_has_no_timeout() {
    let mut stream = connect(&shared());
    stream.write_all(SUBSCRIBE).await.unwrap();
    assert_eq!(answer(&mut stream).await, EMPTY_LIST);
    tokio::time::sleep(Duration::from_secs(86_400)).await;
    assert!(is_open(&mut stream).await);
}

#[tokio::test(start_paused = true)]
async fn peer_that_has_pinged_must_continue() {
    let shared = shared();
    let mut stream = connect(&shared);
    stream.write_all(SUBSCRIBE).await.unwrap();
    assert_eq!(answer(&mut stream).await, EMPTY_LIST);
    for _ in 0..10 {
        stream.write_all(PING).await.unwrap();
        tokio::time::sleep(Duration::from_secs(70)).await;
        assert!(is_open(&mut stream).await);
    }
    stream.write_all(PING).await.unwrap();
    tokio::time::sleep(Duration::from_secs(70)).await;
    stream.write_all(b"{").await.unwrap();
    let (bytes, took) = rest(&mut stream).await;
    assert!(bytes.is_empty());
    assert!(about(took, Duration::from_secs(5)), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn slow_consumer_is_closed_and_other_peers_are_not() {
    let shared = shared();
    let (mut slow, mut worker) = (connect(&shared), connect(&shared));
    slow.write_all(SUBSCRIBE).await.unwrap();
    worker.write_all(SUBSCRIBE).await.unwrap();
    assert_eq!(answer(&mut worker).await, EMPTY_LIST);
    let mut gateway = connect(&shared);
    for n in 1..=300 {
        let line = format!("{{\"event\":\"gateway_connect\",\"address\":\"a:{n}\"}}\n");
        gateway.write_all(line.as_bytes()).await.unwrap();
        let expected = format!("{{\"event\":\"broadcast_addresses\",\"addresses\":[\"a:{n}\"]}}\n");
        let mut bytes = vec![0; expected.len()];
        worker.read_exact(&mut bytes).await.unwrap();
        assert_eq!(bytes, expected.as_bytes());
    }
    assert!(is_open(&mut worker).await);
    tokio::time::sleep(Duration::from_secs(11)).await;
    let (bytes, _) = rest(&mut slow).await;
    assert!(bytes.len() <= 1024, "the capacity of the pipe");
    assert_eq!(shared.metrics.slow.get(), 1);
    assert_eq!(shared.metrics.workers.get(), 1);
}

#[tokio::test(start_paused = true)]
async fn pipelined_requests_are_all_answered() {
    const TIMES: usize = 1000;
    let stream = connect(&shared());
    let (mut reader, mut writer) = split(stream);
    let sending = tokio::spawn(async move {
        writer.write_all(&SUBSCRIBE.repeat(TIMES)).await.unwrap();
        writer
    });
    let mut bytes = vec![0; EMPTY_LIST.len() * TIMES];
    reader.read_exact(&mut bytes).await.unwrap();
    assert_eq!(bytes, EMPTY_LIST.repeat(TIMES));
    drop(sending.await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn half_closed_peer_still_receives_response() {
    let mut stream = connect(&shared());
    stream.write_all(SUBSCRIBE).await.unwrap();
    stream.shutdown().await.unwrap();
    let (bytes, _) = rest(&mut stream).await;
    assert_eq!(bytes, EMPTY_LIST);
}

#[tokio::test(start_paused = true)]
async fn ended_connection_is_removed() {
    let shared = shared();
    let mut stream = connect(&shared);
    stream.write_all(b"{\"event\":\"gateway_connect\",\"address\":\"a:1\"}\n").await.unwrap();
    stream.write_all(SUBSCRIBE).await.unwrap();
    stream.read_u8().await.unwrap();
    assert_eq!((shared.metrics.gateways.get(), shared.metrics.workers.get()), (1, 1));
    drop(stream);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!((shared.metrics.gateways.get(), shared.metrics.workers.get()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn warnings_about_refused_connections_are_rate_limited() {
    let shared = shared();
    let warned = (0..1000).filter(|_| shared.admit_warning().is_some()).count();
    assert_eq!(warned, 1);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(shared.admit_warning(), Some(999));
}

#[tokio::test(start_paused = true)]
async fn peer_without_ping_ttl_may_stop_pinging() {
    let shared = Arc::new(Shared::new(Secret::default(), false, None, InnerAcceptor::default()));
    let mut stream = connect(&shared);
    stream.write_all(SUBSCRIBE).await.unwrap();
    stream.write_all(PING).await.unwrap();
    assert_eq!(answer(&mut stream).await, EMPTY_LIST);
    tokio::time::sleep(PING_TTL * 10).await;
    assert!(is_open(&mut stream).await);
}

#[tokio::test(start_paused = true)]
async fn ping_with_answer_is_answered_only_after_authentication() {
    let mut stream = connect(&shared());
    stream.write_all(PING_WITH_ANSWER).await.unwrap();
    assert!(is_open(&mut stream).await);
    stream.write_all(&[SUBSCRIBE, PING, PING_WITH_ANSWER].concat()).await.unwrap();
    assert_eq!(answer(&mut stream).await, EMPTY_LIST);
    let mut bytes = vec![0; PONG.len()];
    stream.read_exact(&mut bytes).await.unwrap();
    assert_eq!(bytes, PONG);
    assert!(is_open(&mut stream).await, "one pong per ping");
}

#[tokio::test(start_paused = true)]
async fn line_about_the_register_comes_before_the_list_on_request() {
    let shared = shared();
    tokio::time::sleep(Duration::from_millis(7)).await;
    let mut stream = connect(&shared);
    let request = b"{\"event\":\"worker_connect\",\"secret_key\":\"\",\"about\":true}\n";
    stream.write_all(request).await.unwrap();
    let mut lines = (Lines::new(1024), BytesMut::new());
    let mut next = async || loop {
        if let Some(line) = lines.0.next(&mut lines.1).unwrap() {
            return line;
        }
        stream.read_buf(&mut lines.1).await.unwrap();
    };
    let about = AboutRegister::parse(&next().await).unwrap();
    assert_eq!(about.version, env!("CARGO_PKG_VERSION"));
    assert!(about.certificates.is_empty(), "it has no TLS");
    assert_eq!(next().await, EMPTY_LIST.trim_ascii_end());

    let mut other = connect(&shared);
    other
        .write_all(
            &[b"{\"event\":\"worker_connect\",\"secret_key\":\"x\",", &request[42..]].concat(),
        )
        .await
        .unwrap();
    assert!(rest(&mut other).await.0.is_empty(), "the secret is wrong");
}

#[tokio::test(start_paused = true)]
async fn refused_peers_are_named_to_holders_of_the_secret() {
    let gate = InnerAcceptor::default();
    let shared = Arc::new(Shared::new(Secret::from("s"), false, Some(PING_TTL), gate));
    let ask = async |line: &[u8]| {
        let mut stream = connect(&shared);
        stream.write_all(line).await.unwrap();
        stream.shutdown().await.unwrap();
        rest(&mut stream).await.0
    };
    let gateway = b"{\"event\":\"gateway_connect\",\"address\":\"a:1\",\"secret_key\":\"x\"}\n";
    let wrong = b"{\"event\":\"refused_peers\",\"secret_key\":\"x\"}\n";
    for line in [&gateway[..], gateway, wrong] {
        assert_eq!(ask(line).await, b"", "closed without an answer");
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    let answer = ask(b"{\"event\":\"refused_peers\",\"secret_key\":\"s\"}\n").await;
    let RefusedPeers(peers) = RefusedPeers::parse(answer.trim_ascii_end()).unwrap();
    let [other, gateway] = &peers[..] else { panic!("{peers:?}") };
    assert_eq!((other.kind, other.times), (RefusedKind::Other, 1));
    assert_eq!((gateway.kind, gateway.address.as_deref()), (RefusedKind::Gateway, Some("a:1")));
    assert_eq!((gateway.reason.as_str(), gateway.times), ("wrong_key", 2));

    let accepted = b"{\"event\":\"gateway_connect\",\"address\":\"a:1\",\"secret_key\":\"s\"}\n";
    ask(accepted).await;
    let answer = ask(b"{\"event\":\"refused_peers\",\"secret_key\":\"s\"}\n").await;
    let RefusedPeers(peers) = RefusedPeers::parse(answer.trim_ascii_end()).unwrap();
    assert_eq!(peers.len(), 1, "the gateway has the secret now");
}
