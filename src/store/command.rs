//! Commands that need only data: the table, and how a name is found in it.
//!
//! The bodies stand by data type in modules of their own. A body gets what it may touch, the
//! arguments and the reply, and either replies or fails; it does no I/O.

use super::table_index::Index;

mod connection;
mod draw;
mod hashes;
mod keys;
mod list_moves;
mod lists;
mod pubsub;
mod sets;
pub mod spec;
mod strings;
mod subcommand;
mod table;
mod zjoins;
mod zranges;
mod zsets;

pub use connection::ping_subscriber;
pub use spec::{Command, Flags, Spec};
pub use subcommand::unknown_subcommand;
pub use table::COMMANDS;

/// The command of this name, in any case.
pub fn find(name: &[u8]) -> Option<&'static Command> {
    static INDEX: Index = Index::new();
    let number = INDEX.find(name, || COMMANDS.iter().map(|command| command.spec.name))?;
    COMMANDS.get(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_is_found_by_its_name_in_any_case() {
        for command in COMMANDS {
            let found = find(command.spec.name.to_uppercase().as_bytes());
            assert_eq!(found.map(|found| found.spec.name), Some(command.spec.name));
        }
        assert!(find(b"nosuch").is_none());
        assert!(COMMANDS.is_sorted_by_key(|command| command.spec.name));
    }
}
