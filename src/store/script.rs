//! Lua scripts: their sources by SHA-1, and the engine that runs them.
//!
//! A script sees Lua 5.1 without files, processes, bytecode or the means to change what it shares
//! with other scripts. It reaches the data through `redis.call`: while it runs, the [`Data`] is handed
//! over to the engine as a whole and given back at its end, so that nobody else can see a script's
//! work half done. Its time and its memory have limits; a script over its time is ended where it is,
//! and what it has written by then stays, in the log as well.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

use mlua::chunk::ChunkMode;
use mlua::{Function, HookTriggers, Lua, LuaOptions, MultiValue, StdLib, Table, Value, VmState};
use sha1::{Digest, Sha1};

use super::command::Spec;
use super::data::Data;
use super::error::{CommandError, Outcome};
use super::number::hex;
use super::reply::Reply;
use super::resp::Args;
use super::settings::Options;
use super::small_bytes::SmallBytes;

mod bridge;
mod cjson;
mod convert;

/// Scripts by the lower case hexadecimal SHA-1 of their source.
#[derive(Debug, Default)]
pub struct Scripts {
    sources: HashMap<SmallBytes, SmallBytes>,
}

impl Scripts {
    /// Keeps a script; returns its SHA-1.
    pub fn load(&mut self, source: &[u8]) -> SmallBytes {
        let name = SmallBytes::new(sha1_hex(source).as_bytes());
        self.sources.entry(name.clone()).or_insert_with(|| SmallBytes::new(source));
        name
    }

    /// The source of a script.
    pub fn get(&self, name: &[u8]) -> Option<&[u8]> {
        self.sources.get(name).map(|source| &**source)
    }

    /// Forgets all scripts.
    pub fn clear(&mut self) {
        self.sources.clear();
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.sources.len()
    }
}

/// The SHA-1 of some bytes in lower case hexadecimal.
pub fn sha1_hex(bytes: &[u8]) -> String {
    hex(&Sha1::digest(bytes))
}

/// What the running script works on and what it may do.
struct Session {
    data: Box<Data>,
    read_only: bool,
    /// Why commands that need memory are refused.
    out_of_memory: bool,
    /// Why commands that write are refused.
    log_problem: Option<String>,
    server_spec: fn(&[u8]) -> Option<&'static Spec>,
    out: Reply,
    deadline: Instant,
    /// What one of the store's functions has thrown, and whether scripts see a table.
    thrown: Option<(String, bool)>,
}

type Shared = Rc<RefCell<Option<Session>>>;

/// What a script may do; the caller knows.
pub struct Permission {
    /// Whether it must not write.
    pub read_only: bool,
    /// Whether commands that need memory are refused.
    pub out_of_memory: bool,
    /// Why commands that write are refused, if they are.
    pub log_problem: Option<String>,
    /// Finds commands of the server itself, which no script may call.
    pub server_spec: fn(&[u8]) -> Option<&'static Spec>,
}

/// The engine; see the module's text.
pub struct Vm {
    lua: Lua,
    session: Shared,
    environment: Table,
    run: Function,
    compiled: HashMap<SmallBytes, Function>,
    time: Duration,
    memory: usize,
    /// Whether a script has used up the memory, garbage that the engine does not get rid of included.
    pub exhausted: bool,
}

/// What is made without a look at the engine's limit of memory is smaller than this, in bytes.
const UNGUARDED: usize = 16 << 10;

/// How many instructions pass between two looks at the clock.
const CLOCK_EVERY: u32 = 20_000;

impl Vm {
    /// An engine that has run nothing yet.
    pub fn new(options: &Options) -> mlua::Result<Self> {
        let libraries = StdLib::STRING | StdLib::TABLE | StdLib::MATH;
        let lua = Lua::new_with(libraries, LuaOptions::new())?;
        let session = Shared::default();
        let (environment, run) = bridge::build(&lua, &session)?;
        let watched = Rc::clone(&session);
        let triggers = HookTriggers::new().every_nth_instruction(CLOCK_EVERY);
        lua.set_global_hook(triggers, move |_, _| {
            if bridge::is_expired(&watched) {
                Err(mlua::Error::RuntimeError("out of time".to_owned()))
            } else {
                Ok(VmState::Continue)
            }
        })?;
        let time = Duration::from_millis(options.script_time);
        let vm = Self {
            lua,
            session,
            environment,
            run,
            compiled: HashMap::new(),
            time,
            memory: options.script_memory,
            exhausted: false,
        };
        vm.set_limits(options);
        Ok(vm)
    }

