//! The list of members that a client holds, from what it was told alone.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

use super::client::Client;
use super::{SOON, same};

/// See the module.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct Listed {
    /// By handle; None while there is no list.
    pub members: Option<BTreeMap<String, Value>>,
    /// Whole lists that came.
    pub lists: usize,
    /// How often each was told to have come, and to have gone.
    pub joined: BTreeMap<String, usize>,
    pub left: BTreeMap<String, usize>,
}

impl Listed {
    /// What a client was told of a channel.
    pub fn of(client: &Client, channel: &str) -> Listed {
        let mut listed = Listed::default();
        for message in client.messages() {
            if ["channel", "subscribed", "watching"].iter().any(|key| message[key] == channel) {
                listed.take_in(&message).unwrap();
            }
        }
        listed
    }

    /// Takes in a frame about the channel. An error is a change that does not follow on the list before.
    pub fn take_in(&mut self, message: &Value) -> Result<(), String> {
        if let Some(list) = message.get("members") {
            self.lists += 1;
            let all = |list: &Vec<Value>| list.iter().map(|member| (handle(member), member.clone())).collect();
            self.members = list.as_array().map(all);
        }
        let each = |key: &str| message[key].as_array().cloned().unwrap_or_default();
        let (joined, left) = (each("joined"), each("left"));
        if joined.is_empty() && left.is_empty() {
            return Ok(());
        }
        let Some(members) = &mut self.members else { return Err(format!("no list before {message}")) };
        for gone in left {
            let gone = gone.as_str().expect("a handle").to_owned();
            members.remove(&gone).ok_or_else(|| format!("{gone} was no member: {message}"))?;
            *self.left.entry(gone).or_default() += 1;
        }
        for member in joined {
            *self.joined.entry(handle(&member)).or_default() += 1;
            members.insert(handle(&member), member);
        }
        Ok(())
    }

    /// How many are on it.
    pub fn len(&self) -> Option<usize> {
        self.members.as_ref().map(BTreeMap::len)
    }

    /// How many times anybody was told to have come, and to have gone.
    pub fn events(&self) -> (usize, usize) {
        (self.joined.values().sum(), self.left.values().sum())
    }
}

fn handle(member: &Value) -> String {
    member["id"].as_str().expect("a handle").to_owned()
}

/// Waits until a client's list has so many members; None for being told that there is none.
pub async fn lists(client: &Client, channel: &str, count: Option<usize>) -> Listed {
    lists_within(client, channel, count, SOON).await
}

/// Waits longer, for what takes longer.
pub async fn lists_within(client: &Client, channel: &str, count: Option<usize>, within: Duration) -> Listed {
    let what = format!("{channel} lists {count:?}");
    let is = |listed: &Listed| listed.lists > 0 && listed.len() == count;
    client.until(&what, within, |_| Some(Listed::of(client, channel)).filter(is)).await
}

/// `Ok` where two clients hold the same list.
pub fn alike(one: &Client, other: &Client, channel: &str) -> Result<(), String> {
    same("the other's list", Listed::of(one, channel).members, Listed::of(other, channel).members)
}
