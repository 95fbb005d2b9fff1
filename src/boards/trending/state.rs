//! Which channels to restate on which board, and when. No I/O: the time is passed in.
//!
//! A board is derived: everything on it can be restated from the totals. So a channel is restated shortly
//! after its total changes here, and now and then without a reason. Everything that is on a board is checked
//! just as often, which removes the channels that nobody is on any more. What one node misses is restated by
//! another, or by the same node later.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::config::Rules;
use crate::config::channels::Access;
use crate::glob::matches_stars;
use crate::memory;

/// A channel with fewer people is not shown: what one visitor typed is no other visitor's business.
pub const LEAST: i64 = 2;
/// The maximum number of channels on a board.
pub const MOST: usize = 1000;
/// The maximum number of channels restated in one call of the script.
const BATCH: usize = 200;
/// The delay between a channel's change and its restatement, so that many changes become one.
const PACE: Duration = Duration::from_millis(100);
/// The delay before a channel that everybody here has left is restated, so that its total is current by then.
const LEFT: Duration = Duration::from_secs(2);

/// What one step restates.
#[derive(Debug, PartialEq, Eq)]
pub struct TrendingStep {
    /// The board.
    pub board: Arc<str>,
    /// The pattern of the channels that the board ranks.
    pub of: Arc<str>,
    /// Whether to check everything that is on the board.
    pub all: bool,
    /// The channels to restate.
    pub channels: Vec<Arc<str>>,
}

#[derive(Debug)]
struct Kept {
    board: Arc<str>,
    of: Arc<str>,
    /// Whether the board may show channels that not everybody may join.
    closed: bool,
    /// When everything on the board is checked next.
    sweep: Instant,
    /// The channels to restate, ordered by when they are due.
    agenda: BTreeSet<(Instant, Arc<str>)>,
    due: HashMap<Arc<str>, Instant>,
}

/// See the module.
#[derive(Debug)]
pub struct TrendingState {
    kept: Vec<Kept>,
    rules: Arc<Rules>,
    /// The last known totals of this node's channels that some board ranks.
    totals: HashMap<Arc<str>, i64>,
    repair: Duration,
}

impl TrendingState {
    /// Starts without any totals; each board is checked once per `repair`.
    pub fn new(rules: Arc<Rules>, repair: Duration, now: Instant) -> Self {
        let mut state = Self { kept: Vec::new(), rules: Arc::default(), totals: HashMap::new(), repair };
        state.configure(rules, now);
        state
    }

    /// Puts new rules into effect.
    pub fn configure(&mut self, rules: Arc<Rules>, now: Instant) {
        let kept = rules.kept().map(|(rule, of)| Kept {
            board: rule.pattern.as_str().into(),
            of: of.into(),
            closed: rule.access == Access::Token,
            sweep: now,
            agenda: BTreeSet::new(),
            due: HashMap::new(),
        });
        self.kept = kept.collect();
        self.rules = rules;
        if self.kept.is_empty() {
            self.totals = HashMap::new();
        }
    }

    /// Whether there is no board to keep.
    pub fn is_idle(&self) -> bool {
        self.kept.is_empty()
    }

    /// Notes the current total of a channel on this node.
    pub fn note(&mut self, channel: &Arc<str>, total: i64, now: Instant) {
        if !self.concerns(channel) {
            return;
        }
        let before = self.totals.insert(channel.clone(), total).unwrap_or_default();
        if total >= LEAST || before >= LEAST {
            self.restate(channel, now + PACE);
        }
    }

    /// Notes that nobody on this node is on a channel any more.
    pub fn left(&mut self, channel: &Arc<str>, now: Instant) {
        if self.totals.remove(channel).is_some_and(|total| total >= LEAST) {
            self.restate(channel, now + LEFT);
            memory::shrink(&mut self.totals);
        }
    }

    /// Makes all boards due for a check: the store may be another one, or may have lost something.
    pub fn look_at_all(&mut self, now: Instant) {
        self.kept.iter_mut().for_each(|kept| kept.sweep = now);
    }

    /// Returns when the next step is due.
    pub fn next_due(&self) -> Option<Instant> {
        let due = |kept: &Kept| kept.agenda.first().map_or(kept.sweep, |(at, _)| kept.sweep.min(*at));
        self.kept.iter().map(due).min()
    }

    /// Returns the next step, if one is due.
    pub fn next(&mut self, now: Instant) -> Option<TrendingStep> {
        for at in 0..self.kept.len() {
            if self.kept[at].sweep <= now {
                self.say_again(at, now);
                return Some(self.kept[at].step(true, now));
            }
            if self.kept[at].agenda.first().is_some_and(|(due, _)| *due <= now) {
                return Some(self.kept[at].step(false, now));
            }
        }
        None
    }

    /// Reschedules a step that failed or may have failed.
    pub fn failed(&mut self, step: TrendingStep, later: Instant) {
        let Some(at) = self.kept.iter().position(|kept| kept.board == step.board && kept.of == step.of) else { return };
        if step.all {
            self.kept[at].sweep = later;
        }
        step.channels.iter().for_each(|channel| self.kept[at].restate(channel, later));
    }

    /// Schedules the most visited channels that this node knows of to be restated.
    fn say_again(&mut self, at: usize, now: Instant) {
        self.kept[at].sweep = now + self.repair;
        let of = self.kept[at].of.clone();
        let shown = |(name, total): &(&Arc<str>, &i64)| **total >= LEAST && matches(&of, name);
        let mut most: Vec<_> = self.totals.iter().filter(shown).map(|(name, total)| (*total, name.clone())).collect();
        if most.len() > MOST {
            most.select_nth_unstable_by(MOST, |one, other| other.cmp(one));
            most.truncate(MOST);
        }
        for (_, name) in most {
            self.kept[at].restate(&name, now);
        }
    }

