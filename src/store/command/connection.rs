//! Commands that do not touch any keys, such as `ECHO` and `TIME`.

use crate::store::error::{Outcome, wrong_arity};
use crate::store::keyspace::Keyspace;
use crate::store::reply::Reply;
use crate::store::resp::Args;

pub fn echo(_: &mut Keyspace, args: &Args, out: &mut Reply) -> Outcome {
    out.bulk(args[1]);
    Ok(())
}

pub fn time(keys: &mut Keyspace, _: &Args, out: &mut Reply) -> Outcome {
    out.array(2);
    out.bulk((keys.now / 1000).to_string().as_bytes());
    out.bulk((keys.now % 1000 * 1000 + keys.micros).to_string().as_bytes());
    Ok(())
}

pub fn lolwut(_: &mut Keyspace, _: &Args, out: &mut Reply) -> Outcome {
    out.verbatim(&format!("headcount {}\n", env!("CARGO_PKG_VERSION")));
    Ok(())
}

pub fn ping(_: &mut Keyspace, args: &Args, out: &mut Reply) -> Outcome {
    match args {
        [_] => out.simple("PONG"),
        [_, text] => out.bulk(text),
        _ => return Err(wrong_arity("ping")),
    }
    Ok(())
}

/// Answers `PING` from a RESP2 subscriber, in the form of a message.
pub fn ping_subscriber(args: &Args, out: &mut Reply) {
    out.array(2);
    out.bulk(b"pong");
    out.bulk(args.get(1).copied().unwrap_or_default());
}
