//! Thousands of sockets on one node, each of which remembers just the last count that it was told.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU16, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream;
use rustix::process::{Resource, getrlimit, setrlimit};
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep, timeout};

use super::kinds::identity;
use super::listed::Listed;
use super::node::Node;
use super::wire::{self, CLOSE, FINAL, PING, PONG, TEXT};

/// How many sockets are being opened at one time.
const OPENING: usize = 64;

const NOTHING: i64 = i64::MIN;

/// Who the sockets of a channel are, over all nodes: each that comes is somebody new, or another tab of somebody who
/// is here. Whoever has gone does not come back.
#[derive(Default)]
pub struct People(Mutex<Guests>);

#[derive(Default)]
struct Guests {
    last: u32,
    tabs: BTreeMap<u32, Tabs>,
}

#[derive(Default)]
struct Tabs {
    open: usize,
    opening: usize,
}

impl People {
    /// Who opens a tab next.
    fn next(&self) -> u32 {
        let mut guests = self.0.lock().unwrap();
        let somebody = fastrand::choice(guests.tabs.keys().copied()).filter(|_| fastrand::bool());
        let who = somebody.unwrap_or_else(|| {
            guests.last += 1;
            guests.last
        });
        guests.tabs.entry(who).or_default().opening += 1;
        who
    }

    fn opened(&self, who: u32) {
        let mut guests = self.0.lock().unwrap();
        let tabs = guests.tabs.entry(who).or_default();
        (tabs.open, tabs.opening) = (tabs.open + 1, tabs.opening - 1);
    }

    /// Whether a tab may close now: not the last one of somebody who is just opening another.
    fn may_close(&self, who: u32) -> bool {
        self.0.lock().unwrap().tabs.get(&who).is_none_or(|tabs| tabs.opening == 0 || tabs.open > 1)
    }

    fn closed(&self, who: u32) {
        let mut guests = self.0.lock().unwrap();
        let Some(tabs) = guests.tabs.get_mut(&who) else { return };
        tabs.open -= 1;
        if tabs.open + tabs.opening == 0 {
            guests.tabs.remove(&who);
        }
    }
}

/// Sockets that joined one channel of one node.
pub struct Crowd {
    address: std::net::SocketAddr,
    channel: String,
    people: Option<Arc<People>>,
    seats: Vec<Seat>,
    /// The size that it began with.
    home: usize,
}

struct Seat {
    who: Option<u32>,
    told: Arc<Told>,
    task: AbortHandle,
}

/// What a socket was told.
struct Told {
    last: AtomicI64,
    pushes: AtomicU64,
    /// Of all frames.
    bytes: AtomicU64,
    open: AtomicBool,
    code: AtomicU16,
    /// Who is here, and the first that was wrong with it.
    listed: Mutex<Result<Listed, String>>,
    leave: tokio::sync::Notify,
}

impl Crowd {
    /// Opens `size` sockets that join `channel`.
    pub async fn gather(node: &Node, channel: &str, size: usize) -> Crowd {
        Crowd::gather_at(node.address, channel, size).await
    }

    /// The same at any address, such as a proxy's.
    pub async fn gather_at(address: std::net::SocketAddr, channel: &str, size: usize) -> Crowd {
        Crowd::gather_people(address, channel, None, size).await
    }

    /// The same where each is somebody.
    pub async fn gather_people(
        address: std::net::SocketAddr,
        channel: &str,
        people: Option<Arc<People>>,
        size: usize,
    ) -> Crowd {
        allow_many_files();
        let mut crowd = Crowd { address, channel: channel.into(), people, seats: Vec::new(), home: size };
        crowd.grow(size).await;
        crowd
    }

    /// Opens this many more.
    pub async fn grow(&mut self, more: usize) {
        let (address, channel, people) = (self.address, self.channel.as_str(), &self.people);
        let open = |_| async move {
            let who = people.as_ref().map(|people| people.next());
            let seat = sit(address, channel, who).await;
            people.iter().zip(who).for_each(|(people, who)| people.opened(who));
            seat
        };
        let seats: Vec<Seat> = stream::iter(0..more).map(open).buffer_unordered(OPENING).collect().await;
        self.seats.extend(seats);
    }

    /// Closes this many, chosen at random: one half says goodbye, the other hangs up.
    pub fn shrink(&mut self, fewer: usize) {
        for _ in 0..fewer.min(self.seats.len()) {
            let one = fastrand::usize(..self.seats.len());
            let (people, who) = (&self.people, self.seats[one].who);
            if people.iter().zip(who).any(|(people, who)| !people.may_close(who)) {
                continue;
            }
            people.iter().zip(who).for_each(|(people, who)| people.closed(who));
            let seat = self.seats.swap_remove(one);
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

    /// Who they are.
    pub fn people(&self) -> BTreeSet<u32> {
        self.seats.iter().filter_map(|seat| seat.who).collect()
    }

    /// Checks the list of members that each holds, from what it was told alone.
    pub fn lists(&self, mut check: impl FnMut(&Listed) -> Result<(), String>) -> Result<(), String> {
        self.seats.iter().try_for_each(|seat| check(seat.told.listed.lock().unwrap().as_ref()?))
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

    /// The most bytes that any one socket was sent so far.
    pub fn most_bytes(&self) -> u64 {
        self.seats.iter().map(|seat| seat.told.bytes.load(Ordering::Relaxed)).max().unwrap_or(0)
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
            self.people.iter().zip(seat.who).for_each(|(people, who)| people.closed(who));
        }
    }
}

async fn sit(address: std::net::SocketAddr, channel: &str, who: Option<u32>) -> Seat {
    let query = who.map_or(format!("channel={channel}"), |who| format!("channel={channel}&{}", identity(who)));
    let open = wire::upgrade(address, &query, None);
    let (stream, reply) = timeout(Duration::from_secs(20), open).await.expect("an answer to the upgrade").unwrap();
    assert_eq!(reply.status, 101, "{}", reply.text());
    let told = Arc::new(Told {
        last: AtomicI64::new(NOTHING),
        pushes: AtomicU64::new(0),
        bytes: AtomicU64::new(0),
        open: AtomicBool::new(true),
        code: AtomicU16::new(0),
        listed: Mutex::new(Ok(Listed::default())),
        leave: tokio::sync::Notify::new(),
    });
    let task = tokio::spawn(listen(stream, reply.body, Arc::clone(&told))).abort_handle();
    Seat { who, told, task }
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
            told.bytes.fetch_add(frame.payload.len() as u64 + 4, Ordering::Relaxed);
            match frame.opcode {
                TEXT => {
                    told.pushes.fetch_add(1, Ordering::Relaxed);
                    if let Some(value) = count_in(&frame.payload) {
                        told.last.store(value, Ordering::Release);
                    }
                    take_in_list(&frame.payload, &told.listed);
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

/// Takes in what a message says of who is here. Most say nothing, so that they need not be parsed.
fn take_in_list(message: &[u8], listed: &Mutex<Result<Listed, String>>) {
    let text = String::from_utf8_lossy(message);
    if [r#""members":"#, r#""joined":["#, r#""left":["#].iter().any(|key| text.contains(key)) {
        let message = serde_json::from_str(&text).expect("a message is JSON");
        let mut listed = listed.lock().unwrap();
        if let Err(why) = listed.as_mut().map_or(Ok(()), |listed| listed.take_in(&message)) {
            *listed = Err(why);
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
