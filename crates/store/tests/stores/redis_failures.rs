//! The store in Redis when something is wrong: the server killed, paused, emptied, replaced.

use std::{collections::HashMap, path::Path, process::Command, sync::Arc, time::Duration};

use bytes::Bytes;
use protocol::{Position, StreamName};
use push_suite_store::{Append, ErrorKind, Range, Reason};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
    task::{JoinHandle, JoinSet},
};

use crate::{
    redis_server::{Relay, Server, connect},
    suite::{Store, append, fill, group, message, offsets, page, read, reason, say, wide},
};

/// Appends as soon as the store is back. Errors until then are those of a store that is away.
async fn append_patiently(store: &Store, message: Append) -> Position {
    loop {
        match store.append(message.clone()).await {
            Ok(appended) => return appended.position,
            Err(error) => {
                let is_away = matches!(error.kind, ErrorKind::Unavailable | ErrorKind::Unknown);
                assert!(is_away, "{error}");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }
}

async fn read_patiently(store: &Store, stream: &StreamName) -> Vec<(u64, Bytes)> {
    append_patiently(store, message(&group("other"), 1)).await;
    let page = page(read(store, stream, Range::Oldest).await);
    page.items.into_iter().map(|item| (item.offset, item.payload)).collect()
}

#[tokio::test]
async fn server_that_is_away_is_an_error_with_the_next_step() {
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let error = connect(&format!("redis://{closed}")).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unavailable);
    assert!(error.to_string().contains(&format!("redis://{closed}")), "{error}");
    let Some(server) = Server::start(&["--requirepass", "secret"]) else { return };
    let error = connect(&server.url()).await.unwrap_err();
    assert!(error.cause.contains("check user and password"), "{error}");
    let wrong = format!("redis://:wrong@127.0.0.1:{}", server.port);
    let error = connect(&wrong).await.unwrap_err();
    assert!(error.cause.contains("password") && !error.to_string().contains("wrong"), "{error}");
    let right = format!("redis://default:secret@127.0.0.1:{}/3", server.port);
    append(&connect(&right).await.unwrap(), message(&group("room"), 1)).await;
}

#[tokio::test]
async fn server_of_another_protocol_is_an_error() {
    for answer in ["HTTP/1.1 400 Bad Request\r\n\r\n", "$99999999999\r\n", "+OK\r\n", ":1\r\n", ""]
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = tokio::spawn(async move {
            let (mut tcp, _) = listener.accept().await.unwrap();
            let mut buffer = [0; 1024];
            while tcp.read(&mut buffer).await.is_ok_and(|count| 0 < count) {
                let _ = tcp.write_all(answer.as_bytes()).await;
                if answer.is_empty() {
                    break;
                }
            }
        });
        let error = connect(&format!("redis://127.0.0.1:{port}")).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Unavailable, "{answer:?}: {error}");
        server.abort();
    }
}

#[tokio::test]
async fn killed_server_fails_requests_at_once_and_comes_back_with_other_epochs() {
    for options in [&[][..], &["--appendonly", "yes", "--appendfsync", "always"]] {
        let Some(mut server) = Server::start(options) else { return };
        let store = server.store().await;
        let stream = group("room");
        let epoch = fill(&store, &stream, 5, wide()).await;
        server.kill();
        let error = store.append(message(&stream, 6)).await.unwrap_err();
        assert!(matches!(error.kind, ErrorKind::Unavailable | ErrorKind::Unknown), "{error}");
        assert!(store.tops(vec![stream.clone()]).await.is_err());
        server.restart();
        let back = append_patiently(&store, message(&stream, 6)).await;
        assert_ne!(back.epoch, epoch, "it cannot prove that it lost nothing");
        assert_eq!(back.offset, if options.is_empty() { 1 } else { 6 });
        let old = Range::Missed(Position::new(epoch, 5));
        assert_eq!(reason(read(&store, &stream, old).await), Reason::Epoch);
        let kept = page(read(&store, &stream, Range::Oldest).await);
        assert!(offsets(&kept).into_iter().eq(1..=back.offset));
    }
}

