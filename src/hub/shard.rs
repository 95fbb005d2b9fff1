//! One worker's sockets and channels: who has joined what. Dense in memory, owned by one thread.
//!
//! A channel's members are plain indices in a vector, and a socket knows its places there, so joining and
//! leaving cost the same however many members there are. What is sent to whom is decided in `fanout`.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use mio::net::TcpStream;
use slab::Slab;
use smallvec::SmallVec;

use super::Known;
use super::join_error::JoinError;
use super::local::{LocalChannel, Membership, Socket};
use super::local_members::LocalMembers;
use super::pacer::Pacer;
use super::registry::Registry;
use super::send_queue::SendQueue;
use super::sockets::{CloseReason, Sockets};
use super::{SocketId, wire};
use crate::boards::FOLLOWED;
use crate::config::channels::check_name;
use crate::config::{Access, Deliver, Limits, Rules};
use crate::memory;
use crate::metrics::Metrics;
use crate::net::address_limits::Permit;
use crate::net::household::Household;
use crate::presence::{Joined, Origin};

/// How many sockets must have come or gone, or how many channels gone, before memory is given back.
const MANY: usize = 512;

/// The longest name of a board member that can be followed, in bytes: it is sent to the store with each
/// read.
const MAX_MEMBER: usize = 256;

/// The sockets and channels of one worker.
pub struct Shard {
    pub(super) index: u8,
    pub(super) registry: Arc<Registry>,
    pub(super) rules: Arc<Rules>,
    pub(super) limits: Limits,
    pub(super) metrics: Metrics,
    pub(super) sockets: Sockets,
    /// Sockets that have come, and that have gone, since memory was last given back.
    came: usize,
    gone: usize,
    pub(super) channels: Slab<LocalChannel>,
    /// Channels that have gone since then.
    closed: usize,
    pub(super) by_name: HashMap<Arc<str>, u32>,
    /// Channels with a push that waits, ordered by when to look at them.
    pub(super) waiting: BTreeSet<(Instant, u32)>,
    /// Channels whose pushes are held back: when each push began, and how long it has taken so far.
    pub(super) pushed: Vec<(u32, Instant, Duration)>,
}

impl Shard {
    /// Creates an empty shard, the `index`-th of at most 64.
    pub fn new(index: u8, registry: Arc<Registry>, rules: Arc<Rules>, limits: Limits, metrics: Metrics) -> Self {
        Self {
            index,
            registry,
            rules,
            sockets: Sockets::new(limits.client_buffer, metrics.clone()),
            limits,
            metrics,
            came: 0,
            gone: 0,
            channels: Slab::new(),
            closed: 0,
            by_name: HashMap::new(),
            waiting: BTreeSet::new(),
            pushed: Vec::new(),
        }
    }

    /// Adds a socket, which is on no channel yet. `head` goes out before anything else, in one write with
    /// what is sent until the next [`Shard::flush`].
    pub fn attach(&mut self, io: TcpStream, head: Bytes, known: Option<Box<Known>>, household: Household) -> SocketId {
        let outbox = (!head.is_empty()).then(|| {
            let mut outbox = Box::<SendQueue>::default();
            outbox.push_rest(head);
            outbox
        });
        self.came += 1;
        self.sockets.insert(Socket { io, outbox, places: SmallVec::new(), known, household, closing: false })
    }

    /// Returns a socket's connection, for reading and for registering.
    pub fn io(&mut self, id: SocketId) -> Option<&mut TcpStream> {
        self.sockets.get_mut(id).map(|socket| &mut socket.io)
    }

    /// Returns whether there are no sockets.
    pub fn is_empty(&self) -> bool {
        self.sockets.is_empty()
    }

    /// Returns the shortest time between two pushes on a paced channel.
    pub(super) fn interval(&self) -> Duration {
        Duration::from_secs(1) / self.limits.pushes_per_second
    }

    /// Returns the sockets that the hub has marked for closing since the last call.
    pub fn take_doomed(&mut self) -> Vec<(SocketId, CloseReason)> {
        self.sockets.take_doomed()
    }

