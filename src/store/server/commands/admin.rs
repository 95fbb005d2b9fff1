//! The server: its configuration, its log and its monitors.

use std::collections::HashSet;

use crate::glob;
use crate::store::args::{int, is};
use crate::store::command::other_subcommand;
use crate::store::error::{CommandError, Outcome};
use crate::store::pubsub::ClientSlot;
use crate::store::reply::Reply;
use crate::store::resp::Args;
use crate::store::server::{StoreServer, persistence};

pub fn config(server: &mut StoreServer, _: ClientSlot, args: &Args, out: &mut Reply) -> Outcome {
    match args {
        [_, what, patterns @ ..] if is(what, "GET") && !patterns.is_empty() => {
            let found: Vec<(&str, String)> = server
                .settings
                .parameters()
                .into_iter()
                .filter(|(name, _)| patterns.iter().any(|p| glob::matches(&p.to_ascii_lowercase(), name.as_bytes())))
                .collect();
            out.map(found.len());
            for (name, value) in found {
                out.bulk(name.as_bytes());
                out.bulk(value.as_bytes());
            }
        }
        [_, what, pairs @ ..] if is(what, "SET") && !pairs.is_empty() && pairs.len().is_multiple_of(2) => {
            let mut settings = server.settings.clone();
            let mut named = HashSet::new();
            for pair in pairs.chunks_exact(2) {
                let name = String::from_utf8_lossy(pair[0]).to_lowercase();
                if !named.insert(name.clone()) {
                    return Err(CommandError::new(format!(
                        "ERR CONFIG SET failed (possibly related to argument '{name}') - duplicate parameter"
                    )));
                }
                settings.set(&name, pair[1]).map_err(|reason| {
                    if reason.is_empty() {
                        CommandError::new(format!(
                            "ERR Unknown option or number of arguments for CONFIG SET - '{name}'"
                        ))
                    } else {
                        CommandError::new(format!(
                            "ERR CONFIG SET failed (possibly related to argument '{name}') - {reason}"
                        ))
                    }
                })?;
            }
            server.settings = settings;
            server.apply_settings();
            out.ok();
        }
        [_, what] if is(what, "RESETSTAT") => {
            server.stats.reset();
            server.data.calls = Default::default();
            out.ok();
        }
        [_, what] if is(what, "REWRITE") => {
            return Err(CommandError::new("ERR The server is running without a config file"));
        }
        _ => return other_subcommand("CONFIG", args, out),
    }
    Ok(())
}

const NOT_KEPT: &str = "ERR this store keeps nothing on disk: store.path is not set";

/// Runs a rewrite of the log, if there is a log.
fn rewrite(server: &mut StoreServer, run: fn(&mut StoreServer) -> Result<(), String>) -> Outcome {
    if server.log.is_none() {
        return Err(CommandError::new(NOT_KEPT));
    }
    run(server).map_err(|problem| CommandError::new(format!("ERR the log could not be rewritten: {problem}")))
}

pub fn save(server: &mut StoreServer, _: ClientSlot, _: &Args, out: &mut Reply) -> Outcome {
    rewrite(server, persistence::save)?;
    out.ok();
    Ok(())
}

pub fn bgsave(server: &mut StoreServer, _: ClientSlot, _: &Args, out: &mut Reply) -> Outcome {
    rewrite(server, persistence::begin_rewrite)?;
    out.simple("Background saving started");
    Ok(())
}

pub fn bgrewriteaof(server: &mut StoreServer, _: ClientSlot, _: &Args, out: &mut Reply) -> Outcome {
    rewrite(server, persistence::begin_rewrite)?;
    out.simple("Background append only file rewriting started");
    Ok(())
}

pub fn lastsave(server: &mut StoreServer, _: ClientSlot, _: &Args, out: &mut Reply) -> Outcome {
    out.int((server.stats.last_save / 1000) as i64);
    Ok(())
}

pub fn monitor(server: &mut StoreServer, slot: ClientSlot, _: &Args, out: &mut Reply) -> Outcome {
    if let Some(client) = server.clients.get_mut(slot)
        && !std::mem::replace(&mut client.monitor, true)
    {
        server.monitors += 1;
    }
    out.ok();
    Ok(())
}

pub fn role(_: &mut StoreServer, _: ClientSlot, _: &Args, out: &mut Reply) -> Outcome {
    out.array(3);
    out.bulk(b"master");
    out.int(0);
    out.array(0);
    Ok(())
}

pub fn wait(_: &mut StoreServer, _: ClientSlot, args: &Args, out: &mut Reply) -> Outcome {
    int(args[1])?;
    let timeout = int(args[2]).map_err(|_| CommandError::new("ERR timeout is not an integer or out of range"))?;
    if timeout < 0 {
        return Err(crate::store::error::TIMEOUT_NEGATIVE);
    }
    out.int(0);
    Ok(())
}

pub fn cluster_disabled(_: &mut StoreServer, _: ClientSlot, _: &Args, _: &mut Reply) -> Outcome {
    Err(CommandError::new("ERR This instance has cluster support disabled"))
}
