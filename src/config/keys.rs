//! The one list of configuration keys. A key is one row: its documentation, default, allowed values
//! and whether a reload applies it.
//!
//! Loading, `headcount check`, reloading, `config/headcount.toml` and headcount.toml(5) all follow
//! from these rows. To add a key, write its row in the section's file, give [`super::Config`] a field,
//! read the field in `load_with`, and let `just config` rewrite `config/headcount.toml`. Tests fail if one of these is missing.

mod auth;
mod channels;
mod limits;
mod log;
mod presence;
mod redis;
mod row;
mod server;
mod session;
mod store;
mod store_users;
mod tls;

use std::fmt::Write;

pub(crate) use row::Section;
pub use row::{ConfigKey, TakesEffect, ValueType};

/// Every section, in the order of the file.
pub(crate) const SECTIONS: &[Section] = &[
    server::SECTION,
    tls::SECTION,
    redis::SECTION,
    store::SECTION,
    store_users::SECTION,
    presence::SECTION,
    auth::SECTION,
    limits::SECTION,
    session::SECTION,
    log::SECTION,
    channels::SECTION,
];

/// Every key, in the order of the file.
pub fn all() -> impl Iterator<Item = &'static ConfigKey> {
    SECTIONS.iter().flat_map(|section| section.keys)
}

/// The row of a key.
pub fn find(path: &str) -> Option<&'static ConfigKey> {
    all().find(|key| key.path == path)
}

/// The defaults as one TOML document, read by the same code as a file.
///
/// ```
/// let defaults = headcount::config::keys::defaults();
/// assert!(defaults.lines().any(|line| line == r#"server.listen = ["0.0.0.0:3000"]"#));
/// ```
pub fn defaults() -> String {
    all().map(|key| format!("{} = {}\n", key.path, key.default)).collect()
}

/// What the head of the file says.
pub(crate) const ABOUT: &[&str] = &[
    " The configuration of headcount.",
    "",
    " Every key is listed with its default. Values come from these defaults, then this file, then the",
    " environment (PORT, REDIS_URL, HEADCOUNT_SECTION__KEY), then flags.",
    " `headcount check --config FILE` lists every mistake, or prints the values in effect.",
    "",
    " A running server reads this file again on SIGHUP (systemctl reload headcount). A change takes effect",
    " at once, for open connections too, unless the key says that it needs a restart. A file with any",
    " mistake changes nothing.",
    "",
    " Times are strings such as \"500ms\", \"10s\" or \"1m 30s\". Sizes are bytes: 65536, \"64KiB\" or \"1MiB\".",
];

/// The whole configuration as a commented TOML file.
pub fn file() -> String {
    let mut file = String::new();
    comment(&mut file, ABOUT);
    for section in SECTIONS {
        file.push('\n');
        comment(&mut file, section.about);
        if let [ConfigKey { kind: ValueType::Channels, .. }] = section.keys {
            file.push_str(channels::TABLES);
            continue;
        }
        if let [ConfigKey { kind: ValueType::Users, .. }] = section.keys {
            file.push_str(store_users::TABLES);
            continue;
        }
        file.push_str(section.header);
        for (at, key) in section.keys.iter().enumerate() {
            file.push_str(if at == 0 { "\n" } else { "\n\n" });
            comment(&mut file, key.doc);
            wrapped_comment(&mut file, &key.note());
            let _ = write!(file, "{} = {}", key.name(), key.default);
        }
        file.push('\n');
    }
    file
}

fn comment(file: &mut String, lines: &[&str]) {
    for line in lines {
        let _ = writeln!(file, "#{}", line.trim_end());
    }
}

/// Adds a text as comments that are no longer than lines should be.
fn wrapped_comment(file: &mut String, text: &str) {
    let mut length = 0;
    for word in text.split_whitespace() {
        if length > 0 && length + 1 + word.len() > WIDTH {
            file.push('\n');
            length = 0;
        }
        file.push_str(if length == 0 { "# " } else { " " });
        file.push_str(word);
        length += if length == 0 { 2 } else { 1 } + word.len();
    }
    if length > 0 {
        file.push('\n');
    }
}

/// The longest line of a comment that is wrapped.
const WIDTH: usize = 104;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_documented_and_named_once() {
        let paths: Vec<_> = all().map(|key| key.path).collect();
        for (at, key) in all().enumerate() {
            assert!(!paths[at + 1..].contains(&key.path), "{} has two rows", key.path);
            assert!(
                matches!(key.kind, ValueType::Channels | ValueType::Users) || !key.doc.is_empty(),
                "{} is not documented",
                key.path
            );
        }
    }

    #[test]
    fn the_commented_file_is_the_list_of_keys_written_out() {
        let expected = file();
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/config/headcount.toml");
        assert!(
            std::fs::read_to_string(path).unwrap() == expected,
            "config/headcount.toml differs from the rows in src/config/keys: run\n    \
             just config"
        );
        assert_eq!(expected.lines().find(|line| line.len() > 110), None, "longer than 110 bytes");
    }
}
