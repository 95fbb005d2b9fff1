//! What a command says to a subcommand that it does not have.

use crate::store::args::is;
use crate::store::error::{CommandError, wrong_arity};
use crate::store::resp::Args;

/// The error for a subcommand that does not exist or has the wrong number of arguments.
pub fn unknown_subcommand(command: &str, args: &Args) -> CommandError {
    let known: &[(&str, &[&str])] = &[
        ("OBJECT", &["encoding", "refcount", "idletime", "freq", "help"]),
        ("MEMORY", &["usage", "doctor", "stats", "purge", "help"]),
        ("PUBSUB", &["channels", "numsub", "numpat", "shardchannels", "shardnumsub", "help"]),
        ("SCRIPT", &["load", "exists", "flush", "kill", "help"]),
        ("ACL", &["whoami", "cat", "help"]),
        ("SLOWLOG", &["get", "len", "reset", "help"]),
        ("LATENCY", &["latest", "history", "reset", "help"]),
        ("XGROUP", &["create", "setid", "destroy", "createconsumer", "delconsumer", "help"]),
        ("XINFO", &["stream", "groups", "consumers", "help"]),
        ("CONFIG", &["get", "set", "resetstat", "rewrite", "help"]),
        ("COMMAND", &["count", "docs", "info", "list", "getkeys", "help"]),
        (
            "CLIENT",
            &[
                "id",
                "getname",
                "setname",
                "setinfo",
                "info",
                "list",
                "kill",
                "reply",
                "no-evict",
                "no-touch",
                "unblock",
                "pause",
                "unpause",
                "getredir",
                "tracking",
                "caching",
                "trackinginfo",
                "help",
            ],
        ),
    ];
    let name = args.get(1).copied().unwrap_or_default();
    let is_known = known.iter().any(|(of, names)| *of == command && names.iter().any(|known| is(name, known)));
    let shown = String::from_utf8_lossy(&name[..name.len().min(128)]).into_owned();
    if is_known {
        let full = format!("{}|{}", command.to_lowercase(), shown.to_lowercase());
        return wrong_arity(&full);
    }
    CommandError::new(format!("ERR unknown subcommand '{shown}'. Try {command} HELP."))
}
