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
                listed.take_in(&message);
            }
        }
        listed
    }

    fn take_in(&mut self, message: &Value) {
        if let Some(list) = message.get("members") {
            self.lists += 1;
            let all = |list: &Vec<Value>| list.iter().map(|member| (handle(member), member.clone())).collect();
            self.members = list.as_array().map(all);
        }
        let each = |key: &str| message[key].as_array().cloned().unwrap_or_default();
        for member in each("joined") {
            *self.joined.entry(handle(&member)).or_default() += 1;
            self.members.as_mut().expect("a list to join").insert(handle(&member), member);
        }
        for gone in each("left") {
            let gone = gone.as_str().expect("a handle").to_owned();
            *self.left.entry(gone.clone()).or_default() += 1;
            self.members.as_mut().expect("a list to leave").remove(&gone).expect("only members leave");
        }
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

/// Waits until a client's list has so many members; None for no list.
pub async fn lists(client: &Client, channel: &str, count: Option<usize>) -> Listed {
    let what = format!("{channel} lists {count:?}");
    client.until(&what, SOON, |_| Some(Listed::of(client, channel)).filter(|listed| listed.len() == count)).await
}

/// Waits longer, for what takes longer.
pub async fn lists_within(client: &Client, channel: &str, count: Option<usize>, within: Duration) -> Listed {
    let what = format!("{channel} lists {count:?}");
    client.until(&what, within, |_| Some(Listed::of(client, channel)).filter(|listed| listed.len() == count)).await
}

/// `Ok` where two clients hold the same list.
pub fn alike(one: &Client, other: &Client, channel: &str) -> Result<(), String> {
    same("the other's list", Listed::of(one, channel).members, Listed::of(other, channel).members)
}
