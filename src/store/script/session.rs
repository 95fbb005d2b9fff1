//! One run of a script: what it works on, what it may do, and how long it has been running.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::cjson::Config as JsonConfig;
use crate::store::access::Access;
use crate::store::command::Spec;
use crate::store::data::Data;
use crate::store::error::Outcome;
use crate::store::pubsub::ClientSlot;
use crate::store::reply::Reply;
use crate::store::resp::Args;

/// Runs one of the server's own commands for a client.
pub type ServerCall = fn(&mut Box<Data>, ClientSlot, &Args, &mut Reply) -> Outcome;

/// Serves other clients while a script takes long, and returns whether the script may go on.
pub type Meanwhile = fn(Progress) -> ScriptVerdict;

/// What a script may do, as decided by its caller.
pub struct Permission {
    /// What its user may do; `None` if that is everything.
    pub access: Option<Rc<Access>>,
    /// Whether it must not write.
    pub read_only: bool,
    /// Whether commands that need memory are refused.
    pub out_of_memory: bool,
    /// Why commands that write are refused, if they are.
    pub log_problem: Option<String>,
    /// Finds one of the server's own commands.
    pub server_spec: fn(&[u8]) -> Option<&'static Spec>,
    /// The number under which such a command is counted.
    pub server_number: fn(&Args) -> Option<usize>,
    /// Runs such a command, on the data that the script holds.
    pub server_call: ServerCall,
    /// The longest command that it may run, in bytes.
    pub longest_command: usize,
    /// The client that has called the script.
    pub caller: ClientSlot,
    /// Called on every tick once the script has run for [`Self::busy_after`].
    pub meanwhile: Meanwhile,
    /// See [`Self::meanwhile`].
    pub busy_after: Duration,
    /// How long it may run.
    pub time: Duration,
}

/// The progress of a script that takes long.
#[derive(Debug, Clone, Copy)]
pub struct Progress {
    /// The client that has called the script.
    pub caller: ClientSlot,
    /// Whether it has run a command that writes.
    pub has_written: bool,
}

/// Whether a script that takes long may go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScriptVerdict {
    /// It may go on.
    GoOn,
    /// It must end.
    End,
}

/// Why a script was ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// It ran for longer than scripts may.
    OutOfTime,
    /// It was stopped from outside: by `SCRIPT KILL`, or because the store stops.
    Killed,
}

impl Ended {
    /// What the script's caller is told. `written` says whether there were writes to undo.
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

/// How a script sees what one of the store's functions has thrown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Thrown {
    /// As a text.
    Text,
    /// As a table that contains the text.
    Table,
    /// As a table that marks the error of a command as counted already.
    Command,
}

/// What the running script works on and what it may do.
pub struct ScriptSession {
    /// The store's data, which nobody else can reach meanwhile.
    pub data: Box<Data>,
    /// What it may do.
    pub permission: Permission,
    /// The reply of the script's last command, in the protocol that the script has chosen.
    pub out: Reply,
    /// What one of the store's functions has thrown, and how scripts see it.
    pub thrown: Option<(String, Thrown)>,
}

/// The state of the generator of `math.random`.
#[derive(Debug, Clone, Copy)]
pub struct Random(pub u64);

impl Default for Random {
    fn default() -> Self {
        Self::START
    }
}

/// The state that the engine's functions and its hook share.
#[derive(Default)]
pub struct ScriptState {
    /// The running script, if there is one.
    pub session: RefCell<Option<ScriptSession>>,
    /// The deadline of the running script or compilation.
    pub until: Cell<Option<Instant>>,
    /// When the store starts to count as busy.
    pub busy_from: Cell<Option<Instant>>,
    meanwhile: Cell<Option<(Meanwhile, ClientSlot)>>,
    /// Whether the script has run a command that writes.
    pub has_written: Cell<bool>,
    /// Why the script must end, if it must.
    pub ended: Cell<Option<Ended>>,
    /// What the script has set in `cjson`.
    pub json: Cell<JsonConfig>,
    /// How much memory a library may use to build something, in bytes.
    pub memory: Cell<usize>,
    /// The state of `math.random`.
    pub random: Cell<Random>,
    /// Whether the error that the script has thrown or returned has been counted already.
    pub counted: Cell<bool>,
    /// The line on which the script was ended.
    pub ended_line: Cell<Option<usize>>,
}

/// The state, as shared by the engine and its functions.
pub type Shared = Rc<ScriptState>;

impl ScriptState {
    /// Starts the time limit of a compilation, during which no other clients are served.
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
        *self.session.borrow_mut() = Some(ScriptSession { data, permission, out, thrown: None });
    }

    /// Ends the script and returns its session.
    pub fn finish(&self) -> Option<ScriptSession> {
        self.until.set(None);
        self.session.borrow_mut().take()
    }

    /// Why the script must end, if it must.
    pub fn why_ended(&self) -> Option<&'static str> {
        self.ended.get().map(|ended| ended.text(self.has_written.get()))
    }

    /// Looks at the clock, and serves other clients if the script takes long. Returns why the script must end, if
    /// it must.
    pub fn look(&self) -> Option<&'static str> {
        if self.ended.get().is_none() {
            let now = Instant::now();
            if self.until.get().is_some_and(|until| now >= until) {
                self.ended.set(Some(Ended::OutOfTime));
            } else if let Some((meanwhile, caller)) = self.meanwhile.get()
                && self.busy_from.get().is_some_and(|from| now >= from)
                && meanwhile(Progress { caller, has_written: self.has_written.get() }) == ScriptVerdict::End
            {
                self.ended.set(Some(Ended::Killed));
            }
        }
        self.why_ended()
    }
}
