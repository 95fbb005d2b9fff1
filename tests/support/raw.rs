//! A client that does as it is told: it sends any bytes, answers no ping, and reads when asked.

use std::io::Cursor;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::SOON;
use super::node::Node;
use super::wire::{self, Frame};

/// One upgraded connection, by hand.
pub struct Raw {
    stream: tokio::io::Chain<Cursor<Vec<u8>>, TcpStream>,
}

impl Raw {
    /// Upgrades with this query.
    pub async fn open(node: &Node, query: &str) -> Raw {
        Raw::open_with(node, query, None).await
    }

    /// Upgrades with the smallest receive buffer, so that an unread socket is soon full.
    pub async fn open_narrow(node: &Node, query: &str) -> Raw {
        Raw::open_with(node, query, Some(4_096)).await
    }

    async fn open_with(node: &Node, query: &str, receive_buffer: Option<u32>) -> Raw {
        let upgrade = wire::upgrade(node.address, query, receive_buffer);
        let (stream, reply) = timeout(SOON, upgrade).await.expect("an answer to the upgrade").unwrap();
        assert_eq!(reply.status, 101, "{}", reply.text());
        // Frames that came in one read with the reply's head are read first.
        Raw { stream: Cursor::new(reply.body).chain(stream) }
    }

    /// The connection itself, without what was read of it.
    pub fn into_stream(self) -> TcpStream {
        self.stream.into_inner().1
    }

    /// Sends bytes as they are.
    pub async fn send(&mut self, bytes: &[u8]) {
        let (_, stream) = self.stream.get_mut();
        timeout(SOON, stream.write_all(bytes)).await.expect("the server takes bytes").unwrap();
    }

    /// Sends bytes as they are; false where the server has hung up.
    pub async fn offer(&mut self, bytes: &[u8]) -> bool {
        let (_, stream) = self.stream.get_mut();
        timeout(SOON, stream.write_all(bytes)).await.expect("the server takes bytes").is_ok()
    }

    /// [`Raw::offer`] for no longer than this; false too where the server takes nothing more.
    pub async fn offer_within(&mut self, bytes: &[u8], within: Duration) -> bool {
        let (_, stream) = self.stream.get_mut();
        matches!(timeout(within, stream.write_all(bytes)).await, Ok(Ok(())))
    }

    /// Sends a whole, well-formed text message.
    pub async fn text(&mut self, text: &str) {
        self.send(&wire::masked(wire::FINAL | wire::TEXT, text.as_bytes())).await;
    }

    /// The next frame, whatever it is; an error when the connection ends.
    pub async fn frame(&mut self, within: Duration) -> Result<Frame, String> {
        match timeout(within, wire::read_frame(&mut self.stream)).await {
            Ok(frame) => frame.map_err(|why| why.to_string()),
            Err(_) => Err(format!("no frame within {within:?}")),
        }
    }

    /// Ends this side, and waits for the server to end its own; an error if it has anything left to say.
    pub async fn ends(&mut self, within: Duration) -> Result<(), String> {
        let (_, stream) = self.stream.get_mut();
        // The server may have been faster.
        let _ = stream.shutdown().await;
        match timeout(within, wire::read_frame(&mut self.stream)).await {
            Ok(Ok(frame)) => Err(format!("{frame:?} after the end")),
            Ok(Err(why)) if why.kind() == std::io::ErrorKind::InvalidData => Err(why.to_string()),
            Ok(Err(_)) => Ok(()),
            Err(_) => Err(format!("no end within {within:?}")),
        }
    }

    /// Reads frames until the server closes, and gives its close code: `None` where it just hung up.
    pub async fn close_code(&mut self, within: Duration) -> Option<u16> {
        let read = async {
            loop {
                match wire::read_frame(&mut self.stream).await {
                    Ok(frame) if frame.close_code().is_some() => return frame.close_code(),
                    Ok(_) => {}
                    Err(_) => return None,
                }
            }
        };
        timeout(within, read).await.unwrap_or_else(|_| panic!("not closed within {within:?}"))
    }
}
