//! What a client says over WebSocket reads the same however its bytes arrive; what is kept of a frame
//! that is not complete is bounded; tungstenite's own reader finds the same messages.
#![no_main]
#![allow(dead_code)]

use std::io::{Cursor, Read, Write};

use hyper_tungstenite::tungstenite::protocol::{Role, WebSocket, WebSocketConfig};
use hyper_tungstenite::tungstenite::{Error, Message};
use libfuzzer_sys::fuzz_target;

/// What the modules know of their neighbours.
mod config {
    pub use headcount::config::*;
}
#[path = "../../src/session/close_code.rs"]
mod close_code;
#[path = "../../src/session/frames.rs"]
mod frames;
#[path = "../../src/hub"]
mod hub {
    pub mod ws_frame;
}
#[path = "../../src/session/request.rs"]
mod request;

use frames::{Partial, Said};

const MAX: usize = 1000;

/// Everything that is said, up to the first mistake or the close frame.
fn read(input: &[u8], steps: &[usize]) -> (Vec<Said>, Option<u16>) {
    let (mut partial, mut said, mut rest, mut start) = (Partial::default(), Vec::new(), Vec::new(), 0);
    for &end in steps {
        rest.extend_from_slice(&input[start..end]);
        start = end;
        loop {
            match frames::next(&mut rest, &mut partial, MAX) {
                Ok((message, taken)) => {
                    rest.drain(..taken);
                    match message {
                        Some(Said::Close) => return (said, Some(1000)),
                        Some(message) => said.push(message),
                        None => break,
                    }
                }
                Err(close) => return (said, Some(close.code)),
            }
        }
        // One frame that is not complete, and its header.
        assert!(rest.len() <= MAX + 14, "{} bytes wait", rest.len());
    }
    (said, None)
}

/// A connection that has sent these bytes and takes whatever it is sent.
struct Wire<'a>(Cursor<&'a [u8]>);

impl Read for Wire<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Write for Wire<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// The same by tungstenite, and whether it stopped at a text that is not UTF-8: it looks at each fragment,
/// and ours at the whole.
fn tungstenite(input: &[u8]) -> (Vec<Said>, bool) {
    let config = WebSocketConfig::default().max_message_size(Some(MAX)).max_frame_size(Some(MAX));
    let mut socket = WebSocket::from_raw_socket(Wire(Cursor::new(input)), Role::Server, Some(config));
    let mut said = Vec::new();
    loop {
        match socket.read() {
            Ok(Message::Text(text)) => said.push(Said::Text(text.to_string())),
            Ok(Message::Ping(payload)) => said.push(Said::Ping(payload.to_vec())),
            Ok(Message::Pong(_)) => said.push(Said::Pong),
            Err(Error::Utf8(_)) => return (said, true),
            Ok(_) | Err(_) => return (said, false),
        }
    }
}

fuzz_target!(|data: &[u8]| {
    let Some((&cut, input)) = data.split_first() else { return };
    let cut = usize::from(cut).min(input.len());
    let whole = read(input, &[input.len()]);
    assert_eq!(whole, read(input, &[cut, input.len()]));
    let single: Vec<usize> = (1..=input.len()).collect();
    assert_eq!(whole, read(input, &single));
    // Ours refuses more (lengths that are not the shortest), and never hears what tungstenite does not.
    let ours = whole.0.iter().filter(|said| **said != Said::Nothing);
    let (theirs, stopped) = tungstenite(input);
    let mut theirs = theirs.iter();
    for said in ours {
        match theirs.next() {
            None if stopped => break,
            heard => assert_eq!(heard, Some(said)),
        }
    }
    for said in &whole.0 {
        if let Said::Text(text) = said {
            let _ = request::parse(text, 64);
        }
    }
});