    /// Applies changed limits.
    pub fn set_limits(&self, options: &Options) {
        if let Err(error) = self.lua.set_memory_limit(options.script_memory) {
            tracing::warn!(%error, "scripts run without a memory limit");
        }
    }

    /// What the engine takes, in bytes.
    pub fn used_memory(&self) -> usize {
        self.lua.used_memory()
    }

    /// Makes sure that a script can be compiled, and keeps it so.
    pub fn compile(&mut self, name: &[u8], source: &[u8]) -> Outcome {
        if self.compiled.contains_key(name) {
            return Ok(());
        }
        let chunk = self
            .lua
            .load(source)
            .set_name("@user_script")
            .set_mode(ChunkMode::Text)
            .set_environment(self.environment.clone());
        let function = chunk.into_function().map_err(|error| {
            let text = match error {
                mlua::Error::SyntaxError { message, .. } => message,
                other => other.to_string(),
            };
            CommandError::new(format!("ERR Error compiling script (new function): {text}"))
        })?;
        self.compiled.insert(SmallBytes::new(name), function);
        Ok(())
    }

    /// Runs a script that [`Self::compile`] has accepted.
    pub fn run(
        &mut self,
        name: &[u8],
        data: &mut Box<Data>,
        permission: Permission,
        keys: &Args,
        argv: &Args,
        out: &mut Reply,
    ) -> Outcome {
        let Some(function) = self.compiled.get(name) else {
            return Err(super::error::NOSCRIPT);
        };
        *self.session.borrow_mut() = Some(Session {
            data: std::mem::take(data),
            read_only: permission.read_only,
            out_of_memory: permission.out_of_memory,
            log_problem: permission.log_problem,
            server_spec: permission.server_spec,
            out: Reply::default(),
            deadline: Instant::now() + self.time,
            thrown: None,
        });
        let result = self.enter(function, keys, argv);
        if let Some(session) = self.session.borrow_mut().take() {
            *data = session.data;
        }
        match result {
            Ok((true, value)) => convert::reply(&value, out, 0),
            Ok((false, problem)) => {
                self.exhausted = self.lua.used_memory() > self.memory / 2;
                return Err(explain(&problem, name));
            }
            Err(error) => {
                // Only the engine's own failures, such as a lack of memory, come this way.
                self.exhausted = true;
                return Err(CommandError::new(format!("ERR {error} script: {}", String::from_utf8_lossy(name))));
            }
        }
        Ok(())
    }

    fn enter(&self, function: &Function, keys: &Args, argv: &Args) -> mlua::Result<(bool, Value)> {
        let list = |items: &Args| -> mlua::Result<Table> {
            let table = self.lua.create_table_with_capacity(items.len(), 0)?;
            for item in items {
                table.raw_push(self.lua.create_string(item)?)?;
            }
            Ok(table)
        };
        let small = [keys, argv]
            .iter()
            .all(|list| list.iter().map(|item| size_of::<Value>() + item.len()).sum::<usize>() < UNGUARDED);
        let (keys, argv) = unguarded(&self.lua, small, || Ok((list(keys)?, list(argv)?)))?;
        let mut results: MultiValue = self.run.call((function, keys, argv))?;
        let passed = matches!(results.pop_front(), Some(Value::Boolean(true)));
        Ok((passed, results.pop_front().unwrap_or(Value::Nil)))
    }
}

/// Makes values, small ones without the engine's limit of memory, for which each would take a protected
/// call. Whatever the script makes next meets the limit.
fn unguarded<T>(lua: &Lua, small: bool, make: impl FnOnce() -> mlua::Result<T>) -> mlua::Result<T> {
    if !small {
        return make();
    }
    let limit = lua.set_memory_limit(0)?;
    let made = make();
    lua.set_memory_limit(limit)?;
    made
}

/// The error reply for what a script has thrown: the text, the script, the line.
fn explain(problem: &Value, name: &[u8]) -> CommandError {
    let name = String::from_utf8_lossy(name);
    let Value::Table(table) = problem else {
        return CommandError::new(format!("ERR unknown error script: {name}"));
    };
    let text = match table.raw_get::<Value>("err") {
        Ok(Value::String(text)) => text.to_string_lossy(),
        _ => "ERR unknown error".to_owned(),
    };
    match table.raw_get::<Option<i64>>("line") {
        Ok(Some(line)) => CommandError::new(format!("{text} script: {name}, on @user_script:{line}.")),
        _ => CommandError::new(format!("{text} script: {name}")),
    }
}
