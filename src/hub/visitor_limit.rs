//! Says who is not counted, because an address has as many visitors as it may have.

use super::SocketId;
use super::shard::Shard;
use super::wire;
use crate::presence::Joined;

impl Shard {
    /// Tells whoever is not counted so, once, and the operator where a proxy may be at fault.
    pub(super) fn tell_of_limit(&mut self, id: SocketId, name: &str, joined: Joined) {
        match joined {
            Joined::Counted => {}
            Joined::Exempt => self.registry.tell_exempt(),
            Joined::Waits => {
                self.metrics.visitors_not_counted.inc();
                let why = "this address has as many visitors here as limits.visitors_per_address allows; this one is \
                           counted when one of them goes";
                self.send(id, wire::error("not_counted", Some(name), why));
            }
        }
    }
}
