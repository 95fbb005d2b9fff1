//! Commands that need only data: their table, and the lookup by name.
//!
//! The command bodies are in separate modules, by data type. A body gets the data that it may touch,
//! the arguments and the reply; it either replies or fails, and it does no I/O.

mod bitmaps;
mod categories;
mod connection;
mod counters;
mod draw;
mod dumps;
mod expiry;
mod hashes;
mod hyperloglogs;
mod in_place;
mod key_specs;
mod keys;
mod list_moves;
mod lists;
mod lookup;
mod numbers;
mod place_search;
mod places;
mod pubsub;
mod sets;
mod sorting;
pub mod spec;
mod stream_claims;
mod stream_groups;
mod stream_info;
mod stream_reads;
mod streams;
mod strings;
mod subcommand;
mod subsequence;
mod table;
mod told_flags;
mod zjoins;
mod zranges;
mod zsets;

pub use categories::{CATEGORIES, is_fast, is_in};
pub use connection::ping_subscriber;
pub use key_specs::{describe_keys, has_keys, keys_with_flags, takes, tell_flags};
pub use lookup::CommandTable;
pub use numbers::{first_of_server, is_known, number, subcommand_number, subcommands};
pub use spec::{Command, Flags, Spec, row};
pub use subcommand::other_subcommand;
pub use table::COMMANDS;
pub use told_flags::told_flags;

/// Finds the command with this name, ignoring case.
pub fn find(name: &[u8]) -> Option<&'static Command> {
    COMMANDS.find(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_is_found_by_its_name_in_any_case() {
        for command in COMMANDS.rows {
            let found = find(command.spec.name.to_uppercase().as_bytes());
            assert_eq!(found.map(|found| found.spec.name), Some(command.spec.name));
        }
        assert!(find(b"nosuch").is_none());
        assert!(COMMANDS.rows.is_sorted_by_key(|command| command.spec.name));
    }
}
