//! A user's rights, and whether a command is within them.

use std::collections::HashMap;

use sha2::{Digest, Sha256};

use crate::glob;
use crate::store::args::is;
use crate::store::command::{Flags, Spec, keys_with_flags};
use crate::store::error::CommandError;
use crate::store::number::parse_int;
use crate::store::resp::Args;

/// A pattern of keys, and what may be done with those that match.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyPattern {
    /// The pattern.
    pub text: String,
    /// Whether their values may be read.
    pub read: bool,
    /// Whether they may be changed.
    pub write: bool,
}

/// A user: how one becomes it, and what it may do.
#[derive(Debug, Clone, Default)]
pub struct Access {
    /// The user's name.
    pub name: String,
    /// Whether it may log in.
    pub enabled: bool,
    /// Whether any password will do.
    pub open: bool,
    /// The digest of its password.
    pub digest: Option<[u8; 32]>,
    /// Whether each command may be run, by its number.
    pub commands: Vec<bool>,
    /// First arguments with which a command may be run that may not be run otherwise.
    pub first_args: HashMap<usize, Vec<String>>,
    /// Whether it reaches all keys.
    pub all_keys: bool,
    /// The keys that it reaches otherwise.
    pub keys: Vec<KeyPattern>,
    /// Whether it reaches all channels.
    pub all_channels: bool,
    /// The channels that it reaches otherwise.
    pub channels: Vec<String>,
    /// The rules about commands that are in effect, in order.
    pub rules: Vec<String>,
}

/// What a command is refused for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Denied<'a> {
    /// The command itself.
    Command,
    /// A key in it.
    Key(&'a [u8]),
    /// A channel in it.
    Channel(&'a [u8]),
}

/// The digest of a password, as it is kept and shown.
pub fn digest(password: &[u8]) -> [u8; 32] {
    Sha256::digest(password).into()
}

impl Access {
    /// The user that may do everything; without a password, any will do.
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
        // The comparison does not tell by its time where the difference is.
        let same =
            |known: &[u8; 32]| std::hint::black_box(known.iter().zip(&given).fold(0, |sum, (a, b)| sum | (a ^ b))) == 0;
        self.enabled && (self.open || self.digest.as_ref().is_some_and(same))
    }

    /// Whether the command with a number may be run with these arguments, keys and channels aside.
    pub fn may_run(&self, number: Option<usize>, args: &Args) -> bool {
        let Some(number) = number else { return false };
        let with_first = |known: &Vec<String>| args.get(1).is_some_and(|arg| known.iter().any(|word| is(arg, word)));
        self.commands.get(number).is_some_and(|may| *may) || self.first_args.get(&number).is_some_and(with_first)
    }

    /// Looks at a command, then at its keys, then at its channels.
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
        // Where specifications look for a word they may find a name; the command itself knows better.
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
        // A pattern is good for as much as it says, so it must be one of the user's own.
        let exact = spec.name == "psubscribe";
        let within = |name: &[u8]| {
            let mut known = self.channels.iter().map(String::as_bytes);
            known.any(|pattern| if exact { pattern == name } else { matches(pattern, name) })
        };
        names.iter().find(|name| !within(name)).map_or(Ok(()), |name| Err(Denied::Channel(name)))
    }

    /// Whether it reads every key, whatever its name.
    fn reads_all(&self) -> bool {
        self.all_keys || self.keys.iter().any(|pattern| pattern.read && pattern.text == "*")
    }
}

/// Whether a name matches a pattern. Most patterns are a prefix and a star, which takes no search.
fn matches(pattern: &[u8], name: &[u8]) -> bool {
    match pattern.split_last() {
        Some((b'*', prefix)) if !prefix.iter().any(|byte| b"*?[\\".contains(byte)) => name.starts_with(prefix),
        _ => glob::matches(pattern, name),
    }
}

/// Why a `SORT` is refused that reads keys which it does not name, if it is.
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
            // The command itself says what is wrong with it.
            () => return None,
        };
        return Some(CommandError::new(format!(
            "ERR {option} option of SORT denied due to insufficient ACL permissions."
        )));
    }
    None
}

impl Denied<'_> {
    /// What a client is told.
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

    /// What a script is told.
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

    /// What takes the place of a reply in a transaction that another user has begun.
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

    /// What `ACL DRYRUN` answers.
    pub fn told(self, name: &str) -> Vec<u8> {
        const SO: &[u8] = b"This user has no permissions to ";
        match self {
            Self::Command => [SO, b"run the '", name.as_bytes(), b"' command"].concat(),
            Self::Key(key) => [SO, b"access the '", key, b"' key"].concat(),
            Self::Channel(channel) => [SO, b"access the '", channel, b"' channel"].concat(),
        }
    }
}
