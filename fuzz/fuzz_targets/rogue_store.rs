//! A store that answers whatever it likes: every job of the count, and the whole of a node's presence over
//! minutes of its own time. No panic, and no work without a pause.
#![no_main]

use std::sync::{Arc, Mutex, OnceLock};
use std::task::{Context as TaskContext, Poll, Waker};
use std::time::{Duration, Instant};

use bytes::Bytes;
use headcount::backplane::{Error, Keys};
use headcount::config::{Config, Overrides, load_from};
use headcount::presence::effect::Effect;
use headcount::presence::jobs::Context;
use headcount::presence::scripts::{Scripts, Store};
use headcount::presence::state::PresenceState;
use headcount::presence::{HandleChange, NodeId, VisitorId, flag};
use libfuzzer_sys::fuzz_target;
use redis::{Cmd, Value};

/// Answers, and how many were asked for.
#[derive(Clone, Default)]
struct Rogue(Arc<Mutex<(Vec<u8>, usize, usize)>>);

/// Words that the scripts may answer, and texts that could be numbers.
const WORDS: [&str; 18] = [
    "ok", "late", "lost", "taken", "gone", "foreign", "unusable", "", "0", "1", "-1", "65536",
    "9223372036854775807", "-9223372036854775808", "18446744073709551615", "nan", "set", "none",
];
const ERRORS: [&str; 8] = [
    "WRONGTYPE x", "NOSCRIPT x", "ERR value is not an integer or out of range", "OOM x", "READONLY x", "LOADING x",
    "MOVED 1 h:1", "",
];

impl Rogue {
    fn byte(&self) -> usize {
        let mut state = self.0.lock().unwrap();
        let (bytes, at, _) = &mut *state;
        let byte = bytes.get(*at).copied().unwrap_or_default();
        *at += 1;
        usize::from(byte)
    }

    fn is_at_end(&self) -> bool {
        let state = self.0.lock().unwrap();
        state.1 >= state.0.len()
    }

    fn value(&self, depth: usize) -> Value {
        let kind = self.byte();
        match kind % 10 {
            0 => Value::Nil,
            1 => Value::Int([0, 1, -1, i64::MAX, i64::MIN, 300][self.byte() % 6]),
            2 | 3 => Value::BulkString(WORDS[self.byte() % WORDS.len()].into()),
            4 => Value::BulkString((0..self.byte() % 32).map(|_| self.byte() as u8).collect()),
            5 => Value::SimpleString(WORDS[self.byte() % WORDS.len()].to_owned()),
            6 => Value::Double([0.0, -1.5, f64::NAN, f64::INFINITY, 1e300][self.byte() % 5]),
            // What the scripts answer: a word, a total, whether it changed, and more.
            7 => {
                let word = |n: usize| Value::BulkString(WORDS[n % WORDS.len()].into());
                Value::Array((0..6).map(|_| word(self.byte())).collect())
            }
            _ if depth > 3 => Value::Okay,
            8 => Value::Map((0..self.byte() % 8).map(|_| (self.value(depth + 1), self.value(depth + 1))).collect()),
            _ => Value::Array((0..self.byte() % 8).map(|_| self.value(depth + 1)).collect()),
        }
    }
}

/// What may be published about a list of members, which any program may do.
impl Rogue {
    fn news(&self) -> Bytes {
        let mut news = Vec::new();
        for _ in 0..5 {
            match self.byte() % 4 {
                0 => news.extend(WORDS[self.byte() % WORDS.len()].bytes()),
                1 => news.extend(format!("{:x}", self.byte()).bytes()),
                2 => news.extend(self.byte().to_string().bytes()),
                _ => news.push(self.byte() as u8),
            }
            news.push(b' ');
        }
        news.pop();
        news.push(b'\n');
        match self.byte() % 4 {
            0 => news.push(b'?'),
            1 => news.extend((0..self.byte() % 64).map(|_| self.byte() as u8)),
            _ => {
                for _ in 0..self.byte() % 4 {
                    let came = self.byte().is_multiple_of(2);
                    news.push(if came { b'+' } else { b'-' });
                    news.extend([self.byte() as u8 / 16; 16]);
                    if came {
                        news.extend(format!("{}:17 0 {{}}", self.byte() % 12).bytes());
                    }
                }
            }
        }
        news.into()
    }
}

