//! A store that answers anything. Between a node and a real Redis stands a relay that replaces replies:
//! by other shapes, extreme numbers, bytes that are no RESP, too many replies or none. The node must
//! live, must not flap, must not grow, must put nobody off a channel, and must be right once the store is.
//!
//! `ROGUE_SEED` replays a run, `ROGUE_SECONDS` makes it longer.

use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fastrand::Rng;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use super::store::{Brand, Store};
use super::visitor::{Exit, Visitor};
use super::world::DEADLINE;
use crate::support::beside_others;
use crate::support::node::Node;

const CHANNELS: [&str; 2] = ["users:count", "page:/a"];
const VISITORS: usize = 6;
/// What a node may take in memory, in a debug build and with all that is sent here.
const MOST_MEMORY: u64 = 200 << 20;
/// A round of lies takes at most this.
const ROUND: Duration = Duration::from_millis(2_500);

/// How the relay treats replies.
#[derive(Clone, Copy, Default)]
struct Mode {
    /// One in so many is replaced.
    lies: Option<u32>,
    /// Connections of before the last cut end.
    cuts: u32,
}

struct Relay {
    port: u16,
    mode: watch::Sender<Mode>,
    /// The last replies that were put in place of others, for a report.
    told: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Relay {
    async fn to(store: u16, seed: u64) -> Relay {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (mode, seen) = watch::channel(Mode::default());
        let told = Arc::new(Mutex::new(Vec::new()));
        let lies = told.clone();
        tokio::spawn(async move {
            let mut rng = Rng::with_seed(seed);
            loop {
                let Ok((near, _)) = listener.accept().await else { return };
                tokio::spawn(relay(near, store, seen.clone(), rng.fork(), lies.clone()));
            }
        });
        Relay { port, mode, told }
    }
}

async fn relay(
    near: TcpStream,
    store: u16,
    mut mode: watch::Receiver<Mode>,
    mut rng: Rng,
    told: Arc<Mutex<Vec<Vec<u8>>>>,
) {
    let Ok(far) = TcpStream::connect((Ipv4Addr::LOCALHOST, store)).await else { return };
    let (mut near_read, mut near_write) = near.into_split();
    let (mut far_read, mut far_write) = far.into_split();
    let requests = async { drop(tokio::io::copy(&mut near_read, &mut far_write).await) };
    let (lies_in, cuts) = (mode.clone(), mode.borrow().cuts);
    let replies = async {
        let mut waiting = Vec::new();
        loop {
            while let Some(length) = reply_length(&waiting) {
                let mut reply: Vec<u8> = waiting.drain(..length).collect();
                let lies = lies_in.borrow().lies;
                if let Some(one_in) = lies
                    && rng.u32(..one_in) == 0
                {
                    reply = lie(&mut rng, reply);
                    let mut told = told.lock().unwrap();
                    told.push(reply[..reply.len().min(80)].to_vec());
                    let old = told.len().saturating_sub(30);
                    told.drain(..old);
                }
                if near_write.write_all(&reply).await.is_err() {
                    return;
                }
            }
            if !matches!(far_read.read_buf(&mut waiting).await, Ok(1..)) {
                return;
            }
        }
    };
    tokio::select! {
        () = requests => {}
        () = replies => {}
        _ = mode.wait_for(|mode| mode.cuts != cuts) => {}
    }
}

/// How long the first whole reply in these bytes is.
fn reply_length(bytes: &[u8]) -> Option<usize> {
    let end = bytes.windows(2).position(|pair| pair == b"\r\n")? + 2;
    let number = || std::str::from_utf8(&bytes[1..end - 2]).ok()?.parse::<i64>().ok();
    match bytes[0] {
        b'$' | b'!' | b'=' => {
            let length = usize::try_from(number()?).map_or(0, |length| length + 2);
            (bytes.len() >= end + length).then_some(end + length)
        }
        kind @ (b'*' | b'~' | b'>' | b'%' | b'|') => {
            let parts = usize::try_from(number()?).unwrap_or(0) * if matches!(kind, b'%' | b'|') { 2 } else { 1 };
            let mut length = end;
            for _ in 0..parts {
                length += reply_length(&bytes[length..])?;
            }
            Some(length)
        }
        _ => Some(end),
    }
}

/// Something else than the reply that was due.
fn lie(rng: &mut Rng, reply: Vec<u8>) -> Vec<u8> {
    match rng.u8(..14) {
        0 => Vec::new(),
        1 => [reply.clone(), reply].concat(),
        2 => reply[..rng.usize(..reply.len())].to_vec(),
        3 => {
            let mut reply = reply;
            for _ in 0..rng.usize(1..4) {
                let at = rng.usize(..reply.len());
                reply[at] = rng.u8(..);
            }
            reply
        }
        4 => (0..rng.usize(1..64)).map(|_| rng.u8(..)).collect(),
        5 => b"*1\r\n".repeat(rng.usize(1..20_000)),
        6 => [scalar(rng), reply].concat(),
        7..9 => aggregate(rng, 0),
        _ => scalar(rng),
    }
}

fn scalar(rng: &mut Rng) -> Vec<u8> {
    const ALL: [&[u8]; 46] = [
        b"+OK\r\n",
        b"+\r\n",
        b"+\xff\xfe\r\n",
        b"-\r\n",
        b"-ERR\r\n",
        b"-ERR value is not an integer or out of range\r\n",
        b"-WRONGTYPE Operation against a key holding the wrong kind of value\r\n",
        b"-OOM command not allowed when used memory > 'maxmemory'.\r\n",
        b"-MISCONF Redis is configured to save RDB snapshots\r\n",
        b"-NOPERM this user has no permissions\r\n",
        b"-READONLY You can't write against a read only replica.\r\n",
        b"-LOADING Redis is loading the dataset in memory\r\n",
        b"-BUSY Redis is busy running a script.\r\n",
        b"-NOREPLICAS Not enough good replicas to write.\r\n",
        b"-CLUSTERDOWN The cluster is down\r\n",
        b"-TRYAGAIN Multiple keys request during rehashing of slot\r\n",
        b"-MOVED 3999 127.0.0.1:1\r\n",
        b"-ASK 3999 127.0.0.1:1\r\n",
        b"-NOAUTH Authentication required.\r\n",
        b"-WRONGPASS invalid username-password pair\r\n",
        b"-NOSCRIPT No matching script.\r\n",
        b"-MASTERDOWN Link with MASTER is down\r\n",
        b"-EXECABORT Transaction discarded\r\n",
        b"-UNBLOCKED client unblocked\r\n",
        b"-\xff\xfe\x00\r\n",
        b":0\r\n",
        b":-1\r\n",
        b":9223372036854775807\r\n",
        b":-9223372036854775808\r\n",
        b":99999999999999999999\r\n",
        b":1e3\r\n",
        b"$-1\r\n",
        b"$0\r\n\r\n",
        b"$4\r\n\xff\xfe\x00\x1f\r\n",
        b"$99999999999\r\n",
        b"$-5\r\n",
        b"*-1\r\n",
        b"*99999999999\r\n",
        b"%4611686018427387904\r\n",
        b"_\r\n",
        b"#t\r\n",
        b",inf\r\n",
        b",nan\r\n",
        b"(99999999999999999999999999999999\r\n",
        b"=15\r\ntxt:Some string\r\n",
        b"!21\r\nSYNTAX invalid syntax\r\n",
    ];
    ALL[rng.usize(..ALL.len())].to_vec()
}

/// A reply of several parts, such as a script's or a push that nobody asked for.
fn aggregate(rng: &mut Rng, depth: u32) -> Vec<u8> {
    let words: [&[u8]; 8] = [b"ok", b"late", b"gone", b"lost", b"message", b"pmessage", b"subscribe", b"invalidate"];
    let kind = [b'*', b'~', b'>', b'%', b'|'][rng.usize(..5)];
    let parts = rng.usize(..5);
    let mut reply = format!("{}{parts}\r\n", kind as char).into_bytes();
    for _ in 0..parts * if matches!(kind, b'%' | b'|') { 2 } else { 1 } {
        let part = match rng.u8(..4) {
            0 => scalar(rng),
            1 if depth < 4 => aggregate(rng, depth + 1),
            2 => {
                let channel = CHANNELS[rng.usize(..CHANNELS.len())];
                format!("${}\r\n{channel}\r\n", channel.len()).into_bytes()
            }
            _ => {
                let word = words[rng.usize(..words.len())];
                [format!("${}\r\n", word.len()).as_bytes(), word, b"\r\n"].concat()
            }
        };
        reply.extend(part);
    }
    reply
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_outlives_a_store_that_answers_anything_and_is_right_once_it_is_honest() {
    let _turn = beside_others().await;
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().expect(name));
    let seed = number("ROGUE_SEED").unwrap_or_else(|| fastrand::u64(..1_000_000));
    let time = Duration::from_secs(number("ROGUE_SECONDS").unwrap_or(12));
    eprintln!("ROGUE_SEED={seed}");
    let mut rng = Rng::with_seed(seed);
    let store = Store::start(Brand::Redis).await;
    let relay = Relay::to(store.port, seed).await;
    let mut node = Node::on(&format!("redis://127.0.0.1:{}", relay.port)).set("PRESENCE__REPAIR", "3s").start().await;
    node.ready().await;
    let mut visitors = Vec::new();
    for _ in 0..VISITORS {
        visitors.push(Visitor::open(node.address, CHANNELS.into(), [].into()).await.unwrap());
    }
    let start = Instant::now();
    let (mut rounds, mut worst) = (0, Duration::ZERO);
    while start.elapsed() < time {
        let began = Instant::now();
        let lies = Some([1, 2, 3, 10, 30][rng.usize(..5)]);
        relay.mode.send_modify(|mode| mode.lies = lies);
        let end = began + ROUND.mul_f32(rng.f32());
        while Instant::now() < end {
            visitors.swap_remove(rng.usize(..visitors.len())).go(Exit::Close).await;
            visitors.push(Visitor::open(node.address, CHANNELS.into(), [].into()).await.unwrap());
            sleep(Duration::from_millis(rng.u64(5..60))).await;
        }
        // What was shifted by a reply too many stays so as long as the connection does.
        relay.mode.send_modify(|mode| (mode.lies, mode.cuts) = (None, mode.cuts + 1));
        let told = || relay.told.lock().unwrap().iter().map(|lie| lie.escape_ascii().to_string()).collect::<Vec<_>>();
        let honest = Instant::now();
        while let Err(why) = all_right(&visitors) {
            assert!(honest.elapsed() < DEADLINE, "seed {seed}, round {rounds}: {why}\nafter {:#?}", told());
            sleep(Duration::from_millis(20)).await;
        }
        worst = worst.max(honest.elapsed());
        let most = began.elapsed().as_secs() as u32 + 4;
        let states = visitors.iter().map(Visitor::take_states).max().unwrap_or(0);
        assert!(states <= most, "seed {seed}, round {rounds}: {states} states in {:?}\n{:#?}", began.elapsed(), told());
        assert!(node.most_memory() < MOST_MEMORY, "seed {seed}: {} bytes\n{:#?}", node.most_memory(), told());
        rounds += 1;
    }
    let lines = node.log.text().lines().count();
    eprintln!(
        "{rounds} rounds of lies; right after at most {worst:.1?}; {} MiB; {:.1?} of CPU; {lines} lines of log",
        node.most_memory() >> 20,
        node.cpu_time()
    );
    assert!(lines < 20 * (rounds + 1), "the log is flooded");
    node.signal(rustix::process::Signal::TERM);
    assert!(node.exit(Duration::from_secs(10)).await.success());
}

fn all_right(visitors: &[Visitor]) -> Result<(), String> {
    for visitor in visitors {
        if let Some(why) = visitor.complaint() {
            return Err(why);
        }
        CHANNELS.iter().try_for_each(|channel| visitor.sees(channel, visitors.len() as i64))?;
    }
    Ok(())
}
