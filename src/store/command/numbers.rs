//! The numbers under which calls of commands are counted: first the table of commands, then all subcommands, then
//! the server's own commands.

use std::sync::OnceLock;

use super::spec::{Command, Flags, Spec};
use super::subcommand::{subcommand_names, subcommand_place};
use super::table::COMMANDS;
use crate::store::resp::Args;

/// The names of all subcommands.
pub fn subcommands() -> &'static [String] {
    static NAMES: OnceLock<Vec<String>> = OnceLock::new();
    NAMES.get_or_init(|| subcommand_names().collect())
}

/// The number of a command that needs only data; `None` if it does not have the subcommand that is called.
pub fn number(command: &'static Command, args: &Args) -> Option<usize> {
    if command.spec.flags.has(Flags::PARENT) && args.len() > 1 {
        return subcommand_number(command.spec.name, args[1]);
    }
    Some(COMMANDS.place(command))
}

/// The number of a subcommand.
pub fn subcommand_number(command: &str, name: &[u8]) -> Option<usize> {
    subcommand_place(command, name).map(|place| COMMANDS.rows.len() + place)
}

/// Whether a call names a subcommand that the command has; also true if it names none.
pub fn is_known(spec: &Spec, call: &Args) -> bool {
    let word = call.get(1).filter(|_| spec.flags.has(Flags::PARENT));
    word.is_none_or(|word| subcommand_number(spec.name, word).is_some())
}

/// Where the numbers of the server's own commands begin.
pub fn first_of_server() -> usize {
    COMMANDS.rows.len() + subcommands().len()
}
