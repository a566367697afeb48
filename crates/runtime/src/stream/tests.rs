//! Behavior of connections over TLS, compared to those without.

use std::{
    future::{Future, poll_fn},
    io::{ErrorKind, IoSlice},
    pin::pin,
};

use bytes::BytesMut;
use socket2::SockRef;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

use super::*;
use crate::tls::{InnerAcceptor, Plain, pki::Ca};

/// Two ends of a connection over TLS, whose kernels hold little.
async fn tls() -> (Stream, Stream) {
    let ca = Ca::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let near = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (far, from) = listener.accept().await.unwrap();
    for tcp in [&near, &far] {
        tcp.set_nodelay(true).unwrap();
        SockRef::from(tcp).set_recv_buffer_size(16 * 1024).unwrap();
        SockRef::from(tcp).set_send_buffer_size(16 * 1024).unwrap();
    }
    let (client, gate) = (ca.member(), InnerAcceptor::new(ca.member(), Plain::Refuse));
    let mut read = BytesMut::new();
    let (near, far) = tokio::join!(client.connect(near), gate.enter(far, from.ip(), &mut read));
    (near.unwrap(), far.unwrap())
}

async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), future).await.unwrap()
}

fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at * 31 + at / 251) as u8).collect()
}

#[test]
fn connection_without_tls_is_no_larger_than_a_tcp_stream() {
    assert_eq!(size_of::<Stream>(), size_of::<TcpStream>());
}

#[tokio::test]
async fn concurrent_transfers_in_pieces_of_any_size_are_intact() {
    let (near, far) = tls().await;
    let all = pattern(700_000);
    let side = async |stream: Stream| {
        let (mut reader, mut writer) = stream.into_split();
        let write = async {
            let (mut rest, mut size) = (&all[..], 1);
            while !rest.is_empty() {
                let (piece, others) = rest.split_at(rest.len().min(size));
                writer.write_all(piece).await.unwrap();
                (rest, size) = (others, size * 3 % 40_009);
            }
            writer.shutdown().await.unwrap();
        };
        let read = async {
            let (mut read, mut size) = (Vec::new(), 1);
            loop {
                let mut piece = vec![0; size];
                match reader.read(&mut piece).await.unwrap() {
                    0 => return read,
                    length => read.extend_from_slice(&piece[..length]),
                }
                size = size * 7 % 30_011;
            }
        };
        tokio::join!(write, read).1
    };
    let (one, other) = soon(async { tokio::join!(side(near), side(far)) }).await;
    assert!(one == all && other == all);
}

#[tokio::test]
async fn unread_data_is_bounded_and_not_lost() {
    let (near, mut far) = tls().await;
    let all = pattern(4_000_000);
    let (mut written, mut blocked) = (0, 0);
    while blocked < 3 {
        let end = all.len().min(written + 100_000);
        match near.try_write_vectored(&[
            IoSlice::new(&all[written..end.min(written + 10)]),
            IoSlice::new(&all[end.min(written + 10)..end]),
        ]) {
            Ok(length) => written += length,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::WouldBlock);
                blocked += 1;
            }
        }
        assert!(near.unsent() < 70_000, "{}", near.unsent());
        assert!(written < all.len(), "the kernel does not take so much");
    }
    assert!(0 < near.unsent() && near.unsent() <= near.held());
    // Closing waits until it is sent.
    assert_eq!(near.close_write().unwrap_err().kind(), ErrorKind::WouldBlock);
    let rest = async {
        poll_fn(|cx| near.poll_write_ready(cx)).await.unwrap();
        assert_eq!((near.unsent(), near.held()), (0, 0));
        near.close_write().unwrap();
    };
    let mut read = Vec::new();
    let both = async { tokio::join!(rest, far.read_to_end(&mut read)).1.unwrap() };
    soon(both).await;
    assert!(read == all[..written]);
}

#[tokio::test]
async fn decrypted_data_is_read_without_further_bytes_from_the_peer() {
    let (near, mut far) = tls().await;
    let all = pattern(1200);
    // Into many records, of which one read of the socket brings several.
    for piece in all.chunks(100) {
        assert_eq!(near.try_write(piece).unwrap(), piece.len());
    }
    let mut read = Vec::new();
    for _ in 0..all.len() {
        read.push(soon(far.read_u8()).await.unwrap());
    }
    assert!(read == all);
}

