//! A user's rights, and checking commands against them.

use std::collections::HashMap;

use sha2::{Digest, Sha256};

use crate::glob;
use crate::store::args::is;
use crate::store::command::{Flags, Spec, keys_with_flags};
use crate::store::error::CommandError;
use crate::store::number::parse_int;
use crate::store::resp::Args;

/// A key pattern, and what may be done with the keys that match.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyPattern {
    /// The pattern.
    pub text: String,
    /// Whether matching keys may be read.
    pub read: bool,
    /// Whether matching keys may be changed.
    pub write: bool,
}

/// A user: how to log in, and what the user may do.
#[derive(Debug, Clone, Default)]
pub struct Access {
    /// The user's name.
    pub name: String,
    /// Whether it may log in.
    pub enabled: bool,
    /// Whether any password is accepted.
    pub open: bool,
    /// The digest of its password.
    pub digest: Option<[u8; 32]>,
    /// Whether each command may be run, by its number.
    pub commands: Vec<bool>,
    /// By command number: the first arguments with which an otherwise forbidden command may be run.
    pub first_args: HashMap<usize, Vec<String>>,
    /// Whether it may access all keys.
    pub all_keys: bool,
    /// The keys that it may access, unless it may access all.
    pub keys: Vec<KeyPattern>,
    /// Whether it may access all channels.
    pub all_channels: bool,
    /// The channels that it may access, unless it may access all.
    pub channels: Vec<String>,
    /// The rules about commands that are in effect, in order.
    pub rules: Vec<String>,
}

/// Why a command is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Denied<'a> {
    /// The user may not run the command.
    Command,
    /// The user may not access this key.
    Key(&'a [u8]),
    /// The user may not access this channel.
    Channel(&'a [u8]),
}

/// The digest of a password, which is kept and shown in its place.
pub fn digest(password: &[u8]) -> [u8; 32] {
    Sha256::digest(password).into()
}

impl Access {
    /// Creates a user that may do everything. If `password` is `None`, any password is accepted.
    pub fn of_everything(name: &str, password: Option<&[u8]>) -> Self {
        Self {
            name: name.to_owned(),
            enabled: true,
            open: password.is_none(),
            digest: password.map(digest),
            all_keys: true,
            all_channels: true,
            rules: vec!["+@all".to_owned()],
            ..Self::default()
        }
    }

    /// Whether a client with this password becomes this user.
    pub fn admits(&self, password: &[u8]) -> bool {
        let given = digest(password);
        // The comparison takes equally long wherever the difference is.
        let same =
            |known: &[u8; 32]| std::hint::black_box(known.iter().zip(&given).fold(0, |sum, (a, b)| sum | (a ^ b))) == 0;
        self.enabled && (self.open || self.digest.as_ref().is_some_and(same))
    }

    /// Whether the command with this number may be run with these arguments, leaving keys and channels aside.
    pub fn may_run(&self, number: Option<usize>, args: &Args) -> bool {
        let Some(number) = number else { return false };
        let with_first = |known: &Vec<String>| args.get(1).is_some_and(|arg| known.iter().any(|word| is(arg, word)));
        self.commands.get(number).is_some_and(|may| *may) || self.first_args.get(&number).is_some_and(with_first)
    }

    /// Checks a command, then its keys, then its channels.
    pub fn check<'a>(&self, spec: &Spec, number: Option<usize>, args: &Args<'a>) -> Result<(), Denied<'a>> {
        if !spec.flags.has(Flags::NO_AUTH) && !self.may_run(number, args) {
            return Err(Denied::Command);
        }
        if !self.all_keys {
            self.check_keys(spec, args)?;
        }
        if !self.all_channels {
            self.check_channels(spec, args)?;
        }
        Ok(())
    }

    fn check_keys<'a>(&self, spec: &Spec, args: &Args<'a>) -> Result<(), Denied<'a>> {
        let told = keys_with_flags(spec, args).unwrap_or_default();
        for (key, flags) in &told {
            let mut words = flags.split(' ');
            let (read, write) = (
                words.clone().any(|word| word == "access"),
                words.any(|word| ["insert", "delete", "update"].contains(&word)),
            );
            if !self.reaches(key, read, write) {
                return Err(Denied::Key(key));
            }
        }
        // A key specification that searches for a keyword may find a key of that name instead, so the command's own
        // rules are applied too.
        if matches!(spec.name, "xread" | "xreadgroup" | "georadius" | "georadiusbymember") {
            for key in spec.keys_of(args).unwrap_or_default() {
                if !told.iter().any(|(known, _)| *known == key) && !self.reaches(key, true, true) {
                    return Err(Denied::Key(key));
                }
            }
        }
        Ok(())
    }

    fn reaches(&self, key: &[u8], read: bool, write: bool) -> bool {
        let mut fit = self.keys.iter().filter(|pattern| pattern.read >= read && pattern.write >= write);
        fit.any(|pattern| matches(pattern.text.as_bytes(), key))
    }

    fn check_channels<'a>(&self, spec: &Spec, args: &Args<'a>) -> Result<(), Denied<'a>> {
        let names = match spec.name {
            "publish" | "spublish" => args.get(1..2).unwrap_or_default(),
            "subscribe" | "ssubscribe" | "psubscribe" => args.get(1..).unwrap_or_default(),
            _ => return Ok(()),
        };
        // A pattern subscribes to everything that it matches, so it must equal one of the user's own patterns.
        let exact = spec.name == "psubscribe";
        let within = |name: &[u8]| {
            let mut known = self.channels.iter().map(String::as_bytes);
            known.any(|pattern| if exact { pattern == name } else { matches(pattern, name) })
        };
        names.iter().find(|name| !within(name)).map_or(Ok(()), |name| Err(Denied::Channel(name)))
    }

    /// Whether the user may read every key.
    fn reads_all(&self) -> bool {
        self.all_keys || self.keys.iter().any(|pattern| pattern.read && pattern.text == "*")
    }
}

