//! The load: a process that holds many WebSocket clients, and does what its parent asks line by line.
//!
//! Between two requests it goes on reading, so that no client of it is ever slow by accident. Each
//! request is answered with one line: what was measured, or `error` and why.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::epoll;
use rustix::fs::Timespec;

use crate::publisher::Publisher;
use crate::{Result, client};

/// Nothing came for so long, or the whole took so long: it is stuck.
const STUCK: [Duration; 2] = [Duration::from_secs(20), Duration::from_secs(300)];
const STDIN: u64 = u64::MAX;
/// Names in one subscribe message, which may have 128.
const NAMES: usize = 100;

/// One client.
struct Client {
    io: TcpStream,
    open: bool,
    /// Frames with the mark since it was set.
    got: u32,
    /// What is left of an incomplete frame.
    rest: Vec<u8>,
}

struct Load {
    epoll: OwnedFd,
    events: Vec<epoll::Event>,
    buffer: Vec<u8>,
    clients: Vec<Client>,
    /// Clients that never read.
    deaf: Vec<TcpStream>,
    open: usize,
    mark: Vec<u8>,
    target: u32,
    /// Clients that have not got `target` marked frames.
    waiting: usize,
    /// Marked frames of all.
    marked: u64,
    heard: Instant,
    opening: Option<String>,
}

/// Runs until the parent closes the pipe.
pub fn run() -> Result<()> {
    crate::machine::raise_descriptors();
    let mut load = Load {
        epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
        events: Vec::with_capacity(1024),
        buffer: vec![0; 1 << 16],
        clients: Vec::new(),
        deaf: Vec::new(),
        open: 0,
        mark: Vec::new(),
        target: 0,
        waiting: 0,
        marked: 0,
        heard: Instant::now(),
        opening: None,
    };
    epoll::add(&load.epoll, std::io::stdin(), epoll::EventData::new_u64(STDIN), epoll::EventFlags::IN)?;
    loop {
        let asked = match load.pump(Duration::from_secs(1)) {
            Ok(asked) => asked,
            Err(error) => {
                println!("error {error}");
                return Ok(());
            }
        };
        if !asked {
            continue;
        }
        let mut line = String::new();
        if std::io::stdin().read_line(&mut line)? == 0 {
            return Ok(());
        }
        match load.carry_out(line.trim()) {
            Ok(answer) => println!("ok {answer}"),
            Err(error) => println!("error {error}"),
        }
    }
}

impl Load {
    fn carry_out(&mut self, line: &str) -> Result<String> {
        let words: Vec<_> = line.split(' ').collect();
        match words[..] {
            ["open", port, count, window, path] => self.open(port.parse()?, count.parse()?, window.parse()?, path),
            ["opening", text] => {
                self.opening = Some(text.to_owned());
                Ok(String::new())
            }
            ["deaf", port, path] => self.open_deaf(port.parse()?, path),
            ["settle", ms] => self.settle(Duration::from_millis(ms.parse()?)),
            ["close", count] => self.close(count.parse()?),
            ["round", by, channel, messages, burst, size] => {
                self.round(by, channel, messages.parse()?, burst.parse()?, size.parse()?)
            }
            ["expect", mark] => {
                self.expect(mark.as_bytes(), 1);
                Ok(String::new())
            }
            ["await"] => self.wait().map(|()| String::new()),
            ["hop", prefix, waves, channels] => self.hop(prefix, waves.parse()?, channels.parse()?),
            ["spread", prefix, channels] => self.spread(prefix, channels.parse()?),
            ["one-each", by, prefix, channels, messages] => {
                self.one_each(by, prefix, channels.parse()?, messages.parse()?)
            }
            _ => Err(format!("not understood: {line}").into()),
        }
    }

