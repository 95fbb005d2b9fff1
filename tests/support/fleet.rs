//! Thousands of clients behind a balancer: closed by a server that stops, each makes the pause that it was
//! asked for and goes where the balancer sends it.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::{StreamExt, stream};
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use super::crowd::allow_many_files;
use super::wire::{self, CLOSE, FINAL, PING, PONG, TEXT};

/// How many clients are opened at one time.
const OPENING: usize = 64;
/// The longest that a client may be on its way.
const ON_THE_WAY: Duration = Duration::from_secs(30);
/// The pause before the balancer looks again when it has nobody to send a client to.
const NOBODY: Duration = Duration::from_millis(20);

/// Which servers get clients.
#[derive(Default)]
pub struct Balancer(Mutex<Vec<SocketAddr>>);

impl Balancer {
    pub fn add(&self, server: SocketAddr) {
        self.0.lock().unwrap().push(server);
    }

    pub fn remove(&self, server: SocketAddr) {
        self.0.lock().unwrap().retain(|one| *one != server);
    }

    /// Opens a socket on a server of the balancer's choice, and on another one where that refuses it.
    async fn open(&self, query: &str) -> (TcpStream, Vec<u8>) {
        loop {
            let servers = self.0.lock().unwrap().clone();
            if let Some(server) = fastrand::choice(servers)
                && let Ok((stream, reply)) = wire::upgrade(server, query, None).await
                && reply.status == 101
            {
                return (stream, reply.body);
            }
            sleep(NOBODY).await;
        }
    }
}

/// A client's way from one server to another.
#[derive(Debug, Clone, Copy)]
pub struct Trip {
    /// When it was closed.
    pub closed: Instant,
    /// When it had made its pause and asked to be let in.
    pub asked: Option<Instant>,
    /// When it was told that it has joined.
    pub joined: Option<Instant>,
}

impl Trip {
    /// Whether the client was on its way at any time between these.
    pub fn overlaps(&self, from: Instant, to: Instant) -> bool {
        self.closed <= to && self.joined.is_none_or(|joined| joined >= from)
    }
}

/// Clients that have all joined one channel.
#[derive(Default)]
pub struct Fleet {
    trips: Arc<Mutex<Vec<Trip>>>,
    clients: JoinSet<String>,
}

impl Fleet {
    /// Opens this many more on one server.
    pub async fn grow(&mut self, size: usize, server: SocketAddr, balancer: &Arc<Balancer>, channel: &str) {
        allow_many_files();
        let query = format!("channel={channel}");
        let open = |_| async {
            let opened = timeout(ON_THE_WAY, wire::upgrade(server, &query, None)).await;
            let (stream, reply) = opened.expect("an answer to the upgrade").unwrap();
            assert_eq!(reply.status, 101, "{}", reply.text());
            (stream, reply.body)
        };
        let opened: Vec<_> = stream::iter(0..size).map(open).buffer_unordered(OPENING).collect().await;
        for socket in opened {
            let (balancer, trips, query) = (balancer.clone(), self.trips.clone(), query.clone());
            self.clients.spawn(async move {
                match roam(socket, &balancer, &query, &trips).await {
                    Ok(never) => never,
                    Err(why) => why,
                }
            });
        }
    }

    /// Every way that any client has made or begun so far.
    pub fn trips(&self) -> Vec<Trip> {
        self.trips.lock().unwrap().clone()
    }

    /// `Ok` where every client has arrived and none was lost.
    pub fn has_arrived(&mut self) -> Result<(), String> {
        if let Some(lost) = self.clients.try_join_next() {
            panic!("a client was lost: {}", lost.unwrap());
        }
        let on_the_way = self.trips.lock().unwrap().iter().filter(|trip| trip.joined.is_none()).count();
        super::same("clients on their way", on_the_way, 0)
    }
}

/// One client, for as long as every close tells it to come back.
async fn roam<T>(
    mut socket: (TcpStream, Vec<u8>),
    balancer: &Balancer,
    query: &str,
    trips: &Mutex<Vec<Trip>>,
) -> Result<T, String> {
    let mut trip = None;
    loop {
        let joined = |trip: &mut Option<usize>| {
            if let Some(trip) = trip.take() {
                trips.lock().unwrap()[trip].joined = Some(Instant::now());
            }
        };
        let pause = stay(socket, || joined(&mut trip)).await?;
        let closed = Instant::now();
        let number = {
            let mut trips = trips.lock().unwrap();
            trips.push(Trip { closed, asked: None, joined: None });
            trips.len() - 1
        };
        sleep(pause).await;
        trips.lock().unwrap()[number].asked = Some(Instant::now());
        trip = Some(number);
        socket = timeout(ON_THE_WAY, balancer.open(query)).await.map_err(|_| String::from("nobody lets it in"))?;
    }
}

/// Reads until the server closes, and gives the pause that it asks for.
async fn stay((stream, early): (TcpStream, Vec<u8>), mut joined: impl FnMut()) -> Result<Duration, String> {
    let (read, mut write) = stream.into_split();
    let mut frames = BufReader::with_capacity(512, std::io::Cursor::new(early).chain(read));
    loop {
        let frame = wire::read_frame(&mut frames).await.map_err(|why| format!("the connection broke: {why}"))?;
        match frame.opcode {
            TEXT if frame.payload.starts_with(b"{\"subscribed\"") => joined(),
            PING => {
                let pong = wire::masked(FINAL | PONG, &frame.payload);
                write.write_all(&pong).await.map_err(|why| why.to_string())?;
            }
            CLOSE => {
                let _ = write.write_all(&wire::masked(FINAL | CLOSE, &frame.payload)).await;
                let reason = String::from_utf8_lossy(frame.payload.get(2..).unwrap_or_default()).into_owned();
                let told = format!("closed with {:?}: {reason}", frame.close_code());
                return match frame.close_code() {
                    Some(1012) => wire::pause_in(&reason).ok_or(told),
                    _ => Err(told),
                };
            }
            _ => {}
        }
    }
}
