//! Keeps one subscription connection up: connects, subscribes to the wanted channels, and reconnects.
//!
//! After every reconnect, all wanted channels are subscribed again. If the store cuts off a connection because it
//! was not read for too long, an error is logged; otherwise it is handled like any other lost subscription.

use std::mem;
use std::sync::Arc;
use std::time::Duration;

use redis::FromRedisValue;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval, sleep, sleep_until};

use super::backoff::Backoff;
use super::connect::{Connection, Failure};
use super::error::Error;
use super::feed::{Ended, Feed, FeedState};
use super::peer::Process;
use crate::log::Throttle;

/// The most channels in one SUBSCRIBE or UNSUBSCRIBE.
const BATCH: usize = 512;
/// The time between two liveness checks: a stall must be noticed within the response timeout plus one second.
const CHECK: Duration = Duration::from_millis(500);
/// How long a connection must last to reset the backoff.
const STABLE: Duration = Duration::from_secs(1);

/// Keeps the connection up and its subscriptions in line with the wanted channels. Runs until it is dropped.
pub(super) async fn keep_up(feed: Arc<Feed>) {
    let mut backoff = Backoff::to_connect();
    // The store process that closed the last connection.
    let mut closed_by: Option<Process> = None;
    loop {
        let state = match feed.connect().await {
            Ok(connection) => {
                let start = Instant::now();
                let mut process = None;
                let ended = Following::new(&feed, connection).follow(closed_by.take(), &mut process).await;
                feed.metrics.store_lost.inc();
                // A connection that is closed at once does not count as a success, whatever was exchanged on it.
                if start.elapsed() >= STABLE {
                    backoff.reset();
                }
                FeedState::Down(match ended {
                    Ended::Closed(why) => {
                        closed_by = process;
                        why
                    }
                    Ended::GivenUp(why) => why,
                })
            }
            Err(failure) => {
                // We cannot reconnect, so the store did more than cut off a slow subscriber.
                closed_by = None;
                match failure {
                    Failure::Away(why) => FeedState::Down(why),
                    Failure::Refused(why) => FeedState::Refused(why),
                }
            }
        };
        tracing::debug!(store = &*feed.connector.shown, ?state, "no subscription");
        feed.say(state);
        sleep(backoff.pause()).await;
    }
}

/// A connection and the state of its subscriptions.
struct Following<'a> {
    feed: &'a Feed,
    connection: Connection,
    /// The store closed the previous connection but kept running. The next SUBSCRIBE shows why.
    cut: bool,
    /// The store refuses subscriptions as such, not just those to certain channels.
    refused: bool,
    /// When to retry what was refused or denied.
    again: Option<Instant>,
    backoff: Backoff,
}

impl<'a> Following<'a> {
    fn new(feed: &'a Feed, connection: Connection) -> Self {
        Self { feed, connection, cut: false, refused: false, again: None, backoff: Backoff::to_ask_again() }
    }

    /// Sends changes to the store until the connection ends. Sets `process` to the store process at the other end.
    async fn follow(mut self, closed_by: Option<Process>, process: &mut Option<Process>) -> Ended {
        let mut check = interval(CHECK);
        check.set_missed_tick_behavior(MissedTickBehavior::Delay);
        *process = match self.ask_who_it_is().await {
            Ok(process) => process,
            Err(ended) => return ended,
        };
        self.cut = Process::cut_off(closed_by.as_ref(), process.as_ref());
        let (feed, server) = (self.feed, self.connection.server.clone());
        let steps = async {
            loop {
                if let Err(ended) = self.step(&mut check).await {
                    return ended;
                }
            }
        };
        tokio::select! {
            ended = steps => ended,
            why = feed.connector.moved(server.as_ref()) => Ended::GivenUp(why),
        }
    }

    async fn step(&mut self, check: &mut Interval) -> Result<(), Ended> {
        // While the store refuses everything, new changes wait for the retry as well.
        if !self.refused || self.again.is_none() {
            self.tell().await?;
        }
        let again = self.again;
        tokio::select! {
            () = self.feed.changed.notified() => {}
            _ = &mut self.connection.driver => {
                return Err(Ended::Closed("the store closed the connection".to_owned()));
            }
            _ = check.tick() => self.check().await?,
            () = sleep_until(again.unwrap_or_else(Instant::now)), if again.is_some() => {
                self.again = None;
                self.try_a_denied_one().await?;
            }
        }
        Ok(())
    }

    /// Checks that the store answers on this connection; any answer will do.
    async fn check(&mut self) -> Result<(), Ended> {
        let ping = redis::cmd("PING");
        let answer = self.feed.patiently(self.connection.commands.send_packed_command(&ping)).await?;
        // If there is nothing to subscribe to, this answer is the only sign that the store is up.
        if answer.is_ok() && !self.refused && self.feed.wishes().denied() == 0 {
            self.feed.say(FeedState::Up);
        }
        Ok(())
    }

