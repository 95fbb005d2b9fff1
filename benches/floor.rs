//! The floor: the least work of any fan-out with epoll and one `write(2)` a socket a message.
//!
//! One thread. It answers every request with the same handshake, subscribes to one Redis channel,
//! frames each message once and writes it to every socket. It reads nothing that clients say, holds
//! nothing for a socket that would block, and counts nobody: a yardstick, not a server.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsRawFd, OwnedFd};

use rustix::buffer::spare_capacity;
use rustix::event::epoll;
use socket2::{Domain, Socket, Type};

use crate::{Result, resp};

const LISTENER: u64 = u64::MAX;
const REDIS: u64 = u64::MAX - 1;
/// An answer to any request for a socket.
pub const HANDSHAKE: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

/// Prints its port, then runs until it is killed or Redis is gone. Arguments: Redis' port, channel.
pub fn run(arguments: &[String]) -> Result<()> {
    let [redis_port, channel] = arguments else { return Err("floor REDIS_PORT CHANNEL".into()) };
    crate::machine::raise_descriptors();
    let listener = listen()?;
    let mut redis = TcpStream::connect(("127.0.0.1", redis_port.parse()?))?;
    redis.write_all(&resp::command(&[b"SUBSCRIBE", channel.as_bytes()]))?;
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    epoll::add(&epoll, &listener, epoll::EventData::new_u64(LISTENER), epoll::EventFlags::IN)?;
    epoll::add(&epoll, &redis, epoll::EventData::new_u64(REDIS), epoll::EventFlags::IN)?;
    println!("{}", listener.local_addr()?.port());
    let mut floor = Floor { epoll, new: HashMap::new(), open: Vec::new(), frame: Vec::new() };
    let (mut events, mut buffer) = (Vec::with_capacity(512), vec![0; 1 << 16]);
    let mut inbox = Vec::new();
    loop {
        events.clear();
        epoll::wait(&floor.epoll, spare_capacity(&mut events), None)?;
        for event in &events {
            match event.data.u64() {
                LISTENER => floor.accept(&listener)?,
                REDIS => {
                    let n = redis.read(&mut buffer)?;
                    if n == 0 {
                        return Ok(());
                    }
                    inbox.extend_from_slice(&buffer[..n]);
                    floor.relay(&mut inbox);
                }
                number => floor.read(number as i32, &mut buffer),
            }
        }
    }
}

/// A socket on a free port.
pub fn listen() -> Result<TcpListener> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.bind(&std::net::SocketAddr::from(([0, 0, 0, 0], 0)).into())?;
    socket.listen(16_384)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

struct Floor {
    epoll: OwnedFd,
    /// Connections that have not had their handshake.
    new: HashMap<i32, TcpStream>,
    /// The sockets, dense for the loop over them.
    open: Vec<TcpStream>,
    frame: Vec<u8>,
}

impl Floor {
    fn accept(&mut self, listener: &TcpListener) -> Result<()> {
        while let Ok((socket, _)) = listener.accept() {
            socket.set_nonblocking(true)?;
            socket.set_nodelay(true)?;
            let number = socket.as_raw_fd();
            epoll::add(&self.epoll, &socket, epoll::EventData::new_u64(number as u64), epoll::EventFlags::IN)?;
            self.new.insert(number, socket);
        }
        Ok(())
    }

    fn read(&mut self, number: i32, buffer: &mut [u8]) {
        if let Some(mut socket) = self.new.remove(&number) {
            if matches!(socket.read(buffer), Ok(n) if n > 0) && rustix::io::write(&socket, HANDSHAKE).is_ok() {
                self.open.push(socket);
            }
            return;
        }
        let Some(place) = self.open.iter().position(|socket| socket.as_raw_fd() == number) else { return };
        if !matches!(self.open[place].read(buffer), Ok(n) if n > 0) {
            self.open.swap_remove(place);
        }
    }

    fn relay(&mut self, inbox: &mut Vec<u8>) {
        let mut taken = 0;
        while let Some((parts, used)) = resp::array(&inbox[taken..]) {
            if let [kind, _, payload] = parts[..]
                && kind == b"message"
            {
                self.frame.clear();
                self.frame.push(0x81);
                match payload.len() {
                    n @ 0..126 => self.frame.push(n as u8),
                    n => {
                        self.frame.push(126);
                        self.frame.extend_from_slice(&(n as u16).to_be_bytes());
                    }
                }
                self.frame.extend_from_slice(payload);
                self.write_all();
            }
            taken += used;
        }
        inbox.drain(..taken);
    }

    /// The whole point.
    fn write_all(&self) {
        for socket in &self.open {
            let _ = rustix::io::write(socket, &self.frame);
        }
    }
}
