//! One key of the count lost, or with something else in it than we put there.

use std::time::Duration;

use redis::Value;

use super::world::{World, side};

/// A key of the count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Key {
    Total(String),
    Tally(String),
    Own(String),
    People(String),
    Owner(String),
    Members(String),
    Nodes(String),
    Node(String),
}

impl Key {
    pub async fn draw(world: &mut World, channel: &str) -> Key {
        match world.rng.u8(..8) {
            0 => Key::Total(channel.into()),
            1 => Key::Tally(side(channel, "tally")),
            2 => Key::Own(side(channel, "own")),
            3 => Key::People(side(channel, "people")),
            4 => Key::Owner(side(channel, "owner")),
            5 => Key::Members(side(channel, "members")),
            6 => Key::Nodes("headcount:v1:nodes".into()),
            _ => {
                let mut lists: Vec<String> = world.store.must(&["KEYS", "headcount:v1:node:*"]).await;
                lists.sort();
                let which = world.rng.usize(..lists.len().max(1));
                lists.get(which).map_or(Key::Nodes("headcount:v1:nodes".into()), |name| Key::Node(name.clone()))
            }
        }
    }

    fn name(&self) -> &str {
        match self {
            Key::Total(name) | Key::Tally(name) | Key::Own(name) | Key::People(name) | Key::Owner(name) => name,
            Key::Members(name) | Key::Nodes(name) | Key::Node(name) => name,
        }
    }
}

/// The key is gone. With the total goes what others had added to it.
pub async fn lose(world: &mut World, key: &Key, channel: &'static str) {
    world.store.must::<i64, _>(&["DEL", key.name()]).await;
    if matches!(key, Key::Total(_)) {
        world.foreign.remove(channel);
    }
}

/// Something else is in the key.
pub async fn damage(world: &mut World, key: &Key, channel: &'static str) -> Result<(), String> {
    let name = key.name().as_bytes().to_vec();
    if let Key::Total(_) = key {
        return damage_total(world, channel).await;
    }
    // A number under an id of nobody, no number, bytes that are no text, another type.
    let mut commands: Vec<Vec<&[u8]>> = vec![vec![b"SET", &name, b"text"], vec![b"SET", &name, b"\xff\xfe\x00"]];
    let replaced = commands.len();
    match key {
        Key::Tally(_) => {
            commands.push(vec![b"HSET", &name, b"bogus", b"abc"]);
            commands.push(vec![b"HSET", &name, b"bogus", b"7"]);
            commands.push(vec![b"HSET", &name, b"\xff\xfe", b"3"]);
            commands.push(vec![b"HSET", &name, b"\xff\xfe", b"\x1f\x8b"]);
            commands.push(vec![b"HSET", &name, b"bogus", b"9223372036854775807"]);
        }
        Key::Owner(_) => {
            commands.push(vec![b"HSET", &name, b"bogus", b"abc"]);
            commands.push(vec![b"HSET", &name, b"xy", b"5 9223372036854775807 nobody"]);
            commands.push(vec![b"HSET", &name, b"\xff\xfe", b"\x1f\x8b"]);
        }
        Key::Members(_) => {
            commands.push(vec![b"HSET", &name, b"", b"abc"]);
            commands.push(vec![b"HSET", &name, b"0123456789abcdef", b"17 1 3 evil"]);
            commands.push(vec![b"HSET", &name, b"bogus", b"\xff\xfe"]);
        }
        Key::Nodes(_) => {
            commands.push(vec![b"ZADD", &name, b"1", b"\xff\xfe"]);
            commands.push(vec![b"ZADD", &name, b"1", b""]);
            commands.push(vec![b"ZADD", &name, b"-inf", b"bogus"]);
            commands.push(vec![b"ZADD", &name, b"1", b"has spaces\r\nand lines"]);
        }
        Key::Node(_) => {
            commands.push(vec![b"SADD", &name, b"\xff\xfe"]);
            commands.push(vec![b"SADD", &name, b"page:/never"]);
        }
        _ => {}
    }
    let lists: Vec<&[u8]> = vec![b"RPUSH", &name, b"a"];
    let which = world.rng.usize(..=commands.len());
    let command = commands.get(which).unwrap_or(&lists).clone();
    let told = command.iter().map(|part| String::from_utf8_lossy(part).into_owned()).collect::<Vec<_>>();
    world.note(format!("{told:?}"));
    // Only what would be refused on a key of this type needs it gone first.
    if which < replaced || which == commands.len() {
        // In one step, so that nobody writes between.
        let script = "redis.call('DEL', KEYS[1]) return redis.call(ARGV[1], KEYS[1], ARGV[2])";
        let eval: Vec<&[u8]> = vec![b"EVAL", script.as_bytes(), b"1", &name, command[0], command[2]];
        world.store.must::<Value, _>(&eval).await;
    } else {
        // The key may be gone by itself, or of another type by an earlier fault: nobody heals the list of a channel
        // that has none.
        match world.store.run::<Value, _>(&command).await {
            Err(why) if !why.contains("WRONGTYPE") => panic!("{why}"),
            _ => {}
        }
    }
    if world.rng.bool() {
        world.churn(Duration::from_millis(500)).await;
    }
    Ok(())
}

/// The total holds no count. What others had added is gone with it.
async fn damage_total(world: &mut World, channel: &'static str) -> Result<(), String> {
    // Without anybody there, the key would be somebody else's.
    if world.ours(channel) == 0 {
        return Ok(());
    }
    let texts: [&[u8]; 7] =
        [b"banana", b"", b"\xff\xfe", b" 5", b"1e3", b"9223372036854775807", b"-9223372036854775808"];
    let which = world.rng.usize(..=texts.len());
    world.foreign.remove(channel);
    if let Some(text) = texts.get(which) {
        world.note(format!("SET {channel} {:?}", String::from_utf8_lossy(text)));
        world.store.must::<(), _>(&[b"SET", channel.as_bytes(), text]).await;
    } else {
        world.note(format!("{channel} becomes a list"));
        let script = "redis.call('DEL', KEYS[1]) return redis.call('RPUSH', KEYS[1], 'precious')";
        world.store.must::<i64, _>(&["EVAL", script, "1", channel]).await;
    }
    // A text is replaced. What could be of value to somebody stays until it is taken away.
    if which >= 5 {
        world.churn(Duration::from_millis(2_000)).await;
        world.store.must::<i64, _>(&["DEL", channel]).await;
    }
    Ok(())
}
