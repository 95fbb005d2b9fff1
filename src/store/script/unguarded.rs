//! Small values, made without a look at the engine's limit of memory.

use mlua::Lua;

/// What is made without a look at the engine's limit of memory is smaller than this, in bytes.
pub const UNGUARDED: usize = 16 << 10;

/// Makes values, small ones without the engine's limit of memory, for which each would take a protected
/// call. Whatever the script makes next meets the limit.
pub fn unguarded<T>(lua: &Lua, small: bool, make: impl FnOnce() -> mlua::Result<T>) -> mlua::Result<T> {
    if !small {
        return make();
    }
    let limit = lua.set_memory_limit(0)?;
    let made = make();
    lua.set_memory_limit(limit)?;
    made
}
