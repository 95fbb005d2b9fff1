//! What rules can name: commands and subcommands, each with its number and its categories.

/// A command, or a subcommand such as `client|id`.
#[derive(Debug)]
pub struct Known {
    /// Its full name, in lower case.
    pub name: String,
    /// The number under which it is counted.
    pub number: usize,
    /// Its categories.
    pub categories: Vec<&'static str>,
}

impl Known {
    /// Whether it is this command, or one of its subcommands.
    pub fn is_of(&self, name: &str) -> bool {
        self.name.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('|'))
    }
}

/// The categories of subcommands, by command: those that all have, and those that all have but `HELP`.
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

/// Subcommands that are for administrators, of commands that are not as a whole.
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

/// The categories of a subcommand by its full name.
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
