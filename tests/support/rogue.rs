//! A store that answers nonsense: it stands before a real Redis, passes everything on, and puts another
//! reply in the place of those that the test names.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::redis::Redis;

/// The way to a Redis, with another mind.
pub struct Rogue {
    port: u16,
    mind: Arc<Mind>,
    _tasks: JoinSet<()>,
}

#[derive(Default)]
struct Mind {
    /// The commands whose replies are exchanged, and for what.
    nonsense: Mutex<Option<(Vec<String>, Vec<u8>)>>,
    told: AtomicUsize,
    connections: AtomicUsize,
}

impl Rogue {
    pub async fn before(redis: &Redis) -> Rogue {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (port, target) = (listener.local_addr().unwrap().port(), redis.port());
        let mind = Arc::new(Mind::default());
        let mut tasks = JoinSet::new();
        let shared = mind.clone();
        tasks.spawn(async move {
            let mut relays = JoinSet::new();
            loop {
                let (client, _) = listener.accept().await.unwrap();
                shared.connections.fetch_add(1, Ordering::SeqCst);
                relays.spawn(relay(client, target, shared.clone()));
            }
        });
        Rogue { port, mind, _tasks: tasks }
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// From now on, these commands are answered with these bytes.
    pub fn answers(&self, commands: &[&str], reply: &[u8]) {
        let commands = commands.iter().map(|command| (*command).to_owned()).collect();
        *self.mind.nonsense.lock().unwrap() = Some((commands, reply.to_vec()));
        self.mind.told.store(0, Ordering::SeqCst);
    }

    /// From now on, all is passed on.
    pub fn behaves(&self) {
        *self.mind.nonsense.lock().unwrap() = None;
    }

    /// How often it has answered nonsense of the present kind.
    pub fn told(&self) -> usize {
        self.mind.told.load(Ordering::SeqCst)
    }

    /// How many connections were made to it.
    pub fn connections(&self) -> usize {
        self.mind.connections.load(Ordering::SeqCst)
    }
}

async fn relay(client: TcpStream, target: u16, mind: Arc<Mind>) {
    let store = TcpStream::connect(("127.0.0.1", target)).await.unwrap();
    let (from_client, to_client) = client.into_split();
    let (from_store, to_store) = store.into_split();
    let (asked, answers) = mpsc::unbounded_channel();
    let mut halves = JoinSet::new();
    halves.spawn(requests(from_client, to_store, asked));
    halves.spawn(replies(from_store, to_client, answers, mind));
    halves.join_next().await;
}

async fn requests(mut client: OwnedReadHalf, mut store: OwnedWriteHalf, asked: mpsc::UnboundedSender<String>) {
    let mut buffer = Vec::new();
    while let Ok(read) = client.read_buf(&mut buffer).await {
        if read == 0 {
            return;
        }
        while let Some(end) = whole(&buffer) {
            let command: Vec<u8> = buffer.drain(..end).collect();
            let name = String::from_utf8_lossy(&command).split("\r\n").nth(2).unwrap_or_default().to_uppercase();
            let _ = asked.send(name);
            if store.write_all(&command).await.is_err() {
                return;
            }
        }
    }
}

async fn replies(
    mut store: OwnedReadHalf,
    mut client: OwnedWriteHalf,
    mut answers: mpsc::UnboundedReceiver<String>,
    mind: Arc<Mind>,
) {
    let mut buffer = Vec::new();
    while let Ok(read) = store.read_buf(&mut buffer).await {
        if read == 0 {
            return;
        }
        while let Some(end) = whole(&buffer) {
            let mut reply: Vec<u8> = buffer.drain(..end).collect();
            // What the store pushes answers nothing.
            if reply[0] != b'>' {
                let asked = answers.recv().await.unwrap_or_default();
                let nonsense = mind.nonsense.lock().unwrap().clone();
                if let Some((_, other)) = nonsense.filter(|(commands, _)| commands.contains(&asked)) {
                    mind.told.fetch_add(1, Ordering::SeqCst);
                    reply = other;
                }
            } else if reply.windows(9).any(|part| part == b"subscribe") {
                // Acknowledges one that asked; this relay's clients name one channel at a time.
                let _ = answers.try_recv();
            }
            if client.write_all(&reply).await.is_err() {
                return;
            }
        }
    }
}

/// Where the first whole value in `bytes` ends.
fn whole(bytes: &[u8]) -> Option<usize> {
    let line = bytes.windows(2).position(|two| two == b"\r\n")?;
    let number = || std::str::from_utf8(&bytes[1..line]).ok()?.parse::<i64>().ok();
    let mut end = line + 2;
    match bytes[0] {
        b'$' | b'=' | b'!' => {
            let length = number()?;
            end += usize::try_from(length).map_or(0, |length| length + 2);
        }
        kind @ (b'*' | b'>' | b'~' | b'%' | b'|') => {
            let each = if matches!(kind, b'%' | b'|') { 2 } else { 1 };
            for _ in 0..number()?.max(0) * each {
                end += whole(bytes.get(end..)?)?;
            }
        }
        _ => {}
    }
    (end <= bytes.len()).then_some(end)
}
