//! A WebSocket client, as far as a load needs one: a request, and frames in both directions.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use socket2::{Domain, Socket, Type};

use crate::Result;

pub const TEXT: u8 = 1;
pub const BINARY: u8 = 2;
pub const CLOSE: u8 = 8;
pub const PING: u8 = 9;

/// Connections to one address, below the number of ports that a client may come from.
const PER_ADDRESS: usize = 5000;

/// Connects and sends the request. The address depends on the client's number, as one address has
/// too few ports for all.
pub fn connect(port: u16, number: usize, path: &str) -> Result<TcpStream> {
    let address = Ipv4Addr::new(127, 0, 1 + (number / PER_ADDRESS) as u8, 1);
    let stream = TcpStream::connect(SocketAddr::from((address, port)))?;
    stream.set_nodelay(true)?;
    request(stream, port, path)
}

/// Connects a client with a small window that reads the handshake and then nothing more.
pub fn connect_deaf(port: u16, path: &str) -> Result<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.set_recv_buffer_size(4096)?;
    socket.connect(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)).into())?;
    let mut stream = request(socket.into(), port, path)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let (mut answer, mut byte) = (Vec::new(), [0]);
    while !answer.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte)?;
        answer.push(byte[0]);
    }
    Ok(stream)
}

fn request(mut stream: TcpStream, port: u16, path: &str) -> Result<TcpStream> {
    stream.write_all(upgrade(port, path).as_bytes())?;
    Ok(stream)
}

/// The request for a socket.
pub fn upgrade(port: u16, path: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: localhost:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\nOrigin: http://localhost:{port}\r\n\r\n"
    )
}

/// Where the handshake's answer ends; None: it is not complete.
pub fn handshake_end(bytes: &[u8]) -> Result<Option<usize>> {
    let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else { return Ok(None) };
    if !bytes.starts_with(b"HTTP/1.1 101") {
        return Err(format!("the handshake was refused: {}", String::from_utf8_lossy(bytes)).into());
    }
    Ok(Some(end + 4))
}

/// The first frame of a server: its opcode, payload and length. None: it is not complete.
pub fn frame(bytes: &[u8]) -> Option<(u8, &[u8], usize)> {
    let (start, length) = match *bytes.get(1)? & 127 {
        126 => (4, u16::from_be_bytes([*bytes.get(2)?, *bytes.get(3)?]) as usize),
        127 => (10, u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?) as usize),
        n => (2, n as usize),
    };
    Some((bytes[0] & 15, bytes.get(start..start + length)?, start + length))
}

/// A masked text frame. The mask is 0: the server has the same work with any.
pub fn text(text: &str) -> Vec<u8> {
    masked(TEXT, text.as_bytes())
}

pub fn pong(payload: &[u8]) -> Vec<u8> {
    masked(10, payload)
}

/// A masked frame.
pub fn masked(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = vec![0x80 | opcode];
    match payload.len() {
        n @ 0..126 => out.push(0x80 | n as u8),
        n => {
            out.push(0x80 | 126);
            out.extend_from_slice(&(n as u16).to_be_bytes());
        }
    }
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(payload);
    out
}

pub fn contains(payload: &[u8], mark: &[u8]) -> bool {
    payload.windows(mark.len()).any(|window| window == mark)
}
