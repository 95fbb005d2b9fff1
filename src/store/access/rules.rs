//! Parses the rules of a user, in the syntax of Redis.

use std::fmt;

use super::known::KnownCommand;
use super::rights::{Access, KeyPattern, digest};
use crate::store::command::CATEGORIES;
use crate::store::settings::{NODE, User};

/// The longest name of a user, in bytes: `CLIENT LIST` repeats it for each client.
const LONGEST_NAME: usize = 256;
/// The longest rule, in bytes.
const LONGEST_RULE: usize = 16 << 10;
/// The most rules of a user.
const MOST_RULES: usize = 4096;

/// Why a user is invalid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadRule {
    /// The rule at fault, if there is one; anything that may be a password is left out.
    pub rule: Option<String>,
    /// What is wrong with the rule or the user.
    pub message: &'static str,
}

impl fmt::Display for BadRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.rule {
            Some(rule) => write!(f, "the rule {rule:?} {}", self.message),
            None => f.write_str(self.message),
        }
    }
}

const NO_SELECTORS: &str = "begins a selector, and this store has none: make it a user of its own";
const NO_PASSWORDS: &str = "is about a password: set password or password_file instead";
const NO_SUCH: &str = "names no command and no category of Redis";
const NO_RULE: &str = "is no rule; see Redis's documentation of ACL SETUSER";
const AFTER_ALL_KEYS: &str = "adds a pattern to all keys: put resetkeys in front";
const AFTER_ALL_CHANNELS: &str = "adds a pattern to all channels: put resetchannels in front";
const TOO_LONG: &str = "is too long";
const NO_DEEPER: &str = "goes deeper than a subcommand";

/// Subcommands of Redis that this store does not have. Allowing or forbidding them has no effect.
pub const MISSING: [&str; 7] =
    ["acl|deluser", "acl|load", "acl|log", "acl|save", "acl|setuser", "latency|graph", "memory|malloc-stats"];

/// Parses a user. `known` lists what rules can name; `absent` says whether the store leaves a command out on
/// purpose.
pub fn read(user: &User, known: &[KnownCommand], absent: fn(&[u8]) -> bool) -> Result<Access, BadRule> {
    let whole = |message| Err(BadRule { rule: None, message });
    match user.name.as_str() {
        "" => return whole("the name is empty"),
        "default" => return whole("the default user is there already: its password is store.password"),
        NODE => return whole("this name is the server's own"),
        name if name.len() > LONGEST_NAME => return whole("the name has more than 256 bytes"),
        name if name.contains(|c: char| c.is_whitespace() || c.is_control()) => {
            return whole("the name has a space or a control character in it");
        }
        _ => {}
    }
    if user.rules.len() > MOST_RULES {
        return whole("there are more than 4096 rules");
    }
    let most = known.iter().map(|one| one.number + 1).max().unwrap_or_default();
    let digest = user.password.as_ref().map(|password| digest(password.as_bytes()));
    let access = Access { name: user.name.clone(), digest, commands: vec![false; most], ..Access::default() };
    let mut reading = Reading { access, known, absent };
    reading.access.rules.push("-@all".to_owned());
    for rule in &user.rules {
        reading.rule(rule).map_err(|message| BadRule { rule: Some(shown(rule)), message })?;
    }
    let access = reading.access;
    match (access.open, access.digest.is_some(), access.enabled) {
        (true, true, _) => whole("there is a password, and nopass that makes it useless"),
        (false, false, true) => whole("there is no password: set password or password_file, or the rule nopass"),
        _ => Ok(access),
    }
}

/// A rule in a form that is safe to show. Text that does not look like a rule may be a misplaced password.
fn shown(rule: &str) -> String {
    let sign = rule.chars().next().filter(|sign| "+-~%&(".contains(*sign));
    match sign {
        Some('(') => "(…".to_owned(),
        Some(_) if rule.len() <= 64 => rule.to_owned(),
        Some(_) => rule.chars().take(32).chain(['…']).collect(),
        None => rule.chars().next().filter(|sign| "><#!".contains(*sign)).into_iter().chain("***".chars()).collect(),
    }
}

struct Reading<'a> {
    access: Access,
    known: &'a [KnownCommand],
    absent: fn(&[u8]) -> bool,
}

