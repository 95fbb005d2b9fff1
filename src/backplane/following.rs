//! One connection for a subscription: made, told what is wanted, and made again.
//!
//! After every reconnect, all wanted channels are subscribed anew. If the store cuts a connection that is
//! not read for long, that is logged as an error; what follows is the same as with any lost subscription.

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

/// Channels in one SUBSCRIBE.
const BATCH: usize = 512;
/// Between two checks that the connection is alive: a stall is to be noticed within the response timeout and a second.
const CHECK: Duration = Duration::from_millis(500);
/// How long a connection has to last before the next one may be tried at once.
const STABLE: Duration = Duration::from_secs(1);

/// Connects, follows what is wanted, and connects again. Runs until it is dropped.
pub(super) async fn keep_up(feed: Arc<Feed>) {
    let mut backoff = Backoff::to_connect();
    // The process that closed the last connection.
    let mut closed_by: Option<Process> = None;
    loop {
        let state = match feed.connect().await {
            Ok(connection) => {
                let start = Instant::now();
                let mut process = None;
                let ended = Following::new(&feed, connection).follow(closed_by.take(), &mut process).await;
                feed.metrics.store_lost.inc();
                // One that is closed at once is no success, whatever was said on it.
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
                // A store that is gone had its own reasons.
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

/// One connection, and what it is told.
struct Following<'a> {
    feed: &'a Feed,
    connection: Connection,
    /// The store closed the connection before this one and ran on. Why shows when it is asked to subscribe again.
    cut: bool,
    /// The store refuses subscriptions for a reason of its own.
    refused: bool,
    /// When what was refused or denied is tried again.
    again: Option<Instant>,
    backoff: Backoff,
}

impl<'a> Following<'a> {
    fn new(feed: &'a Feed, connection: Connection) -> Self {
        Self { feed, connection, cut: false, refused: false, again: None, backoff: Backoff::to_ask_again() }
    }

    /// Tells the connection what changed until it ends. `process` becomes the one that it is with.
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
        // While the store refuses everything, what is new waits with the rest.
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

    /// Sees that the store answers on this connection. What it answers does not matter.
    async fn check(&mut self) -> Result<(), Ended> {
        let ping = redis::cmd("PING");
        let answer = self.feed.patiently(self.connection.commands.send_packed_command(&ping)).await?;
        // With nothing to subscribe to, an answer is as much as can be had.
        if answer.is_ok() && !self.refused && self.feed.wishes().denied() == 0 {
            self.feed.say(FeedState::Up);
        }
        Ok(())
    }

    /// Which process of the store this is; None where it does not tell.
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

    /// Tells the store everything that changed, in bounded steps, or as far as it takes it.
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

    /// Subscribes to these. Where the store allows only some of them, the others are found by halving.
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
                // A right that was taken is why the connection before this one was closed.
                self.cut = false;
                part.iter().for_each(|channel| self.deny(channel));
                denied.extend(part.pop().map(|channel| (channel, error)));
            } else {
                parts.push(part.split_off(part.len() / 2));
                parts.push(part);
            }
        }
        if self.feed.wishes().all_are_denied() {
            // With not one channel that is allowed, it is the store that refuses.
            let why = "NOPERM it lets this server subscribe to none of its channels";
            self.feed.say(FeedState::Refused(why.to_owned()));
        } else if let Some((channel, error)) = denied.first() {
            log_denied(channel, error);
        }
        Ok(())
    }

    /// Whether what was denied is allowed by now is seen by one channel; then all are tried.
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

    /// The store takes no subscription for now. If none is live, nothing arrives.
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

/// Whether it is some of the channels that the store does not allow, and not the command.
fn is_of_a_channel(error: &Error) -> bool {
    let text = error.reason();
    text.contains("NOPERM") && text.contains("channel") && !text.contains(" command")
}
