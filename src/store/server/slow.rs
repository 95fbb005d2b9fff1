//! What took long: commands for `SLOWLOG`, and the worst delay of each second for `LATENCY`.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::client::Client;
use super::secrets::redacted;
use crate::store::command::{Spec, is_fast};
use crate::store::resp::Args;
use crate::store::settings::Options;
use crate::store::small_bytes::SmallBytes;

/// How many arguments of a command are kept.
const ARGUMENTS: usize = 32;
/// How many bytes of an argument are kept.
const ARGUMENT: usize = 128;
/// How many seconds of an event are kept.
const SECONDS: usize = 160;

/// A command that took long.
#[derive(Debug)]
pub struct SlowCommand {
    /// Its number, counted from 0 since the start.
    pub id: u64,
    /// When it ended, in seconds since 1970.
    pub at: u64,
    /// How long it took, in microseconds.
    pub micros: u64,
    /// The command and its arguments, shortened.
    pub args: Vec<SmallBytes>,
    /// The client's address.
    pub peer: String,
    /// The client's name.
    pub name: String,
}

/// The delays of one kind, by second.
#[derive(Debug, Default)]
pub struct Delays {
    /// Seconds since 1970, each with its longest delay in milliseconds; the newest last.
    pub seconds: VecDeque<(u64, u64)>,
    /// The longest delay of all, in milliseconds.
    pub longest: u64,
}

/// Slow commands and delays; see the module documentation.
#[derive(Debug, Default)]
pub struct Slow {
    /// The slow commands, the newest first.
    pub commands: VecDeque<SlowCommand>,
    /// The delays of each kind.
    pub events: BTreeMap<&'static str, Delays>,
    next: u64,
    /// Durations below this are ignored; `None` if all are.
    least: Option<Duration>,
}

impl Slow {
    /// Applies changed settings.
    pub fn apply(&mut self, settings: &Options) {
        let slow = u64::try_from(settings.slower_than).ok().filter(|_| settings.slow_commands > 0);
        let late = Some(settings.latency_threshold.saturating_mul(1000)).filter(|late| *late > 0);
        self.least = [slow, late].into_iter().flatten().min().map(Duration::from_micros);
    }

    /// Whether a duration is long enough to be noted.
    pub fn is_long(&self, took: Duration) -> bool {
        self.least.is_some_and(|least| took >= least)
    }

    /// Notes a command if it took long; `now` is in seconds since 1970.
    pub fn note(&mut self, spec: &Spec, args: &Args, took: Duration, now: u64, settings: &Options, client: &Client) {
        let micros = took.as_micros() as u64;
        let threshold = settings.latency_threshold;
        if threshold > 0 && micros / 1000 >= threshold {
            let name = if is_fast(spec.name) { "fast-command" } else { "command" };
            self.events.entry(name).or_default().add(now, micros / 1000);
        }
        // The commands that `EXEC` runs are noted one by one.
        let limit = u64::try_from(settings.slower_than).unwrap_or(u64::MAX);
        if spec.name == "exec" || micros < limit {
            return;
        }
        let (peer, name) = (client.endpoints.peer.to_string(), client.name.clone());
        self.commands.push_front(SlowCommand {
            id: self.next,
            at: now,
            micros,
            args: shortened(&redacted(args)),
            peer,
            name,
        });
        self.next += 1;
        self.commands.truncate(settings.slow_commands);
    }
}

impl Delays {
    fn add(&mut self, now: u64, milliseconds: u64) {
        self.longest = self.longest.max(milliseconds);
        match self.seconds.back_mut() {
            Some((second, longest)) if *second == now => *longest = milliseconds.max(*longest),
            _ => self.seconds.push_back((now, milliseconds)),
        }
        if self.seconds.len() > SECONDS {
            self.seconds.pop_front();
        }
    }
}

fn shortened(args: &Args) -> Vec<SmallBytes> {
    let kept = if args.len() > ARGUMENTS { ARGUMENTS - 1 } else { args.len() };
    let mut shown: Vec<SmallBytes> = args[..kept].iter().map(|arg| shortened_argument(arg)).collect();
    if kept < args.len() {
        let more = format!("... ({} more arguments)", args.len() - kept);
        shown.push(SmallBytes::new(more.as_bytes()));
    }
    shown
}

fn shortened_argument(arg: &[u8]) -> SmallBytes {
    if arg.len() <= ARGUMENT {
        return SmallBytes::new(arg);
    }
    let more = format!("... ({} more bytes)", arg.len() - ARGUMENT);
    SmallBytes::from([&arg[..ARGUMENT], more.as_bytes()].concat())
}