impl Reading<'_> {
    fn rule(&mut self, rule: &str) -> Result<(), &'static str> {
        if rule.len() > LONGEST_RULE {
            return Err(TOO_LONG);
        }
        if rule.contains(|c: char| c.is_whitespace() || c == '\0') {
            return Err(NO_RULE);
        }
        let access = &mut self.access;
        match rule.to_ascii_lowercase().as_str() {
            "on" => access.enabled = true,
            "off" => access.enabled = false,
            "nopass" => access.open = true,
            "allkeys" | "~*" => {
                access.all_keys = true;
                access.keys.clear();
            }
            "resetkeys" => {
                access.all_keys = false;
                access.keys.clear();
            }
            "allchannels" | "&*" => {
                access.all_channels = true;
                access.channels.clear();
            }
            "resetchannels" => {
                access.all_channels = false;
                access.channels.clear();
            }
            "allcommands" | "+@all" => self.all(true),
            "nocommands" | "-@all" => self.all(false),
            "resetpass" | "reset" => return Err(NO_PASSWORDS),
            _ => return self.sign(rule),
        }
        Ok(())
    }

    fn sign(&mut self, rule: &str) -> Result<(), &'static str> {
        let Some(sign) = rule.chars().next() else { return Err(NO_RULE) };
        let rest = &rule[sign.len_utf8()..];
        match sign {
            '+' | '-' => self.command(sign == '+', &rest.to_ascii_lowercase()),
            '~' => self.key_pattern(true, true, rest),
            '%' => self.with_permission(rest),
            '&' => self.channel(rest),
            '(' => Err(NO_SELECTORS),
            '>' | '<' | '#' | '!' => Err(NO_PASSWORDS),
            _ => Err(NO_RULE),
        }
    }

    /// `%R~pattern`, `%W~pattern`, `%RW~pattern`. As in Redis, the pattern may be empty.
    fn with_permission(&mut self, rest: &str) -> Result<(), &'static str> {
        let (letters, pattern) = rest.split_once('~').ok_or(NO_RULE)?;
        let (mut read, mut write) = (false, false);
        for letter in letters.chars() {
            let permission = match letter.to_ascii_uppercase() {
                'R' => &mut read,
                'W' => &mut write,
                _ => return Err(NO_RULE),
            };
            if std::mem::replace(permission, true) {
                return Err(NO_RULE);
            }
        }
        if !read && !write {
            return Err(NO_RULE);
        }
        self.key_pattern(read, write, pattern)
    }

    fn key_pattern(&mut self, read: bool, write: bool, text: &str) -> Result<(), &'static str> {
        let access = &mut self.access;
        if access.all_keys {
            return Err(AFTER_ALL_KEYS);
        }
        match access.keys.iter_mut().find(|pattern| pattern.text == text) {
            Some(pattern) => {
                pattern.read |= read;
                pattern.write |= write;
            }
            None => access.keys.push(KeyPattern { text: text.to_owned(), read, write }),
        }
        Ok(())
    }

    fn channel(&mut self, pattern: &str) -> Result<(), &'static str> {
        let access = &mut self.access;
        if access.all_channels {
            return Err(AFTER_ALL_CHANNELS);
        }
        if !access.channels.iter().any(|known| known == pattern) {
            access.channels.push(pattern.to_owned());
        }
        Ok(())
    }

    fn all(&mut self, may: bool) {
        self.access.commands.fill(may);
        self.access.first_args.clear();
        self.access.rules = vec![if may { "+@all" } else { "-@all" }.to_owned()];
    }

    fn command(&mut self, may: bool, name: &str) -> Result<(), &'static str> {
        let known = self.known;
        if let Some(category) = name.strip_prefix('@') {
            if !CATEGORIES.contains(&category) {
                return Err(NO_SUCH);
            }
            // As in Redis, a category that contains a command also contains all of its subcommands.
            let with = |one: &KnownCommand| one.categories.contains(&category);
            let heads: Vec<&str> =
                known.iter().filter(|one| with(one) && !one.name.contains('|')).map(|one| one.name.as_str()).collect();
            return self.set(may, name, |one| with(one) || heads.iter().any(|head| one.is_of(head)));
        }
        if known.iter().any(|one| one.name == name) {
            return self.set(may, name, |one| one.is_of(name));
        }
        if MISSING.contains(&name) || (self.absent)(name.split('|').next().unwrap_or_default().as_bytes()) {
            return Ok(());
        }
        // For a command without subcommands, the word after the bar is its first argument.
        let (command, first) = name.rsplit_once('|').filter(|(_, first)| may && !first.is_empty()).ok_or(NO_SUCH)?;
        let found = known.iter().find(|one| one.name == command).ok_or(NO_SUCH)?;
        if command.contains('|') {
            return Err(NO_DEEPER);
        }
        if known.iter().any(|one| one.name != command && one.is_of(command)) {
            return Err(NO_SUCH);
        }
        let words = self.access.first_args.entry(found.number).or_default();
        if !words.iter().any(|word| word == first) {
            words.push(first.to_owned());
            self.access.rules.push(format!("+{name}"));
        }
        Ok(())
    }

    /// Allows or forbids the commands that `of` selects. A rule that changes nothing is not kept.
    fn set(&mut self, may: bool, name: &str, of: impl Fn(&KnownCommand) -> bool) -> Result<(), &'static str> {
        let mut changed = false;
        for one in self.known.iter().filter(|one| of(one)) {
            let Some(bit) = self.access.commands.get_mut(one.number) else { continue };
            changed |= std::mem::replace(bit, may) != may;
            changed |= self.access.first_args.remove(&one.number).is_some();
        }
        if changed {
            let sign = if may { '+' } else { '-' };
            self.access.rules.push(format!("{sign}{name}"));
        }
        Ok(())
    }
}