/// Whether a name matches a pattern. Most patterns are a prefix and a star, which need no glob search.
fn matches(pattern: &[u8], name: &[u8]) -> bool {
    match pattern.split_last() {
        Some((b'*', prefix)) if !prefix.iter().any(|byte| b"*?[\\".contains(byte)) => name.starts_with(prefix),
        _ => glob::matches(pattern, name),
    }
}

/// The error for a `SORT` that would read keys that it does not name, if the user may not read all keys.
pub fn sort_denied(access: &Access, spec: &Spec, args: &Args) -> Option<CommandError> {
    if !matches!(spec.name, "sort" | "sort_ro") || access.reads_all() {
        return None;
    }
    let mut at = 2;
    while let Some(word) = args.get(at) {
        let left = args.len() - at - 1;
        let option = match () {
            () if is(word, "LIMIT") && left >= 2 => {
                args[at + 1..at + 3].iter().try_for_each(|arg| parse_int(arg).map(drop))?;
                at += 3;
                continue;
            }
            () if is(word, "BY") && left >= 1 && args[at + 1].contains(&b'*') => "BY",
            () if is(word, "GET") && left >= 1 => "GET",
            () if (is(word, "BY") || is(word, "STORE")) && left >= 1 => {
                at += 2;
                continue;
            }
            () if is(word, "ASC") || is(word, "DESC") || is(word, "ALPHA") => {
                at += 1;
                continue;
            }
            // The command itself reports what is wrong with it.
            () => return None,
        };
        return Some(CommandError::new(format!(
            "ERR {option} option of SORT denied due to insufficient ACL permissions."
        )));
    }
    None
}

impl Denied<'_> {
    /// The error that a client gets.
    pub fn error(self, name: &str) -> CommandError {
        CommandError::new(match self {
            Self::Command => format!("NOPERM this user has no permissions to run the '{name}' command"),
            Self::Key(_) => {
                "NOPERM this user has no permissions to access one of the keys used as arguments".to_owned()
            }
            Self::Channel(_) => {
                "NOPERM this user has no permissions to access one of the channels used as arguments".to_owned()
            }
        })
    }

    /// The error that a script gets.
    pub fn in_script(self) -> CommandError {
        CommandError::new(match self {
            Self::Command => "ERR The user executing the script can't run this command or subcommand",
            Self::Key(_) => {
                "ERR The user executing the script can't access at least one of the keys mentioned in the command arguments"
            }
            Self::Channel(_) => {
                "ERR The user executing the script can't publish to the channel mentioned in the command"
            }
        })
    }

    /// The error that `EXEC` returns in place of a reply, for a queued command that is not allowed any more.
    pub fn at_exec(self) -> CommandError {
        let reason = match self {
            Self::Command => "no permission to execute the command or subcommand",
            Self::Key(_) => "no permission to touch the specified keys",
            Self::Channel(_) => "no permission to access one of the channels used as arguments to the command",
        };
        CommandError::new(format!(
            "NOPERM ACLs rules changed between the moment the transaction was accumulated and the EXEC call. This \
             command is no longer allowed for the following reason: {reason}"
        ))
    }

    /// The reply of `ACL DRYRUN`.
    pub fn told(self, name: &str) -> Vec<u8> {
        const SO: &[u8] = b"This user has no permissions to ";
        match self {
            Self::Command => [SO, b"run the '", name.as_bytes(), b"' command"].concat(),
            Self::Key(key) => [SO, b"access the '", key, b"' key"].concat(),
            Self::Channel(channel) => [SO, b"access the '", channel, b"' channel"].concat(),
        }
    }
}
