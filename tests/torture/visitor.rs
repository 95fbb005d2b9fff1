//! One socket, and what its owner knows: where it is, and what it was told.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::people::address_part;
use super::world::ROOM;
use crate::support::SOON;
use crate::support::listed::Listed;
use crate::support::wire::{self, CLOSE, FINAL, PING, PONG, TEXT};

/// How many frames are kept for a report.
const NEWEST: usize = 6;

/// How a visitor goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// With a close frame.
    Close,
    /// The connection just ends.
    Hang,
    /// The connection is reset.
    Reset,
    /// It stays open and nobody is there: nothing is read, no ping answered.
    Vanish,
}

enum Say {
    Text(String),
    Go(Exit),
}

struct Listing(Result<Listed, String>);

impl Default for Listing {
    fn default() -> Self {
        Listing(Ok(Listed::default()))
    }
}

#[derive(Default)]
struct Heard {
    last: BTreeMap<String, Value>,
    states: u32,
    refused: BTreeSet<String>,
    errors: Vec<Value>,
    closed: Option<String>,
    /// Who is in the room, from what it was told alone, or the first that was wrong with that.
    listed: Listing,
    /// The newest frames, for a report.
    newest: VecDeque<String>,
}

/// A socket that the model holds to be open.
pub struct Visitor {
    /// Whose it is; 0 is nobody in particular.
    pub who: u32,
    pub joined: BTreeSet<&'static str>,
    pub watching: BTreeSet<&'static str>,
    heard: Arc<Mutex<Heard>>,
    say: mpsc::Sender<Say>,
}

impl Visitor {
    /// Opens a socket that joins these channels and watches those.
    pub async fn open(
        to: SocketAddr,
        joined: BTreeSet<&'static str>,
        watching: BTreeSet<&'static str>,
    ) -> Result<Visitor, String> {
        Visitor::come(to, 0, joined, watching).await
    }

    /// [`Visitor::open`] of somebody.
    pub async fn come(
        to: SocketAddr,
        who: u32,
        joined: BTreeSet<&'static str>,
        watching: BTreeSet<&'static str>,
    ) -> Result<Visitor, String> {
        let joins = joined.iter().map(|channel| format!("channel={channel}"));
        let watches = watching.iter().map(|channel| format!("watch={channel}"));
        let identity = Some(who).filter(|who| *who > 0).map(address_part);
        let query = joins.chain(watches).chain(identity).collect::<Vec<_>>().join("&");
        let upgraded = timeout(SOON, wire::upgrade(to, &query, None)).await;
        let (stream, reply) =
            upgraded.map_err(|_| format!("no upgrade within {SOON:?}"))?.map_err(|e| e.to_string())?;
        if reply.status != 101 {
            return Err(format!("{}: {}", reply.status, reply.text()));
        }
        let heard = Arc::new(Mutex::new(Heard::default()));
        let (say, said) = mpsc::channel(64);
        tokio::spawn(live(stream, reply.body, heard.clone(), said));
        Ok(Visitor { who, joined, watching, heard, say })
    }

    /// Joins one more channel.
    pub async fn join(&mut self, channel: &'static str) {
        if self.joined.insert(channel) {
            self.watching.remove(channel);
            self.text(json!({"subscribe": [channel]})).await;
        }
    }

    /// Leaves a channel, joined or watched.
    pub async fn leave(&mut self, channel: &'static str) {
        if self.joined.remove(channel) | self.watching.remove(channel) {
            self.heard.lock().unwrap().last.remove(channel);
            self.text(json!({"unsubscribe": [channel]})).await;
        }
    }

    /// Goes.
    pub async fn go(self, exit: Exit) {
        let _ = self.say.send(Say::Go(exit)).await;
    }

    /// `Ok` where the socket is open and was last told this about the channel.
    pub fn sees(&self, channel: &str, number: i64) -> Result<(), String> {
        let heard = self.heard.lock().unwrap();
        if let Some(why) = &heard.closed {
            return Err(format!("a socket was closed: {why}"));
        }
        match heard.last.get(channel) {
            Some(value) if *value == number => Ok(()),
            other => {
                Err(format!("a socket was last told {other:?} on {channel}, not {number}; last: {:?}", heard.newest))
            }
        }
    }

    /// What must never happen to it: being closed, or put off a channel.
    pub fn complaint(&self) -> Option<String> {
        let heard = self.heard.lock().unwrap();
        if let Some(why) = &heard.closed {
            return Some(format!("a socket was closed: {why}"));
        }
        heard.errors.first().map(|error| format!("a socket was told {error}"))
    }

