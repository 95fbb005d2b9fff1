//! `ACL`: the current user, what users may do, and the categories of commands. Users are set in the configuration.

use std::rc::Rc;

use crate::store::access::{Access, KeyPattern};
use crate::store::args::{int, is};
use crate::store::command::{CATEGORIES, Flags, is_in, is_known, other_subcommand, takes};
use crate::store::error::{CommandError, Outcome, wrong_arity};
use crate::store::number::hex;
use crate::store::pubsub::ClientSlot;
use crate::store::reply::Reply;
use crate::store::resp::Args;
use crate::store::server::StoreServer;

pub fn acl(server: &mut StoreServer, slot: ClientSlot, args: &Args, out: &mut Reply) -> Outcome {
    match args {
        [_, what] if is(what, "WHOAMI") => {
            let own = server.settings.own_credential.as_ref().map(|own| own.user.as_str());
            let trusted = server.clients.get(slot).is_some_and(|client| client.trusted);
            let user = server.clients.get(slot).and_then(|client| client.access.as_ref());
            let user = user.map_or(own.filter(|_| trusted).unwrap_or(DEFAULT), |access| &access.name);
            out.bulk(user.as_bytes());
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
        [_, what] if is(what, "USERS") => {
            let names: Vec<String> = users(server).into_iter().map(|access| access.name.clone()).collect();
            out.bulks(names.iter().map(String::as_bytes));
        }
        [_, what] if is(what, "LIST") => {
            let lines: Vec<String> = users(server).iter().map(|access| line(access)).collect();
            out.bulks(lines.iter().map(String::as_bytes));
        }
        [_, what, name] if is(what, "GETUSER") => {
            match users(server).iter().find(|access| access.name.as_bytes() == *name) {
                Some(access) => describe(access, out),
                None => out.null(),
            }
        }
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
            return Err(CommandError::new(
                "ERR users of this store are set in its configuration, in [[store.users]], and take effect at its start",
            ));
        }
        _ => return other_subcommand("ACL", args, out),
    }
    Ok(())
}

/// The user that always exists and may do everything.
const DEFAULT: &str = "default";
/// The longest password that can be generated, in bits.
const MOST_BITS: i64 = 4096;

/// Generates a password of this many bits, in hexadecimal.
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

/// Checks whether a user may run a command.
fn dry_run(server: &StoreServer, user: &[u8], call: &Args, out: &mut Reply) -> Outcome {
    let shown = |name: &[u8]| String::from_utf8_lossy(&name[..name.len().min(128)]).into_owned();
    let access = users(server).into_iter().find(|access| access.name.as_bytes() == user);
    let access = access.ok_or_else(|| CommandError::new(format!("ERR User '{}' not found", shown(user))))?;
    let row = (server.directory.find)(call[0]).filter(|row| is_known(row.spec(), call));
    let row = row.ok_or_else(|| CommandError::new(format!("ERR Command '{}' not found", shown(call[0]))))?;
    let spec = row.spec();
    if takes(spec, call) {
        let number = (server.directory.number)(row, call);
        match access.check(spec, number, call) {
            Err(denied) if access.name != DEFAULT => {
                out.bulk(&denied.told(number.map_or(spec.name, server.directory.name)));
            }
            _ => out.ok(),
        }
        return Ok(());
    }
    let subcommand = call.get(1).filter(|_| spec.flags.has(Flags::PARENT));
    let name = subcommand.map_or(spec.name.to_owned(), |word| format!("{}|{}", spec.name, shown(word).to_lowercase()));
    Err(wrong_arity(&name))
}

/// Subcommands with which Redis manages users.
const ELSEWHERE: [&str; 5] = ["DELUSER", "LOAD", "LOG", "SAVE", "SETUSER"];

/// All users, sorted by name.
fn users(server: &StoreServer) -> Vec<Rc<Access>> {
    let mut users: Vec<Rc<Access>> = server.users.values().cloned().collect();
    let password = server.settings.password.as_ref();
    users.push(Rc::new(Access::of_everything(DEFAULT, password.map(String::as_bytes))));
    users.sort_by(|one, other| one.name.cmp(&other.name));
    users
}

/// How to log in as a user: the user's flags, and the digest of the password.
fn log_in(access: &Access) -> (Vec<&'static str>, Option<String>) {
    let open = access.open.then_some("nopass");
    let flags = [Some(if access.enabled { "on" } else { "off" }), open].into_iter().flatten().collect();
    (flags, access.digest.map(|digest| hex(&digest)))
}

fn keys(access: &Access) -> Vec<String> {
    if access.all_keys {
        return vec!["~*".to_owned()];
    }
    let sign = |pattern: &KeyPattern| match (pattern.read, pattern.write) {
        (true, true) => "~",
        (true, false) => "%R~",
        _ => "%W~",
    };
    access.keys.iter().map(|pattern| format!("{}{}", sign(pattern), pattern.text)).collect()
}

fn channels(access: &Access) -> Vec<String> {
    match access.all_channels {
        true => vec!["&*".to_owned()],
        false => access.channels.iter().map(|pattern| format!("&{pattern}")).collect(),
    }
}

/// A user as `ACL LIST` shows it.
fn line(access: &Access) -> String {
    let (flags, digest) = log_in(access);
    let mut words = vec!["user".to_owned(), access.name.clone()];
    words.extend(flags.into_iter().map(str::to_owned));
    words.extend(digest.map(|digest| format!("#{digest}")));
    words.extend(keys(access));
    words.extend((!access.all_channels).then(|| "resetchannels".to_owned()));
    words.extend(channels(access));
    words.extend(access.rules.iter().cloned());
    words.join(" ")
}

/// A user as `ACL GETUSER` shows it.
fn describe(access: &Access, out: &mut Reply) {
    let (flags, digest) = log_in(access);
    out.map(6);
    out.bulk(b"flags");
    out.set(flags.len());
    flags.into_iter().for_each(|flag| out.bulk(flag.as_bytes()));
    out.bulk(b"passwords");
    out.bulks(digest.iter().map(String::as_bytes).collect::<Vec<_>>().into_iter());
    for (name, words) in [("commands", access.rules.clone()), ("keys", keys(access)), ("channels", channels(access))] {
        out.bulk(name.as_bytes());
        out.bulk(words.join(" ").as_bytes());
    }
    out.bulk(b"selectors");
    out.array(0);
}
