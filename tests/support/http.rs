//! A plain HTTP/1.1 request, one a connection, written out as it goes over the wire.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::SOON;

/// What came back.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    head: String,
    pub body: Vec<u8>,
}

impl Reply {
    /// A header's value, by its name in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    /// A header that has to be there.
    pub fn must(&self, name: &str) -> &str {
        self.header(name).unwrap_or_else(|| panic!("no {name} in {}", self.head))
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// Sends a request with these headers, each `Name: value`, and reads the whole reply.
pub async fn request(to: SocketAddr, method: &str, path: &str, headers: &[&str]) -> Result<Reply, String> {
    send(to, method, path, headers, b"").await
}

/// [`request`] with a body, whose length is told.
pub async fn send(to: SocketAddr, method: &str, path: &str, headers: &[&str], body: &[u8]) -> Result<Reply, String> {
    let told = |error: std::io::Error| format!("{method} {path}: {error}");
    let exchange = async {
        let mut socket = TcpStream::connect(to).await.map_err(told)?;
        let mut head = format!("{method} {path} HTTP/1.1\r\nHost: {to}\r\n");
        if !headers.iter().any(|header| header.to_ascii_lowercase().starts_with("connection:")) {
            head.push_str("Connection: close\r\n");
        }
        for header in headers {
            head.push_str(header);
            head.push_str("\r\n");
        }
        if !body.is_empty() {
            head.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        head.push_str("\r\n");
        socket.write_all(head.as_bytes()).await.map_err(told)?;
        // Whoever is refused by the head alone may hang up while the body is on its way.
        let _ = socket.write_all(body).await;
        read_reply(&mut socket).await.map_err(told)
    };
    timeout(SOON, exchange).await.map_err(|_| format!("{method} {path}: no reply within {SOON:?}"))?
}

/// Reads one reply with a `Content-Length`, or up to the end of the connection.
pub async fn read_reply(socket: &mut TcpStream) -> std::io::Result<Reply> {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(at) = find(&bytes, b"\r\n\r\n") {
            break at;
        }
        if socket.read_buf(&mut bytes).await? == 0 {
            return Err(std::io::Error::other(format!("cut off after {:?}", String::from_utf8_lossy(&bytes))));
        }
    };
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0);
    let mut reply = Reply { status, head, body: bytes.split_off(end + 4) };
    let length = reply.header("content-length").and_then(|n| n.parse().ok());
    let bodiless = status == 101 || status == 304;
    while !bodiless && length.is_none_or(|length: usize| reply.body.len() < length) {
        if socket.read_buf(&mut reply.body).await? == 0 {
            break;
        }
    }
    Ok(reply)
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}
