//! One node's way to its store: a relay of bytes that can be cut or stalled.

use std::net::{Ipv4Addr, SocketAddr};

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
}

/// The link. Dropped, all its connections break.
pub struct Link {
    address: SocketAddr,
    mode: watch::Sender<Mode>,
    task: AbortHandle,
}

impl Link {
    /// A link to the store on this port.
    pub async fn to(store: u16) -> Link {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (mode, seen) = watch::channel(Mode::Open);
        let task = tokio::spawn(accept(listener, store, seen)).abort_handle();
        Link { address, mode, task }
    }

    /// The store's address as a node on this link has it.
    pub fn url(&self) -> String {
        format!("redis://{}", self.address)
    }

    pub fn set(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.task.abort();
        self.set(Mode::Cut);
    }
}

async fn accept(listener: TcpListener, store: u16, mode: watch::Receiver<Mode>) {
    loop {
        let Ok((near, _)) = listener.accept().await else { continue };
        if *mode.borrow() == Mode::Cut {
            continue;
        }
        tokio::spawn(relay(near, store, mode.clone()));
    }
}

async fn relay(near: TcpStream, store: u16, mode: watch::Receiver<Mode>) {
    let Ok(far) = TcpStream::connect((Ipv4Addr::LOCALHOST, store)).await else { return };
    let _ = (near.set_nodelay(true), far.set_nodelay(true));
    let (near_read, near_write) = near.into_split();
    let (far_read, far_write) = far.into_split();
    // Whichever side ends ends both.
    tokio::select! {
        () = carry(near_read, far_write, mode.clone(), &[Mode::Open, Mode::Deaf]) => {}
        () = carry(far_read, near_write, mode, &[Mode::Open]) => {}
    }
}

/// Carries bytes one way while the mode is one of `passing`, until it is [`Mode::Cut`].
async fn carry(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut mode: watch::Receiver<Mode>,
    passing: &[Mode],
) {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let now = *mode.borrow_and_update();
        if now == Mode::Cut {
            return;
        }
        tokio::select! {
            changed = mode.changed() => if changed.is_err() { return },
            read = from.read(&mut buffer), if passing.contains(&now) => match read {
                Ok(length @ 1..) if to.write_all(&buffer[..length]).await.is_ok() => {}
                _ => return,
            },
        }
    }
}
