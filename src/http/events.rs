//! `GET /events`: the objects that a socket gets, as server-sent events (the WHATWG HTML standard, section
//! 9.2), for clients that only listen.
//!
//! To the hub and the session it is a client like any other, at the far end of a socket pair. A message becomes
//! `data:`; a ping becomes a comment, and is answered for the client once the comment is written; a close frame
//! becomes an event named `close`. The rule: a client that is gone is found as soon as a socket's client: the
//! kernel ends a connection on which a comment is not taken in time.

use std::io;
use std::net::TcpStream as StdStream;

use hyper::Request;
use hyper::body::Incoming;
use hyper::header::ORIGIN;
use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::admission::admit;
use super::bridge::{self, Patience};
use super::context::ConnectionInfo;
use super::reply::Reply;
use super::stream::Stream;
use super::takeover::{Takeover, TakeoverKind};
use crate::auth::Grant;
use crate::hub::ws_frame::{opcode, unframe};
use crate::net::seats::Held;
use crate::session::close_code;

/// The range of the reconnect delay that a client is given, in milliseconds. It is random, so that not all
/// clients come back at once.
const RETRY: std::ops::Range<u32> = 1000..4000;
/// The maximum number of bytes read from a client in total. A client has nothing to say here, and one that says
/// more is dropped.
const HEARD: usize = 4 << 10;
/// The size of one read from the hub.
const READ: usize = 16 << 10;
/// The answer that the session expects to a ping: an empty pong, masked with zeros.
const PONG: [u8; 6] = [0x80 | opcode::PONG, 0x80, 0, 0, 0, 0];

/// Checks the request and takes over the connection for a stream.
///
/// # Errors
/// The response that says why the client is not admitted.
pub fn open(
    connection: &ConnectionInfo,
    request: &Request<Incoming>,
    grant: Option<Grant>,
) -> Result<Box<Takeover>, Box<Reply>> {
    let mut admitted = admit(connection, request, grant, true)?;
    // A browser that reconnects sends this header by itself.
    admitted.request.reconnect |= request.headers().contains_key("last-event-id");
    let everybody = connection.app.config().server.origins.is_empty();
    let origin = request.headers().get(ORIGIN).and_then(|origin| origin.to_str().ok());
    let allowed = match (everybody, origin) {
        (true, _) => "Access-Control-Allow-Origin: *\r\nCross-Origin-Resource-Policy: cross-origin\r\n".to_owned(),
        (false, Some(origin)) => format!("Access-Control-Allow-Origin: {origin}\r\nVary: Origin\r\n"),
        (false, None) => "Cross-Origin-Resource-Policy: same-origin\r\n".to_owned(),
    };
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-store\r\nConnection: close\r\n\
         X-Accel-Buffering: no\r\nX-Content-Type-Options: nosniff\r\n{allowed}\r\nretry: {}\nid: 0\n\n",
        fastrand::u32(RETRY)
    );
    Ok(Takeover::new(TakeoverKind::Events(head), admitted))
}

/// Starts the task that writes the stream and drops `held` when it ends. Returns the hub's end.
///
/// # Errors
/// No descriptor is left.
pub(super) fn start(
    client: impl Stream,
    head: String,
    patience: Patience,
    held: Option<Held>,
) -> io::Result<StdStream> {
    let (hubs, ours) = bridge::pair()?;
    // Unix sockets do not have this option, and need none: their end is noticed at once.
    let _ = SockRef::from(client.socket()).set_tcp_user_timeout(Some(patience.gone));
    tokio::spawn(async move {
        carry(client, ours, head, patience).await;
        drop(held);
    });
    Ok(hubs)
}

async fn carry(mut client: impl Stream, mut hub: UnixStream, head: String, patience: Patience) {
    let (mut from_hub, mut out, mut ignored, mut closed) = (Vec::new(), head, [0; 64], false);
    let mut heard = 0;
    loop {
        let send = async {
            client.write_all(out.as_bytes()).await?;
            client.flush().await
        };
        if !matches!(timeout(patience.write, send).await, Ok(Ok(()))) {
            return;
        }
        if closed {
            // There is no closing handshake to wait for.
            break;
        }
        if from_hub.is_empty() {
            // An idle connection holds no buffer.
            from_hub = Vec::new();
        }
        out = String::new();
        tokio::select! {
            ready = hub.readable() => if ready.is_err() { return },
            // The client has nothing to say here, but this read notices when it hangs up.
            said = client.read(&mut ignored) => match said {
                Ok(n @ 1..) if heard + n <= HEARD => {
                    heard += n;
                    continue;
                }
                _ => return,
            },
        }
        from_hub.reserve(READ);
        match hub.try_read_buf(&mut from_hub) {
            Ok(0) => break,
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
            Err(_) => break,
        }
        let (taken, pings);
        (taken, pings, closed) = translate(&from_hub, &mut out);
        from_hub.drain(..taken);
        for _ in 0..pings {
            // The session reads it whenever it runs.
            if !matches!(timeout(patience.close, hub.write_all(&PONG)).await, Ok(Ok(()))) {
                return;
            }
        }
    }
    let _ = timeout(patience.close, client.shutdown()).await;
}

/// Translates complete frames into events. Returns how many bytes they took, how many of them were pings, and
/// whether there was a close.
fn translate(frames: &[u8], out: &mut String) -> (usize, usize, bool) {
    let (mut taken, mut pings, mut closed) = (0, 0, false);
    while let Some((code, payload, length)) = unframe(&frames[taken..]) {
        taken += length;
        match code {
            opcode::PING => {
                pings += 1;
                out.push_str(":\n\n");
            }
            opcode::CLOSE => {
                closed = true;
                let (code, reason) = payload
                    .split_first_chunk()
                    .map_or((1005, &[][..]), |(code, reason)| (u16::from_be_bytes(*code), reason));
                let reason = String::from_utf8_lossy(reason);
                // A browser also waits this long before each later attempt, so the usual minimum is added.
                if let Some(pause) = close_code::pause(&reason) {
                    out.push_str(&format!("retry: {}\n", u128::from(RETRY.start) + pause.as_millis()));
                }
                let reason = serde_json::Value::from(reason);
                out.push_str(&format!("event: close\ndata: {{\"code\":{code},\"reason\":{reason}}}\n\n"));
            }
            _ => {
                // JSON may contain line breaks between its tokens, and a `data:` line may not.
                for line in String::from_utf8_lossy(payload).split(['\r', '\n']) {
                    out.push_str("data: ");
                    out.push_str(line);
                    out.push('\n');
                }
                out.push('\n');
            }
        }
    }
    (taken, pings, closed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::ws_frame::frame;

    #[test]
    fn frames_become_events_and_half_a_frame_waits() {
        let mut frames = frame(opcode::TEXT, b"{\"data\":\n1}").to_vec();
        frames.extend(frame(opcode::PING, b""));
        frames.extend(frame(opcode::CLOSE, b"\x03\xf4bye in 20 ms"));
        let whole = frames.len();
        frames.extend(&frame(opcode::TEXT, &[b'x'; 300])[..200]);
        let mut out = String::new();
        assert_eq!(translate(&frames, &mut out), (whole, 1, true));
        let close = "retry: 1020\nevent: close\ndata: {\"code\":1012,\"reason\":\"bye in 20 ms\"}\n\n";
        assert_eq!(out, format!("data: {{\"data\":\ndata: 1}}\n\n:\n\n{close}"));
    }
}
