//! Follows a list of members as a node does, from what the scripts publish, and reads it where that has a gap.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::StreamExt;
use headcount::backplane::{Error, Keys};
use headcount::config::channels::MembersRule;
use headcount::presence::Listing;
use headcount::presence::members_read::members_at;
use headcount::presence::roster::Roster;
use headcount::presence::scripts::{self, Scripts};
use redis::aio::PubSub;
use redis::{Cmd, Value};

use crate::scripted::{KEYS, MOST, Store};
use crate::support::redis::Redis;

const HOLD: Duration = Duration::from_secs(3);
/// On which the follower hears its own voice, behind all that was published before.
const BARRIER: &str = "barrier";

impl scripts::Store for Store {
    async fn call(&self, command: Cmd) -> Result<Value, Error> {
        let told = |error: redis::RedisError| Error::Refused(format!("{} {error}", error.code().unwrap_or_default()));
        command.query_async(&mut self.0.clone()).await.map_err(told)
    }
}

/// See the module. Its time is its own.
pub struct Follower {
    store: Store,
    scripts: Scripts<Store>,
    messages: PubSub,
    roster: Roster,
    rule: MembersRule,
    now: Instant,
    listing: Listing,
}

impl Follower {
    pub async fn new(redis: &Redis, store: &Store) -> Follower {
        let mut messages = redis::Client::open(redis.url()).unwrap().get_async_pubsub().await.unwrap();
        messages.subscribe(&[KEYS[5], BARRIER]).await.unwrap();
        let most = std::str::from_utf8(MOST).unwrap().parse().unwrap();
        let (now, rule) = (Instant::now(), MembersRule { most, bytes: 4096 });
        let mut roster = Roster::new(rule, now);
        roster.subscribed();
        let scripts = Scripts::new(store.clone(), Keys::new(""));
        Follower { store: store.clone(), scripts, messages, roster, rule, now, listing: Listing::Unknown }
    }

    /// Takes in what was published until now.
    pub async fn follow(&mut self) {
        let () = redis::cmd("PUBLISH").arg(BARRIER).arg("").query_async(&mut self.store.0).await.unwrap();
        loop {
            let message = self.messages.on_message().next().await.unwrap();
            if message.get_channel_name() == BARRIER {
                break;
            }
            self.roster.heard(Bytes::copy_from_slice(message.get_payload_bytes()), self.now, HOLD);
        }
        self.roster.tick(self.now);
        if self.roster.is_due(self.now) {
            self.roster.begin();
            let rule = MembersRule { most: self.roster.most(), ..self.rule };
            // The channel's keys have no prefix here, unlike a node's.
            let roll = members_at(&self.scripts, KEYS[5], rule.most).await.unwrap();
            self.roster.read(roll, self.now, HOLD);
        }
        self.listing = self.roster.take_news().unwrap_or_else(|| self.listing.clone());
    }

    /// The names of all members, once nobody is waited for any more; None if there are too many.
    pub async fn all(&mut self) -> Option<BTreeSet<String>> {
        for _ in 0..30 {
            self.now += Duration::from_secs(1);
            self.follow().await;
        }
        let Listing::Shown(list) = &self.listing else { return None };
        let all: Vec<serde_json::Value> = serde_json::from_str(list.json()).unwrap();
        Some(all.iter().map(|member| member["id"].as_str().unwrap().to_owned()).collect())
    }
}