impl Store for Rogue {
    async fn call(&self, command: Cmd) -> Result<Value, Error> {
        drop(command.get_packed_command());
        self.0.lock().unwrap().2 += 1;
        match self.byte() % 8 {
            0 => Err(Error::Refused(ERRORS[self.byte() % ERRORS.len()].into())),
            1 => Err(Error::Lost("x".into())),
            _ => Ok(self.value(0)),
        }
    }
}

/// What a node may ask of a store that never says anything of use, a second and a channel.
const CALLS: usize = 400;
const CHANNELS: [&str; 3] = ["users:count", "page:/a", "room:1"];
const CONFIG: &str = r#"
[[channels]]
pattern = "users:count"
count = "sockets"
deliver = "latest"
[[channels]]
pattern = "page:/*"
count = "visitors"
deliver = "latest"
[[channels]]
pattern = "room:*"
count = "visitors"
deliver = "latest"
members = true
"#;

fn config() -> &'static Config {
    static CONFIG_ONCE: OnceLock<Config> = OnceLock::new();
    CONFIG_ONCE.get_or_init(|| {
        let file = std::env::temp_dir().join(format!("headcount-fuzz-{}-rogue.toml", std::process::id()));
        std::fs::write(&file, CONFIG).unwrap();
        let config = load_from(&Overrides { file: Some(file.clone()), ..Overrides::default() }, Default::default());
        let _ = std::fs::remove_file(file);
        config.unwrap().config
    })
}

fuzz_target!(|data: &[u8]| {
    let (presence, rules) = (config().presence.clone(), config().channels.clone());
    let rogue = Rogue(Arc::new(Mutex::new((data.to_vec(), 0, 0))));
    let scripts = Scripts::new(rogue.clone(), Keys::new(""));
    let context = Context { scripts, config: presence.clone(), rules: rules.clone() };
    let mut ids = fastrand::Rng::with_seed(7);
    let base = Instant::now();
    let mut state = PresenceState::new(presence, rules, base, 7, Box::new(move || NodeId::from_bits(ids.u128(..))));
    let (mut now, mut sockets) = (base, [0_u64; 3]);
    state.link(true, now);
    let (mut second, mut before) = (base, 0);
    for step in 0..2000_u64 {
        if rogue.is_at_end() {
            break;
        }
        let choice = rogue.byte();
        let channel = choice % 3;
        match choice / 3 % 8 {
            0 => sockets[channel] += 1,
            1 => sockets[channel] = sockets[channel].saturating_sub(1),
            2 => state.link(choice & 64 == 0, now),
            _ => {}
        }
        let visitor = VisitorId([choice as u8 / 16; 16]);
        let visitors = (channel > 0).then(|| vec![(visitor, choice & 8 == 0, None)]);
        let at_once = if channel > 0 && choice & 24 == 24 { vec![visitor] } else { Vec::new() };
        let news = if channel == 2 && choice & 4 == 0 { vec![rogue.news()] } else { Vec::new() };
        let flags = if choice & 128 == 0 { flag::TALLY } else { flag::LIVE | flag::HEARD };
        let here = sockets[channel];
        let name = CHANNELS[channel].into();
        let change = HandleChange { name, handle: 1, flags, here, visitors, at_once, news, heard: step };
        state.changed(change, now);
        state.advance(now);
        let effects: Vec<_> = state.effects().collect();
        for effect in effects {
            if let Effect::Run(job) = effect {
                let mut job = Box::pin(context.clone().carry_out(job));
                // Its store answers at once, so it never waits.
                match job.as_mut().poll(&mut TaskContext::from_waker(Waker::noop())) {
                    Poll::Ready(outcome) => state.apply(outcome, now),
                    Poll::Pending => panic!("a job waits for something other than the store"),
                }
            }
        }
        now = state.wake(now).max(now + Duration::from_millis(1)).min(now + Duration::from_secs(1));
        if now - second >= Duration::from_secs(1) {
            let calls = rogue.0.lock().unwrap().2;
            assert!(calls - before <= CALLS, "{} calls in a second", calls - before);
            (second, before) = (now, calls);
        }
    }
});
