//! Channels on which the store has something of this node that should not be there any more.

use std::sync::Arc;
use std::time::Instant;

use super::channel_state::{ChannelState, Listed};
use super::schedule::Channels;
use crate::config::{Count, Rules};

/// Channels that one audit may bring.
const AUDITED: usize = 1024;

/// The store has this node in so many channels. Those that it does not know are left as any other. Returns the
/// channels that have something to do now. `repair` says when each of them is repaired first.
pub fn take_up(
    channels: &mut Channels,
    names: Vec<String>,
    rules: &Rules,
    now: Instant,
    mut repair: impl FnMut() -> Instant,
) -> Vec<Arc<str>> {
    let (mut changed, mut unknown) = (Vec::new(), 0);
    for name in names.into_iter().map(Arc::<str>::from) {
        if let Some(channel) = channels.get_mut(&name) {
            // One that is known and was taken off the list is on it again.
            if channel.listed == Listed::No {
                channel.listed = Listed::Maybe;
                changed.push(name);
            }
        } else if unknown < AUDITED {
            unknown += 1;
            let mut channel = ChannelState::left_behind(rules.stands(&name), now, repair());
            if rules.find(&name).is_some_and(|rule| rule.count == Count::Visitors) {
                channel.leaves_visitors_behind();
            }
            channels.insert(name.clone(), channel);
            changed.push(name);
        }
    }
    changed
}
