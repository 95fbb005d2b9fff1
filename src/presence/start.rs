//! How a step begins: what the store is asked, with what this node knows.

use std::sync::Arc;
use std::time::Instant;

use super::channel_state::{Listed, Step};
use super::effect::{Effect, Job, News, StepJob};
use super::state::State;
use super::strangers::Sighting;

impl State {
    /// Begins a step for a channel.
    pub(super) fn start(&mut self, name: Arc<str>, step: Step, now: Instant) {
        let repair = self.next_repair(now);
        let strangers = self.ripe_strangers(now);
        let (Some(channel), Some(end)) = (self.channels.get_mut(&name), self.lease.limit()) else { return };
        let (share, listed) = (channel.stated, channel.listed);
        // Where it is not certain what the store has of the visitors, it is not asked.
        let (share, visitors) = match channel.confirmed_visitors() {
            Some(visitors) => (share, visitors),
            None => (None, None),
        };
        if step == Step::Visit && channel.members.is_some() && channel.secret.is_empty() {
            channel.secret = (self.draw)().to_string().into();
        }
        let batch = (step == Step::Visit).then(|| {
            self.stamps += 1;
            channel.batch(self.random.u16(..).to_be_bytes(), self.stamps)
        });
        channel.begin(step, now, self.config.batch, repair);
        let job = StepJob {
            step,
            id: self.lease.id.clone(),
            number: channel.here,
            share,
            visitors,
            members: channel.rule_for(step),
            epoch: channel.epoch().into(),
            secret: channel.secret.clone(),
            batch,
            olds: channel.olds.clone(),
            heard: channel.heard,
            exact: channel.standing,
            ours: channel.ours,
            // A repair puts it there again, in case the list was lost.
            list: match step {
                Step::State | Step::Visit => channel.is_anybody_here() && listed != Listed::Yes,
                Step::Repair => listed != Listed::No,
                Step::Read | Step::Members | Step::Unlist | Step::Unset => false,
            },
            end,
            may_reap: self.lease.may_reap(self.config.lease, now),
            strangers,
            seen: Sighting::default(),
        };
        self.stepping += 1;
        if matches!(step, Step::State | Step::Visit) {
            self.tell(News::Stating);
        }
        self.effects.push(Effect::Run(Job::Step(name.clone(), Box::new(job))));
        self.look_at(name, now);
    }
}
