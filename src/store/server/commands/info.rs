//! `INFO`: the state of the server, in sections of lines. For things that this store does not have, such as forks
//! and replicas, it shows what Redis shows when there are none, because dashboards look for them.

use std::fmt::Write;

use crate::store::aof::Aof;
use crate::store::args::is;
use crate::store::call_stats::Calls;
use crate::store::error::Outcome;
use crate::store::process;
use crate::store::pubsub::{ClientSlot, SubscriptionKind};
use crate::store::reply::Reply;
use crate::store::resp::Args;
use crate::store::server::StoreServer;
use crate::store::server::client::Client;
use crate::store::settings::REDIS_VERSION;

type Lines = Vec<(String, String)>;

/// A section: its name, whether it is shown by default, and its lines.
type Section = (&'static str, bool, fn(&StoreServer) -> Lines);

const SECTIONS: &[Section] = &[
    ("Server", true, server_lines),
    ("Clients", true, client_lines),
    ("Memory", true, memory_lines),
    ("Persistence", true, persistence_lines),
    ("Stats", true, stats_lines),
    ("Replication", true, replication_lines),
    ("CPU", true, cpu_lines),
    ("Modules", true, |_| Vec::new()),
    ("Commandstats", false, command_lines),
    ("Errorstats", true, error_lines),
    ("Latencystats", false, latency_lines),
    ("Cluster", true, cluster_lines),
    ("Keyspace", true, keyspace_lines),
];

pub fn info(server: &mut StoreServer, _: ClientSlot, args: &Args, out: &mut Reply) -> Outcome {
    let wanted = &args[1..];
    let names = |word: &str| wanted.iter().any(|name| is(name, word));
    let everything = names("ALL") || names("EVERYTHING");
    let usual = wanted.is_empty() || names("DEFAULT");
    let mut text = String::new();
    for (name, is_usual, lines) in SECTIONS {
        if !(everything || usual && *is_usual || names(name)) {
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

/// Fields whose value never changes here.
fn constant(names: &str, value: &str) -> impl Iterator<Item = (String, String)> {
    names.split(' ').map(|name| (name.to_owned(), value.to_owned()))
}

/// Formats a number of bytes for people.
fn human(bytes: usize) -> String {
    const UNITS: [&str; 4] = ["K", "M", "G", "T"];
    if bytes < 1024 {
        return format!("{bytes}B");
    }
    let mut size = bytes as f64 / 1024.0;
    let larger = UNITS.iter().take(UNITS.len() - 1).take_while(|_| {
        let larger = size >= 1024.0;
        size /= if larger { 1024.0 } else { 1.0 };
        larger
    });
    format!("{size:.2}{}", UNITS[larger.count()])
}

fn ratio(one: usize, other: usize) -> String {
    format!("{:.2}", if other == 0 { 0.0 } else { one as f64 / other as f64 })
}

fn server_lines(server: &StoreServer) -> Lines {
    let now = server.data.keys.now;
    let uptime = now.saturating_sub(server.stats.started) / 1000;
    lines! {
        "redis_version" = REDIS_VERSION,
        "redis_git_sha1" = "00000000",
        "redis_git_dirty" = 0,
        "redis_build_id" = "0000000000000000",
        "headcount_version" = env!("CARGO_PKG_VERSION"),
        "redis_mode" = "standalone",
        "os" = std::env::consts::OS,
        "arch_bits" = usize::BITS,
        "monotonic_clock" = "POSIX clock_gettime",
        "multiplexing_api" = "epoll",
        "process_id" = std::process::id(),
        "process_supervised" = "no",
        "run_id" = server.run_id,
        "tcp_port" = server.address.map_or(0, |address| address.port()),
        "server_time_usec" = now * 1000 + server.data.keys.micros,
        "uptime_in_seconds" = uptime,
        "uptime_in_days" = uptime / 86400,
        "hz" = 10,
        "configured_hz" = 10,
        "lru_clock" = now / 1000 % (1 << 24),
        "executable" = std::env::current_exe().unwrap_or_default().display(),
        "config_file" = "",
        "io_threads_active" = 0,
    }
}

fn client_lines(server: &StoreServer) -> Lines {
    let largest = |size: fn(&Client) -> usize| server.clients.iter().map(|(_, client)| size(client)).max().unwrap_or(0);
    lines! {
        "connected_clients" = server.clients.len(),
        "cluster_connections" = 0,
        "maxclients" = server.settings.max_clients,
        "client_recent_max_input_buffer" = largest(Client::held),
        "client_recent_max_output_buffer" = largest(Client::pending),
        // As in Redis, clients whose command is held up by a pause are included.
        "blocked_clients" = server.waiting.len() + server.clients.iter().filter(|(_, client)| client.paused).count(),
        "tracking_clients" = server.trackers.len(),
        "clients_in_timeout_table" = server.waiting.timed(),
    }
}

fn memory_lines(server: &StoreServer) -> Lines {
    let (keys, scripts, clients) = (server.data.keys.used(), server.scripts.memory(), server.client_memory);
    let (engine, resident, machine) = (server.script_memory(), process::resident(), process::machine_memory());
    let used = keys + scripts + clients + engine;
    let peak = server.stats.peak.max(keys + scripts) + clients + engine;
    let limit = server.settings.max_memory;
    let mut lines = lines! {
        "used_memory" = used,
        "used_memory_human" = human(used),
        "used_memory_rss" = resident,
        "used_memory_rss_human" = human(resident),
        "used_memory_peak" = peak,
        "used_memory_peak_human" = human(peak),
        "used_memory_peak_perc" = format!("{:.2}%", used as f64 * 100.0 / peak.max(1) as f64),
        "used_memory_overhead" = used - keys,
        "used_memory_startup" = 0,
        "used_memory_dataset" = keys,
        "used_memory_dataset_perc" = format!("{:.2}%", keys as f64 * 100.0 / used.max(1) as f64),
        "allocator_allocated" = used,
        "allocator_active" = resident,
        "allocator_resident" = resident,
        "total_system_memory" = machine,
        "total_system_memory_human" = human(machine),
        "used_memory_lua" = engine,
        "used_memory_vm_eval" = engine,
        "used_memory_lua_human" = human(engine),
        "used_memory_scripts_eval" = scripts,
        "number_of_cached_scripts" = server.scripts.len(),
        "used_memory_vm_total" = engine,
        "used_memory_vm_total_human" = human(engine),
        "used_memory_scripts" = scripts,
        "used_memory_scripts_human" = human(scripts),
        "maxmemory" = limit,
        "maxmemory_human" = human(limit),
        "maxmemory_policy" = server.settings.policy.name(),
        "allocator_frag_ratio" = ratio(resident, used),
        "allocator_frag_bytes" = resident.saturating_sub(used),
        "mem_fragmentation_ratio" = ratio(resident, used),
        "mem_fragmentation_bytes" = resident as i64 - used as i64,
        "mem_clients_normal" = clients,
        "mem_aof_buffer" = server.data.keys.journal.ready.len(),
        "mem_allocator" = "libc",
    };
    lines.extend(constant("allocator_rss_ratio rss_overhead_ratio", "1.00"));
    lines.extend(constant(NOTHING_IN_MEMORY, "0"));
    lines
}

const NOTHING_IN_MEMORY: &str = "number_of_functions number_of_libraries used_memory_vm_functions \
    used_memory_functions allocator_rss_bytes rss_overhead_bytes mem_not_counted_for_evict mem_replication_backlog \
    mem_total_replication_buffers mem_clients_slaves mem_cluster_links active_defrag_running \
    lazyfree_pending_objects lazyfreed_objects";

fn persistence_lines(server: &StoreServer) -> Lines {
    let rewrite = if server.log.as_ref().is_some_and(|log| log.rewrite_problem().is_some()) { "err" } else { "ok" };
    let mut lines = lines! {
        "loading" = 0,
        "rdb_changes_since_last_save" = server.data.keys.changes - server.stats.saved_changes,
        "rdb_bgsave_in_progress" = 0,
        "rdb_last_save_time" = server.stats.last_save / 1000,
        "rdb_last_bgsave_status" = rewrite,
        "aof_enabled" = u8::from(server.log.is_some()),
        "aof_rewrite_in_progress" = u8::from(server.log.as_ref().is_some_and(Aof::is_rewriting)),
        "aof_last_bgrewrite_status" = rewrite,
        "aof_last_write_status" = if server.log_problem().is_some() { "err" } else { "ok" },
        "aof_rewrites" = server.stats.rewrites,
        "aof_current_size" = server.log.as_ref().map_or(0, Aof::size),
    };
    lines.extend(constant("rdb_last_bgsave_time_sec rdb_current_bgsave_time_sec", "-1"));
    lines.extend(constant("aof_last_rewrite_time_sec aof_current_rewrite_time_sec", "-1"));
    lines.extend(constant("current_fork_perc", "0.00"));
    lines.extend(constant(NOTHING_SAVED, "0"));
    lines
}

const NOTHING_SAVED: &str = "async_loading current_cow_peak current_cow_size current_cow_size_age \
    current_save_keys_processed current_save_keys_total rdb_saves rdb_last_cow_size rdb_last_load_keys_expired \
    rdb_last_load_keys_loaded aof_rewrite_scheduled aof_rewrites_consecutive_failures aof_last_cow_size \
    module_fork_in_progress module_fork_last_cow_size";

fn stats_lines(server: &StoreServer) -> Lines {
    let (stats, keys) = (&server.stats, &server.data.keys);
    let [remembered, items, prefixes] = keys.tracking.sizes();
    let [commands, input, output] = stats.rates.a_second();
    let mut lines = lines! {
        "total_connections_received" = stats.connections,
        "total_commands_processed" = server.data.calls.total(),
        "instantaneous_ops_per_sec" = commands.round(),
        "total_net_input_bytes" = stats.input,
        "total_net_output_bytes" = stats.output,
        "instantaneous_input_kbps" = format!("{:.2}", input / 1024.0),
        "instantaneous_output_kbps" = format!("{:.2}", output / 1024.0),
        "rejected_connections" = stats.rejected,
        "expired_keys" = keys.expired,
        "evicted_keys" = keys.evicted,
        "evicted_clients" = stats.dropped_output,
        "evicted_scripts" = stats.forgotten_scripts,
        "keyspace_hits" = keys.hits,
        "keyspace_misses" = keys.misses,
        "pubsub_channels" = server.data.pubsub.count(SubscriptionKind::Channel),
        "pubsub_patterns" = server.data.pubsub.count(SubscriptionKind::Pattern),
        "pubsubshard_channels" = server.data.pubsub.count(SubscriptionKind::Shard),
        "client_output_buffer_limit_disconnections" = stats.dropped_output,
        "client_query_buffer_limit_disconnections" = stats.dropped_input,
        "acl_access_denied_auth" = server.auth_guard.total,
        "tracking_total_keys" = remembered,
        "tracking_total_items" = items,
        "tracking_total_prefixes" = prefixes,
        "total_error_replies" = server.data.calls.errors.values().sum::<u64>(),
        "total_reads_processed" = stats.reads,
        "total_writes_processed" = stats.writes,
    };
    lines.extend(constant("instantaneous_input_repl_kbps instantaneous_output_repl_kbps expired_stale_perc", "0.00"));
    lines.extend(constant(NOTHING_HAPPENS, "0"));
    lines
}

const NOTHING_HAPPENS: &str = "total_net_repl_input_bytes total_net_repl_output_bytes sync_full sync_partial_ok \
    sync_partial_err expired_time_cap_reached_count expire_cycle_cpu_milliseconds total_eviction_exceeded_time \
    current_eviction_exceeded_time latest_fork_usec total_forks migrate_cached_sockets slave_expires_tracked_keys \
    active_defrag_hits active_defrag_misses active_defrag_key_hits active_defrag_key_misses \
    total_active_defrag_time current_active_defrag_time unexpected_error_replies dump_payload_sanitizations \
    io_threaded_reads_processed io_threaded_writes_processed reply_buffer_shrinks reply_buffer_expands";

fn replication_lines(server: &StoreServer) -> Lines {
    lines! {
        "role" = "master",
        "connected_slaves" = 0,
        "master_failover_state" = "no-failover",
        "master_replid" = server.run_id,
        "master_replid2" = "0".repeat(40),
        "master_repl_offset" = 0,
        "second_repl_offset" = -1,
        "repl_backlog_active" = 0,
        "repl_backlog_size" = 0,
        "repl_backlog_first_byte_offset" = 0,
        "repl_backlog_histlen" = 0,
    }
}

fn cpu_lines(_: &StoreServer) -> Lines {
    let ([system, own], [thread_system, thread_own]) = (process::processor(false), process::processor(true));
    lines! {
        "used_cpu_sys" = format!("{system:.6}"),
        "used_cpu_user" = format!("{own:.6}"),
        "used_cpu_sys_children" = "0.000000",
        "used_cpu_user_children" = "0.000000",
        "used_cpu_sys_main_thread" = format!("{thread_system:.6}"),
        "used_cpu_user_main_thread" = format!("{thread_own:.6}"),
    }
}

fn command_lines(server: &StoreServer) -> Lines {
    let line = |(number, calls): (usize, &Calls)| {
        let micros = calls.nanoseconds / 1000;
        let each = calls.nanoseconds as f64 / 1000.0 / calls.calls.max(1) as f64;
        let value = format!(
            "calls={},usec={micros},usec_per_call={each:.2},rejected_calls={},failed_calls={}",
            calls.calls, calls.rejected, calls.failed
        );
        (format!("cmdstat_{}", (server.directory.name)(number)), value)
    };
    server.data.calls.called().map(line).collect()
}

fn error_lines(server: &StoreServer) -> Lines {
    let count = |(code, count): (&String, &u64)| (format!("errorstat_{code}"), format!("count={count}"));
    server.data.calls.errors.iter().map(count).collect()
}

fn latency_lines(server: &StoreServer) -> Lines {
    let timed = server.data.calls.called().filter(|(_, calls)| calls.durations.total() > 0);
    let line = |(number, calls): (usize, &Calls)| {
        let micros = |percent: f64| calls.durations.percentile(percent) as f64 / 1000.0;
        let value = format!("p50={:.3},p99={:.3},p99.9={:.3}", micros(50.0), micros(99.0), micros(99.9));
        (format!("latency_percentiles_usec_{}", (server.directory.name)(number)), value)
    };
    timed.map(line).collect()
}

fn cluster_lines(_: &StoreServer) -> Lines {
    lines! { "cluster_enabled" = 0 }
}

fn keyspace_lines(server: &StoreServer) -> Lines {
    let line = |(index, (keys, expires)): (usize, (usize, usize))| {
        (format!("db{index}"), format!("keys={keys},expires={expires},avg_ttl=0"))
    };
    server.data.keys.sizes().enumerate().filter(|(_, (keys, _))| *keys > 0).map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::human;

    #[test]
    fn bytes_are_told_as_redis_tells_them_to_people() {
        for (bytes, text) in [
            (0, "0B"),
            (1023, "1023B"),
            (1024, "1.00K"),
            (1 << 20, "1.00M"),
            (1_869_720, "1.78M"),
            (25_276_510_208, "23.54G"),
            (5 << 40, "5.00T"),
            (5000 << 40, "5000.00T"),
        ] {
            assert_eq!(human(bytes), text);
        }
    }
}
