//! Making room: letting keys go when memory is short, as far as the policy allows.

use super::Server;
use crate::store::eviction::Policy;
use crate::store::keyspace::evict_one;

/// Keys that go at most before a command runs, or at the end of a round.
const MOST: usize = 128;

/// Lets keys go until there is enough memory. What is too much for one step goes on at the end of the round, and
/// commands run meanwhile.
pub fn make(server: &mut Server) {
    server.making_room = false;
    let limit = server.settings.max_memory;
    // While a script takes long, the keys are in its hands.
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
