//! The table of the server's own commands: one row each, by name.
//!
//! Their bodies need connections, settings, the log or the script engine. The rows have the same form as those of
//! the table of data commands.

use std::sync::OnceLock;

use super::commands::{acl, admin, client, command, connection, info, scripts, slow, subscribe, transactions};
use super::{Body, Directory, Row, permissions};
use crate::store::access::BadRule;
use crate::store::command::{
    COMMANDS, Command, CommandTable, Flags, Spec, first_of_server, number as data_number, row, subcommand_number,
    subcommands,
};
use crate::store::resp::Args;
use crate::store::settings::User;

const NONE: Flags = Flags::NONE;
const READ: Flags = Flags::READ;
const PARENT: Flags = Flags::PARENT;
const MOVABLE: Flags = Flags::MOVABLE;
const PUBSUB: Flags = Flags::PUBSUB;
const NO_SCRIPT: Flags = Flags::NO_SCRIPT;
const NO_MULTI: Flags = Flags::NO_MULTI;
const NO_AUTH: Flags = Flags::NO_AUTH;
const WHILE_BUSY: Flags = Flags::WHILE_BUSY;
const IN_MULTI: Flags = Flags::IN_MULTI;
const ADMIN: Flags = Flags::ADMIN;
const SHOWN_FIRST: Flags = Flags::SHOWN_FIRST;
const WHILE_SUBSCRIBED: Flags = Flags::WHILE_SUBSCRIBED;

/// All of the server's own commands.
static SERVER_COMMANDS: CommandTable<Body> = CommandTable::new(ROWS);

#[rustfmt::skip]
const ROWS: &[Command<Body>] = &[
    row("acl", -2, NO_SCRIPT.and(PARENT), [0, 0, 0], "server", acl::acl, "Returns the current user and the categories of commands."),
    row("auth", -2, NO_SCRIPT.and(NO_AUTH).and(WHILE_BUSY), [0, 0, 0], "connection", connection::auth, "Authenticates the connection."),
    row("bgrewriteaof", 1, ADMIN.and(NO_SCRIPT), [0, 0, 0], "server", admin::bgrewriteaof, "Rewrites the append-only file in the background."),
    row("bgsave", -1, ADMIN.and(NO_SCRIPT), [0, 0, 0], "server", admin::bgsave, "Rewrites the append-only file in the background."),
    row("client", -2, NO_SCRIPT.and(PARENT), [0, 0, 0], "connection", client::client, "Shows and manages client connections."),
    row("command", -1, PARENT, [0, 0, 0], "server", command::command, "Describes commands."),
    row("config", -2, ADMIN.and(NO_SCRIPT).and(PARENT), [0, 0, 0], "server", admin::config, "Shows and changes settings."),
    row("discard", 1, NO_SCRIPT.and(IN_MULTI).and(WHILE_BUSY), [0, 0, 0], "transactions", transactions::discard, "Drops the queued commands."),
    row("eval", -3, NO_SCRIPT.and(MOVABLE).and(SHOWN_FIRST), [0, 0, 0], "scripting", scripts::eval, "Runs a Lua script."),
    row("eval_ro", -3, READ.and(NO_SCRIPT).and(MOVABLE).and(SHOWN_FIRST), [0, 0, 0], "scripting", scripts::eval_ro, "Runs a read-only Lua script."),
    row("evalsha", -3, NO_SCRIPT.and(MOVABLE).and(SHOWN_FIRST), [0, 0, 0], "scripting", scripts::evalsha, "Runs a Lua script by its SHA-1 digest."),
    row("evalsha_ro", -3, READ.and(NO_SCRIPT).and(MOVABLE).and(SHOWN_FIRST), [0, 0, 0], "scripting", scripts::evalsha_ro, "Runs a read-only Lua script by its SHA-1 digest."),
    row("exec", 1, NO_SCRIPT.and(IN_MULTI), [0, 0, 0], "transactions", transactions::exec, "Runs the queued commands."),
    row("hello", -1, NO_SCRIPT.and(NO_AUTH).and(WHILE_BUSY), [0, 0, 0], "connection", connection::hello, "Switches the protocol and authenticates."),
    row("info", -1, NONE, [0, 0, 0], "server", info::info, "Shows the server's state and statistics."),
    row("lastsave", 1, NONE, [0, 0, 0], "server", admin::lastsave, "Returns when the append-only file was last rewritten."),
    row("latency", -2, ADMIN.and(NO_SCRIPT).and(PARENT), [0, 0, 0], "server", slow::latency, "Shows the longest delays of recent seconds."),
    row("monitor", 1, ADMIN.and(NO_SCRIPT).and(NO_MULTI), [0, 0, 0], "server", admin::monitor, "Streams every command that the server runs."),
    row("multi", 1, NO_SCRIPT.and(IN_MULTI).and(WHILE_BUSY), [0, 0, 0], "transactions", transactions::multi, "Starts a transaction."),
    row("psubscribe", -2, PUBSUB.and(NO_SCRIPT).and(WHILE_SUBSCRIBED), [0, 0, 0], "pubsub", subscribe::psubscribe, "Subscribes to channel patterns."),
    row("punsubscribe", -1, PUBSUB.and(NO_SCRIPT).and(WHILE_SUBSCRIBED), [0, 0, 0], "pubsub", subscribe::punsubscribe, "Unsubscribes from channel patterns."),
    row("quit", -1, NO_SCRIPT.and(NO_AUTH).and(WHILE_SUBSCRIBED).and(IN_MULTI).and(WHILE_BUSY), [0, 0, 0], "connection", connection::quit, "Closes the connection."),
    row("readonly", 1, NONE, [0, 0, 0], "cluster", admin::cluster_disabled, "Refused: this is not a cluster."),
    row("readwrite", 1, NONE, [0, 0, 0], "cluster", admin::cluster_disabled, "Refused: this is not a cluster."),
    row("reset", 1, NO_SCRIPT.and(NO_AUTH).and(WHILE_SUBSCRIBED).and(IN_MULTI).and(WHILE_BUSY), [0, 0, 0], "connection", connection::reset, "Resets the connection."),
    row("role", 1, NO_SCRIPT, [0, 0, 0], "server", admin::role, "Returns the server's replication role."),
    row("save", 1, ADMIN.and(NO_SCRIPT).and(NO_MULTI), [0, 0, 0], "server", admin::save, "Rewrites the append-only file and waits for it."),
    row("script", -2, NO_SCRIPT.and(PARENT), [0, 0, 0], "scripting", scripts::script, "Loads, lists, flushes and kills Lua scripts."),
    row("slowlog", -2, ADMIN.and(NO_SCRIPT).and(PARENT), [0, 0, 0], "server", slow::slowlog, "Shows the commands that took long."),
    row("ssubscribe", -2, PUBSUB.and(NO_SCRIPT).and(WHILE_SUBSCRIBED), [1, -1, 1], "pubsub", subscribe::ssubscribe, "Subscribes to shard channels."),
    row("subscribe", -2, PUBSUB.and(NO_SCRIPT).and(WHILE_SUBSCRIBED), [0, 0, 0], "pubsub", subscribe::subscribe, "Subscribes to channels."),
    row("sunsubscribe", -1, PUBSUB.and(NO_SCRIPT).and(WHILE_SUBSCRIBED), [1, -1, 1], "pubsub", subscribe::sunsubscribe, "Unsubscribes from shard channels."),
    row("unsubscribe", -1, PUBSUB.and(NO_SCRIPT).and(WHILE_SUBSCRIBED), [0, 0, 0], "pubsub", subscribe::unsubscribe, "Unsubscribes from channels."),
    row("unwatch", 1, NO_SCRIPT.and(WHILE_BUSY), [0, 0, 0], "transactions", transactions::unwatch, "Stops watching all keys."),
    row("wait", 3, NO_SCRIPT, [0, 0, 0], "generic", admin::wait, "Returns at once: there are no replicas to wait for."),
    row("watch", -2, NO_SCRIPT.and(IN_MULTI).and(WHILE_BUSY), [1, -1, 1], "transactions", transactions::watch, "Makes EXEC fail if a key changes."),
];