#[tokio::test]
async fn append_that_was_given_up_is_not_done_later() {
    let Some(server) = Server::start(&[]) else { return };
    let store = server.store().await;
    let stream = group("room");
    let server = Arc::new(server);
    let mut number = 0;
    for pause in ["CLIENT PAUSE 1500 ALL", "DEBUG SLEEP 1.5"] {
        let pausing = Arc::clone(&server);
        let pause = tokio::task::spawn_blocking(move || pausing.command(pause));
        let mut appends = Vec::new();
        while !appends.last().is_some_and(|(_, append): &(u64, JoinHandle<_>)| append.is_finished())
            || appends.len() < 40
        {
            number += 1;
            let (store, append) = (Arc::clone(&store), message(&stream, number));
            appends.push((number, tokio::spawn(async move { store.append(append).await })));
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let mut unknown = Vec::new();
        for (number, append) in appends {
            match append.await.unwrap() {
                Ok(appended) => assert!(!appended.repeated),
                Err(error) if error.kind == ErrorKind::Unknown => unknown.push(number),
                Err(error) => assert_eq!(error.kind, ErrorKind::Unavailable, "{error}"),
            }
        }
        assert_eq!(pause.await.unwrap(), "+OK\r\n");
        append_patiently(&store, message(&group("other"), number)).await;
        // The first ones may have been done right before the pause, and only the answers be late.
        assert!(4 < unknown.len(), "{unknown:?}");
        for number in &unknown[2..] {
            let again = store.append(message(&stream, *number)).await.unwrap();
            assert!(!again.repeated, "{number} of {unknown:?}");
        }
    }
}

#[tokio::test]
async fn paused_server_holds_up_no_request_for_long() {
    let Some(server) = Server::start(&[]) else { return };
    let store = server.store().await;
    let payload = Bytes::from(vec![b'x'; 20_000]);
    server.command("CLIENT PAUSE 3000 ALL");
    let mut tasks = JoinSet::new();
    for number in 0..6000 {
        let append = Append { payload: payload.clone(), ..message(&group("room"), number) };
        let store = Arc::clone(&store);
        tasks.spawn(async move { store.append(append).await });
    }
    let mut kinds: HashMap<ErrorKind, usize> = HashMap::new();
    for outcome in tasks.join_all().await {
        *kinds.entry(outcome.unwrap_err().kind).or_default() += 1;
    }
    assert!(kinds[&ErrorKind::Unknown] <= 256, "those in flight: {kinds:?}");
    assert!(0 < kinds[&ErrorKind::Busy], "beyond the queue: {kinds:?}");
    append_patiently(&store, message(&group("room"), 7000)).await;
}

#[tokio::test]
async fn emptied_server_has_other_epochs() {
    let Some(server) = Server::start(&[]) else { return };
    let store = server.store().await;
    let stream = group("room");
    let epoch = fill(&store, &stream, 5, wide()).await;
    assert_eq!(server.command("FLUSHALL"), "+OK\r\n");
    let old = Range::Missed(Position::new(epoch, 3));
    assert_eq!(reason(read(&store, &stream, old).await), Reason::Epoch);
    let anew = append(&store, message(&stream, 6)).await;
    assert!(anew.offset == 1 && anew.epoch != epoch);
    // The messages alone, as when memory runs out.
    server.command("DEL gw:x:{g:room}");
    let missed = Range::Missed(Position { offset: 0, ..anew });
    assert_eq!(reason(read(&store, &stream, missed).await), Reason::Trimmed);
    assert_eq!(append(&store, message(&stream, 7)).await, anew.next());
    // The newest position alone.
    server.command("DEL gw:m:{g:room}");
    let anew = append(&store, message(&stream, 8)).await;
    assert_eq!(anew.offset, 1);
    assert_eq!(offsets(&page(read(&store, &stream, Range::Oldest).await)), [1]);
}

#[tokio::test]
async fn position_that_the_server_has_lost_renews_the_epoch() {
    let Some(server) = Server::start(&[]) else { return };
    let store = server.store().await;
    let stream = group("room");
    let epoch = fill(&store, &stream, 5, wide()).await;
    // The state of an earlier time, in the same process.
    server.command("XDEL gw:x:{g:room} 4-0 5-0");
    server.command("XSETID gw:x:{g:room} 3-0");
    server.command("HSET gw:m:{g:room} s 3");
    let renewed = append(&store, message(&stream, 6)).await;
    assert_ne!(renewed.epoch, epoch);
    server.command(&format!("HSET gw:m:{{g:room}} e {epoch}"));
    let again = append(&store, message(&stream, 7)).await;
    assert!(again.epoch != epoch && again.epoch != renewed.epoch, "a replaced one");
}

#[tokio::test]
async fn lost_scripts_are_sent_again() {
    let Some(server) = Server::start(&[]) else { return };
    let store = server.store().await;
    let stream = group("room");
    fill(&store, &stream, 3, wide()).await;
    assert_eq!(server.command("SCRIPT FLUSH"), "+OK\r\n");
    let mut tasks = JoinSet::new();
    for number in 4..=50 {
        let (store, append) = (Arc::clone(&store), message(&stream, number));
        tasks.spawn(async move { store.append(append).await.unwrap().position.offset });
    }
    let mut appended = tasks.join_all().await;
    appended.sort_unstable();
    assert!(appended.into_iter().eq(4..=50));
    assert_eq!(page(read(&store, &stream, Range::Oldest).await).items.len(), 50);
}

#[tokio::test]
async fn server_without_memory_is_full_and_stays_readable() {
    let Some(server) = Server::start(&[]) else { return };
    let store = server.store().await;
    let stream = group("room");
    let epoch = fill(&store, &stream, 5, wide()).await;
    server.command("CONFIG SET maxmemory 1000");
    let error = store.append(message(&stream, 6)).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Full, "{error}");
    assert!(error.cause.contains("maxmemory"), "{error}");
    assert_eq!(page(read(&store, &stream, Range::Oldest).await).items.len(), 5);
    server.command("CONFIG SET maxmemory 0");
    assert_eq!(append(&store, message(&stream, 6)).await, Position::new(epoch, 6));
    server.command("DEL gw:x:{g:room}");
    server.command("SET gw:x:{g:room} something");
    let error = store.append(message(&stream, 7)).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Corrupt, "{error}");
    let foreign = error.cause.contains("another program");
    assert!(foreign, "{error}");
    append(&store, message(&group("other"), 1)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_workers_share_the_offsets() {
    let Some(server) = Server::start(&[]) else { return };
    let stores = [server.store().await, server.store().await];
    let mut tasks = JoinSet::new();
    for number in 0..400 {
        let store = Arc::clone(&stores[number as usize % 2]);
        // Each message twice, once by each.
        let append = message(&group("room"), number / 2);
        tasks.spawn(async move { store.append(append).await.unwrap() });
    }
    let all = tasks.join_all().await;
    assert_eq!(all.iter().filter(|appended| !appended.repeated).count(), 200);
    let mut offsets: Vec<u64> = all.iter().map(|appended| appended.position.offset).collect();
    offsets.sort_unstable();
    offsets.dedup();
    assert!(offsets.into_iter().eq(1..=200));
}

/// A primary and its replica, which has everything so far.
async fn pair() -> Option<(Server, Server)> {
    let (primary, replica) = (Server::start(&[])?, Server::start(&[])?);
    replica.command(&format!("REPLICAOF 127.0.0.1 {}", primary.port));
    while !replica.command("INFO replication").contains("master_link_status:up") {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Some((primary, replica))
}

async fn replicated(primary: &Server, replica: &Server) {
    let top = |server: &Server| server.command("HGET gw:m:{g:room} s");
    while top(primary) != top(replica) {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn failover_that_loses_messages_reuses_no_offset_of_an_epoch() {
    let Some((mut primary, replica)) = pair().await else { return };
    let relay = Relay::to(primary.port).await;
    let stream = group("room");
    let store = relay.store().await;
    let mut given: HashMap<Position, u64> = HashMap::new();
    let mut note = |position: Position, number: u64| {
        assert_eq!(given.insert(position, number), None, "{position} was given before");
    };
    for number in 1..=10 {
        note(append(&store, message(&stream, number)).await, number);
    }
    replicated(&primary, &replica).await;
    replica.command("REPLICAOF NO ONE");
    let mut lost = None;
    for number in 11..=15 {
        let position = append(&store, message(&stream, number)).await;
        note(position, number);
        lost = Some(position);
    }
    let lost = lost.unwrap();
    // A worker that has seen nothing of it is the first to append.
    let fresh = {
        relay.switch(replica.port);
        relay.store().await
    };
    primary.kill();
    for number in 16..=30 {
        let store = if number < 20 { &fresh } else { &store };
        let position = append_patiently(store, message(&stream, number)).await;
        note(position, number);
        assert_ne!(position.epoch, lost.epoch);
    }
    assert_eq!(reason(read(&store, &stream, Range::Missed(lost)).await), Reason::Epoch);
    let kept = read_patiently(&store, &stream).await;
    assert_eq!(kept.len(), 25, "ten of before, and all behind the failover");
}

#[tokio::test]
async fn server_that_becomes_a_replica_is_left() {
    let Some((primary, replica)) = pair().await else { return };
    let error = connect(&replica.url()).await.unwrap_err();
    assert!(
        error.kind == ErrorKind::ReadOnly && error.cause.contains("name the primary"),
        "{error}"
    );
    let relay = Relay::to(primary.port).await;
    let store = relay.store().await;
    let before = append(&store, message(&group("room"), 1)).await;
    replicated(&primary, &replica).await;
    replica.command("REPLICAOF NO ONE");
    primary.command(&format!("REPLICAOF 127.0.0.1 {}", replica.port));
    let error = store.append(message(&group("room"), 2)).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unavailable, "{error}");
    relay.switch(replica.port);
    let after = append_patiently(&store, message(&group("room"), 2)).await;
    assert!(after.epoch != before.epoch && after.offset == 2);
    // Back again, and the primary has what the other one had.
    while !primary.command("INFO replication").contains("master_link_status:up") {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    replicated(&replica, &primary).await;
    primary.command("REPLICAOF NO ONE");
    relay.switch(primary.port);
    let again = append_patiently(&store, message(&group("room"), 3)).await;
    assert!(again.epoch != after.epoch && again.epoch != before.epoch);
}

#[tokio::test]
async fn closed_store_refuses_requests() {
    let Some(server) = Server::start(&[]) else { return };
    let store = server.store().await;
    append(&store, message(&group("room"), 1)).await;
    store.close().await.unwrap();
    let error = store.append(message(&group("room"), 2)).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Closed);
    store.close().await.unwrap();
}

/// A certificate for 127.0.0.1, and its key; `None` without openssl.
fn certificate(folder: &Path) -> Option<()> {
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"])
        .args(["-nodes", "-days", "2", "-subj", "/CN=redis", "-keyout", "key.pem"])
        .args(["-addext", "subjectAltName=IP:127.0.0.1"])
        .args(["-addext", "basicConstraints=critical,CA:FALSE", "-out", "cert.pem"])
        .current_dir(folder)
        .output();
    made.ok().filter(|made| made.status.success()).map(drop)
}

#[tokio::test]
async fn connection_over_tls_verifies_the_server() {
    let folder = TempDir::new().unwrap();
    let Some(()) = certificate(folder.path()) else { return say("left out, for want of openssl") };
    let path = |name| folder.path().join(name).display().to_string();
    let (cert, key) = (path("cert.pem"), path("key.pem"));
    let Some(mut server) = Server::start(&[]) else { return };
    let tls_port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let port = tls_port.to_string();
    server.options = ["--tls-port", &port, "--tls-cert-file", &cert, "--tls-key-file", &key]
        .into_iter()
        .chain(["--tls-ca-cert-file", &cert, "--tls-auth-clients", "no"])
        .map(str::to_owned)
        .collect();
    if !server.try_restart() {
        return say("left out, for want of a redis-server with TLS");
    }
    let url = format!("rediss://127.0.0.1:{port}");
    let store = connect(&format!("{url}?ca={cert}")).await.unwrap();
    append(&store, message(&group("room"), 1)).await;
    let error = connect(&url).await.unwrap_err();
    assert!(error.kind == ErrorKind::Unavailable && error.cause.contains("certificate"), "{error}");
    let other = TempDir::new().unwrap();
    certificate(other.path()).unwrap();
    let stranger = other.path().join("cert.pem");
    let error = connect(&format!("{url}?ca={}", stranger.display())).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unavailable, "{error}");
}
