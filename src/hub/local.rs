//! What one worker keeps of a socket and of a channel. Who changes it is in `shard` and `fanout`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use mio::net::TcpStream;
use smallvec::SmallVec;

use super::followers::Followers;
use super::local_members::LocalMembers;
use super::pacer::Pacer;
use super::send_queue::{QueuedFrame, SendQueue};
use super::{ChannelValue, Known, NoBoard, SocketId, wire};
use crate::auth::Right;
use crate::net::household::Household;
use crate::presence::{self, VisitorId, Who};

/// A place of a socket in a channel.
#[derive(Debug, Clone, Copy)]
pub struct Membership {
    pub channel: u32,
    pub place: u32,
    /// Receives, but is not counted.
    pub watch: bool,
    /// Was told that it has joined; until the channel is live, it was not.
    pub told: bool,
    /// Was here before, and may have missed something.
    pub again: bool,
    /// Joined before its client showed a token.
    pub earlier: bool,
}

/// The sending half of a client's connection.
pub struct Socket {
    pub io: TcpStream,
    pub outbox: Option<Box<SendQueue>>,
    pub places: SmallVec<[Membership; 1]>,
    /// Who it is and what it may do; None until that matters, for a connection that did not say so.
    pub known: Option<Box<Known>>,
    /// Where it comes from.
    pub household: Household,
    /// Is being closed: gets its close frame, and nothing else.
    pub closing: bool,
}

impl Socket {
    /// Who it is on a channel; `earlier`: one that it joined before it showed a token.
    pub fn on(&mut self, channel: &str, earlier: bool) -> VisitorId {
        self.known.get_or_insert_default().on(channel, earlier)
    }

    /// As [`Socket::on`], with what others are told of it.
    pub fn who(&mut self, channel: &str, earlier: bool) -> Who {
        self.known.get_or_insert_default().who(channel, earlier)
    }

    /// Whether its token allows it to join a channel now, or to watch it.
    pub fn may_be_on(&self, channel: &str, watch: bool) -> bool {
        let right = if watch { Right::Watch } else { Right::Join };
        self.known.as_ref().is_some_and(|known| known.may(right, channel))
    }
}

/// One channel on this worker.
pub struct LocalChannel {
    pub name: Arc<str>,
    pub members: Vec<SocketId>,
    pub live: bool,
    pub value: Option<ChannelValue>,
    pub every: bool,
    pub presence: Option<Arc<presence::ChannelHandle>>,
    pub pace: Pacer,
    /// Where it stands among those that wait to be looked at, if it does.
    pub looked_at: Option<Instant>,
    /// The newest value and the newest text, for those who are behind.
    pub newest: [Option<Bytes>; 2],
    /// It shows a sorted set.
    pub board: bool,
    /// Why it has nothing to show.
    pub no_board: Option<NoBoard>,
    /// Who is here, where that is listed.
    pub list: Option<Box<LocalMembers>>,
    /// Who follows which of its members.
    pub followers: Option<Box<Followers>>,
    /// What a joiner is told, as long as the value stays.
    pub greeting: Option<Bytes>,
}

impl LocalChannel {
    /// When something of it is to be pushed.
    pub fn wake(&self) -> Option<Instant> {
        let list = self.list.as_ref().and_then(|list| list.wake());
        [self.pace.wake(), list].into_iter().flatten().min()
    }

    /// What changed of the list of its members, if it is time to tell.
    pub fn members_due(&mut self, now: Instant, interval: Duration) -> Option<Bytes> {
        let list = self.list.as_mut().filter(|list| list.is_due(now))?;
        self.greeting = None;
        list.advance(&self.name, now + interval)
    }

    /// What somebody is told who joins.
    pub fn joined(&self, watch: bool, gap: bool) -> Bytes {
        let list = self.list.as_ref().map(|list| list.shown());
        wire::joined(&self.name, watch, self.value.as_ref(), list, gap)
    }

    /// The newest frame of a kind, for one who was behind.
    pub fn newest(&self, which: QueuedFrame, id: SocketId) -> Option<Bytes> {
        match which {
            QueuedFrame::Place => self.followers.as_ref()?.newest(id),
            QueuedFrame::Members => Some(self.list.as_ref()?.whole(&self.name)),
            QueuedFrame::Value | QueuedFrame::Text => self.newest[which as usize].clone(),
        }
    }
}