    fn restate(&mut self, channel: &Arc<str>, at: Instant) {
        let open = self.rules.find(channel).is_some_and(|rule| rule.access == Access::Open);
        for kept in self.kept.iter_mut().filter(|kept| (open || kept.closed) && matches(&kept.of, channel)) {
            kept.restate(channel, at);
        }
    }

    fn concerns(&self, channel: &str) -> bool {
        self.kept.iter().any(|kept| matches(&kept.of, channel))
    }
}

impl Kept {
    fn restate(&mut self, channel: &Arc<str>, at: Instant) {
        match self.due.get(channel) {
            Some(due) if *due <= at => return,
            Some(due) => {
                self.agenda.remove(&(*due, channel.clone()));
            }
            None => {}
        }
        self.due.insert(channel.clone(), at);
        self.agenda.insert((at, channel.clone()));
    }

    fn step(&mut self, all: bool, now: Instant) -> TrendingStep {
        let mut channels = Vec::new();
        while channels.len() < BATCH
            && let Some((at, _)) = self.agenda.first()
            && *at <= now
            && let Some((_, channel)) = self.agenda.pop_first()
        {
            self.due.remove(&channel);
            channels.push(channel);
        }
        memory::shrink(&mut self.due);
        TrendingStep { board: self.board.clone(), of: self.of.clone(), all, channels }
    }
}

/// Whether a board with this pattern ranks a channel.
fn matches(of: &str, channel: &str) -> bool {
    matches_stars(of.as_bytes(), channel.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::channels::{BoardRule, Count, Deliver, Rule, SortOrder};

    const REPAIR: Duration = Duration::from_secs(10);

    fn rule(pattern: &str, access: Access, of: Option<&str>) -> Rule {
        let board = of.map(|_| BoardRule { top: 10, order: SortOrder::Descending });
        Rule {
            pattern: pattern.to_owned(),
            count: if of.is_some() { Count::None } else { Count::Visitors },
            linger: Duration::ZERO,
            deliver: Deliver::Latest,
            access,
            publish: false,
            members: None,
            board,
            of: of.map(str::to_owned),
        }
    }

    fn state(now: Instant) -> TrendingState {
        let rules = Rules(vec![
            rule("page:/closed", Access::Token, None),
            rule("page:/*", Access::Open, None),
            rule("top:pages", Access::Open, Some("page:/*")),
        ]);
        let mut state = TrendingState::new(Arc::new(rules), REPAIR, now);
        assert_eq!(state.next(now).map(|step| (step.all, step.channels.len())), Some((true, 0)));
        state
    }

    fn names(step: Option<TrendingStep>) -> Vec<String> {
        step.into_iter().flat_map(|step| step.channels).map(|name| name.to_string()).collect()
    }

    #[test]
    fn a_channel_is_restated_a_moment_after_it_changed_and_again_in_each_repair() {
        let now = Instant::now();
        let mut state = state(now);
        state.note(&"page:/a".into(), 2, now);
        state.note(&"page:/a".into(), 3, now);
        assert_eq!(state.next(now), None);
        assert_eq!(names(state.next(now + PACE)), ["page:/a"]);
        assert_eq!(state.next_due(), Some(now + REPAIR));
        assert_eq!(names(state.next(now + REPAIR)), ["page:/a"]);
        state.note(&"page:/a".into(), 1, now + REPAIR);
        assert_eq!(names(state.next(now + REPAIR + PACE)), ["page:/a"], "it is taken off");
        assert!(names(state.next(now + REPAIR * 2)).is_empty(), "it is not said again");
    }

    #[test]
    fn what_one_visitor_typed_and_what_not_everybody_may_join_is_never_said() {
        let now = Instant::now();
        let mut state = state(now);
        state.note(&"page:/typed".into(), 1, now);
        state.note(&"page:/closed".into(), 9, now);
        state.note(&"public:x".into(), 9, now);
        assert_eq!(state.next(now + PACE), None);
    }

    #[test]
    fn a_channel_that_was_left_is_looked_at_once_more() {
        let now = Instant::now();
        let mut state = state(now);
        state.note(&"page:/a".into(), 2, now);
        state.next(now + PACE);
        state.left(&"page:/a".into(), now + PACE);
        assert_eq!(names(state.next(now + PACE + LEFT)), ["page:/a"]);
        assert!(state.totals.is_empty());
    }

    #[test]
    fn many_channels_are_restated_in_steps_and_only_the_most_visited_again() {
        let now = Instant::now();
        let mut state = state(now);
        for number in 0..MOST + 500 {
            state.note(&format!("page:/{number}").into(), number as i64 + 2, now);
        }
        let mut said = 0;
        while let Some(step) = state.next(now + PACE) {
            assert!(step.channels.len() <= BATCH);
            said += step.channels.len();
        }
        assert_eq!(said, MOST + 500);
        let mut again = Vec::new();
        while let Some(step) = state.next(now + REPAIR) {
            again.extend(names(Some(step)));
        }
        assert_eq!(again.len(), MOST);
        assert!(!again.contains(&"page:/0".to_owned()));
    }

    #[test]
    fn a_step_that_failed_is_said_again() {
        let now = Instant::now();
        let mut state = state(now);
        state.note(&"page:/a".into(), 2, now);
        let step = state.next(now + PACE).unwrap();
        state.failed(step, now + PACE * 2);
        assert_eq!(names(state.next(now + PACE * 2)), ["page:/a"]);
    }
}
