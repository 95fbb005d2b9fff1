//! What other programs do to the totals, and with keys of their own.

use std::time::Duration;

use tokio::time::Instant;

use super::visitor::{Exit, Visitor};
use super::world::{DEADLINE, EXACT, PATTERN, World, expect};

/// Another program sets the total. What it puts there on top of ours is its own; less than ours is
/// lifted to ours.
pub async fn set_total(world: &mut World, channel: &'static str, number: i64) -> Result<(), String> {
    let ours = world.ours(channel);
    if channel != EXACT && ours == 0 {
        return Ok(());
    }
    world.store.must::<(), _>(&["SET", channel, &number.to_string()]).await;
    world.foreign.insert(channel, (number - ours).max(0));
    give_back(world, channel).await
}

/// Another program adds to the total.
pub async fn add_to_total(world: &mut World, channel: &'static str, number: i64) -> Result<(), String> {
    let total = world.total(channel);
    if channel == EXACT || world.ours(channel) > 0 {
        world.store.must::<i64, _>(&["INCRBY", channel, &number.to_string()]).await;
        world.foreign.insert(channel, (total + number - world.ours(channel)).max(0));
        give_back(world, channel).await?;
    }
    Ok(())
}

/// On a pattern's channel, what another program added is taken away again once all agree on it: the
/// channel could not be told from that program's own key once nobody of ours is there.
async fn give_back(world: &mut World, channel: &'static str) -> Result<(), String> {
    if !PATTERN.contains(&channel) {
        return Ok(());
    }
    let since = Instant::now();
    world.settle(since).await.map_err(|why| format!("with a foreign part: {why}"))?;
    if let Some(added) = world.foreign.remove(channel).filter(|added| *added > 0) {
        world.store.must::<i64, _>(&["DECRBY", channel, &added.to_string()]).await;
    }
    Ok(())
}

/// A key that is somebody else's: whoever joins it is refused, and nobody else notices.
pub async fn foreign_key(world: &mut World) -> Result<(), String> {
    const KEY: &str = "page:/theirs";
    let value: &[&[u8]] = match world.rng.u8(..4) {
        0 => &[b"SET", b"page:/theirs", b"7"],
        1 => &[b"SET", b"page:/theirs", b"\x1f\x8b\x08\xff\xfe"],
        2 => &[b"RPUSH", b"page:/theirs", b"\xff"],
        _ => &[b"HSET", b"page:/theirs", b"a", b"b"],
    };
    world.note(format!("{KEY} is {:?}", String::from_utf8_lossy(value[0])));
    world.store.must::<redis::Value, _>(value).await;
    let place = world.any_awake();
    let to = world.places[place].address();
    let (joiner, watcher) = ([KEY].into(), [KEY].into());
    let joiner = Visitor::open(to, joiner, Default::default()).await?;
    let watcher = Visitor::open(to, Default::default(), watcher).await?;
    let deadline = Instant::now() + DEADLINE;
    while !(joiner.was_refused(KEY) && watcher.was_refused(KEY)) {
        if Instant::now() > deadline {
            return Err(format!("a foreign key was not refused ({:?}, {:?})", joiner.complaint(), watcher.complaint()));
        }
        let time = world.rng.u64(0..100);
        world.churn(Duration::from_millis(time)).await;
    }
    joiner.go(Exit::Close).await;
    watcher.go(Exit::Hang).await;
    let left: i64 = world.store.must(&["DEL", KEY]).await;
    expect(left == 1, || format!("{KEY} was touched"))
}
