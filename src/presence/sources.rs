//! The scripts as they are sent to the store.

use std::sync::LazyLock;

/// A script and its hash.
pub struct Script {
    pub source: &'static str,
    pub hash: String,
}

impl Script {
    fn new(source: &'static str) -> Self {
        Self { source, hash: redis::Script::new(source).get_hash().to_owned() }
    }
}

/// All scripts.
pub struct Sources {
    pub visit: Script,
    pub sweep: Script,
    pub members: Script,
    pub state: Script,
    pub repair: Script,
    pub read: Script,
    pub unset: Script,
    pub list: Script,
    pub heartbeat: Script,
}

/// Builds a script on a channel's count: the code that all of these begin with, then the file. `on_people` adds the
/// code for visitors.
macro_rules! on_count {
    ($file:literal) => {
        Script::new(concat!(include_str!("lua/enter.lua"), include_str!("lua/count.lua"), include_str!($file)))
    };
}
macro_rules! on_people {
    ($file:literal) => {
        Script::new(concat!(
            include_str!("lua/enter.lua"),
            include_str!("lua/count.lua"),
            include_str!("lua/members.lua"),
            include_str!("lua/people.lua"),
            include_str!($file)
        ))
    };
}

impl Sources {
    /// Returns all scripts, with their hashes, which are computed once.
    pub fn all() -> &'static Self {
        static ALL: LazyLock<Sources> = LazyLock::new(Sources::new);
        &ALL
    }

    fn new() -> Self {
        Self {
            state: on_count!("lua/state.lua"),
            repair: on_people!("lua/repair.lua"),
            read: on_people!("lua/read.lua"),
            visit: on_people!("lua/visit.lua"),
            sweep: on_people!("lua/sweep.lua"),
            members: Script::new(include_str!("lua/members_read.lua")),
            unset: on_count!("lua/unset.lua"),
            list: Script::new(concat!(include_str!("lua/enter.lua"), include_str!("lua/list.lua"))),
            heartbeat: Script::new(include_str!("lua/heartbeat.lua")),
        }
    }
}
