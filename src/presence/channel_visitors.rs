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

/// What follows from the answer to a batch of visitors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Visit {
    /// Nothing.
    Nothing,
    /// The store had something else than what was stated: all of it is stated anew.
    Lost,
    /// What was stated under an earlier number is to be swept out.
    Sweep,
}

impl ChannelState {
    /// Takes in who came and who went. A handle that counts sockets has no visitors: those who are stated go.
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

    /// These went and do not linger.
    pub fn note_gone_at_once(&mut self, gone: &[VisitorId], now: Instant) {
        if let Some(visitors) = &mut self.visitors {
            gone.iter().for_each(|visitor| visitors.note(*visitor, false, now, std::time::Duration::ZERO));
        }
    }

    /// Nobody is here any more. Visitors linger, as they may be on their way to another node.
    pub fn empty(&mut self, now: Instant, linger: Duration) {
        self.here = 0;
        if let Some(visitors) = &mut self.visitors {
            visitors.leave(now, linger);
        }
    }

    /// See [`super::visitors::Visitors::linger_on`]. True where anybody lingers.
    pub fn linger_on(&mut self, now: Instant) -> bool {
        let linger = self.linger;
        let Some(visitors) = self.visitors.as_mut().filter(|visitors| visitors.next_tick().is_some()) else {
            return false;
        };
        visitors.linger_on(now, linger);
        true
    }

    /// Stops counting those who have lingered long enough.
    pub fn tick(&mut self, now: Now) {
        if let Some(visitors) = self.visitors.as_mut().filter(|_| now.held || now.closing) {
            visitors.tick(now.at);
            if visitors.is_settled() && self.released() {
                self.visitors = None;
            }
        }
    }

    /// Whether anybody is here, counted in whatever way.
    pub fn is_anybody_here(&self) -> bool {
        self.here > 0 || self.visitors.as_ref().is_some_and(|visitors| visitors.counted() > 0)
    }

    /// Whether the store may have visitors of this node, or is to get them.
    pub fn has_visitors(&self) -> bool {
        self.visitors.as_ref().is_some_and(|visitors| !visitors.is_settled())
    }

    /// Whether the next statement is one of visitors.
    pub fn visits(&self) -> bool {
        let Some(visitors) = &self.visitors else { return false };
        visitors.unstated() || (!self.olds.is_empty() && !visitors.is_settled())
    }

    /// What the store has of the visitors; the outer None if that is not certain.
    pub fn confirmed_visitors(&self) -> Option<Confirmed> {
        match &self.visitors {
            // What is under an older id is found by nobody who asks for the new one.
            Some(visitors) if self.olds.is_empty() => visitors.confirmed(),
            Some(_) => None,
            None => Some(None),
        }
    }

    /// The list of members that its visitors are on; empty where there is none.
    pub fn epoch(&self) -> &str {
        self.visitors.as_ref().map(|visitors| visitors.epoch()).unwrap_or_default()
    }

    /// Whether the store has confirmed a share.
    pub fn has_share(&self) -> bool {
        self.stated.is_some_and(|share| share > 0)
            || self.visitors.as_ref().is_some_and(|visitors| matches!(visitors.confirmed(), Some(Some(_))))
    }

    /// From now on the members are listed, or not. If they are, whoever is stated already is stated again.
    pub fn list_members(&mut self, rule: Option<MembersRule>, hold: Duration, now: Instant) {
        let begins = self.roster.configure(rule, hold, self.released(), now);
        if let Some(visitors) = self.visitors.as_mut().filter(|visitors| begins && !visitors.is_settled()) {
            visitors.lost();
        }
    }

    /// Where the list is another than the visitors were put on, a repair is due.
    pub fn compare_lists(&mut self, now: Instant) {
        if self.visitors.as_ref().is_some_and(|visitors| self.roster.is_news_to(visitors)) {
            self.repair_now(now);
        }
    }

    /// The next batch of visitors.
    pub fn batch(&mut self, number: [u8; 2], stamp: u64) -> Batch {
        self.visitors.get_or_insert_default().batch(number, stamp)
    }

    /// Nobody knows what became of a step.
    pub fn in_doubt(&mut self, job: &StepJob, refused: bool, now: Instant) {
        if job.step == Step::Members {
            self.roster.failed(refused, now);
        }
        if let (Some(visitors), Some(batch)) = (&mut self.visitors, &job.batch) {
            visitors.in_doubt(batch);
        }
    }

    /// The store has another share of this node than it confirmed: it is stated anew.
    pub fn lost(&mut self) {
        self.stated = None;
        if self.listed == Listed::Yes {
            // What took the share may have taken the list, too.
            self.listed = Listed::Maybe;
        }
        if let Some(visitors) = &mut self.visitors {
            visitors.lost();
        }
    }

    /// Nobody is here, and the store may have visitors of this node, under whatever number.
    pub fn leaves_visitors_behind(&mut self) {
        self.visitors.get_or_insert_default().lost();
    }

    /// Takes in the answer to a batch of visitors.
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
