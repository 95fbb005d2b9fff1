//! Creates small values without checking the engine's memory limit.

use mlua::Lua;

/// Values of fewer bytes than this are created without checking the engine's memory limit.
pub const UNGUARDED: usize = 16 << 10;

/// Creates values. Small ones are created without the engine's memory limit, because with it each would need a
/// protected call. Whatever the script creates next is subject to the limit again.
pub fn unguarded<T>(lua: &Lua, small: bool, make: impl FnOnce() -> mlua::Result<T>) -> mlua::Result<T> {
    if !small {
        return make();
    }
    let limit = lua.set_memory_limit(0)?;
    let made = make();
    lua.set_memory_limit(limit)?;
    made
}
