//! Channels on which the store has something of this node that should no longer be there.

use std::sync::Arc;
use std::time::Instant;

use super::channel_state::{ChannelState, Listed};
use super::schedule::Channels;
use crate::config::{Count, Rules};

/// The most unknown channels that one audit may add.
const AUDITED: usize = 1024;

/// Takes up the channels on which the store lists this node. Unknown ones are added as channels that nobody has, so
/// that what the store has there is withdrawn. Returns the channels that now have something to do. `repair` gives the
/// time of an added channel's first repair.
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
            // A known channel that was taken off the list is on it again.
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
