//! The table of the server's own commands: one row each, by name.
//!
//! Their bodies need connections, settings, the log or the script engine. The rows read like those of
//! the table of commands that need only data.

use std::sync::OnceLock;

use super::commands::{admin, client, command, connection, info, scripts, subscribe, transactions};
use super::{Body, Directory, Row};
use crate::store::command::{COMMANDS, Command, Flags, Spec, Table, row};

const NONE: Flags = Flags::NONE;
const READ: Flags = Flags::READ;
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

/// Every command of the server itself.
static SERVER_COMMANDS: Table<Body> = Table::new(ROWS);

#[rustfmt::skip]
const ROWS: &[Command<Body>] = &[
    row("auth", -2, NO_SCRIPT.and(NO_AUTH).and(WHILE_BUSY), [0, 0, 0], "connection", connection::auth, "Says the password."),
    row("bgrewriteaof", 1, ADMIN.and(NO_SCRIPT), [0, 0, 0], "server", admin::bgrewriteaof, "Rewrites the log."),
    row("bgsave", -1, ADMIN.and(NO_SCRIPT), [0, 0, 0], "server", admin::bgsave, "Rewrites the log."),
    row("client", -2, NO_SCRIPT, [0, 0, 0], "connection", client::client, "Tells of connections and sets them up."),
    row("command", -1, NONE, [0, 0, 0], "server", command::command, "Tells of commands."),
    row("config", -2, ADMIN.and(NO_SCRIPT), [0, 0, 0], "server", admin::config, "Tells and sets the configuration."),
    row("discard", 1, NO_SCRIPT.and(IN_MULTI), [0, 0, 0], "transactions", transactions::discard, "Forgets the queued commands."),
    row("eval", -3, NO_SCRIPT.and(MOVABLE).and(SHOWN_FIRST), [0, 0, 0], "scripting", scripts::eval, "Runs a Lua script."),
    row("eval_ro", -3, READ.and(NO_SCRIPT).and(MOVABLE).and(SHOWN_FIRST), [0, 0, 0], "scripting", scripts::eval_ro, "Runs a Lua script that may only read."),
    row("evalsha", -3, NO_SCRIPT.and(MOVABLE).and(SHOWN_FIRST), [0, 0, 0], "scripting", scripts::evalsha, "Runs a Lua script by its SHA-1."),
    row("evalsha_ro", -3, READ.and(NO_SCRIPT).and(MOVABLE).and(SHOWN_FIRST), [0, 0, 0], "scripting", scripts::evalsha_ro, "Runs a Lua script, which may only read, by its SHA-1."),
    row("exec", 1, NO_SCRIPT.and(IN_MULTI), [0, 0, 0], "transactions", transactions::exec, "Runs the queued commands."),
    row("hello", -1, NO_SCRIPT.and(NO_AUTH).and(WHILE_BUSY), [0, 0, 0], "connection", connection::hello, "Chooses the protocol."),
    row("info", -1, NONE, [0, 0, 0], "server", info::info, "Tells how the server is."),
    row("lastsave", 1, NO_SCRIPT, [0, 0, 0], "server", admin::lastsave, "Tells when the log was last rewritten."),
    row("latency", -2, ADMIN.and(NO_SCRIPT), [0, 0, 0], "server", admin::latency, "Tells of no latency events, for none are recorded."),
    row("monitor", 1, ADMIN.and(NO_SCRIPT).and(NO_MULTI), [0, 0, 0], "server", admin::monitor, "Shows every command."),
    row("multi", 1, NO_SCRIPT.and(IN_MULTI).and(WHILE_BUSY), [0, 0, 0], "transactions", transactions::multi, "Queues the commands that follow."),
    row("psubscribe", -2, PUBSUB.and(NO_SCRIPT).and(WHILE_SUBSCRIBED), [0, 0, 0], "pubsub", subscribe::psubscribe, "Listens to patterns of channels."),
    row("punsubscribe", -1, PUBSUB.and(NO_SCRIPT).and(WHILE_SUBSCRIBED), [0, 0, 0], "pubsub", subscribe::punsubscribe, "Listens to patterns no longer."),
    row("quit", -1, NO_SCRIPT.and(NO_AUTH).and(WHILE_SUBSCRIBED).and(IN_MULTI).and(WHILE_BUSY), [0, 0, 0], "connection", connection::quit, "Ends the connection."),
    row("readonly", 1, NO_SCRIPT, [0, 0, 0], "cluster", admin::cluster_disabled, "Is for clusters."),
    row("readwrite", 1, NO_SCRIPT, [0, 0, 0], "cluster", admin::cluster_disabled, "Is for clusters."),
    row("reset", 1, NO_SCRIPT.and(NO_AUTH).and(WHILE_SUBSCRIBED).and(IN_MULTI), [0, 0, 0], "connection", connection::reset, "Makes the connection like new."),
    row("role", 1, NO_SCRIPT, [0, 0, 0], "server", admin::role, "Tells that this is a primary."),
    row("save", 1, ADMIN.and(NO_SCRIPT).and(NO_MULTI), [0, 0, 0], "server", admin::save, "Rewrites the log."),
    row("script", -2, NO_SCRIPT, [0, 0, 0], "scripting", scripts::script, "Loads, tells of and forgets Lua scripts."),
    row("slowlog", -2, ADMIN.and(NO_SCRIPT), [0, 0, 0], "server", admin::slowlog, "Tells of no slow commands, for none are recorded."),
    row("ssubscribe", -2, PUBSUB.and(NO_SCRIPT).and(WHILE_SUBSCRIBED), [1, -1, 1], "pubsub", subscribe::ssubscribe, "Listens to shard channels."),
    row("subscribe", -2, PUBSUB.and(NO_SCRIPT).and(WHILE_SUBSCRIBED), [0, 0, 0], "pubsub", subscribe::subscribe, "Listens to channels."),
    row("sunsubscribe", -1, PUBSUB.and(NO_SCRIPT).and(WHILE_SUBSCRIBED), [1, -1, 1], "pubsub", subscribe::sunsubscribe, "Listens to shard channels no longer."),
    row("unsubscribe", -1, PUBSUB.and(NO_SCRIPT).and(WHILE_SUBSCRIBED), [0, 0, 0], "pubsub", subscribe::unsubscribe, "Listens to channels no longer."),
    row("unwatch", 1, NO_SCRIPT, [0, 0, 0], "transactions", transactions::unwatch, "Watches no key any longer."),
    row("wait", 3, NO_SCRIPT, [0, 0, 0], "generic", admin::wait, "Waits for no replica, for there is none."),
    row("watch", -2, NO_SCRIPT.and(IN_MULTI), [1, -1, 1], "transactions", transactions::watch, "Lets EXEC fail if a key changes."),
];

/// How both tables are searched.
pub static DIRECTORY: Directory = Directory { all, find, server_spec };

fn all() -> &'static [Row] {
    static ALL: OnceLock<Vec<Row>> = OnceLock::new();
    ALL.get_or_init(|| {
        let data = COMMANDS.rows.iter().map(Row::Data);
        let mut rows: Vec<Row> = data.chain(SERVER_COMMANDS.rows.iter().map(Row::Server)).collect();
        rows.sort_by_key(|row| row.spec().name);
        rows
    })
}

/// The row of this name, in any case.
pub fn find(name: &[u8]) -> Option<Row> {
    COMMANDS.find(name).map(Row::Data).or_else(|| SERVER_COMMANDS.find(name).map(Row::Server))
}

fn server_spec(name: &[u8]) -> Option<&'static Spec> {
    SERVER_COMMANDS.find(name).map(|command| &command.spec)
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