    /// Reads what has arrived. True if the parent asks for something.
    fn pump(&mut self, longest: Duration) -> Result<bool> {
        let timeout = Timespec { tv_sec: longest.as_secs() as i64, tv_nsec: longest.subsec_nanos().into() };
        let mut events = std::mem::take(&mut self.events);
        events.clear();
        match epoll::wait(&self.epoll, spare_capacity(&mut events), Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let mut asked = false;
        for event in &events {
            match event.data.u64() {
                STDIN => asked = true,
                index => self.read(index as usize)?,
            }
        }
        self.events = events;
        Ok(asked)
    }

    fn read(&mut self, index: usize) -> Result<()> {
        let Some(client) = self.clients.get_mut(index) else { return Ok(()) };
        let n = match client.io.read(&mut self.buffer) {
            Ok(0) => return Err(format!("client {index}: the server closed").into()),
            Ok(n) => n,
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        self.heard = Instant::now();
        let mut joined = std::mem::take(&mut client.rest);
        let bytes = if joined.is_empty() {
            &self.buffer[..n]
        } else {
            joined.extend_from_slice(&self.buffer[..n]);
            &joined[..]
        };
        let mut at = 0;
        if !client.open {
            match client::handshake_end(bytes)? {
                Some(end) => at = end,
                None => {
                    client.rest = bytes.to_vec();
                    return Ok(());
                }
            }
            client.open = true;
            self.open += 1;
            if let Some(text) = &self.opening {
                client.io.write_all(&client::text(text))?;
            }
        }
        while let Some((opcode, payload, length)) = client::frame(&bytes[at..]) {
            at += length;
            match opcode {
                client::TEXT if !self.mark.is_empty() && client::contains(payload, &self.mark) => {
                    client.got += 1;
                    self.marked += 1;
                    if client.got == self.target {
                        self.waiting -= 1;
                    }
                }
                // Engine.IO has pings of its own, as texts.
                client::TEXT if payload == b"2" => client.io.write_all(&client::text("3"))?,
                client::PING => client.io.write_all(&client::pong(payload))?,
                client::CLOSE => return Err(format!("client {index}: the server said goodbye").into()),
                _ => {}
            }
        }
        if at < bytes.len() {
            client.rest = bytes[at..].to_vec();
        }
        Ok(())
    }

    /// Opens clients, at most `window` of them unanswered at once.
    fn open(&mut self, port: u16, count: usize, window: usize, path: &str) -> Result<String> {
        let start = Instant::now();
        let goal = self.clients.len() + count;
        while self.clients.len() < goal {
            let index = self.clients.len();
            let io = client::connect(port, index, path)?;
            io.set_nonblocking(true)?;
            epoll::add(&self.epoll, &io, epoll::EventData::new_u64(index as u64), epoll::EventFlags::IN)?;
            self.clients.push(Client { io, open: false, got: 0, rest: Vec::new() });
            // Whoever comes after something was expected is waited for, too.
            self.waiting += usize::from(self.target > 0);
            while self.clients.len() >= self.open + window {
                self.pump(Duration::from_millis(100))?;
                self.stuck(start)?;
            }
        }
        while self.open < goal {
            self.pump(Duration::from_millis(100))?;
            self.stuck(start)?;
        }
        Ok(start.elapsed().as_secs_f64().to_string())
    }

    fn open_deaf(&mut self, port: u16, path: &str) -> Result<String> {
        self.deaf.push(client::connect_deaf(port, path)?);
        Ok(String::new())
    }

    /// Waits until nothing has come for a while.
    fn settle(&mut self, quiet: Duration) -> Result<String> {
        let start = Instant::now();
        self.heard = start;
        while self.heard.elapsed() < quiet {
            self.pump(quiet)?;
            self.stuck(start)?;
        }
        Ok(String::new())
    }

    fn close(&mut self, count: usize) -> Result<String> {
        for client in self.clients.drain(self.clients.len().saturating_sub(count)..) {
            self.open -= usize::from(client.open);
        }
        Ok(String::new())
    }

    fn expect(&mut self, mark: &[u8], target: u32) {
        self.mark = mark.to_vec();
        self.clients.iter_mut().for_each(|client| client.got = 0);
        (self.target, self.waiting, self.marked) = (target, self.clients.len(), 0);
    }

    fn wait(&mut self) -> Result<()> {
        let start = Instant::now();
        while self.waiting > 0 {
            self.pump(Duration::from_millis(100))?;
            if self.stuck(start).is_err() {
                return Err(format!("{} of {} clients never got it", self.waiting, self.clients.len()).into());
            }
        }
        Ok(())
    }

    fn stuck(&self, start: Instant) -> Result<()> {
        let quiet = self.heard.max(start).elapsed();
        if quiet > STUCK[0] || start.elapsed() > STUCK[1] { Err("stuck: nothing more came".into()) } else { Ok(()) }
    }

    /// Publishes in a closed loop: `burst` messages, and the next when every client has them all.
    /// Answers with the time that each took, in µs.
    fn round(&mut self, by: &str, channel: &str, messages: u32, burst: u32, size: usize) -> Result<String> {
        let mut publisher = Publisher::connect(by)?;
        self.expect(b"mark", burst);
        let mut times = Vec::new();
        for message in 0..messages {
            let start = Instant::now();
            publisher.publish((0..burst).map(|n| (channel, payload(message * burst + n, size))))?;
            self.wait()?;
            times.push(start.elapsed().as_micros().to_string());
            publisher.confirm(burst as usize)?;
            self.waiting = self.clients.len();
            self.target += burst;
        }
        Ok(times.join(" "))
    }

    /// Every client leaves one channel and joins the next, so many times, and is told of each.
    fn hop(&mut self, prefix: &str, waves: usize, channels: usize) -> Result<String> {
        self.expect(b"\"subscribed\"", 0);
        for wave in 0..waves {
            self.waiting = self.clients.len();
            self.target += 1;
            for index in 0..self.clients.len() {
                let leave = if wave == 0 {
                    String::new()
                } else {
                    format!(r#""unsubscribe":["{prefix}{}"],"#, (index + wave - 1) % channels)
                };
                let join = format!(r#"{{{leave}"subscribe":["{prefix}{}"]}}"#, (index + wave) % channels);
                self.clients[index].io.write_all(&client::text(&join))?;
                if index % 256 == 255 {
                    self.pump(Duration::ZERO)?;
                }
            }
            self.wait()?;
        }
        for index in 0..self.clients.len() {
            let leave = format!(r#"{{"unsubscribe":["{prefix}{}"]}}"#, (index + waves - 1) % channels);
            self.clients[index].io.write_all(&client::text(&leave))?;
        }
        self.settle(Duration::from_millis(500))
    }

    /// Spreads channels over the clients, each on one of them.
    fn spread(&mut self, prefix: &str, channels: usize) -> Result<String> {
        let clients = self.clients.len();
        self.expect(b"\"subscribed\"", (channels / clients) as u32);
        for index in 0..clients {
            let mut mine: Vec<_> =
                (0..channels / clients).map(|n| format!("\"{prefix}{}\"", n * clients + index)).collect();
            while !mine.is_empty() {
                let names = mine.split_off(mine.len().saturating_sub(NAMES)).join(",");
                let told = self.marked;
                self.clients[index].io.write_all(&client::text(&format!(r#"{{"subscribe":[{names}]}}"#)))?;
                while self.marked == told {
                    self.pump(Duration::from_millis(100))?;
                }
            }
        }
        self.wait().map(|()| String::new())
    }

    /// Sends messages one to a channel, in an order without neighbours, a few in flight.
    fn one_each(&mut self, by: &str, prefix: &str, channels: usize, messages: usize) -> Result<String> {
        /// Prime, so that it meets every channel.
        const STRIDE: usize = 7919;
        const FLIGHT: usize = 16;
        let mut publisher = Publisher::connect(by)?;
        self.expect(b"mark", u32::MAX);
        let start = Instant::now();
        for first in (0..messages).step_by(FLIGHT) {
            let names: Vec<_> =
                (first..messages.min(first + FLIGHT)).map(|n| format!("{prefix}{}", n * STRIDE % channels)).collect();
            publisher.publish(names.iter().map(|name| (name.as_str(), payload(0, 8))))?;
            while self.marked < (first + names.len()) as u64 {
                self.pump(Duration::from_millis(100))?;
                self.stuck(start)?;
            }
            publisher.confirm(names.len())?;
        }
        Ok(String::new())
    }
}

/// `mark` and a number, filled up to a size.
fn payload(number: u32, size: usize) -> String {
    format!("{:x<size$}", format!("mark{:04}", number % 10_000))
}
