//! A stranger: a process that plays one kind of hostile client from one address, as fast as its pace lets
//! it, until it is ended.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};

use crate::Result;
use crate::client::{BINARY, PING, TEXT, masked, text, upgrade};

/// Where it comes from: an address that the server does not exempt from its limits.
pub const ADDRESS: Ipv4Addr = Ipv4Addr::new(127, 0, 9, 1);
/// Where it is let in: a channel on which nothing is sent. What its sockets were sent on another, all clients would
/// wait for, as for those of any other client.
const PATH: &str = "/ws?watch=public:strangers";
/// Each socket has its turn so often. A second of it is far above what any limit allows.
const PACE: Duration = Duration::from_millis(5);
/// Names in one message: as many as one may have by default.
const NAMES: usize = 128;

/// One kind of hostile client.
pub struct Kind {
    pub name: &'static str,
    /// What it does, for the report.
    pub what: &'static str,
    sockets: usize,
    /// What is sent behind the request for a socket, on every turn; a number makes it another each time.
    says: fn(u64) -> Vec<u8>,
    habit: Habit,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Habit {
    /// Reads what it is sent.
    Reads,
    /// Never reads.
    Deaf,
    /// Ends its side after the request.
    HalfCloses,
    /// Leaves as soon as it was answered.
    Leaves,
    /// Leaves before anybody has looked.
    Vanishes,
    /// Asks for pages and not for a socket, and never reads.
    Pipelines,
}

/// Every kind.
pub const KINDS: &[Kind] = &[
    Kind { name: "broken", what: "frames that break the protocol", sockets: 64, says: broken, habit: Habit::Deaf },
    Kind { name: "pings", what: "pings without end", sockets: 100, says: pings, habit: Habit::Deaf },
    Kind { name: "names", what: "128 unknown names a message", sockets: 300, says: names, habit: Habit::Reads },
    Kind { name: "joins", what: "joining and leaving in a loop", sockets: 10, says: joins, habit: Habit::Reads },
    Kind { name: "channels", what: "a new channel a message", sockets: 100, says: channels, habit: Habit::Reads },
    Kind { name: "churn", what: "connecting and leaving", sockets: 16, says: |_| Vec::new(), habit: Habit::Leaves },
    // As many as it can: it waits for nothing.
    Kind {
        name: "knocks",
        what: "connecting and leaving at once",
        sockets: 256,
        says: |_| Vec::new(),
        habit: Habit::Vanishes,
    },
    Kind {
        name: "unread",
        what: "requests whose answers are not read",
        sockets: 460,
        says: requests,
        habit: Habit::Pipelines,
    },
    Kind {
        name: "half",
        what: "sockets that are closed by half",
        sockets: 460,
        says: |_| Vec::new(),
        habit: Habit::HalfCloses,
    },
];

fn broken(n: u64) -> Vec<u8> {
    match n % 4 {
        // Without a mask.
        0 => vec![0x81, 2, b'h', b'i'],
        1 => masked(BINARY, b"x"),
        2 => masked(TEXT, b"\xff\xfe"),
        // Longer than a message may be.
        _ => [&[0x81, 0xff, 0, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0][..], &[b'x'; 512]].concat(),
    }
}

fn pings(_: u64) -> Vec<u8> {
    masked(PING, b"are you there").repeat(16)
}

fn names(n: u64) -> Vec<u8> {
    let names: Vec<_> = (0..NAMES).map(|name| format!("\"nobody-knows-{n}-{name}\"")).collect();
    text(&format!(r#"{{"subscribe":[{}]}}"#, names.join(",")))
}

fn joins(n: u64) -> Vec<u8> {
    let verb = if n.is_multiple_of(2) { "subscribe" } else { "unsubscribe" };
    text(&format!(r#"{{"{verb}":["page:/loop"]}}"#))
}

fn channels(n: u64) -> Vec<u8> {
    text(&format!(r#"{{"subscribe":["page:/new-{n}"]}}"#))
}

fn requests(_: u64) -> Vec<u8> {
    "GET /link.js HTTP/1.1\r\nHost: here\r\n\r\n".repeat(16).into_bytes()
}

/// One socket, as far as it got.
struct Stranger {
    io: TcpStream,
    answered: bool,
}

/// Runs until it is killed.
pub fn run(kind: &str, port: u16) -> Result<()> {
    let kind = KINDS.iter().find(|known| known.name == kind).ok_or("no such kind of client")?;
    let mut sockets: Vec<Option<Stranger>> = (0..kind.sockets).map(|_| None).collect();
    let (mut count, mut buffer) = (0, vec![0; 64 << 10]);
    loop {
        let start = Instant::now();
        for place in &mut sockets {
            count += 1;
            *place = turn(kind, port, place.take(), count, &mut buffer);
        }
        std::thread::sleep(PACE.saturating_sub(start.elapsed()));
    }
}

/// A socket's turn; None if it is over.
fn turn(kind: &Kind, port: u16, socket: Option<Stranger>, count: u64, buffer: &mut [u8]) -> Option<Stranger> {
    let Some(mut socket) = socket else {
        return connect(kind, port).ok().filter(|_| kind.habit != Habit::Vanishes);
    };
    if kind.habit != Habit::Deaf && kind.habit != Habit::Pipelines {
        match socket.io.read(buffer) {
            Ok(0) => return None,
            Ok(_) if kind.habit == Habit::Leaves => return None,
            Ok(_) => socket.answered = true,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(_) => return None,
        }
    }
    if kind.habit == Habit::HalfCloses {
        // It has no more to say, and waits.
        return Some(socket);
    }
    let bytes = (kind.says)(count);
    // What does not fit is left out: the peer has enough to do.
    match socket.io.write(&bytes) {
        Err(error) if error.kind() != ErrorKind::WouldBlock => None,
        // Half a frame would make the next one another.
        Ok(n) if n < bytes.len() && kind.habit == Habit::Reads => None,
        _ => Some(socket),
    }
}

fn connect(kind: &Kind, port: u16) -> Result<Stranger> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    if kind.habit != Habit::Reads {
        socket.set_recv_buffer_size(4096)?;
    }
    socket.bind(&SocketAddr::from((ADDRESS, 0)).into())?;
    if kind.habit == Habit::Vanishes {
        // A reset leaves nothing behind, so that it never runs out of ports.
        socket.set_linger(Some(Duration::ZERO))?;
        socket.set_nonblocking(true)?;
    }
    socket.connect(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)).into())?;
    let mut io = TcpStream::from(socket);
    io.set_nodelay(true)?;
    if kind.habit != Habit::Pipelines {
        io.write_all(upgrade(port, PATH).as_bytes())?;
    }
    if kind.habit == Habit::HalfCloses {
        io.shutdown(Shutdown::Write)?;
    }
    io.set_nonblocking(true)?;
    Ok(Stranger { io, answered: false })
}
