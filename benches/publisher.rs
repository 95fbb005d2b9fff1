//! Who sends the messages: a connection to Redis, or to a server that takes them over HTTP.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::{Result, resp};

pub struct Publisher {
    io: TcpStream,
    http: bool,
}

impl Publisher {
    /// By `redis:PORT`, or `http:PORT`; there, a channel is the path and the query.
    pub fn connect(by: &str) -> Result<Self> {
        let (kind, port) = by.split_once(':').ok_or("redis:PORT or http:PORT")?;
        let io = TcpStream::connect(("127.0.0.1", port.parse()?))?;
        io.set_nodelay(true)?;
        io.set_read_timeout(Some(Duration::from_secs(10)))?;
        Ok(Self { io, http: kind == "http" })
    }

    /// Sends messages in one write.
    pub fn publish<'a>(&mut self, messages: impl Iterator<Item = (&'a str, String)>) -> Result<()> {
        let mut out = Vec::new();
        for (channel, payload) in messages {
            if self.http {
                let length = payload.len();
                let head = format!("POST {channel} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n");
                out.extend_from_slice(head.as_bytes());
                out.extend_from_slice(payload.as_bytes());
            } else {
                out.extend_from_slice(&resp::command(&[b"PUBLISH", channel.as_bytes(), payload.as_bytes()]));
            }
        }
        Ok(self.io.write_all(&out)?)
    }

    /// Reads the answers to so many messages.
    pub fn confirm(&mut self, messages: usize) -> Result<()> {
        let (mut answers, mut buffer) = (0, [0; 4096]);
        while answers < messages {
            let n = self.io.read(&mut buffer)?;
            let text = &buffer[..n];
            if n == 0 || text.starts_with(b"-") || text.starts_with(b"HTTP/1.1 4") || text.starts_with(b"HTTP/1.1 5") {
                return Err(format!("publishing failed: {}", String::from_utf8_lossy(text)).into());
            }
            answers += if self.http { messages } else { text.iter().filter(|byte| **byte == b'\n').count() };
        }
        Ok(())
    }
}
