//! A few people with tabs, each tab one socket on a channel of each kind of count.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use tokio::time::Instant;

use super::client::Client;
use super::kinds::{KINDS, Kind, MISSING, identity, name};
use super::listed::Listed;
use super::node::Node;
use super::redis::Redis;
use super::{same, settles};

/// See the module.
#[derive(Default)]
pub struct Tabs {
    all: Vec<Tab>,
    /// Nodes that are cut off for longer than a lease: whoever is there has gone, as far as the others can tell.
    away: Option<SocketAddr>,
    /// How often each has gone, by name.
    gone: BTreeMap<String, usize>,
}

struct Tab {
    who: u32,
    at: SocketAddr,
    client: Client,
}

impl Tabs {
    /// Opens one more tab of somebody.
    pub async fn open(&mut self, node: &Node, who: u32) {
        let channels = KINDS.map(|kind| format!("channel={}", kind.channel())).join("&");
        let client = Client::open(node, &format!("{channels}&{}", identity(who))).await;
        self.all.push(Tab { who, at: node.address, client });
    }

    /// Closes the oldest tab, without a word.
    pub fn close_oldest(&mut self) {
        let before = self.people();
        self.all.remove(0);
        self.note_gone(&before);
    }

    /// A node is cut off from the store, or none is any more.
    pub fn cut_off(&mut self, node: Option<&Node>) {
        let before = self.people();
        self.away = node.map(|node| node.address);
        self.note_gone(&before);
    }

    fn note_gone(&mut self, before: &BTreeSet<u32>) {
        for who in before - &self.people() {
            *self.gone.entry(name(who)).or_default() += 1;
        }
    }

    fn here(&self) -> impl Iterator<Item = &Tab> {
        self.all.iter().filter(|tab| self.away != Some(tab.at))
    }

    /// The sockets on nodes that are not cut off.
    pub fn clients(&self) -> impl Iterator<Item = &Client> {
        self.here().map(|tab| &tab.client)
    }

    /// The number that a channel of this kind has.
    pub fn number(&self, kind: Kind) -> i64 {
        match kind {
            Kind::Sockets => self.here().count() as i64,
            Kind::Visitors | Kind::Members => self.people().len() as i64,
        }
    }

    fn people(&self) -> BTreeSet<u32> {
        self.here().map(|tab| tab.who).collect()
    }

    /// Waits until the numbers are right within this, and for a while, and the lists are, once those who were missing
    /// have had their time.
    pub async fn come_right(&self, when: &str, redis: &Redis, within: Duration, hold: Duration) {
        let (what, start) = (format!("{:?} everywhere {when}", KINDS.map(|kind| self.number(kind))), Instant::now());
        settles(&what, within, hold, || self.numbers_are_right(redis)).await;
        let left = (within + MISSING).saturating_sub(start.elapsed());
        settles(&format!("the lists {when}"), left, Duration::ZERO, || async { self.lists_are_right() }).await;
    }

    /// `Ok` where the store and every tab have the right number on each channel.
    pub async fn numbers_are_right(&self, redis: &Redis) -> Result<(), String> {
        for kind in KINDS {
            let (channel, number) = (kind.channel(), self.number(kind));
            same(channel, redis.get(channel).await?.unwrap_or_default(), number)?;
            self.clients().try_for_each(|client| client.sees(channel, number))?;
        }
        Ok(())
    }

    /// `Ok` where every tab has the right list. Nobody may have been told of somebody who has left and has not.
    pub fn lists_are_right(&self) -> Result<(), String> {
        let names: BTreeSet<String> = self.people().into_iter().map(name).collect();
        for client in self.clients() {
            let listed = Listed::of(client, Kind::Members.channel());
            // Others may have come and gone, whom nobody knows by name.
            for (who, times) in listed.left.iter().filter(|(who, _)| !who.starts_with('~')) {
                let most = self.gone.get(who).copied().unwrap_or_default();
                assert!(*times <= most, "{who} was told to have left {times} times, and has {most} times");
            }
            same("the list", listed.members.unwrap_or_default().into_keys().collect(), names.clone())?;
        }
        Ok(())
    }
}
