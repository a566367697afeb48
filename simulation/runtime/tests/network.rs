//! The simulated network treats connections as real networks do.

use std::{
    io,
    net::SocketAddr,
    pin::{Pin, pin},
    task::{Context, Poll, Waker},
};

use simulated::{
    control,
    net::{self, TcpListener, TcpStream},
};
use tokio::io::{AsyncRead as _, ReadBuf};

const SERVER: control::Host = 0;
const CLIENT: control::Host = 1;
const SECOND: u64 = 1_000_000_000;

fn addr() -> SocketAddr {
    SocketAddr::from(([10, 0, 0, 1], 80))
}

fn pass() {
    let _ = control::advance(control::now() + SECOND);
}

fn poll<T>(future: Pin<&mut impl Future<Output = T>>) -> Poll<T> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

/// Reads the available bytes.
fn read(stream: &mut TcpStream) -> Poll<Result<Vec<u8>, io::ErrorKind>> {
    let mut room = [0; 1024];
    let mut buffer = ReadBuf::new(&mut room);
    let read = Pin::new(stream).poll_read(&mut Context::from_waker(Waker::noop()), &mut buffer);
    read.map(|read| read.map(|()| buffer.filled().to_vec()).map_err(|error| error.kind()))
}

/// A listener, the client's end of a connection and the server's.
fn connected(seed: u64) -> (TcpListener, TcpStream, TcpStream) {
    control::begin(seed, false);
    let _ = (control::add_host(), control::add_host());
    control::enter(SERVER);
    let listener = net::polled(net::listen(addr()).unwrap()).unwrap();
    control::enter(CLIENT);
    let (client, server) = {
        let mut client = pin!(TcpStream::connect(addr()));
        let mut server = pin!(listener.accept());
        assert!(poll(client.as_mut()).is_pending() && poll(server.as_mut()).is_pending());
        pass();
        let (Poll::Ready(Ok(client)), Poll::Ready(Ok((server, _)))) = (poll(client), poll(server))
        else {
            panic!("not connected");
        };
        (client, server)
    };
    (listener, client, server)
}

#[test]
fn bytes_arrive_in_order_after_a_block() {
    for seed in 0..20 {
        let (_listener, client, mut server) = connected(seed);
        client.try_write(b"one ").unwrap();
        control::block(CLIENT, SERVER);
        client.try_write(b"two ").unwrap();
        pass();
        assert!(read(&mut server).is_pending());
        control::unblock(CLIENT, SERVER);
        client.try_write(b"three").unwrap();
        pass();
        assert_eq!(read(&mut server), Poll::Ready(Ok(b"one two three".to_vec())));
    }
}

#[test]
fn write_without_reader_blocks_at_the_window() {
    let (_listener, client, mut server) = connected(1);
    let mut written = 0;
    let full = loop {
        match client.try_write(&[0; 1000]) {
            Ok(count) => written += count,
            Err(error) => break error.kind(),
        }
    };
    assert_eq!(full, io::ErrorKind::WouldBlock);
    pass();
    let mut received = 0;
    while let Poll::Ready(Ok(bytes)) = read(&mut server) {
        received += bytes.len();
    }
    assert_eq!(received, written);
    pass();
    assert!(client.try_write(b"more").is_ok());
}

#[test]
fn process_exit_closes_or_resets_its_connections() {
    let (_listener, mut client, _server) = connected(1);
    control::end_process(SERVER);
    pass();
    assert_eq!(read(&mut client), Poll::Ready(Ok(Vec::new())), "FIN");
    client.try_write(b"are you there?").unwrap();
    pass();
    pass();
    let written = client.try_write(b"?").map_err(|error| error.kind());
    assert_eq!(written, Err(io::ErrorKind::ConnectionReset));
    let (_listener, mut client, _server) = connected(1);
    client.try_write(b"never read").unwrap();
    pass();
    control::end_process(SERVER);
    pass();
    assert_eq!(read(&mut client), Poll::Ready(Err(io::ErrorKind::ConnectionReset)));
}

#[test]
fn host_without_power_is_silent_and_resets_after_boot() {
    let (_listener, mut client, _server) = connected(1);
    control::switch_off(SERVER);
    client.try_write(b"are you there?").unwrap();
    pass();
    assert!(read(&mut client).is_pending());
    control::switch_on(SERVER);
    pass();
    assert_eq!(read(&mut client), Poll::Ready(Err(io::ErrorKind::ConnectionReset)));
}

#[test]
fn connect_without_listener_is_refused() {
    let (listener, _client, _server) = connected(1);
    drop(listener);
    let mut next = pin!(TcpStream::connect(addr()));
    assert!(poll(next.as_mut()).is_pending());
    pass();
    let Poll::Ready(Err(error)) = poll(next) else { panic!("connected") };
    assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
}
