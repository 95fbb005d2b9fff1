//! A way to a server: a relay of bytes that can be cut or stalled, as a whole or for some connections.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::AbortHandle;

/// What the link does with bytes and with new connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Carries them.
    Open,
    /// Breaks every connection, and each new one at once.
    Cut,
    /// Keeps every connection and holds all bytes back, as a black hole does.
    Silent,
    /// Carries requests and holds replies back: what was asked is done, and nobody hears of it.
    Deaf,
    /// Holds requests back and carries replies: what is asked never arrives.
    Mute,
}

/// Which connections a mode is for. The others are carried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// All of them.
    Any,
    /// Those that have not subscribed to anything.
    Commands,
    /// Those that have.
    Subscription,
    /// Those of the server with this id on a cluster's bus, each of whose packets has it at the same place.
    Of([u8; 40]),
}

/// Where a packet on a cluster's bus has its sender's id.
const SENDER: std::ops::Range<usize> = 40..80;

/// The link. Dropped, all its connections break.
pub struct Link {
    address: SocketAddr,
    shared: Arc<Shared>,
    task: AbortHandle,
}

struct Shared {
    target: u16,
    mode: watch::Sender<(Mode, Kind)>,
    /// Texts that replies are not to have, each with one of the same length to stand for it.
    renamed: Mutex<Vec<(String, String)>>,
}

impl Link {
    /// A link to the server on this port.
    pub async fn to(server: u16) -> Link {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let mode = watch::Sender::new((Mode::Open, Kind::Any));
        let shared = Arc::new(Shared { target: server, mode, renamed: Mutex::default() });
        let task = tokio::spawn(accept(listener, shared.clone())).abort_handle();
        Link { address, shared, task }
    }

    /// The server's address as a node on this link has it.
    pub fn url(&self) -> String {
        format!("redis://{}", self.address)
    }

    pub fn port(&self) -> u16 {
        self.address.port()
    }

    pub fn set(&self, mode: Mode) {
        self.set_for(Kind::Any, mode);
    }

    /// Sets the mode for some connections, and has all others carried.
    pub fn set_for(&self, kind: Kind, mode: Mode) {
        self.shared.mode.send_replace((mode, kind));
    }

    /// From now on, replies that name one port name another.
    pub fn rename(&self, from: u16, to: u16) {
        let (from, to) = (from.to_string(), to.to_string());
        assert_eq!(from.len(), to.len(), "lengths stand in replies");
        self.shared.renamed.lock().unwrap().push((from, to));
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.task.abort();
        self.set(Mode::Cut);
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    loop {
        let Ok((near, _)) = listener.accept().await else { continue };
        if *shared.mode.borrow() == (Mode::Cut, Kind::Any) {
            continue;
        }
        tokio::spawn(relay(near, shared.clone()));
    }
}

async fn relay(near: TcpStream, shared: Arc<Shared>) {
    let Ok(far) = TcpStream::connect((Ipv4Addr::LOCALHOST, shared.target)).await else { return };
    let _ = (near.set_nodelay(true), far.set_nodelay(true));
    let (near_read, near_write) = near.into_split();
    let (far_read, far_write) = far.into_split();
    let caller = Caller::default();
    let requests = Way { mode: shared.mode.subscribe(), caller: &caller, passes: &[Mode::Open, Mode::Deaf] };
    let replies = Way { mode: shared.mode.subscribe(), caller: &caller, passes: &[Mode::Open, Mode::Mute] };
    // Whichever side ends ends both.
    tokio::select! {
        () = requests.carry(near_read, far_write, |bytes| caller.says(bytes)) => {}
        () = replies.carry(far_read, near_write, |bytes| {
            for (from, to) in shared.renamed.lock().unwrap().iter() {
                let found: Vec<usize> =
                    (0..bytes.len()).filter(|at| bytes[*at..].starts_with(from.as_bytes())).collect();
                found.into_iter().for_each(|at| bytes[at..at + to.len()].copy_from_slice(to.as_bytes()));
            }
        }) => {}
    }
}

/// What is known of the one who connected.
#[derive(Default)]
struct Caller {
    subscribed: AtomicBool,
    /// The first bytes of what it said, as far as an id would stand there.
    id: OnceLock<Option<[u8; 40]>>,
}

impl Caller {
    fn says(&self, bytes: &[u8]) {
        if bytes.windows(9).any(|word| word == b"SUBSCRIBE") {
            self.subscribed.store(true, Ordering::Relaxed);
        }
        self.id.get_or_init(|| bytes.get(SENDER)?.try_into().ok());
    }

    fn is(&self, kind: Kind) -> bool {
        match kind {
            Kind::Any => true,
            Kind::Commands => !self.subscribed.load(Ordering::Relaxed),
            Kind::Subscription => self.subscribed.load(Ordering::Relaxed),
            Kind::Of(id) => self.id.get() == Some(&Some(id)),
        }
    }
}

/// One direction of a connection.
struct Way<'a> {
    mode: watch::Receiver<(Mode, Kind)>,
    caller: &'a Caller,
    /// The modes in which it carries bytes.
    passes: &'a [Mode],
}

impl Way<'_> {
    /// The mode as it is for this connection.
    fn mode(&mut self) -> Mode {
        let (mode, kind) = *self.mode.borrow_and_update();
        if self.caller.is(kind) { mode } else { Mode::Open }
    }

    /// Carries bytes while the mode lets them pass, until it is [`Mode::Cut`].
    async fn carry(
        mut self,
        mut from: impl AsyncRead + Unpin,
        mut to: impl AsyncWrite + Unpin,
        mut look: impl FnMut(&mut [u8]),
    ) {
        let mut buffer = vec![0; 16 * 1024];
        // What was read and may not pass yet.
        let mut held = 0;
        loop {
            let mode = self.mode();
            if mode == Mode::Cut {
                return;
            }
            let passes = self.passes.contains(&mode);
            if passes && held > 0 {
                if to.write_all(&buffer[..held]).await.is_err() {
                    return;
                }
                held = 0;
            }
            tokio::select! {
                changed = self.mode.changed() => if changed.is_err() { return },
                read = from.read(&mut buffer), if passes => match read {
                    Ok(length @ 1..) => {
                        look(&mut buffer[..length]);
                        held = length;
                    }
                    _ => return,
                },
            }
        }
    }
}
