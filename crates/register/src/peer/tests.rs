//! What one connection may do, and for how long; on virtual time and in-memory pipes.

use tokio::io::{DuplexStream, duplex, split};

use super::*;
use crate::PING_TTL;

const ASK: &[u8] = b"{\"event\":\"worker_connect\",\"secret_key\":\"\"}\n";
const PING: &[u8] = b"{\"event\":\"ping\"}\n";
const PING_AND_ANSWER: &[u8] = b"{\"event\":\"ping\",\"answer\":true}\n";
const PONG: &[u8] = b"{\"event\":\"pong\"}\n";
const NOBODY: &[u8] = b"{\"event\":\"broadcast_addresses\",\"addresses\":[]}\n";

fn shared() -> Arc<Shared> {
    Arc::new(Shared::new(Secret::default(), false, Some(PING_TTL), Gate::default()))
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

/// Everything that still comes, and how long it took to end.
async fn rest(stream: &mut DuplexStream) -> (Vec<u8>, Duration) {
    let (start, mut bytes) = (Instant::now(), Vec::new());
    stream.read_to_end(&mut bytes).await.unwrap();
    (bytes, start.elapsed())
}

async fn is_open(stream: &mut DuplexStream) -> bool {
    timeout(Duration::from_millis(1), stream.read_u8()).await.is_err()
}

async fn answer(stream: &mut DuplexStream) -> Vec<u8> {
    let mut bytes = vec![0; NOBODY.len()];
    stream.read_exact(&mut bytes).await.unwrap();
    bytes
}

fn about(took: Duration, expected: Duration) -> bool {
    // Virtual time; timers fire on whole milliseconds.
    expected <= took && took <= expected + Duration::from_millis(5)
}

#[tokio::test(start_paused = true)]
async fn who_says_nothing_is_closed_after_ten_seconds_without_a_word() {
    let (bytes, took) = rest(&mut connect(&shared())).await;
    assert!(bytes.is_empty());
    assert!(about(took, FIRST_LINE), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn strangers_leave_room_for_others_and_are_refused_where_there_is_none() {
    let shared = shared();
    let mut peer = connect(&shared);
    peer.write_all(ASK).await.unwrap();
    assert_eq!(answer(&mut peer).await, NOBODY);
    let mut strangers: Vec<_> = (0..MAX_STRANGERS).map(|_| connect(&shared)).collect();
    tokio::task::yield_now().await;
    let (bytes, took) = rest(&mut connect(&shared)).await;
    assert!(bytes.is_empty() && took < PARTING * 2, "{took:?}");
    assert!(is_open(&mut peer).await, "who is known stays");
    // One of them says who it is, and so makes room.
    strangers[0].write_all(ASK).await.unwrap();
    assert_eq!(answer(&mut strangers[0]).await, NOBODY);
    assert!(is_open(&mut connect(&shared)).await);
}

#[tokio::test(start_paused = true)]
async fn part_of_a_line_buys_no_time() {
    let mut stream = connect(&shared());
    stream.write_all(b"{\"event\":").await.unwrap();
    tokio::time::sleep(Duration::from_secs(9)).await;
    stream.write_all(b"\"ping\"").await.unwrap();
    let (bytes, took) = rest(&mut stream).await;
    assert!(bytes.is_empty());
    assert!(about(took, Duration::from_secs(1)), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn any_complete_line_meets_the_deadline() {
    for line in [PING, ASK] {
        let mut stream = connect(&shared());
        tokio::time::sleep(Duration::from_secs(9)).await;
        stream.write_all(line).await.unwrap();
        if line == ASK {
            assert_eq!(answer(&mut stream).await, NOBODY);
        }
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert!(is_open(&mut stream).await);
    }
}

#[tokio::test(start_paused = true)]
async fn who_never_pings_may_be_silent_for_ever() {
    let mut stream = connect(&shared());
    stream.write_all(ASK).await.unwrap();
    assert_eq!(answer(&mut stream).await, NOBODY);
    tokio::time::sleep(Duration::from_secs(86_400)).await;
    assert!(is_open(&mut stream).await);
}

#[tokio::test(start_paused = true)]
async fn who_has_pinged_is_expected_to_go_on() {
    let shared = shared();
    let mut stream = connect(&shared);
    stream.write_all(ASK).await.unwrap();
    assert_eq!(answer(&mut stream).await, NOBODY);
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
async fn a_peer_that_does_not_read_is_closed_and_others_are_not() {
    let shared = shared();
    let (mut deaf, mut worker) = (connect(&shared), connect(&shared));
    deaf.write_all(ASK).await.unwrap();
    worker.write_all(ASK).await.unwrap();
    assert_eq!(answer(&mut worker).await, NOBODY);
    let mut gateway = connect(&shared);
    for n in 1..=300 {
        let line = format!("{{\"event\":\"gateway_connect\",\"address\":\"a:{n}\"}}\n");
        gateway.write_all(line.as_bytes()).await.unwrap();
        let heard = format!("{{\"event\":\"broadcast_addresses\",\"addresses\":[\"a:{n}\"]}}\n");
        let mut bytes = vec![0; heard.len()];
        worker.read_exact(&mut bytes).await.unwrap();
        assert_eq!(bytes, heard.as_bytes());
    }
    assert!(is_open(&mut worker).await);
    tokio::time::sleep(Duration::from_secs(11)).await;
    let (bytes, _) = rest(&mut deaf).await;
    assert!(bytes.len() <= 1024, "what the pipe held");
    assert_eq!(shared.metrics.slow.get(), 1);
    assert_eq!(shared.metrics.workers.get(), 1);
}

#[tokio::test(start_paused = true)]
async fn questions_in_a_row_are_all_answered() {
    const TIMES: usize = 1000;
    let stream = connect(&shared());
    let (mut reader, mut writer) = split(stream);
    let asking = tokio::spawn(async move {
        writer.write_all(&ASK.repeat(TIMES)).await.unwrap();
        writer
    });
    let mut bytes = vec![0; NOBODY.len() * TIMES];
    reader.read_exact(&mut bytes).await.unwrap();
    assert_eq!(bytes, NOBODY.repeat(TIMES));
    drop(asking.await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn who_closes_its_own_half_still_gets_its_answer() {
    let mut stream = connect(&shared());
    stream.write_all(ASK).await.unwrap();
    stream.shutdown().await.unwrap();
    let (bytes, _) = rest(&mut stream).await;
    assert_eq!(bytes, NOBODY);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_left_of_a_connection_that_ended() {
    let shared = shared();
    let mut stream = connect(&shared);
    stream.write_all(b"{\"event\":\"gateway_connect\",\"address\":\"a:1\"}\n").await.unwrap();
    stream.write_all(ASK).await.unwrap();
    stream.read_u8().await.unwrap();
    assert_eq!((shared.metrics.gateways.get(), shared.metrics.workers.get()), (1, 1));
    drop(stream);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!((shared.metrics.gateways.get(), shared.metrics.workers.get()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn strangers_do_not_fill_the_log() {
    let shared = shared();
    let warned = (0..1000).filter(|_| shared.admit_warning().is_some()).count();
    assert_eq!(warned, 1);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(shared.admit_warning(), Some(999));
}

#[tokio::test(start_paused = true)]
async fn without_a_time_to_live_who_stops_pinging_stays() {
    let shared = Arc::new(Shared::new(Secret::default(), false, None, Gate::default()));
    let mut stream = connect(&shared);
    stream.write_all(ASK).await.unwrap();
    stream.write_all(PING).await.unwrap();
    assert_eq!(answer(&mut stream).await, NOBODY);
    tokio::time::sleep(PING_TTL * 10).await;
    assert!(is_open(&mut stream).await);
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_asks_is_told_that_we_are_here_and_a_stranger_is_told_nothing() {
    let mut stream = connect(&shared());
    stream.write_all(PING_AND_ANSWER).await.unwrap();
    assert!(is_open(&mut stream).await);
    stream.write_all(&[ASK, PING, PING_AND_ANSWER].concat()).await.unwrap();
    assert_eq!(answer(&mut stream).await, NOBODY);
    let mut bytes = vec![0; PONG.len()];
    stream.read_exact(&mut bytes).await.unwrap();
    assert_eq!(bytes, PONG);
    assert!(is_open(&mut stream).await, "once for one question");
}
