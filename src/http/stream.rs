//! The transport of a connection: TCP or a unix socket, with or without TLS.

use std::io;
use std::net::TcpStream as StdStream;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use super::bridge::{self, Patience};
use crate::net::seats::Held;

/// A transport.
pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send + Sized + 'static {
    /// Returns a socket that the hub can write to.
    fn into_socket(self, patience: Patience, pair: Option<Held>) -> io::Result<StdStream>;
    /// Returns the kernel's socket.
    fn socket(&self) -> &TcpStream;
}

impl Stream for TcpStream {
    fn into_socket(self, _: Patience, _: Option<Held>) -> io::Result<StdStream> {
        self.into_std()
    }

    fn socket(&self) -> &TcpStream {
        self
    }
}

impl Stream for TlsStream<TcpStream> {
    fn into_socket(self, patience: Patience, pair: Option<Held>) -> io::Result<StdStream> {
        bridge::start(self, patience, pair)
    }

    fn socket(&self) -> &TcpStream {
        self.get_ref().0
    }
}
