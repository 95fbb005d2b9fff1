//! The load of those who poll: a process that holds many HTTP clients, each of which asks for its board four times
//! a second, or as soon as it has its answer, if that takes longer.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io::{BufRead, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::epoll;
use rustix::fs::Timespec;

use crate::Result;

/// The pause between two questions of one client.
pub const PERIOD: Duration = Duration::from_millis(250);

/// One client, and what is still to come of the answer that it waits for.
struct Client {
    io: TcpStream,
    request: Vec<u8>,
    asked: Instant,
    answer: Vec<u8>,
}

/// A question about a board, as it goes over the wire.
pub fn question(board: &str) -> Vec<u8> {
    format!("GET /{board} HTTP/1.1\r\nHost: localhost\r\n\r\n").into_bytes()
}

/// The body of an answer; None: it is not complete.
pub fn body(answer: &[u8]) -> Option<&[u8]> {
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let head = std::str::from_utf8(&answer[..end]).ok()?.to_ascii_lowercase();
    let length: usize = head.split("content-length: ").nth(1)?.split("\r\n").next()?.parse().ok()?;
    answer.get(end..end + length)
}

/// Runs until the parent closes the pipe. Each line in is answered with the number of answers so far.
pub fn run(port: u16, clients: usize, boards: usize) -> Result<()> {
    crate::machine::raise_descriptors();
    let answers = Arc::new(AtomicU64::new(0));
    let counted = answers.clone();
    std::thread::spawn(move || {
        for _ in std::io::stdin().lock().lines() {
            println!("ok {}", counted.load(Ordering::Relaxed));
        }
        std::process::exit(0);
    });
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    let (mut all, mut due) = (Vec::new(), BinaryHeap::new());
    for number in 0..clients {
        let io = TcpStream::connect(("127.0.0.1", port))?;
        io.set_nodelay(true)?;
        io.set_nonblocking(true)?;
        epoll::add(&epoll, &io, epoll::EventData::new_u64(number as u64), epoll::EventFlags::IN)?;
        let (now, request) = (Instant::now(), question(&format!("board:b{}", number % boards)));
        all.push(Client { io, request, asked: now, answer: Vec::new() });
        // Spread over the period, as visitors are.
        due.push(Reverse((now + PERIOD.mul_f64(number as f64 / clients as f64), number)));
    }
    let (mut events, mut buffer) = (Vec::with_capacity(1024), vec![0; 1 << 16]);
    loop {
        let now = Instant::now();
        while let Some(Reverse((at, number))) = due.peek().copied().filter(|Reverse((at, _))| *at <= now) {
            due.pop();
            all[number].asked = at.max(now);
            let Client { io, request, .. } = &mut all[number];
            io.write_all(request)?;
        }
        let wait = due.peek().map_or(PERIOD, |Reverse((at, _))| at.saturating_duration_since(now));
        let wait = Timespec { tv_sec: 0, tv_nsec: wait.as_nanos() as i64 };
        events.clear();
        epoll::wait(&epoll, spare_capacity(&mut events), Some(&wait))?;
        for event in &events {
            let number = event.data.u64() as usize;
            let client = &mut all[number];
            match client.io.read(&mut buffer) {
                Ok(0) => return Err("the endpoint has closed a connection".into()),
                Ok(n) => client.answer.extend_from_slice(&buffer[..n]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => continue,
                Err(error) => return Err(error.into()),
            }
            if body(&client.answer).is_some() {
                client.answer.clear();
                answers.fetch_add(1, Ordering::Relaxed);
                due.push(Reverse((client.asked + PERIOD, number)));
            }
        }
    }
}
