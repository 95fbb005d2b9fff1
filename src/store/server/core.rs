//! The store without sockets or a clock: bytes and times go in, bytes come out.
//!
//! The event loop drives a [`Core`] with sockets and the system's clock. Code that has neither, such as a
//! simulation, drives it the same way:
//!
//! ```
//! use headcount::store::{Core, Endpoints, Options, Time};
//!
//! let mut core = Core::open(Options::default(), Time::from_millis(1_000)).unwrap();
//! let client = core.connect(Endpoints::in_process()).unwrap();
//! core.feed(client, b"SET greeting hello PX 500\r\nGET greeting\r\n");
//! core.end_round();
//! assert_eq!(core.take_output(client), b"+OK\r\n$5\r\nhello\r\n");
//!
//! core.set_time(Time::from_millis(1_500));
//! core.feed(client, b"GET greeting\r\n");
//! core.end_round();
//! assert_eq!(core.take_output(client), b"$-1\r\n");
//! ```
//!
//! One round is: set the time, feed what has arrived, end the round, then send each client its output and close
//! the clients that are finished. Even if nothing arrives, the next round is due at [`Core::next_time`]. For a
//! restart that keeps the data, call [`Core::restart`]; for one that loses it, create a new core.
//!
//! Random choices (`SPOP`, `RANDOMKEY`) come from the thread's `fastrand` generator: seed it to make a run
//! repeatable.

use std::net::SocketAddr;
use std::rc::Rc;

use super::client::{Client, Endpoints, NAMES_A_TURN};
use super::input::UNFETCHED;
use super::table::DIRECTORY;
use super::{
    Contents, StoreServer, UNREAD, blocking, delivery, input, pausing, permissions, persistence, room, tracking,
    watches,
};
use crate::store::StoreError;
use crate::store::clock::Time;
use crate::store::pubsub::ClientSlot;
use crate::store::script::Vm;
use crate::store::settings::Options;

/// How long a closing client may take to fetch its remaining output, in milliseconds.
const LINGER: u64 = 10_000;
/// How many bytes a blocked or paused client may send ahead before the store stops reading from it.
const HELD: usize = 64 << 10;
/// Places beyond `max_clients` that are reserved for this process's own clients.
const RESERVE: usize = 16;
/// How many expired keys are removed per round at most.
const EXPIRED: usize = 256;

/// A script engine that outlives its store. A simulation, which opens many stores, would otherwise spend most of
/// its time creating engines.
#[derive(Default)]
pub struct Engine(Option<Vm>);

/// A store driven by its caller; see the module documentation.
#[repr(transparent)]
pub struct Core {
    server: StoreServer,
}

impl Core {
    /// Opens a store at a given time, with the data of its log if it has one.
    ///
    /// # Errors
    /// The folder cannot be used, or the log in it is damaged.
    pub fn open(options: Options, now: Time) -> Result<Self, StoreError> {
        Ok(Self::new(Contents::open(options)?, now))
    }

    /// Returns the core that wraps a server.
    fn around(server: &mut StoreServer) -> &mut Self {
        // SAFETY: a core contains a server and nothing else, and is `repr(transparent)`.
        #[expect(unsafe_code)]
        unsafe {
            &mut *std::ptr::from_mut(server).cast()
        }
    }

    pub(in crate::store) fn new(contents: Contents, now: Time) -> Self {
        let mut server = StoreServer::new(contents, now, &DIRECTORY);
        permissions::take_in(&mut server);
        Self { server }
    }

    /// Closes all clients, ends the store and returns what outlives it.
    pub(in crate::store) fn into_contents(mut self) -> Contents {
        self.close_all();
        self.server.into_contents()
    }

    /// Ends the store and drops its data. Returns the script engine, for another store on this thread.
    pub fn into_engine(mut self) -> Engine {
        Engine(self.server.vm.take())
    }

    /// Runs scripts on an engine left by another store, which saves compiling them again. The scripts themselves
    /// must still be sent to this store, as to any other.
    pub fn take_engine(&mut self, engine: Engine) {
        self.server.vm = engine.0;
        self.server.apply_settings();
    }

    /// Restarts with the same data. All clients are gone, along with everything they had queued.
    pub fn restart(self, now: Time) -> Self {
        Self::new(self.into_contents(), now)
    }

    /// Sets the function that serves clients while a script takes long; it is called repeatedly until the script
    /// ends. Meanwhile commands are refused as BUSY, except the few that are allowed then, such as `SCRIPT KILL`.
    pub fn serve_meanwhile(&mut self, serve: fn(&mut Self)) {
        self.server.serve_meanwhile = Some(Rc::new(move |server| serve(Self::around(server))));
    }

    /// Ends the running script if it takes long, and undoes its writes.
    pub fn end_script(&mut self) {
        if let Some(busy) = &mut self.server.busy {
            busy.ending = true;
        }
    }

    /// Sets the current time, which stays the same until the next call. It should not run backwards, but nothing
    /// breaks if it does.
    pub fn set_time(&mut self, now: Time) {
        self.server.data.keys.set_time(now);
    }