    /// Joins a channel, or switches between watching and being counted, and tells the client as soon as the
    /// channel is live. `again`: the client was here before, and may have missed something. `member`: the
    /// board member to follow, instead of any other. `may_open` is called before opening a channel that
    /// nobody on this node has.
    ///
    /// # Errors
    /// [`JoinError`]. Nothing has changed then, but [`JoinError::TooManyFollowed`] may come after the
    /// socket has joined.
    pub fn join(
        &mut self,
        id: SocketId,
        name: &str,
        watch: bool,
        again: bool,
        member: Option<&str>,
        may_open: impl FnOnce() -> Result<Option<Box<Permit>>, JoinError>,
    ) -> Result<(), JoinError> {
        let rule = self.rules.find(name).ok_or(JoinError::Forbidden)?;
        if member.is_some() && rule.board.is_none() {
            return Err(JoinError::NoBoard);
        }
        if member.is_some_and(|member| member.len() > MAX_MEMBER) {
            return Err(JoinError::BadName(format!("a member that is followed has at most {MAX_MEMBER} bytes")));
        }
        check_name(name).map_err(|why| JoinError::BadName(why.to_string()))?;
        let may = || self.sockets.get(id).is_some_and(|socket| socket.may_be_on(name, watch));
        if rule.access == Access::Token && !may() {
            return Err(JoinError::NoToken);
        }
        let every = rule.deliver == Deliver::Every;
        let Some(socket) = self.sockets.get(id) else { return Ok(()) };
        let known = self.by_name.get(name).copied();
        let place = known.and_then(|channel| socket.places.iter().position(|place| place.channel == channel));
        if let (Some(place), Some(channel)) = (place, known) {
            self.follow_member(id, channel, member)?;
            self.switch(id, place, watch, again);
            self.greet(channel, id);
            self.answer_anyway(channel, id);
            return Ok(());
        }
        if socket.places.len() >= self.limits.channels_per_client {
            return Err(JoinError::TooMany(self.limits.channels_per_client));
        }
        let channel = match known {
            Some(channel) => channel,
            None => self.open(name, every, may_open)?,
        };
        let (Some(socket), Some(joined)) = (self.sockets.get_mut(id), self.channels.get_mut(channel as usize)) else {
            return Ok(());
        };
        let place = joined.members.len() as u32;
        joined.members.push(id);
        socket.places.push(Membership { channel, place, watch, told: false, again, earlier: false });
        let mut counted = Joined::Counted;
        if let Some(presence) = joined.presence.as_ref().filter(|_| !watch) {
            let origin = Origin { household: socket.household, limit: self.limits.visitors_per_address };
            counted = presence.join(origin, || socket.who(name, false));
        }
        self.greet(channel, id);
        self.tell_of_limit(id, name, counted);
        self.answer_no_board(channel, id);
        self.follow_member(id, channel, member)
    }

    fn answer_no_board(&mut self, channel: u32, id: SocketId) {
        let Some(channel) = self.channels.get(channel as usize) else { return };
        if let Some(why) = channel.no_board {
            let frame = wire::no_board(&channel.name, why);
            self.send(id, frame);
        }
    }

    /// Makes a socket follow a member of a board, or nobody.
    fn follow_member(&mut self, id: SocketId, channel: u32, member: Option<&str>) -> Result<(), JoinError> {
        let Some(channel) = self.channels.get_mut(channel as usize) else { return Ok(()) };
        if let Some(member) = member {
            if !self.registry.boards.follow(&channel.name, member) {
                return Err(JoinError::TooManyFollowed(FOLLOWED));
            }
            let followers = channel.followers.get_or_insert_default();
            if let Some(before) = followers.follow(id, member.into()) {
                self.registry.boards.unfollow(&channel.name, &before);
            }
        } else if let Some(before) = channel.followers.as_mut().and_then(|followers| followers.unfollow(id)) {
            self.registry.boards.unfollow(&channel.name, &before);
        }
        Ok(())
    }

    /// Answers a client that joins again, perhaps to check for a sign of life: it hears at least the
    /// store's state.
    fn answer_anyway(&mut self, channel: u32, id: SocketId) {
        self.answer_no_board(channel, id);
        let live = self.channels.get(channel as usize).is_some_and(|channel| channel.live);
        if !live && self.registry.store_up() == Some(false) {
            self.send(id, wire::state(false));
        }
    }

    /// Switches between watching and being counted.
    fn switch(&mut self, id: SocketId, place: usize, watch: bool, again: bool) {
        let Some(socket) = self.sockets.get_mut(id) else { return };
        let membership = &mut socket.places[place];
        let before = std::mem::replace(&mut membership.watch, watch);
        (membership.told, membership.again) = (false, again);
        let earlier = membership.earlier;
        if before && !watch {
            membership.earlier = false;
        }
        let Some(channel) = self.channels.get(membership.channel as usize) else { return };
        let origin = Origin { household: socket.household, limit: self.limits.visitors_per_address };
        match (&channel.presence, before, watch) {
            (Some(presence), true, false) => {
                let joined = presence.join(origin, || socket.who(&channel.name, false));
                let name = channel.name.clone();
                self.tell_of_limit(id, &name, joined);
            }
            (Some(presence), false, true) => presence.leave(|| socket.on(&channel.name, earlier)),
            _ => {}
        }
    }

    fn open(
        &mut self,
        name: &str,
        every: bool,
        may_open: impl FnOnce() -> Result<Option<Box<Permit>>, JoinError>,
    ) -> Result<u32, JoinError> {
        let opener = match self.registry.channels_without(name) {
            Some(channels) if channels >= self.limits.channels => {
                return Err(JoinError::NodeFull(self.limits.channels));
            }
            Some(_) => may_open()?,
            None => None,
        };
        let name: Arc<str> = name.into();
        let snapshot = self.registry.enter(self.index, &name, opener);
        let channel = self.channels.insert(LocalChannel {
            name: name.clone(),
            members: Vec::new(),
            live: snapshot.live,
            value: snapshot.value,
            every,
            presence: snapshot.presence,
            pace: Pacer::default(),
            looked_at: None,
            newest: [None, None],
            board: snapshot.board,
            no_board: snapshot.no_board,
            list: snapshot.list.map(|list| Box::new(LocalMembers::new(list))),
            followers: None,
            greeting: None,
        }) as u32;
        self.by_name.insert(name, channel);
        Ok(channel)
    }

