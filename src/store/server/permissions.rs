//! Checks whether a client's user may run a command; see [`access`](crate::store::access).

use std::borrow::Cow;
use std::rc::Rc;

use super::refused;
use super::state::{Directory, Row, StoreServer};
use crate::store::access::{
    Access, BadRule, Denied, KnownCommand, MISSING, categories_of_subcommand, read, sort_denied,
};
use crate::store::command::{CATEGORIES, Flags, is_in, other_subcommand, subcommands};
use crate::store::error::{CommandError, Outcome};
use crate::store::pubsub::ClientSlot;
use crate::store::reply::Reply;
use crate::store::resp::Args;
use crate::store::settings::User;

/// The commands and subcommands that rules can name.
fn known(directory: &Directory) -> Vec<KnownCommand> {
    let mut known = Vec::new();
    for row in (directory.all)() {
        let spec = row.spec();
        let number = (directory.number)(*row, &[spec.name.as_bytes()]);
        let of_parent = spec.flags.has(Flags::PARENT) && spec.name != "command";
        let categories = match of_parent {
            true => vec!["slow"],
            false => CATEGORIES.into_iter().filter(|category| is_in(spec, category)).collect(),
        };
        known.extend(number.map(|number| KnownCommand { name: spec.name.to_owned(), number, categories }));
    }
    for full in subcommands() {
        let (command, name) = full.split_once('|').unwrap_or((full, ""));
        let row = (directory.find)(command.as_bytes());
        let number = row.and_then(|row| (directory.number)(row, &[command.as_bytes(), name.as_bytes()]));
        let categories = categories_of_subcommand(full);
        known.extend(number.map(|number| KnownCommand { name: full.clone(), number, categories }));
    }
    known
}

/// Reads a user's rules.
pub fn user(directory: &Directory, user: &User) -> Result<Access, BadRule> {
    read(user, &known(directory), |name| refused::reason(name).is_some())
}

/// Loads the configured users. A user with an invalid rule is left out, so nobody can log in as that user.
pub fn take_in(server: &mut StoreServer) {
    for one in &server.settings.users {
        match user(server.directory, one) {
            Ok(access) => drop(server.users.insert(one.name.clone(), Rc::new(access))),
            Err(problem) => tracing::error!(user = one.name, "the store leaves a user out: {problem}"),
        }
    }
}

/// Refuses a command that a user may not run. `runs` is false if the command is only queued.
pub fn admit(server: &StoreServer, access: &Access, row: Row, args: &Args, runs: bool) -> Outcome {
    let (spec, directory) = (row.spec(), server.directory);
    let number = (directory.number)(row, args);
    let Some(number) = number else {
        // There is no such subcommand: a user who may run the command is told so by the command itself.
        let full = full_name(spec.name, args);
        return match access.may_run((directory.number)(row, &args[..1]), &[]) {
            true => Ok(()),
            false if MISSING.contains(&full.as_str()) => Err(Denied::Command.error(&full)),
            false => other_subcommand(&spec.name.to_uppercase(), args, &mut Reply::default()),
        };
    };
    access.check(spec, Some(number), args).map_err(|denied| denied.error((directory.name)(number)))?;
    match runs.then(|| sort_denied(access, spec, args)).flatten() {
        Some(problem) => Err(problem),
        None => Ok(()),
    }
}

fn full_name(command: &str, args: &Args) -> String {
    let word = args.get(1).copied().unwrap_or_default();
    format!("{command}|{}", String::from_utf8_lossy(word).to_lowercase())
}

/// Why a queued command is refused when it runs, if it is.
pub fn denied_at_exec(server: &StoreServer, slot: ClientSlot, row: Row, args: &Args) -> Option<Cow<'static, str>> {
    let access = server.clients.get(slot)?.access.as_ref()?;
    let number = (server.directory.number)(row, args);
    let unknown = number.is_none() && access.may_run((server.directory.number)(row, &args[..1]), &[]);
    let problem = match access.check(row.spec(), number, args) {
        Err(denied) if !unknown => Some(denied.at_exec()),
        _ => sort_denied(access, row.spec(), args),
    };
    match problem {
        Some(CommandError::Error(text)) => Some(text),
        _ => None,
    }
}
