//! One run of a script: what it works on, what it may do, and how long it has been at it.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::cjson::Config as JsonConfig;
use crate::store::access::Access;
use crate::store::command::Spec;
use crate::store::data::Data;
use crate::store::error::Outcome;
use crate::store::pubsub::Slot;
use crate::store::reply::Reply;
use crate::store::resp::Args;

/// Runs a command of the server itself for a client.
pub type ServerCall = fn(&mut Box<Data>, Slot, &Args, &mut Reply) -> Outcome;

/// Serves others while a script takes long, and says what is to become of it.
pub type Meanwhile = fn(Progress) -> Order;

/// What a script may do; the caller knows.
pub struct Permission {
    /// What its user may do; none if that is everything.
    pub access: Option<Rc<Access>>,
    /// Whether it must not write.
    pub read_only: bool,
    /// Whether commands that need memory are refused.
    pub out_of_memory: bool,
    /// Why commands that write are refused, if they are.
    pub log_problem: Option<String>,
    /// Finds commands of the server itself.
    pub server_spec: fn(&[u8]) -> Option<&'static Spec>,
    /// The number under which one of them is counted.
    pub server_number: fn(&Args) -> Option<usize>,
    /// Runs one of them, on the data that the script has meanwhile.
    pub server_call: ServerCall,
    /// The longest command that it may run, in bytes.
    pub longest_command: usize,
    /// The client that has called it.
    pub caller: Slot,
    /// Asked on every tick once the script has run for longer than [`Self::busy_after`].
    pub meanwhile: Meanwhile,
    /// See [`Self::meanwhile`].
    pub busy_after: Duration,
    /// How long it may run.
    pub time: Duration,
}

/// How far a script has come that takes long.
#[derive(Debug, Clone, Copy)]
pub struct Progress {
    /// The client that has called it.
    pub caller: Slot,
    /// Whether it has run a command that writes.
    pub has_written: bool,
}

/// What is to become of a script that takes long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// It may go on.
    GoOn,
    /// It is to end.
    End,
}

/// Why a script was ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// It ran for longer than any script may.
    OutOfTime,
    /// Somebody asked for it, with `SCRIPT KILL`.
    Killed,
}

impl Ended {
    /// What the script's caller is told. `written`: whether there was something to be undone.
    fn text(self, written: bool) -> &'static str {
        match (self, written) {
            (Self::OutOfTime, false) => "ERR Script ended: it ran for longer than script-time-limit allows.",
            (Self::OutOfTime, true) => {
                "ERR Script ended: it ran for longer than script-time-limit allows. What it wrote was undone."
            }
            (Self::Killed, false) => "ERR Script killed by user with SCRIPT KILL...",
            (Self::Killed, true) => "ERR Script ended: the store stops. What it wrote was undone.",
        }
    }
}

/// As what scripts see what one of the store's functions has thrown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Thrown {
    /// A text.
    Text,
    /// A table with the text.
    Table,
    /// The error of a command, which is counted already: a table that says so.
    Command,
}

/// What the running script works on and what it may do.
pub struct Session {
    /// The store's data, which nobody else can reach meanwhile.
    pub data: Box<Data>,
    /// What it may do.
    pub permission: Permission,
    /// The reply of the command that it runs, in the protocol that it has chosen.
    pub out: Reply,
    /// What one of the store's functions has thrown, and as what scripts see it.
    pub thrown: Option<(String, Thrown)>,
}

/// Where the generator of `math.random` stands.
#[derive(Debug, Clone, Copy)]
pub struct Random(pub u64);

impl Default for Random {
    fn default() -> Self {
        Self::START
    }
}

/// What the engine's functions and hook share.
#[derive(Default)]
pub struct State {
    /// The running script, if one runs.
    pub session: RefCell<Option<Session>>,
    /// Since when something runs, and until when it may.
    pub until: Cell<Option<Instant>>,
    /// When others are to be told that the store is busy.
    pub busy_from: Cell<Option<Instant>>,
    meanwhile: Cell<Option<(Meanwhile, Slot)>>,
    /// Whether the script has run a command that writes.
    pub has_written: Cell<bool>,
    /// Why the script has to end, if it has.
    pub ended: Cell<Option<Ended>>,
    /// What the script has set in `cjson`.
    pub json: Cell<JsonConfig>,
    /// How much a library may build for it, in bytes.
    pub memory: Cell<usize>,
    /// What `math.random` goes on from.
    pub random: Cell<Random>,
    /// Whether the error that it ended with, or returned, is counted already.
    pub counted: Cell<bool>,
    /// The line that it was ended on.
    pub ended_line: Cell<Option<usize>>,
}

/// The engine's side and its functions' side of the state.
pub type Shared = Rc<State>;

impl State {
    /// Starts the time of a compilation, which nobody is asked about.
    pub fn start_compiling(&self, time: Duration) {
        self.until.set(Instant::now().checked_add(time));
        self.busy_from.set(None);
        self.meanwhile.set(None);
        self.has_written.set(false);
        self.ended.set(None);
        self.ended_line.set(None);
    }

    /// Starts a script. The replies of its commands go into `buffer`.
    pub fn start(&self, data: Box<Data>, permission: Permission, buffer: Vec<u8>) {
        let now = Instant::now();
        self.until.set(now.checked_add(permission.time));
        self.busy_from.set(now.checked_add(permission.busy_after));
        self.meanwhile.set(Some((permission.meanwhile, permission.caller)));
        self.json.set(Default::default());
        self.has_written.set(false);
        self.ended.set(None);
        self.ended_line.set(None);
        let out = Reply { buf: buffer, ..Reply::default() };
        *self.session.borrow_mut() = Some(Session { data, permission, out, thrown: None });
    }

    /// Ends it and gives back what it worked on.
    pub fn finish(&self) -> Option<Session> {
        self.until.set(None);
        self.session.borrow_mut().take()
    }

    /// Why the script has to end, if it has.
    pub fn why_ended(&self) -> Option<&'static str> {
        self.ended.get().map(|ended| ended.text(self.has_written.get()))
    }

    /// Looks at the clock, and lets others have their turn if the script takes long. Returns why it has to
    /// end, if it has.
    pub fn look(&self) -> Option<&'static str> {
        if self.ended.get().is_none() {
            let now = Instant::now();
            if self.until.get().is_some_and(|until| now >= until) {
                self.ended.set(Some(Ended::OutOfTime));
            } else if let Some((meanwhile, caller)) = self.meanwhile.get()
                && self.busy_from.get().is_some_and(|from| now >= from)
                && meanwhile(Progress { caller, has_written: self.has_written.get() }) == Order::End
            {
                self.ended.set(Some(Ended::Killed));
            }
        }
        self.why_ended()
    }
}
