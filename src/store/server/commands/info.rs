//! `INFO`: how the server is, in sections of lines.

use std::fmt::Write;

use crate::store::aof::Aof;
use crate::store::args::is;
use crate::store::error::Outcome;
use crate::store::pubsub::{Kind, Slot};
use crate::store::reply::Reply;
use crate::store::resp::Args;
use crate::store::server::Server;
use crate::store::settings::REDIS_VERSION;

type Section = (&'static str, fn(&Server) -> Vec<(String, String)>);

const SECTIONS: &[Section] = &[
    ("Server", server_lines),
    ("Clients", client_lines),
    ("Memory", memory_lines),
    ("Persistence", persistence_lines),
    ("Stats", stats_lines),
    ("Replication", replication_lines),
    ("Errorstats", error_lines),
    ("Cluster", cluster_lines),
    ("Keyspace", keyspace_lines),
];

pub fn info(server: &mut Server, _: Slot, args: &Args, out: &mut Reply) -> Outcome {
    let wanted = &args[1..];
    let everything =
        wanted.is_empty() || wanted.iter().any(|name| is(name, "ALL") || is(name, "DEFAULT") || is(name, "EVERYTHING"));
    let mut text = String::new();
    for (name, lines) in SECTIONS {
        if !everything && !wanted.iter().any(|word| is(word, name)) {
            continue;
        }
        if !text.is_empty() {
            text.push_str("\r\n");
        }
        let _ = write!(text, "# {name}\r\n");
        for (key, value) in lines(server) {
            let _ = write!(text, "{key}:{value}\r\n");
        }
    }
    out.verbatim(&text);
    Ok(())
}

macro_rules! lines {
    ($($key:literal = $value:expr),* $(,)?) => {
        vec![$(($key.to_owned(), $value.to_string())),*]
    };
}

fn server_lines(server: &Server) -> Vec<(String, String)> {
    let uptime = server.data.keys.now.saturating_sub(server.stats.started) / 1000;
    lines! {
        "redis_version" = REDIS_VERSION,
        "headcount_version" = env!("CARGO_PKG_VERSION"),
        "redis_mode" = "standalone",
        "os" = std::env::consts::OS,
        "arch_bits" = usize::BITS,
        "multiplexing_api" = "epoll",
        "process_id" = std::process::id(),
        "run_id" = server.run_id,
        "tcp_port" = server.address.map_or(0, |address| address.port()),
        "server_time_usec" = server.data.keys.now * 1000 + server.data.keys.micros,
        "uptime_in_seconds" = uptime,
        "uptime_in_days" = uptime / 86400,
        "hz" = 10,
        "io_threads_active" = 0,
    }
}

fn client_lines(server: &Server) -> Vec<(String, String)> {
    lines! {
        "connected_clients" = server.clients.len(),
        "cluster_connections" = 0,
        "maxclients" = server.settings.max_clients,
        // As in Redis, those whose command a pause holds back are among them.
        "blocked_clients" = server.waiting.len() + server.clients.iter().filter(|(_, client)| client.paused).count(),
        "tracking_clients" = server.trackers.len(),
    }
}

fn memory_lines(server: &Server) -> Vec<(String, String)> {
    let used = server.data.keys.used();
    lines! {
        "used_memory" = used,
        "used_memory_human" = format!("{:.2}M", used as f64 / 1048576.0),
        "used_memory_dataset" = used,
        "used_memory_scripts" = server.scripts.memory(),
        "used_memory_lua" = server.script_memory(),
        "number_of_cached_scripts" = server.scripts.len(),
        "maxmemory" = server.settings.max_memory,
        "maxmemory_policy" = server.settings.policy.name(),
        "mem_allocator" = "libc",
    }
}

fn persistence_lines(server: &Server) -> Vec<(String, String)> {
    let rewrite = if server.log.as_ref().is_some_and(|log| log.rewrite_problem().is_some()) { "err" } else { "ok" };
    lines! {
        "loading" = 0,
        "rdb_bgsave_in_progress" = 0,
        "rdb_last_save_time" = server.stats.last_save / 1000,
        "rdb_last_bgsave_status" = rewrite,
        "aof_enabled" = u8::from(server.log.is_some()),
        "aof_rewrite_in_progress" = u8::from(server.log.as_ref().is_some_and(Aof::is_rewriting)),
        "aof_last_bgrewrite_status" = rewrite,
        "aof_last_write_status" = if server.log_problem().is_some() { "err" } else { "ok" },
        "aof_current_size" = server.log.as_ref().map_or(0, Aof::size),
    }
}

fn stats_lines(server: &Server) -> Vec<(String, String)> {
    let (stats, keys) = (&server.stats, &server.data.keys);
    let [remembered, items, prefixes] = keys.tracking.sizes();
    lines! {
        "total_connections_received" = stats.connections,
        "total_commands_processed" = stats.commands,
        "total_net_input_bytes" = stats.input,
        "total_net_output_bytes" = stats.output,
        "rejected_connections" = stats.rejected,
        "expired_keys" = keys.expired,
        "evicted_keys" = server.data.keys.evicted,
        "evicted_scripts" = stats.forgotten_scripts,
        "keyspace_hits" = keys.hits,
        "keyspace_misses" = keys.misses,
        "pubsub_channels" = server.data.pubsub.count(Kind::Channel),
        "pubsub_patterns" = server.data.pubsub.count(Kind::Pattern),
        "pubsubshard_channels" = server.data.pubsub.count(Kind::Shard),
        "client_output_buffer_limit_disconnections" = stats.dropped_output,
        "client_query_buffer_limit_disconnections" = stats.dropped_input,
        "acl_access_denied_auth" = server.auth_guard.total,
        "tracking_total_keys" = remembered,
        "tracking_total_items" = items,
        "tracking_total_prefixes" = prefixes,
        "total_error_replies" = stats.errors.values().sum::<u64>(),
    }
}

fn replication_lines(_: &Server) -> Vec<(String, String)> {
    lines! { "role" = "master", "connected_slaves" = 0, "master_repl_offset" = 0 }
}

fn error_lines(server: &Server) -> Vec<(String, String)> {
    let count = |(code, count): (&String, &u64)| (format!("errorstat_{code}"), format!("count={count}"));
    server.stats.errors.iter().map(count).collect()
}

fn cluster_lines(_: &Server) -> Vec<(String, String)> {
    lines! { "cluster_enabled" = 0 }
}

fn keyspace_lines(server: &Server) -> Vec<(String, String)> {
    let line = |(index, (keys, expires)): (usize, (usize, usize))| {
        (format!("db{index}"), format!("keys={keys},expires={expires},avg_ttl=0"))
    };
    server.data.keys.sizes().enumerate().filter(|(_, (keys, _))| *keys > 0).map(line).collect()
}
