//! The engine that runs scripts, and how it reports their failures.

use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

use mlua::chunk::ChunkMode;
use mlua::{Function, HookTriggers, Lua, LuaOptions, MultiValue, StdLib, Table, Value, VmState};

use super::convert::is_counted;
use super::header::code;
use super::library::position;
use super::session::{Permission, Shared};
use super::ticks::Ticking;
use super::unguarded::{UNGUARDED, unguarded};
use super::{bridge, reply};
use crate::store::data::Data;
use crate::store::error::{CommandError, NOSCRIPT, Outcome};
use crate::store::reply::Reply;
use crate::store::resp::Args;
use crate::store::settings::Options;
use crate::store::small_bytes::SmallBytes;

/// How long the compilation of a script may take.
const COMPILING: Duration = Duration::from_secs(5);

/// The engine.
pub struct Vm {
    lua: Lua,
    state: Shared,
    run: Function,
    names: reply::Names,
    compiled: HashMap<SmallBytes, Function>,
    memory: usize,
    /// The buffer for the replies of a script's commands, kept so that not every script has to grow one.
    buffer: Vec<u8>,
    /// Whether a script has used up the memory, including garbage that the engine does not free.
    pub exhausted: bool,
}

impl Vm {
    /// Creates an engine that has run nothing yet.
    pub fn new(options: &Options) -> mlua::Result<Self> {
        let libraries = StdLib::STRING | StdLib::TABLE | StdLib::MATH;
        let lua = Lua::new_with(libraries, LuaOptions::new().catch_rust_panics(false))?;
        let state = Shared::default();
        let run = bridge::build(&lua, &state)?;
        // The engine searches this table for the name of each stack frame whenever it throws an error, so it is
        // emptied.
        lua.set_named_registry_value("_LOADED", lua.create_table()?)?;
        let watched = Rc::clone(&state);
        // The engine calls the hook on ticks, whatever trigger is set here.
        lua.set_global_hook(HookTriggers::new().every_nth_instruction(u32::MAX >> 1), move |lua, _| {
            let Some(ended) = watched.look() else { return Ok(VmState::Continue) };
            if watched.ended_line.get().is_none() {
                watched.ended_line.set(position(lua));
            }
            Err(mlua::Error::RuntimeError(ended.to_owned()))
        })?;
        let names = reply::Names::new(&lua)?;
        let mut vm =
            Self { lua, state, run, names, compiled: HashMap::new(), memory: 0, buffer: Vec::new(), exhausted: false };
        vm.set_limits(options);
        Ok(vm)
    }

    /// Applies changed limits.
    pub fn set_limits(&mut self, options: &Options) {
        self.memory = options.script_memory;
        self.state.memory.set(options.script_memory);
        if let Err(error) = self.lua.set_memory_limit(options.script_memory) {
            tracing::warn!(%error, "scripts run without a memory limit");
        }
    }

    /// The memory that the engine uses, in bytes.
    pub fn used_memory(&self) -> usize {
        self.lua.used_memory()
    }

    /// Whether compiled scripts use so much of the memory that a script may not have enough.
    pub fn is_crowded(&self) -> bool {
        self.lua.used_memory() > self.memory / 2
            && self.lua.gc_collect().is_ok()
            && self.lua.used_memory() > self.memory / 2
    }

    /// Compiles a script and keeps the result, unless it is compiled already.
    pub fn compile(&mut self, name: &[u8], source: &[u8]) -> Outcome {
        if self.compiled.contains_key(name) {
            return Ok(());
        }
        let _ticking = start_clock()?;
        self.state.start_compiling(COMPILING);
        let chunk = self.lua.load(code(source)).set_name("@user_script").set_mode(ChunkMode::Text);
        let function = chunk.into_function().map_err(|error| {
            let text = match error {
                _ if self.state.ended.get().is_some() => "it takes too long".to_owned(),
                mlua::Error::SyntaxError { message, .. } => message,
                other => other.to_string(),
            };
            CommandError::new(format!("ERR Error compiling script (new function): {text}"))
        })?;
        self.compiled.insert(SmallBytes::new(name), function);
        Ok(())
    }

    /// Forgets a script.
    pub fn forget(&mut self, name: &[u8]) {
        self.compiled.remove(name);
    }

    /// Whether the last script has run a command that writes.
    pub fn has_written(&self) -> bool {
        self.state.has_written.get()
    }

    /// Whether the error of the last script has been counted already, because it was a command's.
    pub fn is_counted(&self) -> bool {
        self.state.counted.get()
    }

    /// Whether the last script was stopped before it ended.
    pub fn was_ended(&self) -> bool {
        self.state.ended.get().is_some()
    }

    /// Runs a script that [`Self::compile`] has accepted, on the data in `place`, which is empty meanwhile.
    pub fn run(
        &mut self,
        name: &[u8],
        place: &mut Option<Box<Data>>,
        permission: Permission,
        keys: &Args,
        argv: &Args,
        out: &mut Reply,
    ) -> Outcome {
        let Some(function) = self.compiled.get(name) else {
            return Err(NOSCRIPT);
        };
        let _ticking = start_clock()?;
        let Some(data) = place.take() else {
            return Err(NOSCRIPT);
        };
        self.state.start(data, permission, std::mem::take(&mut self.buffer));
        self.state.counted.set(false);
        let mut outcome = match self.enter(function, keys, argv) {
            Ok((true, value)) => {
                self.state.counted.set(is_counted(&value));
                reply::write(&self.state, &self.names, &value, out)
            }
            Ok((false, problem)) => {
                self.state.counted.set(is_counted(&problem));
                self.exhausted = self.lua.used_memory() > self.memory / 2;
                Err(explain(&problem, name))
            }
            Err(error) => {
                // Only the engine's own failures, such as a lack of memory, come this way.
                self.exhausted = true;
                Err(CommandError::new(format!("ERR {error} script: {}", String::from_utf8_lossy(name))))
            }
        };
        if let Some(ended) = self.state.why_ended() {
            let line = self.state.ended_line.get();
            outcome = Err(located(ended, name, line));
            self.state.counted.set(false);
        }
        if let Some(session) = self.state.finish() {
            *place = Some(session.data);
            self.buffer = session.out.buf;
        }
        outcome
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

/// Starts the clock. Without it nothing is run, because no time limit would hold.
fn start_clock() -> Result<Ticking, CommandError> {
    Ticking::start().map_err(|error| CommandError::new(format!("ERR no clock for scripts: {error}")))
}

/// Returns the error reply for what a script has thrown: text, script and line.
fn explain(problem: &Value, name: &[u8]) -> CommandError {
    let Value::Table(table) = problem else {
        return located("ERR unknown error", name, None);
    };
    let text = match table.raw_get::<Value>("err") {
        Ok(Value::String(text)) => text.to_string_lossy(),
        _ => "ERR unknown error".to_owned(),
    };
    located(&text, name, table.raw_get::<Option<usize>>("line").ok().flatten())
}

fn located(text: &str, name: &[u8], line: Option<usize>) -> CommandError {
    let name = String::from_utf8_lossy(name);
    CommandError::new(match line {
        Some(line) => format!("{text} script: {name}, on @user_script:{line}."),
        None => format!("{text} script: {name}"),
    })
}