#[tokio::test]
async fn clean_close_is_distinguished_from_truncation() {
    let (mut near, mut far) = tls().await;
    near.write_all(b"bye").await.unwrap();
    near.shutdown().await.unwrap();
    let mut read = Vec::new();
    far.read_to_end(&mut read).await.unwrap();
    assert_eq!(read, b"bye");
    // It has closed its end only.
    far.write_all(b"and you").await.unwrap();
    far.send_close_notify();
    drop(far);
    near.read_to_end(&mut read).await.unwrap();
    assert_eq!(read, b"byeand you");

    let (mut near, mut far) = tls().await;
    near.write_all(b"by").await.unwrap();
    drop(near);
    let mut read = Vec::new();
    let error = far.read_to_end(&mut read).await.unwrap_err();
    assert_eq!((error.kind(), &read[..]), (ErrorKind::UnexpectedEof, &b"by"[..]));
}

#[tokio::test]
async fn corrupted_record_is_a_permanent_error() {
    let (near, mut far) = tls().await;
    near.try_write(b"good").unwrap();
    near.with_tcp(|tcp| {
        tcp.try_write(b"\x17\x03\x03\x00\x20 not encrypted by anybody at all").unwrap()
    });
    near.try_write(b"good").unwrap();
    let mut read = [0; 4];
    far.read_exact(&mut read).await.unwrap();
    assert_eq!(&read, b"good");
    for _ in 0..2 {
        assert_eq!(far.read_u8().await.unwrap_err().kind(), ErrorKind::InvalidData);
    }
}

#[tokio::test]
async fn idle_connection_holds_nothing_and_an_incomplete_record_counts() {
    let (mut near, mut far) = tls().await;
    let message = pattern(200_000);
    let mut read = vec![0; message.len()];
    let (written, length) = tokio::join!(near.write_all(&message), far.read_exact(&mut read));
    written.unwrap();
    length.unwrap();
    // Only who looks for more finds that there is nothing.
    let waits = async |far: &mut Stream| {
        poll_fn(|cx| match pin!(far.read_u8()).poll(cx) {
            Poll::Pending => Poll::Ready(()),
            Poll::Ready(read) => panic!("{read:?}"),
        })
        .await;
    };
    waits(&mut far).await;
    assert_eq!(far.held(), 0);
    // The head of a record, and a little of what it says will follow.
    near.with_tcp(|tcp| tcp.try_write(b"\x17\x03\x03\x40\x00 more").unwrap());
    while far.held() == 0 {
        waits(&mut far).await;
        tokio::task::yield_now().await;
    }
    assert!(far.held() < 1000, "no more than has come: {}", far.held());
}

#[tokio::test]
async fn stopping_to_read_leaves_at_most_part_of_a_record() {
    let (near, mut far) = tls().await;
    let message = pattern(1_000_000);
    let write = async {
        let mut rest = &message[..];
        while !rest.is_empty() {
            poll_fn(|cx| near.poll_write_ready(cx)).await.unwrap();
            rest = &rest[near.try_write(rest).unwrap()..];
        }
        poll_fn(|cx| near.poll_write_ready(cx)).await.unwrap();
    };
    let read = async {
        let (mut read, mut scratch) = (0, vec![0; 64 * 1024]);
        while read < message.len() {
            read += far.read(&mut scratch).await.unwrap();
            assert!(far.held() < 20_000, "part of a record at most, not {}", far.held());
        }
    };
    soon(async { tokio::join!(write, read) }).await;
}

#[tokio::test]
async fn received_data_is_read_without_waiting() {
    let (mut near, mut far) = tls().await;
    let (mut reader, _writer) = far.split();
    let mut into = BytesMut::new();
    assert_eq!(reader.try_read_buf(&mut into).unwrap_err().kind(), ErrorKind::WouldBlock);
    near.write_all(b"hello").await.unwrap();
    let mut first = [0; 1];
    reader.read_exact(&mut first).await.unwrap();
    assert_eq!(reader.try_read_buf(&mut into).unwrap(), 4);
    assert_eq!((&first[..], &into[..]), (&b"h"[..], &b"ello"[..]));
}
