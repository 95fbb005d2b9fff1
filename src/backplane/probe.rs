//! `headcount check --connect`: reports what this server would find at the store, and what is missing there.
//!
//! It does what a server does, on keys of its own that are gone at the end, so that each missing
//! permission shows up by name.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use redis::{Cmd, FromRedisValue, ScriptInvocation, Value};
use tokio::sync::watch;
use tokio::time::timeout;

use super::connect::{Connection, Connector, Failure};
use super::error::Error;
use super::inbox::Inbox;
use super::peer::{Peer, eviction, field, too_old};
use super::shards::ask_seed;
use super::slots::{slot, tag_within};
use super::topology::Topology;
use crate::config;

/// The number of round trips to measure.
const ROUNDS: u32 = 5;
/// Above this difference between the clocks, in milliseconds, a note says that the log times will not match.
const CLOCK: i64 = 1_000;

/// What a server would find.
#[derive(Debug, Default)]
pub struct Findings {
    /// Plain facts, each a name and a value.
    pub facts: Vec<(&'static str, String)>,
    /// What keeps a server from counting, and what to do about it.
    pub problems: Vec<String>,
}

/// Connects as a server does and examines the store. `channels` are those that the configuration names exactly.
///
/// # Errors
/// Why there is no connection.
pub async fn probe(config: &config::Redis, channels: Vec<String>) -> Result<Findings, String> {
    let (_, nobody_else) = watch::channel(None);
    let connector = Connector::new(config, nobody_else).map_err(|error| error.to_string())?;
    let prefix = &config.key_prefix;
    let own = format!("{prefix}headcount:v1:check");
    let names: Vec<String> = channels.iter().map(|channel| format!("{prefix}{channel}")).chain([own]).collect();
    let mut findings = Findings::default();
    if connector.seeds().is_empty() {
        let tag = format!("check-{:016x}", fastrand::u64(..));
        Probe::of(connector, prefix, None, &mut findings).await?.look(&tag, &names).await?;
        return Ok(findings);
    }
    let topology = ask_topology(&connector).await?;
    if topology.uncovered() > 0 {
        findings.problems.push(format!("{} of the cluster's 16384 slots are nobody's", topology.uncovered()));
    }
    for primary in topology.primaries() {
        let ranges = topology.ranges(primary);
        let here = |slot: u16| ranges.iter().any(|(first, last)| (*first..=*last).contains(&slot));
        let names: Vec<String> = names.iter().filter(|name| here(slot(name.as_bytes()))).cloned().collect();
        let Some(tag) = tag_within(&ranges) else { continue };
        let mut probe = Probe::of(connector.to(primary), prefix, Some(ranges), &mut findings).await?;
        probe.look(&tag, &names).await?;
    }
    Ok(findings)
}

/// Asks the servers that the address names, one by one, until one answers.
async fn ask_topology(connector: &Connector) -> Result<Topology, String> {
    let mut failure = String::new();
    for place in 0..connector.seeds().len() {
        match ask_seed(connector, place).await {
            Ok(view) => return Ok(Topology::of(&[view], &Topology::default())),
            Err(why) => failure = why.into_reason(),
        }
    }
    let missing = failure.contains("NOPERM") && failure.contains("cluster");
    Err(if missing { "CLUSTER SLOTS is not allowed: give the user +cluster|slots".to_owned() } else { failure })
}

struct Probe<'a> {
    connector: Connector,
    connection: Connection,
    prefix: &'a str,
    /// The slots of this primary, in a cluster.
    slots: Option<Vec<(u16, u16)>>,
    findings: &'a mut Findings,
}

impl<'a> Probe<'a> {
    async fn of(
        connector: Connector,
        prefix: &'a str,
        slots: Option<Vec<(u16, u16)>>,
        findings: &'a mut Findings,
    ) -> Result<Self, String> {
        let connected = connector.commands().await.map_err(Failure::into_reason);
        let at = |why| if slots.is_some() { format!("{}: {why}", connector.shown) } else { why };
        Ok(Self { connection: connected.map_err(at)?, connector, prefix, slots, findings })
    }

    /// Examines one server. `tag` goes into the keys that are tried; `names` are the names of its channels.
    async fn look(&mut self, tag: &str, names: &[String]) -> Result<(), String> {
        self.look_at_store().await?;
        self.look_at_clock().await?;
        self.try_commands(tag).await?;
        self.try_channels(names).await
    }

