//! Making room: evicts keys when memory is short, as far as the policy allows.

use super::StoreServer;
use crate::store::eviction::Policy;
use crate::store::keyspace::evict_one;

/// How many keys are evicted at most before a command runs, or at the end of a round.
const MOST: usize = 128;

/// Evicts keys until there is enough memory. If that takes more than one step, it continues at the end of the
/// round, and commands run meanwhile.
pub fn make(server: &mut StoreServer) {
    server.making_room = false;
    let limit = server.settings.max_memory;
    // While a script takes long, it holds the keys.
    if limit == 0 || server.settings.policy == Policy::NoEviction || server.busy.is_some() {
        return;
    }
    let reserved = server.settings.reserved_keys.as_deref();
    for _ in 0..MOST {
        if server.memory() <= limit {
            return;
        }
        if !evict_one(&mut server.data.keys, reserved) {
            return;
        }
    }
    server.making_room = server.memory() > limit;
}
