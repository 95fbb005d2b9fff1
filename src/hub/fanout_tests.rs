//! Tests of a shard: what leaves in one write (each datagram received is one write), and what memory it keeps.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;

use super::*;
use crate::boards::Boards;
use crate::config::channels::Rule;
use crate::config::{Count, Deliver, Limits, Overrides, Rules, load_from};
use crate::hub::Registry;
use crate::metrics::Metrics;
use crate::net::household::Household;
use crate::presence::Presence;

fn shard(client_buffer: usize) -> Shard {
    let defaults = load_from(&Overrides::default(), Default::default()).unwrap().config;
    let limits = Limits { client_buffer, ..defaults.limits.clone() };
    let rule = |pattern: &str, deliver| Rule {
        pattern: pattern.to_owned(),
        count: Count::None,
        deliver,
        ..defaults.channels.0[0].clone()
    };
    let rules = Arc::new(Rules(vec![rule("value:*", Deliver::Latest), rule("*", Deliver::Every)]));
    let boards = Boards::new(Duration::from_millis(100));
    let registry = Arc::new(Registry::new(Presence::default(), boards, rules.clone(), client_buffer));
    Shard::new(0, registry, rules, limits, Metrics::default())
}

struct Peer(UnixDatagram, SocketId);

impl Peer {
    fn on(shard: &mut Shard, channels: &[&str]) -> Self {
        let (ours, theirs) = UnixDatagram::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        theirs.set_nonblocking(true).unwrap();
        let io = std::net::TcpStream::from(OwnedFd::from(ours));
        let household = Household::of("192.0.2.1".parse().ok());
        let id = shard.attach(mio::net::TcpStream::from_std(io), Bytes::new(), None, household);
        for channel in channels {
            shard.join(id, channel, false, false, None, || Ok(None)).unwrap();
        }
        Self(theirs, id)
    }

    /// Returns what has arrived, one text per write.
    fn writes(&self) -> Vec<String> {
        let mut buffer = [0; 4096];
        let texts = std::iter::from_fn(|| self.0.recv(&mut buffer).ok().map(|n| buffer[..n].to_vec()));
        texts.map(|bytes| String::from_utf8(bytes).unwrap()).collect()
    }
}

fn message(channel: &str, text: &str) -> Delivery {
    Delivery::Message { channel: channel.into(), frame: Bytes::copy_from_slice(text.as_bytes()) }
}

fn value(channel: &str, text: &'static str) -> Delivery {
    Delivery::Latest { channel: channel.into(), value: None, frame: Bytes::from_static(text.as_bytes()) }
}

fn deliver(shard: &mut Shard, deliveries: impl IntoIterator<Item = Delivery>) {
    shard.deliver(&mut deliveries.into_iter().collect(), Instant::now());
}

#[test]
fn what_a_socket_gets_of_several_channels_leaves_in_one_write_and_in_order() {
    let mut shard = shard(1 << 20);
    let (both, one) = (Peer::on(&mut shard, &["a", "b", "value:c"]), Peer::on(&mut shard, &["a"]));
    let value = value("value:c", "v1");
    deliver(&mut shard, [message("a", "a1"), message("b", "b1"), message("b", "b2"), message("a", "a2"), value]);
    assert_eq!(both.writes(), ["a1b1b2a2v1"]);
    assert_eq!(one.writes(), ["a1", "a2"], "a socket of one channel waits for no other");
    assert!(shard.flush(both.1) && shard.flush(one.1), "nothing is left");
}

#[test]
fn values_of_several_channels_that_are_due_together_leave_in_one_write() {
    let mut shard = shard(1 << 20);
    let peer = Peer::on(&mut shard, &["value:a", "value:b"]);
    deliver(&mut shard, [value("value:a", "a1"), value("value:b", "b1")]);
    assert_eq!(peer.writes(), ["a1b1"], "the first at once");
    deliver(&mut shard, [value("value:a", "a2"), value("value:b", "b2")]);
    assert!(peer.writes().is_empty(), "the next wait for their time");
    shard.tick(Instant::now() + Duration::from_secs(10));
    assert_eq!(peer.writes().len(), 1);
    assert!(shard.next_tick().is_none());
}

