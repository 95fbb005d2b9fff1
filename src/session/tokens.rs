//! Tokens of connected clients: renewal by frame, expiry, and revocation.
//!
//! A client is told when its token expires, and is closed after a grace period. The time is the system's,
//! as in the token itself: a process that was stopped finds out which tokens have expired meanwhile.

use super::checks::Checked;
use super::close_code;
use super::keepalive::SocketKey;
use super::request::Request;
use super::rest;
use super::worker::Worker;
use crate::auth::{Denied, Grant, Verdict, now_ms};
use crate::hub::{SocketId, rights, wire};
use crate::metrics::Limit;

/// How long a client may take to show another token after its own has expired, in milliseconds.
const GRACE: u64 = 10_000;

/// Notes when a client's token expires.
pub(super) fn expires_at(worker: &mut Worker, id: SocketId, at: u64) {
    let Some(slot) = worker.slots.get_mut(id as usize).and_then(Option::as_mut) else { return };
    worker.expiries.set((id, slot.generation), slot.expiry, at);
    (slot.expiry, slot.told_expired) = (at, false);
}

/// Closes a client whose token was revoked while it was connecting. Returns whether it was.
pub(super) fn is_revoked(worker: &mut Worker, id: SocketId, grant: Option<&Grant>) -> bool {
    let revoked = grant.is_some_and(|grant| worker.checks.verification.tokens.revoked.holds(grant, now_ms()));
    if revoked {
        worker.close(id, &close_code::REVOKED);
    }
    revoked
}

/// Does what a client asks for. A token in a request takes effect before everything else in it.
pub(super) fn request(worker: &mut Worker, id: SocketId, mut request: Request) {
    let Some(slot) = worker.slot(id) else { return };
    let (key, held) = ((id, slot.generation), slot.held);
    if held {
        return worker.checks.hold(key, request);
    }
    if let Some(token) = request.token.take() {
        let permit = worker.slot(id).and_then(|slot| slot.seat.permit.as_ref());
        if permit.is_some_and(|permit| !permit.allows(Limit::Tokens, 1)) {
            rest::begin(worker, id);
            let why = "this address shows more tokens than limits.tokens_per_second allows";
            worker.shard.send(id, wire::error("rate_limited", None, why));
        } else if let Some(verdict) = worker.checks.verification.verify_here(&token) {
            judge(worker, id, verdict);
        } else {
            if let Some(slot) = worker.slot(id) {
                slot.held = true;
            }
            return worker.checks.begin(key, token.into(), request);
        }
    }
    worker.request(id, &request);
}

/// Goes on with a client whose token has been checked.
pub(super) fn checked(worker: &mut Worker, checked: Checked) {
    let Checked { key, verdict } = checked;
    let held = worker.checks.release(key);
    let Some(slot) = worker.alive(key) else { return };
    slot.held = false;
    let id = key.0;
    if is_open(worker, key) {
        judge(worker, id, verdict);
    }
    for asked in held {
        if is_open(worker, key) {
            request(worker, id, asked);
        }
    }
    worker.write(id);
    worker.read_on(id);
}

/// Calls [`checked`] for every verdict that has arrived.
pub(super) fn take_checked(worker: &mut Worker) {
    while let Some(done) = worker.checks.take() {
        checked(worker, done);
    }
}

fn is_open(worker: &mut Worker, key: SocketKey) -> bool {
    worker.alive(key).is_some_and(|slot| slot.session.is_open())
}

/// Puts a token into effect. One that is refused changes nothing.
fn judge(worker: &mut Worker, id: SocketId, verdict: Verdict) {
    let refused = |code, why: &str| wire::error(code, None, why);
    let frame = match verdict {
        // It may have been revoked while it was being checked.
        Verdict::Granted(grant) if worker.checks.verification.tokens.revoked.holds(&grant, now_ms()) => {
            refused("bad_token", &Denied::Revoked.to_string())
        }
        Verdict::Granted(grant) => {
            let ends = grant.ends;
            if rights::renew(&mut worker.shard, id, grant).is_err() {
                refused("bad_token", "the token is somebody else's than the one before: its sub differs")
            } else {
                expires_at(worker, id, ends);
                wire::token_accepted(ends / 1000)
            }
        }
        Verdict::Denied(denied) => refused("bad_token", &denied.to_string()),
        Verdict::Busy => refused("unavailable", "too many tokens wait to be checked; show it again later"),
    };
    worker.shard.send(id, frame);
}

/// Tells clients whose tokens have expired, and closes those that were told and showed no other in time.
pub(super) fn judge_ends(worker: &mut Worker) {
    let now = now_ms();
    while let Some(key) = worker.expiries.due(now) {
        let Some(slot) = worker.alive(key) else { continue };
        if std::mem::replace(&mut slot.told_expired, true) {
            (slot.expiry, slot.told_expired) = (0, false);
            worker.close(key.0, &close_code::TOKEN_EXPIRED);
            worker.write(key.0);
            continue;
        }
        let at = now + GRACE;
        slot.expiry = at;
        worker.expiries.set(key, 0, at);
        let why = "the token has expired; show another one within 10 seconds";
        worker.shard.send(key.0, wire::error("token_expired", None, why));
    }
}