    /// Sends one command. The outer error means that the connection is lost.
    async fn ask<T: FromRedisValue>(&mut self, command: &Cmd) -> Result<Result<T, Error>, String> {
        let limit = self.connector.response_timeout;
        let answer = timeout(limit, command.query_async::<Value>(&mut self.connection.commands)).await;
        match answer.map(|answer| answer.map_err(|error| Error::of(&error))) {
            Err(_) => Err(format!("{}: no answer within {limit:?}", name_of(command))),
            Ok(Err(Error::Lost(why))) => Err(why),
            Ok(Err(answered)) => Ok(Err(answered)),
            Ok(Ok(value)) => Ok(T::from_redis_value(value).map_err(|error| Error::Reply(error.to_string()))),
        }
    }

    async fn look_at_store(&mut self) -> Result<(), String> {
        let at = match &self.connection.server {
            Some((host, port)) => format!("{host}:{port}, by {}", self.connector.shown),
            None => self.connector.shown.to_string(),
        };
        let info = match self.ask::<String>(redis::cmd("INFO").arg("everything")).await? {
            Ok(info) => info,
            Err(error) => {
                self.problem("INFO", &error);
                self.findings.facts.push(("store", at));
                return Ok(());
            }
        };
        self.findings.facts.push(("store", format!("{} at {at}", Peer::read(&info).name)));
        self.findings.problems.extend(too_old(&info));
        let role = field(&info, "role").unwrap_or("unknown").to_owned();
        if role == "slave" {
            self.findings.problems.push("it is a replica; servers need the primary".to_owned());
        }
        self.findings.facts.push(("role", if role == "slave" { "replica".to_owned() } else { role }));
        if let Some(slots) = &self.slots {
            let ranges: Vec<String> = slots.iter().map(|(first, last)| format!("{first}-{last}")).collect();
            self.findings.facts.push(("slots", ranges.join(" ")));
        } else if field(&info, "cluster_enabled") == Some("1") {
            let how = "yes; redis+cluster:// uses all of its servers, this address only one".to_owned();
            self.findings.facts.push(("cluster", how));
        }
        if let Some(policy) = eviction(&info) {
            self.findings.problems.push(format!(
                "it may evict keys, and with them a count: set maxmemory-policy to noeviction (it is {policy})"
            ));
        }
        let policy = field(&info, "maxmemory_policy").unwrap_or("unknown").to_owned();
        self.findings.facts.push(("eviction", policy));
        Ok(())
    }

    async fn look_at_clock(&mut self) -> Result<(), String> {
        let mut best = Duration::MAX;
        for _ in 0..ROUNDS {
            let start = Instant::now();
            if let Err(error) = self.ask::<Value>(&redis::cmd("PING")).await? {
                self.problem("PING", &error);
                return Ok(());
            }
            best = best.min(start.elapsed());
        }
        self.findings.facts.push(("round trip", format!("{:.2} ms", best.as_secs_f64() * 1_000.0)));
        let start = Instant::now();
        match self.ask::<(i64, i64)>(&redis::cmd("TIME")).await? {
            Err(error) => self.problem("TIME", &error),
            Ok((seconds, micros)) => {
                let here = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                let here = (here.saturating_sub(start.elapsed() / 2)).as_millis() as i64;
                let ahead = seconds.saturating_mul(1_000).saturating_add(micros / 1_000).saturating_sub(here);
                let note =
                    if ahead.abs() > CLOCK { "; harmless, but the times in the logs will not match" } else { "" };
                let words = if ahead < 0 { "behind" } else { "ahead of" };
                self.findings.facts.push(("clock", format!("{} ms {words} this machine's{note}", ahead.abs())));
            }
        }
        Ok(())
    }

    /// Tries each command that a server uses, once.
    async fn try_commands(&mut self, tag: &str) -> Result<(), String> {
        let before = self.findings.problems.len();
        for words in commands(self.prefix, tag) {
            let mut command = redis::cmd(&words[0]);
            command.arg(&words[1..]);
            if let Err(error) = self.ask::<Value>(&command).await? {
                self.problem(&words[0], &error);
            }
        }
        if self.slots.is_some()
            && let Err(error) = self.ask::<Value>(redis::cmd("CLUSTER").arg("SLOTS")).await?
        {
            self.problem("CLUSTER SLOTS", &error);
        }
        let script = redis::Script::new("return 1");
        let invocation: ScriptInvocation<'_> = script.prepare_invoke();
        let limit = self.connector.response_timeout;
        let ran = timeout(limit, invocation.invoke_async::<Value>(&mut self.connection.commands)).await;
        match ran.map(|ran| ran.map_err(|error| Error::of(&error))) {
            Err(_) => return Err(format!("EVALSHA: no answer within {limit:?}")),
            Ok(Err(Error::Lost(why))) => return Err(why),
            Ok(Err(error)) => self.problem("EVALSHA and SCRIPT LOAD", &error),
            Ok(Ok(_)) => {}
        }
        if self.findings.problems.len() == before {
            self.findings.facts.push(("rights", "all that a server needs".to_owned()));
        }
        Ok(())
    }

