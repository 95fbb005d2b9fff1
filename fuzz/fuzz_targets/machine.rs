//! A session from open to close, by bytes, times and deadlines in any order: it says goodbye once, says
//! nothing after it, and does no more for a client than the limits allow.
#![no_main]
#![allow(dead_code)]

use std::time::Duration;

use headcount::config::{Limits, Overrides, load_from};
use libfuzzer_sys::fuzz_target;

#[path = "../../src/session/close_code.rs"]
mod close_code;
#[path = "../../src/session/frames.rs"]
mod frames;
#[path = "../../src/session/keepalive.rs"]
mod keepalive;
#[path = "../../src/session/machine.rs"]
mod machine;
#[path = "../../src/session/request.rs"]
mod request;
#[path = "../../src/session/token_bucket.rs"]
mod token_bucket;

/// What the modules know of their neighbours.
mod config {
    pub use headcount::config::*;
}
#[path = "../../src/hub"]
mod hub {
    pub type SocketId = u32;
    pub mod ws_frame;
    pub mod wire {
        pub fn error(code: &str, _: Option<&str>, message: &str) -> bytes::Bytes {
            format!("{code} {message}").into()
        }
    }
}

use keepalive::Due;
use machine::{Action, Session};

/// What is asked for in one turn at most: a message may cost less than one by nothing, and a turn ends at 4.
const TURN: usize = 5;

struct Watch {
    limits: Limits,
    now: Duration,
    said_goodbye: bool,
    dropped: bool,
    answered: u64,
}

impl Watch {
    fn see(&mut self, actions: &[Action]) {
        for action in actions {
            assert!(!self.dropped, "{action:?} after the end");
            match action {
                Action::Send(_) | Action::Request(_) => {
                    assert!(!self.said_goodbye, "{action:?} after the goodbye");
                    self.answered += 1;
                }
                Action::Close(_) => assert!(!std::mem::replace(&mut self.said_goodbye, true)),
                Action::EndOurSide => assert!(self.said_goodbye),
                Action::Drop => self.dropped = true,
            }
        }
        let rate = u64::from(self.limits.messages_per_second);
        // A bucket of five seconds, and what has come into it since; one ping a turn of its own is free.
        assert!(self.answered <= (self.now.as_secs() + 1 + 5) * rate + 64, "{} answers", self.answered);
    }
}

/// A frame whose header is right, so that what follows is understood.
fn framed(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = vec![0x80 | first & 0xf, 0x80 | payload.len().min(125) as u8, 0, 0, 0, 0];
    out.extend(&payload[..payload.len().min(125)]);
    out
}

thread_local! {
    static LIMITS: Limits = load_from(&Overrides::default(), Default::default()).unwrap().config.limits;
}

fuzz_target!(|data: &[u8]| {
    let limits = LIMITS.with(Clone::clone);
    let mut session = Session::new(&limits, Duration::ZERO);
    let mut watch = Watch { limits, now: Duration::ZERO, said_goodbye: false, dropped: false, answered: 0 };
    let (mut rest, mut pings) = (data, 0);
    while let [kind, length, following @ ..] = rest {
        let (piece, left) = following.split_at(following.len().min(usize::from(*length)));
        rest = left;
        let (mut actions, mut cost) = (Vec::new(), 0.0);
        match kind % 8 {
            0 if pings < 64 => {
                pings += 1;
                actions.extend(session.timeout(Due::Ping));
            }
            1 => actions.extend(session.timeout(Due::Pong)),
            2 => actions.extend(session.sent()),
            3 => actions.extend(session.close(&close_code::SLOW)),
            4 => watch.now += Duration::from_millis(u64::from(*length) * 10),
            5 if session.is_behind() => cost = session.hear(&mut [], &watch.limits, watch.now, &mut actions),
            // Whoever is behind is not read.
            _ if session.is_behind() || !session.listens() => {}
            6 => cost = session.hear(&mut piece.to_vec(), &watch.limits, watch.now, &mut actions),
            _ => cost = session.hear(&mut framed(kind >> 3, piece), &watch.limits, watch.now, &mut actions),
        }
        assert!(actions.len() <= TURN, "{} in one turn", actions.len());
        assert!(cost <= 12.0, "a turn that costs {cost}");
        watch.see(&actions);
        if watch.dropped {
            return;
        }
    }
});