    /// Notes the address that the store reports as its own.
    pub fn set_address(&mut self, address: Option<SocketAddr>) {
        self.server.address = address;
    }

    /// Accepts a client.
    ///
    /// # Errors
    /// All places are taken. The error is the reply to send to the client.
    pub fn connect(&mut self, endpoints: Endpoints) -> Result<ClientSlot, &'static [u8]> {
        let server = &mut self.server;
        let full = server.clients.len() >= server.settings.max_clients;
        if full && server.settings.own_credential.is_none() {
            server.stats.rejected += 1;
            return Err(b"-ERR max number of clients reached\r\n");
        }
        server.stats.connections += 1;
        let keys = &server.data.keys;
        let mut client = Client::new(server.next_id, endpoints, keys.time());
        client.authenticated = server.settings.password.is_none();
        client.reserve = full;
        let id = client.id;
        server.next_id += 1;
        let slot = server.clients.insert(Box::new(client));
        server.slots.insert(id, slot);
        server.recount(slot);
        if full {
            Self::take_in_reserve(server, slot, id);
        }
        Ok(slot)
    }

    /// Takes bytes that a client has sent, split at any point, and runs the complete requests.
    pub fn feed(&mut self, client: ClientSlot, bytes: &[u8]) {
        self.server.stats.input += bytes.len() as u64;
        self.server.stats.reads += 1;
        input::feed(&mut self.server, client, bytes);
        persistence::relieve(&mut self.server);
    }

    /// Whether a client's bytes should be fed now. If not, leave them unread: the client must fetch its replies
    /// first, has to wait and has already sent much, or is closing.
    pub fn is_reading(&self, client: ClientSlot) -> bool {
        if self.server.busy.is_some_and(|busy| busy.caller == client) {
            return false;
        }
        let ready = |client: &Client| {
            let busy = (client.is_occupied() || client.paused) && client.held() > HELD;
            !client.closing && !busy && !client.held_back && client.pending() <= UNFETCHED
        };
        self.server.clients.get(client).is_some_and(|client| ready(client))
    }

    /// Ends a round after its requests: resumes clients that were held up, expires keys, writes the log.
    pub fn end_round(&mut self) {
        for slot in std::mem::take(&mut self.server.departed) {
            if let Some(client) = self.server.clients.get_mut(slot) {
                client.departed = false;
            }
            self.close(slot);
        }
        let server = &mut self.server;
        Self::release_held_back(server);
        pausing::end_in_time(server);
        input::resume(server);
        blocking::time_out(server);
        Self::end_lingering(server);
        server.data.keys.expire_due(EXPIRED);
        if server.making_room {
            room::make(server);
        }
        server.data.keys.journal.commit();
        if !server.data.keys.ready.is_empty() {
            blocking::serve_ready(server);
        }
        Self::tell(server);
        persistence::write_log(server);
        server.stats.peak = server.stats.peak.max(server.memory());
        if server.stats.rates.is_due(server.data.keys.now) {
            let counters = [server.data.calls.total(), server.stats.input, server.stats.output];
            server.stats.rates.take(server.data.keys.now, counters);
        }
    }

    /// Returns when the next round is due even if nothing arrives.
    pub fn next_time(&self) -> Option<Time> {
        let server = &self.server;
        let keys = &server.data.keys;
        if !server.resumed.is_empty() || !server.departed.is_empty() || server.making_room {
            return Some(keys.time());
        }
        let log = server.log.as_ref().and_then(|log| log.next_time(keys.now));
        let lingering = server.lingering.front().map(|(until, ..)| *until);
        let held_back = server.auth_guard.next_time();
        let times =
            [keys.next_expiry(), server.waiting.next_deadline(), log, lingering, held_back, server.pause.next_time()];
        times.into_iter().flatten().min().map(Time::from_millis)
    }

    /// Returns the next client that has output to send or should be closed. Each is returned once until it has
    /// something new.
    pub fn next_scheduled(&mut self) -> Option<ClientSlot> {
        while let Some(slot) = self.server.scheduled.pop_front() {
            if let Some(client) = self.server.clients.get_mut(slot) {
                client.scheduled = false;
                return Some(slot);
            }
        }
        None
    }

    /// Returns how many clients are waiting to be returned by [`Self::next_scheduled`].
    pub fn scheduled(&self) -> usize {
        self.server.scheduled.len()
    }

    /// Returns how many of the clients that [`Self::next_scheduled`] returns first have sent requests since the
    /// last call.
    pub fn take_asked(&mut self) -> usize {
        std::mem::take(&mut self.server.asked)
    }

    /// Returns how many bytes wait for the client that [`Self::next_scheduled`] returns next.
    pub fn next_waiting(&self) -> usize {
        self.server.scheduled.front().map_or(0, |slot| self.output(*slot).len())
    }

    /// Returns the output that waits to be sent to a client.
    pub fn output(&self, client: ClientSlot) -> &[u8] {
        self.server.clients.get(client).map_or(&[], |client| &client.reply.buf[client.sent..])
    }

    /// Notes that this many bytes of a client's output were sent.
    pub fn note_sent(&mut self, slot: ClientSlot, bytes: usize) {
        let Some(client) = self.server.clients.get_mut(slot) else { return };
        client.note_sent(bytes);
        self.server.stats.output += bytes as u64;
        self.server.stats.writes += u64::from(bytes > 0);
        if bytes > 0 && client.pending() == 0 && client.blocked.is_none() && client.has_more() {
            self.server.resumed.push(slot);
        }
        self.server.recount(slot);
    }

    /// Notes that a client accepts no more output for now.
    pub fn note_stuck(&mut self, slot: ClientSlot) {
        let server = &mut self.server;
        let Some(client) = server.clients.get_mut(slot) else { return };
        if client.closing {
            if !std::mem::replace(&mut client.lingering, true) {
                server.lingering.push_back((server.data.keys.now + LINGER, slot, client.id));
            }
            return;
        }
        let limit = server.settings.max_pending_output;
        if client.is_listening() && client.pending() > limit {
            server.drop_reader(slot, UNREAD, limit);
        }
    }

    /// Returns all output that waits for a client, and notes it as sent.
    pub fn take_output(&mut self, client: ClientSlot) -> Vec<u8> {
        let bytes = self.output(client).to_vec();
        self.note_sent(client, bytes.len());
        bytes
    }

    /// Makes [`Self::next_scheduled`] return a client again, because it can take more output.
    pub fn schedule(&mut self, client: ClientSlot) {
        self.server.schedule(client);
    }

    /// Whether a client should be closed now: it is doomed, or it is closing and all its output is sent.
    pub fn is_finished(&self, client: ClientSlot) -> bool {
        let client = self.server.clients.get(client);
        client.is_some_and(|client| client.doomed || client.closing && client.pending() == 0)
    }

    /// Forgets a client that has disconnected or must go. Its slot becomes free for another.
    pub fn close(&mut self, slot: ClientSlot) {
        let server = &mut self.server;
        // A running script may hold its watches and subscriptions, or there may be too many of them for one turn.
        if server.busy.is_some() || !delivery::leave_some(server, slot, NAMES_A_TURN) {
            if let Some(client) = server.clients.get_mut(slot)
                && !std::mem::replace(&mut client.departed, true)
            {
                client.release();
                server.departed.push(slot);
                server.recount(slot);
            }
            return server.doom(slot);
        }
        watches::release(server, slot);
        tracking::stop(server, slot);
        blocking::unblock(server, slot);
        if let Some(client) = server.clients.try_remove(slot) {
            server.slots.remove(&client.id);
            server.client_memory -= client.counted;
            server.monitors -= usize::from(client.monitor);
        }
    }

    fn close_all(&mut self) {
        let slots: Vec<ClientSlot> = self.server.clients.iter().map(|(slot, _)| slot).collect();
        for slot in slots {
            self.close(slot);
        }
        self.server.resumed.clear();
        persistence::close_log(&mut self.server);
    }

    /// Gives a client a reserve place, so that this process's own clients can connect even if others hold all
    /// regular places. When the reserve is full too, the client that has been in it longest is dropped, unless it
    /// has authenticated as one of this process's own.
    fn take_in_reserve(server: &mut StoreServer, slot: ClientSlot, id: u64) {
        server.reserve.push_back((slot, id));
        if server.reserve.len() <= RESERVE {
            return;
        }
        if let Some((slot, id)) = server.reserve.pop_front()
            && server.clients.get(slot).is_some_and(|client| client.id == id && client.reserve)
        {
            server.stats.rejected += 1;
            server.doom(slot);
        }
    }

    /// Sends the notifications that are left at the end of a round, and the round's changes to clients that track
    /// prefixes.
    fn tell(server: &mut StoreServer) {
        if !server.data.keys.events.is_empty() {
            server.data.publish_events();
        }
        if !server.data.pubsub.outbox.is_empty() {
            delivery::deliver(server, None);
        }
        if !server.trackers.is_empty() {
            tracking::deliver(server, None);
            tracking::broadcast(server);
        }
    }

    /// Releases the answers that were held back after a wrong password and are now due.
    fn release_held_back(server: &mut StoreServer) {
        while let Some((slot, id)) = server.auth_guard.release(server.data.keys.now) {
            if let Some(client) = server.clients.get_mut(slot)
                && client.id == id
            {
                client.held_back = false;
                server.resumed.push(slot);
                server.schedule(slot);
            }
        }
    }

    /// Dooms closing clients that have not fetched their output in time.
    fn end_lingering(server: &mut StoreServer) {
        while let Some(&(until, slot, id)) = server.lingering.front()
            && until <= server.data.keys.now
        {
            server.lingering.pop_front();
            if server.clients.get(slot).is_some_and(|client| client.id == id) {
                server.doom(slot);
            }
        }
    }
}
