//! Subcommands: the table from which each command's `HELP`, and its reply to an unknown subcommand, are derived.

use crate::store::args::is;
use crate::store::error::{CommandError, Outcome, wrong_arity};
use crate::store::reply::Reply;
use crate::store::resp::Args;

/// A command and its subcommands, each with its usage and a summary.
type Container = (&'static str, &'static [(&'static str, &'static str)]);

#[rustfmt::skip]
const CONTAINERS: &[Container] = &[
    ("ACL", &[
        ("CAT [<category>]", "List the categories, or the commands of one."),
        ("DRYRUN <username> <command> [<arg> [...]]", "Tell whether a user may run a command, without running it."),
        ("GENPASS [<bits>]", "Return a password at random, of 256 bits or so many."),
        ("GETUSER <username>", "Describe a user."),
        ("LIST", "Describe all users, as the rules that make them."),
        ("USERS", "List the names of the users."),
        ("WHOAMI", "Return the name of the connection's user."),
    ]),
    ("CLIENT", &[
        ("CACHING (YES|NO)", "Remember the keys that the next command reads, or do not."),
        ("GETNAME", "Return the name of the connection."),
        ("GETREDIR", "Return the client that is told of changes in place of this one."),
        ("ID", "Return the number of the connection."),
        ("INFO", "Describe the connection."),
        ("KILL <ip:port> | <option> <value> [<option> <value> [...]]", "Close connections, chosen by ADDR, LADDR, TYPE, USER, ID and SKIPME."),
        ("LIST [TYPE (NORMAL|PUBSUB) | ID <id> [...]]", "Describe all connections, or some."),
        ("NO-EVICT (ON|OFF)", "Keep the connection when clients take too much memory."),
        ("NO-TOUCH (ON|OFF)", "Accepted; changes nothing."),
        ("PAUSE <timeout> [WRITE|ALL]", "Hold up the commands of all clients, or those that write."),
        ("REPLY (ON|OFF|SKIP)", "Turn replies on or off."),
        ("SETINFO (LIB-NAME|LIB-VER) <value>", "Set the name or the version of the client's library."),
        ("SETNAME <name>", "Set the name of the connection."),
        ("TRACKING (ON|OFF) [REDIRECT <id>] [BCAST] [PREFIX <prefix> [...]] [OPTIN] [OPTOUT] [NOLOOP]", "Tell the client when keys change that it has read."),
        ("TRACKINGINFO", "Describe how the connection tracks keys."),
        ("UNBLOCK <id> [TIMEOUT|ERROR]", "End the wait of another client."),
        ("UNPAUSE", "End a pause."),
    ]),
    ("COMMAND", &[
        ("(no subcommand)", "Describe all commands."),
        ("COUNT", "Return the number of commands."),
        ("DOCS [<name> [...]]", "Return what commands are for."),
        ("GETKEYS <full-command>", "Return the keys in a command."),
        ("GETKEYSANDFLAGS <full-command>", "Return the keys in a command, and what becomes of each."),
        ("INFO [<name> [...]]", "Describe commands."),
        ("LIST [FILTERBY (MODULE <name> | ACLCAT <category> | PATTERN <pattern>)]", "List the names of commands."),
    ]),
    ("CONFIG", &[
        ("GET <pattern> [...]", "Return the parameters whose names match."),
        ("RESETSTAT", "Reset the counters of INFO."),
        ("REWRITE", "Refused: the store has no file of its own."),
        ("SET <name> <value> [...]", "Set parameters."),
    ]),
    ("LATENCY", &[
        ("DOCTOR", "Return advice on what took long."),
        ("HISTOGRAM [<command> [...]]", "Return how long commands took how often."),
        ("HISTORY <event>", "Return the longest delays of an event, by seconds."),
        ("LATEST", "Return the latest delay of each event."),
        ("RESET [<event> [...]]", "Forget events."),
    ]),
    ("MEMORY", &[
        ("DOCTOR", "Return advice on memory."),
        ("PURGE", "Accepted; memory is given back without it."),
        ("STATS", "Return what memory is used for."),
        ("USAGE <key> [SAMPLES <count>]", "Return the memory that a key takes, in bytes."),
    ]),
    ("OBJECT", &[
        ("ENCODING <key>", "Return the representation of a value."),
        ("FREQ <key>", "Return how often a key was used, under an LFU policy."),
        ("IDLETIME <key>", "Return for how many seconds a key was not used."),
        ("REFCOUNT <key>", "Return how often a value is shared."),
    ]),
    ("PUBSUB", &[
        ("CHANNELS [<pattern>]", "List the channels that have subscribers."),
        ("NUMPAT", "Return the number of patterns that have subscribers."),
        ("NUMSUB [<channel> [...]]", "Return the number of subscribers of channels."),
        ("SHARDCHANNELS [<pattern>]", "List the shard channels that have subscribers."),
        ("SHARDNUMSUB [<channel> [...]]", "Return the number of subscribers of shard channels."),
    ]),
    ("SCRIPT", &[
        ("DEBUG NO", "Accepted; there is no debugger."),
        ("EXISTS <sha1> [...]", "Return which scripts are loaded."),
        ("FLUSH [ASYNC|SYNC]", "Forget all scripts."),
        ("KILL", "End the running script, if it has written nothing."),
        ("LOAD <script>", "Load a script."),
    ]),
    ("SLOWLOG", &[
        ("GET [<count>]", "Return the latest slow commands."),
        ("LEN", "Return the number of slow commands."),
        ("RESET", "Forget the slow commands."),
    ]),
    ("XGROUP", &[
        ("CREATE <key> <group> <id|$> [MKSTREAM] [ENTRIESREAD <count>]", "Create a group."),
        ("CREATECONSUMER <key> <group> <consumer>", "Create a consumer."),
        ("DELCONSUMER <key> <group> <consumer>", "Remove a consumer."),
        ("DESTROY <key> <group>", "Remove a group."),
        ("SETID <key> <group> <id|$> [ENTRIESREAD <count>]", "Set how far a group has read."),
    ]),
    ("XINFO", &[
        ("CONSUMERS <key> <group>", "Describe the consumers of a group."),
        ("GROUPS <key>", "Describe the groups of a stream."),
        ("STREAM <key> [FULL [COUNT <count>]]", "Describe a stream."),
    ]),
];

