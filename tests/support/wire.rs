//! The WebSocket protocol as bytes: the upgrade, and single frames (RFC 6455, sections 4 and 5).
//!
//! Written out here so that a test can break every rule of it, and so that a thousand sockets cost
//! next to nothing. Fragmented and 64-bit messages from the server are not read: it sends none.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use super::http::{self, Reply};

/// The headers of a faultless upgrade.
pub const UPGRADE: [&str; 4] = [
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
];

pub const CONTINUATION: u8 = 0x0;
pub const TEXT: u8 = 0x1;
pub const BINARY: u8 = 0x2;
pub const CLOSE: u8 = 0x8;
pub const PING: u8 = 0x9;
pub const PONG: u8 = 0xA;

/// The bit that marks the last frame of a message.
pub const FINAL: u8 = 0x80;

/// One frame from the server.
#[derive(Debug)]
pub struct Frame {
    pub opcode: u8,
    pub payload: Vec<u8>,
}

impl Frame {
    /// The code in a close frame: 1005 where it has none.
    pub fn close_code(&self) -> Option<u16> {
        let code = || self.payload.first_chunk().map_or(1005, |code| u16::from_be_bytes(*code));
        (self.opcode == CLOSE).then(code)
    }
}

/// The pause that a close frame's reason asks for: it ends in `in 1234 ms`.
pub fn pause_in(reason: &str) -> Option<Duration> {
    let milliseconds = reason.strip_suffix(" ms")?.rsplit_once(" in ")?.1;
    milliseconds.parse().ok().map(Duration::from_millis)
}

/// A frame as a client sends it: masked, with these first bits and opcode.
pub fn masked(first_byte: u8, payload: &[u8]) -> Vec<u8> {
    let mask = [0x37, 0xfa, 0x21, 0x3d];
    let mut frame = vec![first_byte];
    match payload.len() {
        short @ 0..126 => frame.push(0x80 | u8::try_from(short).unwrap_or(0)),
        long => match u16::try_from(long) {
            Ok(long) => {
                frame.push(0x80 | 126);
                frame.extend(long.to_be_bytes());
            }
            Err(_) => {
                frame.push(0x80 | 127);
                frame.extend((long as u64).to_be_bytes());
            }
        },
    }
    frame.extend(mask);
    frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, key)| byte ^ key));
    frame
}

/// Reads one frame. An end of the stream is an error, and so is a frame that no server may send.
pub async fn read_frame<R: AsyncRead + Unpin>(stream: &mut R) -> std::io::Result<Frame> {
    let first = stream.read_u8().await?;
    if first & 0xF0 != FINAL {
        return Err(std::io::Error::new(std::io::ErrorKind::InvalidData, format!("a frame begins with {first:#x}")));
    }
    let length = match stream.read_u8().await? {
        126 => usize::from(stream.read_u16().await?),
        127 => usize::try_from(stream.read_u64().await?).map_err(std::io::Error::other)?,
        short => usize::from(short),
    };
    let mut payload = vec![0; length];
    stream.read_exact(&mut payload).await?;
    Ok(Frame { opcode: first & 0x0F, payload })
}

/// Sends an upgrade for `/ws` with this query and hands the socket on, with the server's reply.
/// `receive_buffer` sets how much the kernel takes in for a socket that nobody reads.
pub async fn upgrade(to: SocketAddr, query: &str, receive_buffer: Option<u32>) -> std::io::Result<(TcpStream, Reply)> {
    let socket = TcpSocket::new_v4()?;
    if let Some(size) = receive_buffer {
        socket.set_recv_buffer_size(size)?;
    }
    let mut stream = socket.connect(to).await?;
    stream.set_nodelay(true)?;
    let mut head = format!("GET /ws?{query} HTTP/1.1\r\nHost: {to}\r\n");
    for header in UPGRADE {
        head.push_str(header);
        head.push_str("\r\n");
    }
    head.push_str("\r\n");
    stream.write_all(head.as_bytes()).await?;
    let reply = http::read_reply(&mut stream).await?;
    Ok((stream, reply))
}
