//! The keys that clients watch.
//!
//! While a script takes long, it holds the data. Watches that begin or end meanwhile are noted, and take effect
//! when the script has ended.

use super::StoreServer;
use super::client::name_cost;
use super::late::Since;
use crate::store::pubsub::ClientSlot;

/// Ends a client's watches; returns whether one of the keys has changed.
pub fn release(server: &mut StoreServer, slot: ClientSlot) -> bool {
    let Some(client) = server.clients.get_mut(slot) else {
        return false;
    };
    let mut changed = false;
    for ((db, key), since) in std::mem::take(&mut client.watching) {
        client.names_bytes = client.names_bytes.saturating_sub(name_cost(&key));
        changed |= since == Since::Written;
        match since {
            // The data does not know of this watch yet.
            Since::Busy => {}
            _ if server.busy.is_some() => server.late.unwatched.push((db, key)),
            Since::Version(version) => changed |= server.data.keys.unwatch(db, &key, version),
            Since::Written => drop(server.data.keys.unwatch(db, &key, 0)),
        }
    }
    changed
}

/// Applies what was noted while a script took long. `written` says whether the script has changed anything.
pub fn catch_up(server: &mut StoreServer, written: bool) {
    let late = std::mem::take(&mut server.late);
    let keys = &mut server.data.keys;
    for (db, key) in late.unwatched {
        keys.unwatch(db, &key, 0);
    }
    let selected = keys.selected;
    for slot in late.watchers {
        let Some(client) = server.clients.get_mut(slot) else { continue };
        for ((db, key), since) in client.watching.iter_mut().filter(|(_, since)| **since == Since::Busy) {
            keys.selected = *db;
            let version = keys.watch(key);
            *since = if written { Since::Written } else { Since::Version(version) };
        }
    }
    keys.selected = selected;
}