    /// Checks whether the keys and channels of the configuration may be used.
    async fn try_channels(&mut self, names: &[String]) -> Result<(), String> {
        for name in names {
            if let Err(error) = self.ask::<Value>(redis::cmd("EXISTS").arg(name)).await? {
                let problem = format!("the key {name} cannot be used: {}; allow ~{name}", error.reason());
                self.findings.problems.push(problem);
            }
        }
        let inbox = std::sync::Arc::new(Inbox::default());
        let subscription = self.connector.subscription(&inbox, |_| Ok(())).await;
        let mut subscription = subscription.map_err(|why| format!("no subscription: {}", why.into_reason()))?;
        for name in names {
            let limit = self.connector.response_timeout;
            match timeout(limit, subscription.commands.subscribe(name)).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => {
                    let why = Error::of(&error).reason();
                    self.findings.problems.push(format!("the channel {name} cannot be used: {why}; allow &{name}"));
                }
                Err(_) => return Err(format!("SUBSCRIBE: no answer within {limit:?}")),
            }
        }
        Ok(())
    }

    fn problem(&mut self, command: &str, error: &Error) {
        let why = error.reason();
        let what = match why.contains("NOPERM") {
            true if why.contains("key") => format!("{command} is not allowed on headcount's keys: allow ~*"),
            true if why.contains(" channel") => format!("{command} is not allowed on headcount's channels: allow &*"),
            true => {
                let rights: Vec<String> =
                    command.split(" and ").map(|name| format!("+{}", name.to_lowercase().replace(' ', "|"))).collect();
                format!("{command} is not allowed: give the user {}", rights.join(" "))
            }
            false => format!("{command} is refused: {why}"),
        };
        self.findings.problems.push(what);
    }
}

fn name_of(command: &Cmd) -> String {
    match command.args_iter().next() {
        Some(redis::Arg::Simple(name)) => String::from_utf8_lossy(name).into_owned(),
        _ => "a command".to_owned(),
    }
}

/// Returns every command that a server or its scripts use, on keys that are gone at the end.
fn commands(prefix: &str, tag: &str) -> Vec<Vec<String>> {
    let base = format!("{prefix}headcount:v1:{{{tag}}}:check");
    let (text, hash, sorted, set) =
        (format!("{base}:text"), format!("{base}:hash"), format!("{base}:sorted"), format!("{base}:set"));
    let channel = format!("{prefix}headcount:v1:check");
    let lines: [&[&str]; 29] = [
        &["SET", &text, "1", "PX", "10000"],
        &["INCRBY", &text, "1"],
        &["GETRANGE", &text, "0", "1"],
        &["MGET", &text],
        &["EXISTS", &text],
        &["TYPE", &text],
        &["SCAN", "0", "COUNT", "1"],
        &["HSET", &hash, "field", "1"],
        &["HLEN", &hash],
        &["HGETALL", &hash],
        &["HMGET", &hash, "field"],
        &["HSCAN", &hash, "0"],
        &["HDEL", &hash, "field"],
        &["ZADD", &sorted, "1", "member"],
        &["ZSCORE", &sorted, "member"],
        &["ZMSCORE", &sorted, "member"],
        &["ZRANGEBYSCORE", &sorted, "-inf", "+inf"],
        &["ZREMRANGEBYSCORE", &sorted, "-inf", "0"],
        &["PEXPIRE", &sorted, "10000"],
        &["ZREM", &sorted, "member"],
        &["SADD", &set, "member"],
        &["SMEMBERS", &set],
        &["SSCAN", &set, "0"],
        &["SREM", &set, "member"],
        &["PUBLISH", &channel, ""],
        &["TIME"],
        &["DEL", &text],
        &["DEL", &hash, &sorted, &set],
        &["UNLINK", &text],
    ];
    lines.iter().map(|words| words.iter().map(|word| (*word).to_owned()).collect()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_of_the_scripts_is_tried() {
        let tried: Vec<String> = commands("", "tag").into_iter().map(|words| words[0].clone()).collect();
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/presence/lua");
        for file in std::fs::read_dir(folder).unwrap() {
            let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
            for called in text.split("call('").skip(1) {
                let name = called.split('\'').next().unwrap();
                assert!(tried.iter().any(|tried| tried == name), "{name} is not tried");
            }
        }
    }
}
