//! A client that speaks RESP and hides nothing.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use socket2::{Domain, Socket, Type};

/// No reply takes longer.
const DEADLINE: Duration = Duration::from_secs(10);

/// A reply: its type byte and what it holds.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Value {
    /// A line, or a string.
    Text(u8, Vec<u8>),
    /// Elements; a map's keys and values in turn.
    Many(u8, Vec<Value>),
    /// The connection was closed.
    Closed,
    /// Nothing has come in time.
    Silent,
}

impl std::fmt::Debug for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Text(kind, text) => write!(f, "{}{}", char::from(*kind), text.escape_ascii()),
            Self::Many(kind, items) => write!(f, "{}{items:?}", char::from(*kind)),
            Self::Closed => write!(f, "closed"),
            Self::Silent => write!(f, "nothing"),
        }
    }
}

impl Value {
    /// The same with its elements sorted.
    pub fn unordered(self) -> Self {
        match self {
            Self::Many(kind, items) => {
                let mut items: Vec<Self> = items.into_iter().map(Self::unordered).collect();
                items.sort();
                Self::Many(kind, items)
            }
            other => other,
        }
    }

    /// The same without the time of day, which each server has for itself: when a consumer was seen, and the
    /// ids of entries that were added now.
    pub fn without_times(self) -> Self {
        match self {
            Self::Text(kind, text) if is_id_of_now(&text) => Self::Text(kind, b"an id of now".to_vec()),
            Self::Many(kind, items) => {
                let mut items: Vec<Self> = items.into_iter().map(Self::without_times).collect();
                for at in 1..items.len() {
                    if matches!(&items[at - 1], Self::Text(b'$', name) if name == b"seen-time") {
                        items[at] = Self::Text(b':', b"a time".to_vec());
                    }
                }
                Self::Many(kind, items)
            }
            other => other,
        }
    }

    /// The text of a reply that is one.
    pub fn text(&self) -> String {
        match self {
            Self::Text(_, text) => String::from_utf8_lossy(text).into_owned(),
            other => format!("{other:?}"),
        }
    }
}

fn is_id_of_now(text: &[u8]) -> bool {
    let milliseconds = text.strip_suffix(b"-0").filter(|head| head.len() == 13);
    milliseconds.is_some_and(|head| head.starts_with(b"17") || head.starts_with(b"18"))
}

/// One connection.
pub struct Connection {
    stream: BufReader<TcpStream>,
}

impl Connection {
    /// Connects.
    pub fn open(address: SocketAddr) -> Self {
        Self::try_open(address).unwrap()
    }

    /// Connects, if somebody listens.
    pub fn try_open(address: SocketAddr) -> Option<Self> {
        let stream = TcpStream::connect(address).ok()?;
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Some(Self { stream: BufReader::new(stream) })
    }

    /// Connects with little room for what it has not read.
    pub fn narrow(address: SocketAddr) -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.set_recv_buffer_size(8 << 10).unwrap();
        socket.connect(&address.into()).unwrap();
        Self { stream: BufReader::new(socket.into()) }
    }

    /// Sends bytes as they are.
    pub fn send(&mut self, bytes: &[u8]) {
        // A closed connection shows when the reply is read.
        let _ = self.stream.get_mut().write_all(bytes);
    }

    /// Sends a command and reads one reply.
    pub fn call(&mut self, args: &[impl AsRef<[u8]>]) -> Value {
        self.send(&request(args));
        self.read()
    }

    /// Reads one reply.
    pub fn read(&mut self) -> Value {
        let mut line = Vec::new();
        match self.stream.read_until(b'\n', &mut line) {
            Ok(0) => return Value::Closed,
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => {
                return Value::Closed;
            }
            // It differs from every reply.
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return Value::Silent,
            Err(error) => panic!("no reply: {error}"),
        }
        let kind = line[0];
        let rest = line[1..].strip_suffix(b"\r\n").unwrap();
        let number = || std::str::from_utf8(rest).unwrap().parse::<i64>().unwrap();
        match kind {
            b'$' | b'=' if number() >= 0 => {
                let mut text = vec![0; number() as usize + 2];
                self.stream.read_exact(&mut text).unwrap();
                text.truncate(text.len() - 2);
                Value::Text(kind, text)
            }
            b'*' | b'~' | b'>' | b'%' if number() >= 0 => {
                let count = number() * if kind == b'%' { 2 } else { 1 };
                Value::Many(kind, (0..count).map(|_| self.read()).collect())
            }
            _ => Value::Text(kind, rest.to_vec()),
        }
    }
}

/// A command as it goes over the wire.
pub fn request(args: &[impl AsRef<[u8]>]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", args.len()).into_bytes();
    for arg in args {
        let arg = arg.as_ref();
        bytes.extend(format!("${}\r\n", arg.len()).bytes());
        bytes.extend(arg);
        bytes.extend(b"\r\n");
    }
    bytes
}
