//! One who is told who is in the room: the whole list once, then what changed.

use std::collections::BTreeMap;

use headcount::presence::Listing;
use serde_json::Value;

/// See the module.
#[derive(Default)]
pub struct Client {
    shown: Listing,
    /// What it knows of those who are here, by their handles; None where no list is shown.
    pub members: Option<BTreeMap<String, Value>>,
    /// Who it was told has left, since somebody looked last.
    pub left: Vec<String>,
    /// What it was told that cannot be.
    pub wrong: Option<String>,
}

impl Client {
    /// There is something else to show. The pace would only merge what is told here one by one.
    pub fn show(&mut self, listing: Listing) {
        let before = std::mem::replace(&mut self.shown, listing.clone());
        match (before, listing) {
            (Listing::Shown(before), Listing::Shown(after)) => {
                if let Some(changes) = after.changes(&before) {
                    self.take_in(&format!("{{{changes}}}"));
                }
            }
            (_, Listing::Shown(list)) => {
                let all: Vec<Value> = serde_json::from_str(list.json()).unwrap();
                self.members = Some(all.iter().map(entry).collect());
            }
            (_, Listing::Hidden | Listing::Unknown) => self.members = None,
        }
    }

    fn take_in(&mut self, changes: &str) {
        let changes: Value = serde_json::from_str(changes).unwrap();
        let all = |name: &str| changes.get(name).and_then(Value::as_array).cloned().unwrap_or_default();
        let members = self.members.get_or_insert_default();
        for id in all("left") {
            let id = id.as_str().unwrap().to_owned();
            if members.remove(&id).is_none() {
                self.wrong = Some(format!("{id} left, who was not there"));
            }
            self.left.push(id);
        }
        for (id, info) in all("joined").iter().map(entry) {
            if members.insert(id.clone(), info.clone()) == Some(info) {
                self.wrong = Some(format!("{id} joined, who was there"));
            }
        }
    }
}

fn entry(member: &Value) -> (String, Value) {
    (member["id"].as_str().unwrap().to_owned(), member["info"].clone())
}