    /// Leaves a channel. Returns whether the socket was on it.
    pub fn leave(&mut self, id: SocketId, name: &str) -> bool {
        let Some(&channel) = self.by_name.get(name) else { return false };
        let Some(socket) = self.sockets.get_mut(id) else { return false };
        let Some(index) = socket.places.iter().position(|place| place.channel == channel) else { return false };
        let place = socket.places.swap_remove(index);
        if socket.places.len() == 1 {
            // Most sockets have one place, which needs no memory of its own.
            socket.places.shrink_to_fit();
        }
        if let Some(outbox) = &mut socket.outbox {
            outbox.unmark(channel);
        }
        self.vacate(id, place);
        true
    }

    /// Gives up a place; the channel's last member moves into it.
    fn vacate(&mut self, id: SocketId, place: Membership) {
        let _ = self.follow_member(id, place.channel, None);
        let Some(channel) = self.channels.get_mut(place.channel as usize) else { return };
        channel.members.swap_remove(place.place as usize);
        if let Some(presence) = channel.presence.as_ref().filter(|_| !place.watch)
            && let Some(socket) = self.sockets.get_mut(id)
        {
            let revoked = socket.known.as_ref().is_some_and(|known| known.revoked);
            let who = || socket.on(&channel.name, place.earlier);
            if revoked { presence.leave_at_once(who) } else { presence.leave(who) }
        }
        if let Some(&moved) = channel.members.get(place.place as usize)
            && let Some(socket) = self.sockets.get_mut(moved)
            && let Some(theirs) = socket.places.iter_mut().find(|theirs| theirs.channel == place.channel)
        {
            theirs.place = place.place;
        }
        if channel.members.is_empty() {
            let channel = self.channels.remove(place.channel as usize);
            self.by_name.remove(&channel.name);
            memory::shrink(&mut self.by_name);
            self.closed += 1;
            self.registry.leave(self.index, &channel.name);
        } else if channel.members.capacity() > 64 && channel.members.len() < channel.members.capacity() / 4 {
            channel.members.shrink_to(channel.members.len() * 2);
        }
    }

    /// Removes a socket from every channel; it can still be written to.
    pub fn leave_all(&mut self, id: SocketId) {
        let Some(socket) = self.sockets.get_mut(id) else { return };
        for place in std::mem::take(&mut socket.places) {
            self.vacate(id, place);
        }
    }

    /// Removes a socket, and returns its connection.
    pub fn detach(&mut self, id: SocketId) -> Option<TcpStream> {
        self.leave_all(id);
        let socket = self.sockets.remove(id)?;
        self.gone += 1;
        Some(socket.io)
    }

    /// Returns whether so many sockets have come or gone, or so many channels have gone, that [`Shard::shrink`] is
    /// worth it. What a socket needs only while it connects is free afterwards, but lies between what it keeps.
    pub fn many_moved(&self) -> bool {
        self.came.max(self.gone).max(self.closed) >= MANY
    }

    /// Shrinks the tables. Returns the bound that all socket numbers are below then.
    ///
    /// That of the channels shrinks only here: a slab that loses its last entries walks all the others.
    pub fn shrink(&mut self) -> usize {
        (self.came, self.gone, self.closed) = (0, 0, 0);
        self.channels.shrink_to_fit();
        self.sockets.shrink()
    }

    /// Removes every member of a channel, and tells them why.
    pub(super) fn expel(&mut self, name: &str, code: &str, why: &str) {
        let Some(channel) = self.by_name.get(name).and_then(|channel| self.channels.get(*channel as usize)) else {
            return;
        };
        let frame = wire::error(code, Some(name), why);
        for id in channel.members.clone() {
            self.leave(id, name);
            self.send(id, frame.clone());
        }
    }

    /// Sends one frame to one socket: now, or after what already waits for it.
    pub fn send(&mut self, id: SocketId, frame: Bytes) {
        self.sockets.send(id, frame);
    }

    /// Sends more of what waits for a socket that can take bytes again. Returns true if nothing is left.
    pub fn flush(&mut self, id: SocketId) -> bool {
        self.sockets.flush(id, |channel, which| self.channels.get(channel as usize)?.newest(which, id))
    }

    /// Leaves every channel and sends a last frame, in place of whatever else waits. Returns whether it was
    /// sent; if not, [`Shard::flush`] goes on with it.
    pub fn send_last(&mut self, id: SocketId, frame: Bytes) -> bool {
        self.leave_all(id);
        self.sockets.send_last(id, frame)
    }

    /// Tells a client that it is not counted, and warns the operator where a proxy may be at fault.
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