#[test]
fn each_value_that_waits_goes_when_its_own_time_has_come() {
    let mut shard = shard(1 << 20);
    let peer = Peer::on(&mut shard, &["value:a", "value:b"]);
    let (start, interval) = (Instant::now() + Duration::from_secs(10), shard.interval());
    for (channel, first, next, at) in [("value:b", "b1", "b2", start + interval / 2), ("value:a", "a1", "a2", start)] {
        shard.deliver(&mut vec![value(channel, first), value(channel, next)], at);
    }
    assert_eq!(peer.writes(), ["b1", "a1"], "the first at once");
    for (text, at) in [("a2", start + interval), ("b2", start + interval * 3 / 2)] {
        assert_eq!(shard.next_tick(), Some(at));
        shard.tick(at - Duration::from_nanos(1));
        assert!(peer.writes().is_empty(), "{text} is early");
        shard.tick(at);
        assert_eq!(peer.writes(), [text]);
    }
    assert_eq!(shard.next_tick(), None);
}

#[test]
fn more_than_half_of_what_may_wait_is_not_held() {
    let mut shard = shard(200);
    let peer = Peer::on(&mut shard, &["a", "b"]);
    let (long, other) = ("x".repeat(60), "y".repeat(60));
    deliver(&mut shard, [message("a", &long), message("b", &other)]);
    assert_eq!(peer.writes(), [long, other]);
}

#[test]
fn what_is_held_for_a_socket_that_blocks_waits_behind_what_waited_before() {
    let mut shard = shard(1 << 20);
    let peer = Peer::on(&mut shard, &["a", "b"]);
    let mut sent = 0;
    // The socket is full once it has a queue.
    while shard.sockets.get(peer.1).unwrap().outbox.is_none() {
        sent += 1;
        deliver(&mut shard, [message("a", &format!("<{sent}>"))]);
        assert!(sent < 100_000, "it is never full");
    }
    deliver(&mut shard, [message("a", "a"), message("b", "b")]);
    let mut got = String::new();
    for _ in 0..3 {
        got += &peer.writes().concat();
        shard.flush(peer.1);
    }
    let expected: String = (1..=sent).map(|n| format!("<{n}>")).collect();
    assert_eq!(got, expected + "ab");
    assert!(shard.take_doomed().is_empty());
}

#[test]
fn what_is_held_for_a_full_socket_is_not_lost_when_the_socket_blocks_at_the_end_of_the_batch() {
    let mut shard = shard(1 << 20);
    let (peer, filler) = (Peer::on(&mut shard, &["a", "b"]), "x".repeat(64));
    let io = &shard.sockets.get(peer.1).unwrap().io;
    let mut filled = 0;
    while crate::hub::send_queue::write(io, filler.as_bytes()) == crate::hub::send_queue::Wrote::All {
        filled += 1;
    }
    deliver(&mut shard, [message("a", "a1"), message("b", "b1"), message("a", "a2")]);
    assert_eq!(peer.writes().len(), filled);
    assert!(shard.flush(peer.1));
    assert_eq!(peer.writes(), ["a1b1a2"]);
}

#[test]
fn the_table_of_channels_is_given_back_once_many_have_gone_and_one_that_stays_keeps_working() {
    const EACH: usize = 20;
    let mut shard = shard(1 << 20);
    let names: Vec<_> = (0..600).map(|n| format!("c{n}")).collect();
    let together = |names: &[String]| {
        let names: Vec<_> = names.iter().map(String::as_str).collect();
        Peer::on(&mut shard, &names)
    };
    let peers: Vec<_> = names.chunks(EACH).map(together).collect();
    // The first stays; the others leave from the last on, the order in which a slab could shrink each time.
    for (index, name) in names.iter().enumerate().skip(1).rev() {
        assert!(shard.leave(peers[index / EACH].1, name));
    }
    assert!(shard.many_moved() && shard.channels.capacity() >= names.len(), "not while they leave");
    shard.shrink();
    assert!(shard.channels.capacity() < 8 && !shard.many_moved());
    deliver(&mut shard, [message("c0", "still here")]);
    assert_eq!(peers[0].writes(), ["still here"]);
}
