//! The part of a channel's state that concerns visitors, where they are counted.

use std::time::{Duration, Instant};

use super::channel_state::{ChannelState, Listed, Now};
use super::crowd::Moved;
use super::effect::StepJob;
use super::script_reply::ScriptReply;
use super::step::Step;
use super::visitor_id::VisitorId;
use super::visitors::{Batch, Confirmed};
use crate::config::channels::MembersRule;

/// What follows from the reply to a batch of visitors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Visit {
    /// Nothing.
    Nothing,
    /// The store had something other than what was stated: everything is stated anew.
    Lost,
    /// What was stated under an earlier number must be swept out.
    Sweep,
}

impl ChannelState {
    /// Records who came and who left. A handle that counts sockets has no visitors, so any that are stated leave.
    pub fn note_visitors(&mut self, changes: Option<&[Moved]>, now: Instant) {
        match (changes, &mut self.visitors) {
            (Some(changes), visitors) => {
                let visitors = visitors.get_or_insert_default();
                for (visitor, here, profile) in changes {
                    visitors.note(*visitor, *here, now, self.linger);
                    if let Some(profile) = profile {
                        visitors.describe(*visitor, profile.clone());
                    }
                }
            }
            (None, Some(visitors)) => visitors.leave(now, Duration::ZERO),
            (None, None) => {}
        }
    }

    /// Records who left and must not linger.
    pub fn note_gone_at_once(&mut self, gone: &[VisitorId], now: Instant) {
        if let Some(visitors) = &mut self.visitors {
            gone.iter().for_each(|visitor| visitors.note(*visitor, false, now, std::time::Duration::ZERO));
        }
    }

    /// Records that nobody is here any more. Visitors linger, as they may be on their way to another node.
    pub fn empty(&mut self, now: Instant, linger: Duration) {
        self.here = 0;
        if let Some(visitors) = &mut self.visitors {
            visitors.leave(now, linger);
        }
    }

    /// See [`super::visitors::Visitors::linger_on`]. Returns true if anybody lingers.
    pub fn linger_on(&mut self, now: Instant) -> bool {
        let linger = self.linger;
        let Some(visitors) = self.visitors.as_mut().filter(|visitors| visitors.next_tick().is_some()) else {
            return false;
        };
        visitors.linger_on(now, linger);
        true
    }

    /// Stops counting visitors who have lingered long enough.
    pub fn tick(&mut self, now: Now) {
        if let Some(visitors) = self.visitors.as_mut().filter(|_| now.held || now.closing) {
            visitors.tick(now.at);
            if visitors.is_settled() && self.released() {
                self.visitors = None;
            }
        }
    }

    /// Whether anybody is here, however they are counted.
    pub fn is_anybody_here(&self) -> bool {
        self.here > 0 || self.visitors.as_ref().is_some_and(|visitors| visitors.counted() > 0)
    }

    /// Whether the store may have visitors of this node, or must still get some.
    pub fn has_visitors(&self) -> bool {
        self.visitors.as_ref().is_some_and(|visitors| !visitors.is_settled())
    }

    /// Whether the next statement is one of visitors.
    pub fn visits(&self) -> bool {
        let Some(visitors) = &self.visitors else { return false };
        visitors.unstated() || (!self.olds.is_empty() && !visitors.is_settled())
    }

    /// What the store has of the visitors; the outer None if that is uncertain.
    pub fn confirmed_visitors(&self) -> Option<Confirmed> {
        match &self.visitors {
            // Until the older ids are taken out, the store may still have the visitors under one of them.
            Some(visitors) if self.olds.is_empty() => visitors.confirmed(),
            Some(_) => None,
            None => Some(None),
        }
    }

    /// The list of members that its visitors are on; empty if there is none.
    pub fn epoch(&self) -> &str {
        self.visitors.as_ref().map(|visitors| visitors.epoch()).unwrap_or_default()
    }

    /// Whether the store has confirmed a share.
    pub fn has_share(&self) -> bool {
        self.stated.is_some_and(|share| share > 0)
            || self.visitors.as_ref().is_some_and(|visitors| matches!(visitors.confirmed(), Some(Some(_))))
    }

    /// Sets whether members are listed. When that begins, visitors who are already stated are stated again.
    pub fn list_members(&mut self, rule: Option<MembersRule>, hold: Duration, now: Instant) {
        let begins = self.roster.configure(rule, hold, self.released(), now);
        if let Some(visitors) = self.visitors.as_mut().filter(|visitors| begins && !visitors.is_settled()) {
            visitors.lost();
        }
    }

    /// Makes a repair due if the list differs from the one that the visitors were put on.
    pub fn compare_lists(&mut self, now: Instant) {
        if self.visitors.as_ref().is_some_and(|visitors| self.roster.is_news_to(visitors)) {
            self.repair_now(now);
        }
    }

    /// Makes the next batch of visitors.
    pub fn batch(&mut self, number: [u8; 2], stamp: u64) -> Batch {
        self.visitors.get_or_insert_default().batch(number, stamp)
    }

    /// Records that the outcome of a step is unknown.
    pub fn in_doubt(&mut self, job: &StepJob, refused: bool, now: Instant) {
        if job.step == Step::Members {
            self.roster.failed(refused, now);
        }
        if let (Some(visitors), Some(batch)) = (&mut self.visitors, &job.batch) {
            visitors.in_doubt(batch);
        }
    }

    /// Resets this node's share to be stated anew, as the store has a different one than it confirmed.
    pub fn lost(&mut self) {
        self.stated = None;
        if self.listed == Listed::Yes {
            // Whatever took the share may have taken the list, too.
            self.listed = Listed::Maybe;
        }
        if let Some(visitors) = &mut self.visitors {
            visitors.lost();
        }
    }

    /// Notes that nobody is here, but that the store may have visitors of this node, under any number.
    pub fn leaves_visitors_behind(&mut self) {
        self.visitors.get_or_insert_default().lost();
    }

    /// Applies the reply to a batch of visitors.
    pub fn visited(&mut self, job: &StepJob, reply: &ScriptReply) -> Visit {
        let (Step::Visit, Some(batch), Some(visitors)) = (job.step, &job.batch, &mut self.visitors) else {
            return Visit::Nothing;
        };
        match reply {
            ScriptReply::Visited { count, done, epoch, secret, .. } => {
                visitors.listed(epoch);
                if !secret.is_empty() && *self.roster.secret != **secret {
                    self.roster.secret = secret.as_str().into();
                }
                let astray = visitors.is_astray();
                if !visitors.made(batch, *done, *count) {
                    return Visit::Lost;
                }
                self.sweeps |= astray;
                if self.sweeps && !visitors.unstated() {
                    self.sweeps = false;
                    return Visit::Sweep;
                }
            }
            ScriptReply::Taken => visitors.taken(batch),
            ScriptReply::Lost => {
                visitors.lost();
                return Visit::Lost;
            }
            _ => visitors.not_made(batch),
        }
        Visit::Nothing
    }
}
