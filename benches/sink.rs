//! A server that does next to nothing for a stranger: what is slower beside it is slower for what the stranger
//! itself takes of the machine, and not for anything that a node does.
//!
//! It lets as many in as a node does by default, answers each with a handshake, and reads a little of it each
//! second. Others are held for a second.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::time::{Duration, Instant};

use crate::Result;
use crate::floor::{HANDSHAKE, listen};

/// Connections a second that are let in, and for how many seconds they may be saved up.
const CONNECTS: f64 = 100.0;
const SAVED: f64 = 10.0;
/// How long a socket waits to be read or hung up on.
const HOLD: Duration = Duration::from_secs(1);
const STEP: Duration = Duration::from_millis(5);

/// Prints its port, then runs until it is killed.
pub fn run() -> Result<()> {
    crate::machine::raise_descriptors();
    let listener = listen()?;
    println!("{}", listener.local_addr()?.port());
    let (mut asking, mut waiting) = (Vec::new(), VecDeque::new());
    let (mut left, mut looked, mut buffer) = (CONNECTS * SAVED, Instant::now(), vec![0; 64 << 10]);
    loop {
        let now = Instant::now();
        left = (left + CONNECTS * (now - looked).as_secs_f64()).min(CONNECTS * SAVED);
        looked = now;
        while let Ok((io, _)) = listener.accept() {
            io.set_nonblocking(true)?;
            if left >= 1.0 {
                left -= 1.0;
                asking.push(io);
            } else {
                waiting.push_back((now + HOLD, io, false));
            }
        }
        for mut io in std::mem::take(&mut asking) {
            match io.read(&mut buffer) {
                Ok(n) if n > 0 && io.write_all(HANDSHAKE).is_ok() => waiting.push_back((now + HOLD, io, true)),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => asking.push(io),
                _ => {}
            }
        }
        while waiting.front().is_some_and(|(until, ..)| *until <= now) {
            if let Some((_, mut io, true)) = waiting.pop_front()
                && !matches!(io.read(&mut buffer), Ok(0))
            {
                waiting.push_back((now + HOLD, io, true));
            }
        }
        std::thread::sleep(STEP);
    }
}
