//! Tokens of clients that are here: another one by frame, the end of one, and one that was revoked.
//!
//! A token that ends is told, and after a grace the client is closed. The time is the system's, as the
//! token's is: a process that was stopped comes back to what has ended meanwhile.

use super::close_code;
use super::expiries::Expiry;
use super::rest;
use super::worker::Worker;
use crate::auth::{Grant, now_ms};
use crate::hub::{SocketId, rights, wire};
use crate::metrics::Limit;

/// How long a client whose token has ended may take to show another, in milliseconds.
const GRACE: u64 = 10_000;

/// Notes when the token of a client ends.
pub(super) fn expires_at(worker: &mut Worker, id: SocketId, at: u64) {
    let Some(slot) = worker.slots.get_mut(id as usize).and_then(Option::as_mut) else { return };
    worker.expiries.set((id, slot.generation), slot.expiry, at);
    slot.expiry = Expiry { at, told: false };
}

/// Closes a client that came with a token which was revoked while it came. Returns whether it was.
pub(super) fn is_revoked(worker: &mut Worker, id: SocketId, grant: Option<&Grant>) -> bool {
    let revoked = grant.is_some_and(|grant| worker.tokens.revoked.holds(grant, now_ms()));
    if revoked {
        worker.close(id, &close_code::REVOKED);
    }
    revoked
}

/// A client shows another token. One that is refused changes nothing.
pub(super) fn show(worker: &mut Worker, id: SocketId, token: &str) {
    let allowed =
        worker.slot(id).and_then(|slot| slot.seat.permit.as_ref()).is_none_or(|permit| permit.allows(Limit::Tokens, 1));
    let refused = |code, why: &str| wire::error(code, None, why);
    let frame = if !allowed {
        rest::begin(worker, id);
        refused("rate_limited", "this address shows more tokens than limits.tokens_per_second allows")
    } else {
        match worker.tokens.verify(token) {
            Err(denied) => refused("bad_token", &denied.to_string()),
            Ok(grant) => {
                let ends = grant.ends;
                if rights::renew(&mut worker.shard, id, grant).is_err() {
                    refused("bad_token", "the token is somebody else's than the one before: its sub differs")
                } else {
                    expires_at(worker, id, ends);
                    wire::token_accepted(ends / 1000)
                }
            }
        }
    };
    worker.shard.send(id, frame);
}

/// Tells those whose tokens have ended, and closes those who were told and did nothing.
pub(super) fn judge(worker: &mut Worker) {
    let now = now_ms();
    while let Some(key) = worker.expiries.due(now) {
        let Some(slot) = worker.alive(key) else { continue };
        if std::mem::replace(&mut slot.expiry.told, true) {
            slot.expiry = Expiry::default();
            worker.close(key.0, &close_code::TOKEN_EXPIRED);
            worker.write(key.0);
            continue;
        }
        let at = now + GRACE;
        slot.expiry.at = at;
        worker.expiries.set(key, Expiry::default(), at);
        let why = "the token has expired; show another one within 10 seconds";
        worker.shard.send(key.0, wire::error("token_expired", None, why));
    }
}
