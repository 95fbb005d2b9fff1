//! `ACL`: who one is, and the categories of commands. There are no users but the one that has the password.

use crate::store::args::{int, is};
use crate::store::command::{CATEGORIES, Flags, is_in, is_known, other_subcommand, takes};
use crate::store::error::{CommandError, Outcome, wrong_arity};
use crate::store::number::hex;
use crate::store::pubsub::Slot;
use crate::store::reply::Reply;
use crate::store::resp::Args;
use crate::store::server::{Row, Server};

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
        [_, what] if is(what, "USERS") => out.bulks([USER].into_iter()),
        [_, what] if is(what, "GENPASS") => password(256, out)?,
        [_, what, bits] if is(what, "GENPASS") => password(int(bits)?, out)?,
        [_, what, user, call @ ..] if is(what, "DRYRUN") && !call.is_empty() => dry_run(server, user, call, out)?,
        [_, what, _, _, ..] if is(what, "CAT") || is(what, "GENPASS") => {
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

/// The one user.
const USER: &[u8] = b"default";
/// The longest password that is drawn, in bits.
const MOST_BITS: i64 = 4096;

/// Draws a password of so many bits, in hexadecimal.
fn password(bits: i64, out: &mut Reply) -> Outcome {
    if !(1..=MOST_BITS).contains(&bits) {
        return Err(CommandError::new(format!(
            "ERR ACL GENPASS argument must be the number of bits for the output password, a positive number up to \
             {MOST_BITS}"
        )));
    }
    let digits = (bits as usize).div_ceil(4);
    let mut bytes = vec![0; digits.div_ceil(2)];
    getrandom::fill(&mut bytes).map_err(|error| CommandError::new(format!("ERR no password: {error}")))?;
    out.bulk(&hex(&bytes).as_bytes()[..digits]);
    Ok(())
}

/// Says whether the user may run a command. It may run all; they only have to be there.
fn dry_run(server: &Server, user: &[u8], call: &Args, out: &mut Reply) -> Outcome {
    let shown = |name: &[u8]| String::from_utf8_lossy(&name[..name.len().min(128)]).into_owned();
    if user != USER {
        return Err(CommandError::new(format!("ERR User '{}' not found", shown(user))));
    }
    let spec = (server.directory.find)(call[0]).map(Row::spec).filter(|spec| is_known(spec, call));
    let spec = spec.ok_or_else(|| CommandError::new(format!("ERR Command '{}' not found", shown(call[0]))))?;
    if takes(spec, call) {
        out.ok();
        return Ok(());
    }
    let subcommand = call.get(1).filter(|_| spec.flags.has(Flags::PARENT));
    let name = subcommand.map_or(spec.name.to_owned(), |word| format!("{}|{}", spec.name, shown(word).to_lowercase()));
    Err(wrong_arity(&name))
}

/// What Redis manages users with.
const ELSEWHERE: [&str; 7] = ["DELUSER", "GETUSER", "LIST", "LOAD", "LOG", "SAVE", "SETUSER"];