/// The full names of all subcommands as `COMMAND LIST` shows them, such as `client|id`.
pub fn subcommand_names() -> impl Iterator<Item = String> {
    CONTAINERS.iter().flat_map(|(command, rows)| {
        let words = rows.iter().map(|(usage, _)| word(usage)).filter(|word| !word.starts_with('('));
        words.chain(["HELP"]).map(move |word| format!("{command}|{word}").to_lowercase())
    })
}

/// The position of a subcommand among [`subcommand_names`].
pub fn subcommand_place(command: &str, name: &[u8]) -> Option<usize> {
    let mut before = 0;
    for (known, rows) in CONTAINERS {
        let words = rows.iter().map(|(usage, _)| word(usage)).filter(|word| !word.starts_with('(')).chain(["HELP"]);
        if known.eq_ignore_ascii_case(command) {
            return words.enumerate().find(|(_, word)| is(name, word)).map(|(place, _)| before + place);
        }
        before += words.count();
    }
    None
}

/// The subcommand's name: the first word of its usage.
fn word(usage: &'static str) -> &'static str {
    usage.split(' ').next().unwrap_or(usage)
}

/// Replies to `HELP`; fails for a subcommand that does not exist or has the wrong number of arguments.
pub fn other_subcommand(command: &str, args: &Args, out: &mut Reply) -> Outcome {
    let name = args.get(1).copied().unwrap_or_default();
    let rows = CONTAINERS.iter().find(|(known, _)| *known == command).map_or(&[][..], |(_, rows)| rows);
    if is(name, "HELP") && args.len() == 2 {
        help(command, rows, out);
        return Ok(());
    }
    let is_known = is(name, "HELP") || rows.iter().any(|(usage, _)| is(name, word(usage)));
    let shown = String::from_utf8_lossy(&name[..name.len().min(128)]).into_owned();
    if is_known {
        let full = format!("{}|{}", command.to_lowercase(), shown.to_lowercase());
        return Err(wrong_arity(&full));
    }
    Err(CommandError::new(format!("ERR unknown subcommand '{shown}'. Try {command} HELP.")))
}

fn help(command: &str, rows: &[(&str, &str)], out: &mut Reply) {
    out.array(rows.len() * 2 + 3);
    out.simple(&format!("{command} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:"));
    for (usage, summary) in rows.iter().chain(&[("HELP", "Print this help.")]) {
        out.simple(usage);
        out.simple(&format!("    {summary}"));
    }
}
