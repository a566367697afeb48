//! Halves of connections.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::stream::TcpStream;

/// The borrowed read half.
#[derive(Debug)]
pub struct ReadHalf<'a>(pub(super) &'a TcpStream);

/// The borrowed write half.
#[derive(Debug)]
pub struct WriteHalf<'a>(pub(super) &'a TcpStream);

/// The owned read half.
#[derive(Debug)]
pub struct OwnedReadHalf(pub(super) TcpStream);

/// The owned write half; shut down when dropped.
#[derive(Debug)]
pub struct OwnedWriteHalf(pub(super) TcpStream);

impl Drop for OwnedWriteHalf {
    fn drop(&mut self) {
        self.0.socket.shut();
    }
}

macro_rules! half {
    ($half:ty) => {
        impl AsRef<TcpStream> for $half {
            fn as_ref(&self) -> &TcpStream {
                &self.0
            }
        }
    };
}

macro_rules! reads {
    ($half:ty) => {
        half!($half);

        impl AsyncRead for $half {
            fn poll_read(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                buf: &mut ReadBuf<'_>,
            ) -> Poll<io::Result<()>> {
                self.0.socket.poll_read(cx, buf)
            }
        }
    };
}

macro_rules! writes {
    ($half:ty) => {
        half!($half);

        impl AsyncWrite for $half {
            fn poll_write(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                buf: &[u8],
            ) -> Poll<io::Result<usize>> {
                self.0.socket.poll_write(cx, buf)
            }

            fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                Poll::Ready(Ok(()))
            }

            fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                self.0.socket.shut();
                Poll::Ready(Ok(()))
            }
        }
    };
}

reads!(ReadHalf<'_>);
reads!(OwnedReadHalf);
writes!(WriteHalf<'_>);
writes!(OwnedWriteHalf);
