//! `ACL`: who one is, and the categories of commands. There are no users but the one that has the password.

use crate::store::args::is;
use crate::store::command::{CATEGORIES, is_in, other_subcommand};
use crate::store::error::{CommandError, Outcome};
use crate::store::pubsub::Slot;
use crate::store::reply::Reply;
use crate::store::resp::Args;
use crate::store::server::Server;

pub fn acl(server: &mut Server, slot: Slot, args: &Args, out: &mut Reply) -> Outcome {
    match args {
        [_, what] if is(what, "WHOAMI") => {
            let own = server.settings.own_credential.as_ref().map(|own| own.user.as_str());
            let trusted = server.clients.get(slot).is_some_and(|client| client.trusted);
            out.bulk(own.filter(|_| trusted).unwrap_or("default").as_bytes());
        }
        [_, what] if is(what, "CAT") => out.bulks(CATEGORIES.iter().map(|category| category.as_bytes())),
        [_, what, name] if is(what, "CAT") => {
            let category = CATEGORIES.iter().find(|category| is(name, category)).ok_or_else(|| {
                CommandError::new(format!("ERR Unknown category '{}'", String::from_utf8_lossy(name)))
            })?;
            let rows = (server.directory.all)().iter().map(|row| row.spec());
            let found: Vec<&[u8]> =
                rows.filter(|spec| is_in(spec, category)).map(|spec| spec.name.as_bytes()).collect();
            out.bulks(found.into_iter());
        }
        [_, what, _, _, ..] if is(what, "CAT") => {
            let given = String::from_utf8_lossy(what).into_owned();
            return Err(CommandError::new(format!(
                "ERR unknown subcommand or wrong number of arguments for '{given}'. Try ACL HELP."
            )));
        }
        [_, what, ..] if ELSEWHERE.iter().any(|known| is(what, known)) => {
            return Err(CommandError::new("ERR this store has no users to manage: set store.password instead"));
        }
        _ => return other_subcommand("ACL", args, out),
    }
    Ok(())
}

/// What Redis manages users with.
const ELSEWHERE: [&str; 9] = ["DELUSER", "DRYRUN", "GENPASS", "GETUSER", "LIST", "LOAD", "LOG", "SAVE", "SETUSER"];
