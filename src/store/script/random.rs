//! `math.random`: the same seed gives the same numbers as in Redis.
//!
//! The generator is that of `lrand48`. As in Redis, each script continues the sequence of the one before.

use std::cell::Cell;
use std::rc::Rc;

use mlua::{Lua, Table, Value, Variadic};

use super::library::{fail, number_argument};
use super::session::{Random, Shared};

/// The largest number that the generator returns.
const MAX: f64 = 2_147_483_647.0;

impl Random {
    /// The state with which the first script starts.
    pub const START: Self = Self::seeded(0);

    const fn seeded(seed: u32) -> Self {
        Self(((seed as u64) << 16) | 0x330e)
    }

    fn next(self) -> (Self, f64) {
        let state = self.0.wrapping_mul(0x5_deec_e66d).wrapping_add(11) & 0xffff_ffff_ffff;
        (Self(state), (state >> 17) as f64)
    }
}

/// Adds `random` and `randomseed`.
pub fn provide(lua: &Lua, state: &Shared, provided: &Table) -> mlua::Result<()> {
    let shared = Rc::clone(state);
    let random = move |lua: &Lua, args: Variadic<Value>| {
        let drawn = draw(&shared.random);
        let mut bounds = [0.0; 2];
        for (at, bound) in bounds.iter_mut().enumerate().take(args.len()) {
            *bound = number_argument(&args, at + 1, "random").map_err(|problem| fail(lua, &shared, &problem))?.trunc();
        }
        match args.len() {
            0 => Ok(drawn),
            1 if bounds[0] < 1.0 => Err(fail(lua, &shared, "bad argument #1 to 'random' (interval is empty)")),
            1 => Ok((drawn * bounds[0]).floor() + 1.0),
            2 if bounds[0] > bounds[1] => Err(fail(lua, &shared, "bad argument #2 to 'random' (interval is empty)")),
            2 => Ok((drawn * (bounds[1] - bounds[0] + 1.0)).floor() + bounds[0]),
            _ => Err(fail(lua, &shared, "wrong number of arguments")),
        }
    };
    provided.set("random", lua.create_function(random)?)?;
    let shared = Rc::clone(state);
    let seed = move |lua: &Lua, args: Variadic<Value>| {
        let seed = number_argument(&args, 1, "randomseed").map_err(|problem| fail(lua, &shared, &problem))?;
        shared.random.set(Random::seeded(seed as i64 as u32));
        Ok(())
    };
    provided.set("randomseed", lua.create_function(seed)?)
}

fn draw(random: &Cell<Random>) -> f64 {
    let (next, drawn) = random.get().next();
    random.set(next);
    drawn % MAX / MAX
}