/// Looks up commands in both tables.
pub static DIRECTORY: Directory = Directory { all, find, server_spec, number, name };

fn all() -> &'static [Row] {
    static ALL: OnceLock<Vec<Row>> = OnceLock::new();
    ALL.get_or_init(|| {
        let data = COMMANDS.rows.iter().map(Row::Data);
        let mut rows: Vec<Row> = data.chain(SERVER_COMMANDS.rows.iter().map(Row::Server)).collect();
        rows.sort_by_key(|row| row.spec().name);
        rows
    })
}

/// Finds the row of a command by its name, in any case.
pub fn find(name: &[u8]) -> Option<Row> {
    COMMANDS.find(name).map(Row::Data).or_else(|| SERVER_COMMANDS.find(name).map(Row::Server))
}

fn number(row: Row, args: &Args) -> Option<usize> {
    match row {
        Row::Data(command) => data_number(command, args),
        Row::Server(command) if command.spec.flags.has(Flags::PARENT) && args.len() > 1 => {
            subcommand_number(command.spec.name, args[1])
        }
        Row::Server(command) => Some(first_of_server() + SERVER_COMMANDS.place(command)),
    }
}

fn name(number: usize) -> &'static str {
    let (data, subcommands) = (COMMANDS.rows, subcommands());
    match number.checked_sub(data.len()) {
        None => data[number].spec.name,
        Some(place) if place < subcommands.len() => &subcommands[place],
        Some(place) => SERVER_COMMANDS.rows.get(place - subcommands.len()).map_or("", |row| row.spec.name),
    }
}

fn server_spec(name: &[u8]) -> Option<&'static Spec> {
    SERVER_COMMANDS.find(name).map(|command| &command.spec)
}

/// Checks the name and the rules of a user.
///
/// # Errors
/// The name or one of the rules is invalid. The error does not contain the password.
pub fn check_user(user: &User) -> Result<(), BadRule> {
    permissions::user(&DIRECTORY, user).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_command_is_in_both_tables_and_every_one_is_found() {
        assert!(all().windows(2).all(|pair| pair[0].spec().name < pair[1].spec().name));
        for row in all() {
            let found = find(row.spec().name.to_uppercase().as_bytes()).expect("a row");
            assert_eq!(found.spec().name, row.spec().name);
        }
        assert!(find(b"nosuch").is_none());
    }
}