    /// The list of who is in the room, from what it was told alone.
    pub fn listed(&self) -> Result<Listed, String> {
        self.heard.lock().unwrap().listed.0.clone()
    }

    /// Whether it was put off this channel because the key is somebody else's.
    pub fn was_refused(&self, channel: &str) -> bool {
        self.heard.lock().unwrap().refused.contains(channel)
    }

    /// How many frames with a state it was sent since the last look.
    pub fn take_states(&self) -> u32 {
        std::mem::take(&mut self.heard.lock().unwrap().states)
    }

    async fn text(&self, message: Value) {
        let _ = self.say.send(Say::Text(message.to_string())).await;
    }
}

async fn live(stream: TcpStream, early: Vec<u8>, heard: Arc<Mutex<Heard>>, mut said: mpsc::Receiver<Say>) {
    let (read, mut write) = stream.into_split();
    let mut frames = BufReader::with_capacity(512, std::io::Cursor::new(early).chain(read));
    // A frame is read whole or not at all by a task of its own, so that an order does not tear it.
    let (frame_to, mut frame_from) = mpsc::channel(8);
    let reading = tokio::spawn(async move {
        loop {
            let frame = wire::read_frame(&mut frames).await;
            let end = frame.is_err();
            if frame_to.send(frame).await.is_err() || end {
                return;
            }
        }
    });
    let close = |why: String| heard.lock().unwrap().closed = Some(why);
    loop {
        tokio::select! {
            order = said.recv() => match order {
                Some(Say::Text(text)) => {
                    let frame = wire::masked(FINAL | TEXT, text.as_bytes());
                    if write.write_all(&frame).await.is_err() {
                        return close(String::from("it broke while it was written to"));
                    }
                }
                Some(Say::Go(Exit::Vanish)) => {
                    // The node ends it; until then the socket is held open and nothing is read.
                    reading.abort();
                    tokio::time::sleep(SOON * 3).await;
                    return;
                }
                Some(Say::Go(exit)) => {
                    match exit {
                        Exit::Close => {
                            let goodbye = wire::masked(FINAL | CLOSE, &1000_u16.to_be_bytes());
                            let _ = write.write_all(&goodbye).await;
                        }
                        Exit::Reset => {
                            let _ = SockRef::from(write.as_ref()).set_linger(Some(std::time::Duration::ZERO));
                        }
                        Exit::Hang | Exit::Vanish => {}
                    }
                    reading.abort();
                    return;
                }
                None => { reading.abort(); return }
            },
            frame = frame_from.recv() => match frame {
                Some(Ok(frame)) => match frame.opcode {
                    TEXT => hear(&frame.payload, &heard),
                    PING => {
                        let _ = write.write_all(&wire::masked(FINAL | PONG, &frame.payload)).await;
                    }
                    CLOSE => {
                        let reason = String::from_utf8_lossy(frame.payload.get(2..).unwrap_or_default()).into_owned();
                        close(format!("{:?} {reason}", frame.close_code()));
                        let _ = write.write_all(&wire::masked(FINAL | CLOSE, &frame.payload)).await;
                        return;
                    }
                    _ => {}
                },
                Some(Err(why)) => return close(why.to_string()),
                None => return close(String::from("it ended")),
            },
        }
    }
}

fn hear(text: &[u8], heard: &Mutex<Heard>) {
    let Ok(message) = serde_json::from_slice::<Value>(text) else {
        heard.lock().unwrap().errors.push(Value::String(String::from_utf8_lossy(text).into_owned()));
        return;
    };
    let mut heard = heard.lock().unwrap();
    heard.newest.push_back(message.to_string());
    if heard.newest.len() > NEWEST {
        heard.newest.pop_front();
    }
    if message.get("state").is_some() {
        heard.states += 1;
    }
    if let Some(error) = message.get("error") {
        if let (Some("refused"), Some(channel)) = (error["code"].as_str(), error["channel"].as_str()) {
            heard.refused.insert(channel.into());
        }
        heard.errors.push(error.clone());
    }
    if message["unsubscribed"] == ROOM {
        heard.listed = Listing::default();
    }
    let channel = ["channel", "subscribed", "watching"].iter().find_map(|key| message[key].as_str());
    if channel == Some(ROOM)
        && let Ok(listed) = &mut heard.listed.0
        && let Err(why) = listed.take_in(&message)
    {
        heard.listed.0 = Err(why);
    }
    if let Some(channel) = channel
        && message.get("data").is_some()
    {
        heard.last.insert(channel.into(), message["data"].clone());
    }
}
