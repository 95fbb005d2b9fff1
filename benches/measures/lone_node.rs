//! A node as far as the scripts for visitors know it: it states some, and is swept out.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use headcount::presence::visitors::PAGE;

use crate::servers::Server;
use crate::{Result, resp};

/// A script on visitors: what all of them begin with, and one more file.
macro_rules! script {
    ($file:literal) => {
        concat!(
            include_str!("../../src/presence/lua/enter.lua"),
            include_str!("../../src/presence/lua/count.lua"),
            include_str!("../../src/presence/lua/members.lua"),
            include_str!("../../src/presence/lua/people.lua"),
            include_str!($file)
        )
    };
}

const KEYS: [&str; 6] =
    ["page:/", "{page:/}:tally", "{page:/}:own", "{page:/}:people", "{page:/}:owner", "{page:/}:members"];
const ID: &str = "0123456789abcdef0123456789abcdef";
/// Its number on the channel.
const NUMBER: &str = "ab";
/// The most members and bytes of news that are published.
const BOUNDS: [&str; 2] = ["1000", "65536"];

/// See the module.
pub struct LoneNode {
    stream: TcpStream,
    visit: String,
    sweep: String,
    /// Whether its visitors are on a list of members.
    listed: bool,
    epoch: String,
    stamp: u64,
    stated: usize,
}

impl LoneNode {
    pub fn connect(store: &Server, listed: bool) -> Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", store.port))?;
        stream.set_read_timeout(Some(Duration::from_secs(30)))?;
        let (visit, sweep, epoch) = (String::new(), String::new(), String::new());
        let mut node = Self { stream, visit, sweep, listed, epoch, stamp: 0, stated: 0 };
        node.visit = node.load(script!("../../src/presence/lua/visit.lua"))?;
        node.sweep = node.load(script!("../../src/presence/lua/sweep.lua"))?;
        Ok(node)
    }

    fn load(&mut self, source: &str) -> Result<String> {
        let reply = self.ask(&[b"SCRIPT", b"LOAD", source.as_bytes()])?;
        let text = String::from_utf8(reply)?;
        Ok(text.lines().nth(1).ok_or("no hash")?.to_owned())
    }

    fn ask(&mut self, parts: &[&[u8]]) -> Result<Vec<u8>> {
        self.stream.write_all(&resp::command(parts))?;
        let mut reply = vec![0; 1024];
        let length = self.stream.read(&mut reply)?;
        reply.truncate(length);
        if reply.starts_with(b"-") {
            return Err(String::from_utf8_lossy(&reply).into_owned().into());
        }
        Ok(reply)
    }

    /// Runs a script on the channel's keys; what it says, and how long that took.
    fn run(&mut self, script: &str, arguments: &[&[u8]]) -> Result<(Vec<String>, Duration)> {
        let count = KEYS.len().to_string();
        let mut all: Vec<&[u8]> = vec![b"EVALSHA", script.as_bytes(), count.as_bytes()];
        all.extend(KEYS.iter().map(|key| key.as_bytes()));
        all.extend(arguments);
        let start = Instant::now();
        let reply = self.ask(&all)?;
        let took = start.elapsed();
        let (parts, _) = resp::array(&reply).ok_or("the script's answer is cut")?;
        let words: Vec<String> = parts.iter().map(|part| String::from_utf8_lossy(part).into_owned()).collect();
        match words.first() {
            Some(word) if word == "ok" => Ok((words, took)),
            _ => Err(format!("the script says {words:?}").into()),
        }
    }

    /// How many visitors it has stated.
    pub fn stated(&self) -> usize {
        self.stated
    }

    /// States at most so many more visitors, all of whom have come.
    pub fn state(&mut self, many: usize) -> Result<Duration> {
        let (from, to, epoch) = (self.stamp.to_string(), (self.stamp + 1).to_string(), self.epoch.clone());
        let listed = if self.listed { "1" } else { "0" };
        let [most, bytes] = BOUNDS;
        // The longest time of a batch is more than it takes, so that none is cut.
        let (end, patience, secret) = ("9007199254740991", "10000", "0123456789abcdef");
        let rest = [ID, NUMBER, &from, &to, end, "0", "1", patience, listed, &epoch, secret, most, bytes, "0", ""];
        let visitors: Vec<Vec<u8>> = (self.stated..self.stated + many)
            .map(|number| {
                let id = (number as u128).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
                [b"+", &id.to_be_bytes()[..], b"0"].concat()
            })
            .collect();
        let mut all: Vec<&[u8]> = rest.iter().map(|part| part.as_bytes()).collect();
        all.extend(visitors.iter().map(Vec::as_slice));
        let script = self.visit.clone();
        let (words, took) = self.run(&script, &all)?;
        let made = words.get(5).and_then(|word| word.parse::<usize>().ok()).filter(|made| *made > 0);
        let Some(made) = made else { return Err(format!("the script says {words:?}").into()) };
        (self.stamp, self.stated) = (self.stamp + 1, self.stated + made);
        self.epoch = words.into_iter().nth(6).unwrap_or_default();
        Ok(took)
    }

    /// Has it swept out as one that died long ago; how long each step took.
    pub fn sweep(&mut self) -> Result<Vec<Duration>> {
        let entry = format!("!{} {} {ID} 0", self.stated, self.stamp);
        self.ask(&[b"HSET", KEYS[4].as_bytes(), NUMBER.as_bytes(), entry.as_bytes()])?;
        let ([most, bytes], page, script) = (BOUNDS, PAGE.to_string(), self.sweep.clone());
        let (mut times, mut cursor, mut found) = (Vec::new(), String::from("0"), 0);
        loop {
            let arguments = [NUMBER, &entry, &cursor, &page, "0", most, bytes, "1"];
            let (words, took) = self.run(&script, &arguments.map(str::as_bytes))?;
            times.push(took);
            found += words.get(5).and_then(|word| word.parse::<usize>().ok()).unwrap_or(0);
            cursor = words.into_iter().nth(4).unwrap_or_default();
            if cursor == "0" {
                break;
            }
        }
        match found == self.stated {
            true => Ok(times),
            false => Err(format!("{found} of {} were swept out", self.stated).into()),
        }
    }

    /// The memory of all keys that visitors take.
    pub fn bytes(&mut self) -> Result<f64> {
        let mut sum = 0.0;
        for key in &KEYS[3..] {
            let reply = self.ask(&[b"MEMORY", b"USAGE", key.as_bytes(), b"SAMPLES", b"0"])?;
            sum += String::from_utf8_lossy(&reply).trim_start_matches(':').trim().parse().unwrap_or(0.0);
        }
        Ok(sum)
    }
}
