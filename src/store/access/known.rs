//! The commands and subcommands that rules can name, each with its number and its categories.

/// A command, or a subcommand such as `client|id`.
#[derive(Debug)]
pub struct KnownCommand {
    /// Its full name, in lower case.
    pub name: String,
    /// The number under which its calls are counted.
    pub number: usize,
    /// Its categories.
    pub categories: Vec<&'static str>,
}

impl KnownCommand {
    /// Whether this is the named command or one of its subcommands.
    pub fn is_of(&self, name: &str) -> bool {
        self.name.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('|'))
    }
}

/// The categories of subcommands, by command: first those that all of them have, then those that all but `HELP`
/// have.
const OF_ALL: &[(&str, &[&str], &[&str])] = &[
    ("client", &["connection"], &[]),
    ("command", &["connection"], &[]),
    ("config", &[], &["admin", "dangerous"]),
    ("latency", &[], &["admin", "dangerous"]),
    ("object", &["keyspace"], &["read"]),
    ("pubsub", &[], &["pubsub"]),
    ("script", &["scripting"], &[]),
    ("slowlog", &[], &["admin", "dangerous"]),
    ("xgroup", &["stream"], &["write"]),
    ("xinfo", &["stream"], &["read"]),
];

/// Subcommands that are for administrators, although their command as a whole is not.
const ADMIN: &[&str] = &[
    "acl|dryrun",
    "acl|getuser",
    "acl|list",
    "acl|users",
    "client|kill",
    "client|list",
    "client|no-evict",
    "client|pause",
    "client|unblock",
    "client|unpause",
];

/// The categories of a subcommand, given its full name.
pub fn categories_of_subcommand(full: &str) -> Vec<&'static str> {
    let (command, name) = full.split_once('|').unwrap_or((full, ""));
    let mut categories = vec!["slow"];
    if let Some((_, all, others)) = OF_ALL.iter().find(|(known, ..)| *known == command) {
        categories.extend(*all);
        categories.extend(others.iter().filter(|_| name != "help"));
    }
    if ADMIN.contains(&full) {
        categories.extend(["admin", "dangerous"]);
    }
    categories.extend(Some("read").filter(|_| full == "memory|usage"));
    categories
}
