//! Keys that a client watches.

use super::Server;
use super::client::name_cost;
use crate::store::pubsub::Slot;

/// Ends a client's watches; returns whether one of the keys has changed.
pub fn release(server: &mut Server, slot: Slot) -> bool {
    let Some(client) = server.clients.get_mut(slot) else {
        return false;
    };
    let mut changed = false;
    for ((db, key), version) in std::mem::take(&mut client.watching) {
        client.names_bytes = client.names_bytes.saturating_sub(name_cost(&key));
        changed |= server.data.keys.unwatch(db, &key, version);
    }
    changed
}
