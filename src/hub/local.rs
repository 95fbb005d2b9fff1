//! What one worker keeps about a socket and about a channel. The code that changes it is in `shard` and
//! `fanout`.

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
use crate::presence::{self, VisitorId, VisitorProfile};

/// A socket's place in a channel.
#[derive(Debug, Clone, Copy)]
pub struct Membership {
    pub channel: u32,
    pub place: u32,
    /// It receives messages, but is not counted.
    pub watch: bool,
    /// It was told that it has joined; that waits until the channel is live.
    pub told: bool,
    /// It was here before, and may have missed something.
    pub again: bool,
    /// It joined before its client showed a token.
    pub earlier: bool,
}

/// The sending half of a client's connection.
pub struct Socket {
    pub io: TcpStream,
    pub outbox: Option<Box<SendQueue>>,
    pub places: SmallVec<[Membership; 1]>,
    /// Who the client is and what it may do; None until needed, if the client did not say.
    pub known: Option<Box<Known>>,
    /// Where it comes from.
    pub household: Household,
    /// It is being closed: it gets its close frame, and nothing else.
    pub closing: bool,
}

impl Socket {
    /// Returns the visitor that it is on a channel; with `earlier`, on one that it joined before it showed
    /// a token.
    pub fn on(&mut self, channel: &str, earlier: bool) -> VisitorId {
        self.known.get_or_insert_default().on(channel, earlier)
    }

    /// Like [`Socket::on`], with what others are told about it.
    pub fn who(&mut self, channel: &str, earlier: bool) -> VisitorProfile {
        self.known.get_or_insert_default().who(channel, earlier)
    }

    /// Returns whether its token currently allows it to join a channel, or with `watch`, to watch it.
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
    /// The time under which it is in `Shard::waiting`, if it is.
    pub looked_at: Option<Instant>,
    /// The newest value and the newest text, for sockets that are behind.
    pub newest: [Option<Bytes>; 2],
    /// Whether it shows a sorted set.
    pub board: bool,
    /// Why it has nothing to show, if that is so.
    pub no_board: Option<NoBoard>,
    /// The list of its members, if it has one.
    pub list: Option<Box<LocalMembers>>,
    /// Which sockets follow which of its members.
    pub followers: Option<Box<Followers>>,
    /// The frame for joiners, cached while the value stays the same.
    pub greeting: Option<Bytes>,
}

impl LocalChannel {
    /// Returns when its next push is due.
    pub fn wake(&self) -> Option<Instant> {
        let list = self.list.as_ref().and_then(|list| list.wake());
        [self.pace.wake(), list].into_iter().flatten().min()
    }

    /// Returns what changed in the list of its members, if that is due.
    pub fn members_due(&mut self, now: Instant, interval: Duration) -> Option<Bytes> {
        let list = self.list.as_mut().filter(|list| list.is_due(now))?;
        self.greeting = None;
        list.advance(&self.name, now + interval)
    }

    /// Returns the frame that tells a client that it has joined.
    pub fn joined(&self, watch: bool, gap: bool) -> Bytes {
        let list = self.list.as_ref().map(|list| list.shown());
        wire::joined(&self.name, watch, self.value.as_ref(), list, gap)
    }

    /// Returns the newest frame of a kind, for a socket that was behind.
    pub fn newest(&self, which: QueuedFrame, id: SocketId) -> Option<Bytes> {
        match which {
            QueuedFrame::Place => self.followers.as_ref()?.newest(id),
            QueuedFrame::Members => Some(self.list.as_ref()?.whole(&self.name)),
            QueuedFrame::Value | QueuedFrame::Text => self.newest[which as usize].clone(),
        }
    }
}
