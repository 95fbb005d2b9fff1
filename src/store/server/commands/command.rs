//! `COMMAND`: describes the commands.

use crate::glob;
use crate::store::args::is;
use crate::store::command::{
    CATEGORIES, Spec, describe_keys, has_keys, is_in, is_known, keys_with_flags, other_subcommand, subcommands, takes,
    tell_flags, told_flags,
};
use crate::store::error::{CommandError, Outcome, SYNTAX};
use crate::store::pubsub::ClientSlot;
use crate::store::reply::Reply;
use crate::store::resp::Args;
use crate::store::server::{Row, StoreServer};

/// `COMMAND` and its subcommands.
pub fn command(server: &mut StoreServer, _: ClientSlot, args: &Args, out: &mut Reply) -> Outcome {
    let (all, find) = ((server.directory.all)(), server.directory.find);
    match args {
        [_] => {
            out.array(all.len());
            all.iter().for_each(|row| describe(row.spec(), out));
        }
        [_, what] if is(what, "COUNT") => out.len(all.len()),
        [_, what, filter @ ..] if is(what, "LIST") => list(all, filter, out)?,
        [_, what] if is(what, "INFO") => {
            out.array(all.len());
            all.iter().for_each(|row| describe(row.spec(), out));
        }
        [_, what, names @ ..] if is(what, "INFO") => {
            out.array(names.len());
            for name in names {
                match find(name) {
                    Some(row) => describe(row.spec(), out),
                    None => out.null(),
                }
            }
        }
        [_, what, names @ ..] if is(what, "DOCS") => {
            let named: Vec<Row> = names.iter().filter_map(|name| find(name)).collect();
            let found = if names.is_empty() { all } else { &named };
            out.map(found.len());
            found.iter().for_each(|row| document(row.spec(), out));
        }
        [_, what, call @ ..] if is(what, "GETKEYS") && call.len() > 1 => {
            let keys = keys_in(find, call)?;
            out.bulks(keys.into_iter().map(|(key, _)| key).collect::<Vec<_>>().into_iter());
        }
        [_, what, call @ ..] if is(what, "GETKEYSANDFLAGS") && call.len() > 1 => {
            let keys = keys_in(find, call)?;
            out.array(keys.len());
            for (key, flags) in keys {
                out.array(2);
                out.bulk(key);
                tell_flags(flags, out);
            }
        }
        _ => return other_subcommand("COMMAND", args, out),
    }
    Ok(())
}

/// Returns the keys in a given command, each with what the command does to it.
fn keys_in<'a>(find: fn(&[u8]) -> Option<Row>, call: &Args<'a>) -> Result<Vec<(&'a [u8], &'static str)>, CommandError> {
    let spec = find(call[0]).map(Row::spec).filter(|spec| is_known(spec, call));
    let spec = spec.ok_or(CommandError::new("ERR Invalid command specified"))?;
    if !has_keys(spec, call) {
        return Err(CommandError::new("ERR The command has no key arguments"));
    }
    if !takes(spec, call) {
        return Err(CommandError::new("ERR Invalid number of arguments specified for command"));
    }
    let keys = keys_with_flags(spec, call).unwrap_or_default();
    if keys.is_empty() && !spec.needs_no_key() {
        return Err(CommandError::new("ERR Invalid arguments specified for command"));
    }
    Ok(keys)
}

/// `COMMAND LIST` and its filters.
fn list(all: &[Row], filter: &Args, out: &mut Reply) -> Outcome {
    let commands = all.iter().map(|row| row.spec().name.to_owned());
    let names: Vec<String> = match filter {
        [] => commands.chain(subcommands().iter().cloned()).collect(),
        [word, by, _] if is(word, "FILTERBY") && is(by, "MODULE") => Vec::new(),
        [word, by, pattern] if is(word, "FILTERBY") && is(by, "PATTERN") => {
            let pattern = pattern.to_ascii_lowercase();
            commands
                .chain(subcommands().iter().cloned())
                .filter(|name| glob::matches(&pattern, name.as_bytes()))
                .collect()
        }
        [word, by, category] if is(word, "FILTERBY") && is(by, "ACLCAT") => {
            let known = CATEGORIES.into_iter().find(|known| is(category, known));
            let rows = all.iter().filter(|row| known.is_some_and(|known| is_in(row.spec(), known)));
            rows.map(|row| row.spec().name.to_owned()).collect()
        }
        _ => return Err(SYNTAX),
    };
    out.bulks(names.iter().map(|name| name.as_bytes()));
    Ok(())
}

/// Describes a command as `COMMAND` shows it. Fields of Redis 7 that do not apply to this store are left empty.
fn describe(spec: &Spec, out: &mut Reply) {
    out.array(10);
    out.bulk(spec.name.as_bytes());
    out.int(i64::from(spec.arity));
    let flags = told_flags(spec);
    out.set(flags.len());
    flags.into_iter().for_each(|flag| out.simple(flag));
    spec.keys.iter().for_each(|position| out.int(i64::from(*position)));
    let categories: Vec<&str> = CATEGORIES.into_iter().filter(|category| is_in(spec, category)).collect();
    out.set(categories.len());
    categories.into_iter().for_each(|category| out.simple(&format!("@{category}")));
    // No tips for clients of a cluster, and no subcommands, which are listed separately.
    out.array(0);
    describe_keys(spec.name, out);
    out.array(0);
}

fn document(spec: &Spec, out: &mut Reply) {
    out.bulk(spec.name.as_bytes());
    out.map(3);
    out.bulk(b"summary");
    out.bulk(spec.summary.as_bytes());
    out.bulk(b"group");
    out.bulk(spec.group.as_bytes());
    out.bulk(b"arity");
    out.int(i64::from(spec.arity));
}
