//! Thousands of sockets on one node, each of which remembers just the last count that it was told.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU16, AtomicU64, Ordering};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream;
use rustix::process::{Resource, getrlimit, setrlimit};
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep, timeout};

use super::node::Node;
use super::wire::{self, CLOSE, FINAL, PING, PONG, TEXT};

/// How many sockets are being opened at one time.
const OPENING: usize = 64;

const NOTHING: i64 = i64::MIN;

/// Sockets that joined one channel of one node.
pub struct Crowd {
    address: std::net::SocketAddr,
    channel: String,
    seats: Vec<Seat>,
    /// The size that it began with.
    home: usize,
}

struct Seat {
    told: Arc<Told>,
    task: AbortHandle,
}

/// What a socket was told.
struct Told {
    last: AtomicI64,
    pushes: AtomicU64,
    open: AtomicBool,
    code: AtomicU16,
    leave: tokio::sync::Notify,
}

impl Crowd {
    /// Opens `size` sockets that join `channel`.
    pub async fn gather(node: &Node, channel: &str, size: usize) -> Crowd {
        Crowd::gather_at(node.address, channel, size).await
    }

    /// The same at any address, such as a proxy's.
    pub async fn gather_at(address: std::net::SocketAddr, channel: &str, size: usize) -> Crowd {
        allow_many_files();
        let mut crowd = Crowd { address, channel: channel.into(), seats: Vec::new(), home: size };
        crowd.grow(size).await;
        crowd
    }

    /// Opens this many more.
    pub async fn grow(&mut self, more: usize) {
        let (address, channel) = (self.address, self.channel.as_str());
        let seats: Vec<Seat> =
            stream::iter(0..more).map(|_| sit(address, channel)).buffer_unordered(OPENING).collect().await;
        self.seats.extend(seats);
    }

    /// Closes this many, chosen at random: one half says goodbye, the other hangs up.
    pub fn shrink(&mut self, fewer: usize) {
        for _ in 0..fewer.min(self.seats.len()) {
            let seat = self.seats.swap_remove(fastrand::usize(..self.seats.len()));
            if fastrand::bool() { seat.told.leave.notify_one() } else { seat.task.abort() }
        }
    }

    /// Joins and leaves at random for this long, up to twice `rate` of each a second, about the size
    /// that the crowd had at first.
    pub async fn churn(&mut self, duration: Duration, rate: usize) {
        let end = Instant::now() + duration;
        while Instant::now() < end {
            let next = Instant::now() + Duration::from_millis(100);
            self.shrink(fastrand::usize(0..=rate / 5));
            let missing = self.home.saturating_sub(self.seats.len());
            self.grow(fastrand::usize(0..=(2 * missing).min(rate / 5))).await;
            sleep(next.saturating_duration_since(Instant::now())).await;
        }
    }

    /// How many sockets this side holds open.
    pub fn size(&self) -> i64 {
        i64::try_from(self.seats.len()).unwrap()
    }

    /// `Ok` where every socket is open and was last told `value`.
    pub fn sees(&self, value: i64) -> Result<(), String> {
        let closed = self.seats.iter().filter(|seat| !seat.told.open.load(Ordering::Acquire)).count();
        if closed > 0 {
            let codes: Vec<u16> = self.codes().into_iter().take(5).collect();
            return Err(format!("{closed} of {} sockets were closed, with {codes:?}", self.seats.len()));
        }
        let mut wrong =
            self.seats.iter().map(|seat| seat.told.last.load(Ordering::Acquire)).filter(|last| *last != value);
        match wrong.next() {
            None => Ok(()),
            Some(last) => Err(format!(
                "{} sockets of {} were last told otherwise than {value}, one {last}",
                1 + wrong.count(),
                self.seats.len()
            )),
        }
    }

    /// The close codes of the sockets that the server closed: 0 where it hung up.
    pub fn codes(&self) -> Vec<u16> {
        let closed = self.seats.iter().filter(|seat| !seat.told.open.load(Ordering::Acquire));
        closed.map(|seat| seat.told.code.load(Ordering::Acquire)).collect()
    }

    /// The most messages that any one socket was sent so far.
    pub fn most_pushes(&self) -> u64 {
        self.seats.iter().map(|seat| seat.told.pushes.load(Ordering::Relaxed)).max().unwrap_or(0)
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        for seat in &self.seats {
            seat.task.abort();
        }
    }
}

async fn sit(address: std::net::SocketAddr, channel: &str) -> Seat {
    let query = format!("channel={channel}");
    let open = wire::upgrade(address, &query, None);
    let (stream, reply) = timeout(Duration::from_secs(20), open).await.expect("an answer to the upgrade").unwrap();
    assert_eq!(reply.status, 101, "{}", reply.text());
    let told = Arc::new(Told {
        last: AtomicI64::new(NOTHING),
        pushes: AtomicU64::new(0),
        open: AtomicBool::new(true),
        code: AtomicU16::new(0),
        leave: tokio::sync::Notify::new(),
    });
    let task = tokio::spawn(listen(stream, reply.body, Arc::clone(&told))).abort_handle();
    Seat { told, task }
}

/// Reads until the server closes or the crowd has this socket leave.
async fn listen(stream: TcpStream, early: Vec<u8>, told: Arc<Told>) {
    let (read, mut write) = stream.into_split();
    let mut frames = BufReader::with_capacity(512, std::io::Cursor::new(early).chain(read));
    let reading = async {
        loop {
            let Ok(frame) = wire::read_frame(&mut frames).await else {
                return;
            };
            match frame.opcode {
                TEXT => {
                    told.pushes.fetch_add(1, Ordering::Relaxed);
                    if let Some(value) = count_in(&frame.payload) {
                        told.last.store(value, Ordering::Release);
                    }
                }
                PING if write.write_all(&wire::masked(FINAL | PONG, &frame.payload)).await.is_err() => {
                    return;
                }
                CLOSE => {
                    told.code.store(frame.close_code().unwrap_or(0), Ordering::Release);
                    let _ = write.write_all(&wire::masked(FINAL | CLOSE, &frame.payload)).await;
                    return;
                }
                _ => {}
            }
        }
    };
    tokio::select! {
        () = reading => told.open.store(false, Ordering::Release),
        () = told.leave.notified() => {
            let _ = write.write_all(&wire::masked(FINAL | CLOSE, &1000_u16.to_be_bytes())).await;
        }
    }
}

/// The integer after `"data":` in a message. The wire format has no space there.
fn count_in(message: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(message).ok()?;
    let (_, data) = text.split_once("\"data\":")?;
    let end = data.find([',', '}'])?;
    data[..end].parse().ok()
}

/// Raises the number of sockets that this process may hold to all that it is allowed.
pub fn allow_many_files() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    let _ = setrlimit(Resource::Nofile, limit);
}