    /// Returns the store process at the other end; None if the store does not report it.
    async fn ask_who_it_is(&mut self) -> Result<Option<Process>, Ended> {
        let info = redis::cmd("INFO");
        let answer = self.feed.patiently(self.connection.commands.send_packed_command(&info)).await?;
        let text = answer.ok().and_then(|value| String::from_redis_value(value).ok());
        Ok(text.as_deref().and_then(Process::read))
    }

    fn log_cut(&self) {
        static SAID: Throttle = Throttle::new();
        self.feed.metrics.store_cut.inc();
        if let Some(left_out) = SAID.pass() {
            tracing::error!(
                store = &*self.feed.connector.shown,
                left_out,
                "the store cut the subscription off and runs on, as it does when more waits for a subscriber than \
                 its client-output-buffer-limit for pubsub allows; messages were missed: publish less, or raise \
                 that limit"
            );
        }
    }

    /// Sends all changes to the store in bounded batches; stops early if the store refuses one.
    async fn tell(&mut self) -> Result<(), Ended> {
        loop {
            let changes = self.feed.wishes().next(BATCH);
            for (channel, ticket) in changes.fulfilled {
                self.feed.listener.subscribed(channel, ticket);
            }
            if !changes.leave.is_empty() {
                let unsubscribed = self.connection.commands.unsubscribe(&changes.leave);
                if let Err(error) = self.feed.patiently(unsubscribed).await? {
                    self.feed.wishes().kept(&changes.leave);
                    self.feed.wishes().refused(&changes.join);
                    self.refuse(error);
                    return Ok(());
                }
                self.refused = false;
            }
            if !changes.join.is_empty() {
                self.subscribe(changes.join).await?;
            }
            if self.refused || self.feed.wishes().is_settled() {
                return Ok(());
            }
        }
    }

    /// Subscribes to these channels. If the store allows only some of them, finds the denied ones by bisection.
    async fn subscribe(&mut self, channels: Vec<String>) -> Result<(), Ended> {
        let (mut parts, mut denied) = (vec![channels], Vec::new());
        while let Some(mut part) = parts.pop() {
            let subscribed = self.connection.commands.subscribe(&part);
            let Err(error) = self.feed.patiently(subscribed).await? else {
                self.refused = false;
                if mem::take(&mut self.cut) {
                    self.log_cut();
                }
                continue;
            };
            if !is_of_a_channel(&error) {
                parts.push(part);
                parts.iter().for_each(|part| self.feed.wishes().refused(part));
                self.refuse(error);
                return Ok(());
            }
            if part.len() == 1 {
                // The previous connection was closed because a permission was revoked, not because it was slow.
                self.cut = false;
                part.iter().for_each(|channel| self.deny(channel));
                denied.extend(part.pop().map(|channel| (channel, error)));
            } else {
                parts.push(part.split_off(part.len() / 2));
                parts.push(part);
            }
        }
        if self.feed.wishes().all_are_denied() {
            // If no channel is allowed at all, report that the store as a whole refuses.
            let why = "NOPERM it lets this server subscribe to none of its channels";
            self.feed.say(FeedState::Refused(why.to_owned()));
        } else if let Some((channel, error)) = denied.first() {
            log_denied(channel, error);
        }
        Ok(())
    }

    /// Retries one denied channel to see whether permissions have changed; if it is allowed now, retries all.
    async fn try_a_denied_one(&mut self) -> Result<(), Ended> {
        let Some(channel) = self.feed.wishes().retry_one() else { return Ok(()) };
        self.tell().await?;
        if !self.feed.wishes().is_denied(&channel) {
            self.backoff.reset();
            self.feed.wishes().retry_all();
        }
        Ok(())
    }

    fn deny(&mut self, channel: &str) {
        self.feed.metrics.refused.inc();
        self.feed.wishes().deny(channel);
        self.ask_again();
    }

    /// Notes that the store refuses subscriptions for now. If none is live, reports it, since nothing will arrive.
    fn refuse(&mut self, error: Error) {
        self.feed.metrics.refused.inc();
        self.refused = true;
        self.ask_again();
        let live = self.feed.wishes().live();
        if live == 0 {
            self.feed.say(FeedState::Refused(error.reason()));
        }
    }

    fn ask_again(&mut self) {
        if self.again.is_none() {
            self.again = Some(Instant::now() + self.backoff.pause());
        }
    }
}

fn log_denied(channel: &str, error: &Error) {
    static SAID: Throttle = Throttle::new();
    if let Some(left_out) = SAID.pass() {
        tracing::error!(
            channel,
            %error,
            left_out,
            "the store does not let this server subscribe to a channel: allow it in the user's ACL (&pattern)"
        );
    }
}

/// Whether the store denies some of the channels rather than the command itself.
fn is_of_a_channel(error: &Error) -> bool {
    let text = error.reason();
    text.contains("NOPERM") && text.contains("channel") && !text.contains(" command")
}
