//! The one list of configuration keys. A key is one row: its documentation, default, allowed values
//! and whether a reload applies it.
//!
//! Loading, `headcount check`, reloading, `config/headcount.toml` and headcount.toml(5) all follow
//! from these rows. To add a key, write its row in the section's file, give [`super::Config`] a field,
//! read the field in [`super::load`], and let `headcount man headcount.toml` rewrite
//! `config/headcount.toml`. Tests fail if one of these is missing.

mod channels;
mod limits;
mod log;
mod presence;
mod redis;
mod server;
mod session;
mod store;
mod tls;

use std::fmt::Write;

use humantime::format_duration;

use super::{Config, value};

/// What values a key takes.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    /// A whole number, both ends included.
    Int(i64, i64),
    /// A time such as "500ms", "10s" or "2m", both ends (in milliseconds) included.
    Duration(u64, u64),
    /// A number of bytes such as 4096 or "1MiB", both ends included.
    Size(u64, u64),
    /// True or false.
    Bool,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// A list of strings that the reader checks further.
    List,
    /// A string that the reader checks further.
    Text,
    /// The name of a file whose content is secret. A name that does not look like a path may be the
    /// secret itself, put into the wrong key, and is not shown.
    SecretFile,
    /// A string that is never shown.
    Secret,
    /// The address of a store, which may contain a password.
    Url,
    /// An array of tables, `[[channels]]`.
    Channels,
}

/// When a changed value takes effect.
#[derive(Debug, Clone, Copy)]
pub enum Reload {
    /// At the next start.
    Restart,
    /// At a reload: copies the value from the configuration just loaded to the one in effect.
    Live(fn(&mut Config, &Config)),
}

/// One row of the list.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// `section.key`
    pub path: &'static str,
    /// What it does, in lines.
    pub doc: &'static [&'static str],
    /// The default, as TOML.
    pub default: &'static str,
    /// What values it takes.
    pub kind: Kind,
    /// When a changed value takes effect.
    pub reload: Reload,
}

/// A table of the configuration.
#[derive(Debug, Clone, Copy)]
pub struct Section {
    /// Its header.
    pub header: &'static str,
    /// What its keys have in common, in lines.
    pub about: &'static [&'static str],
    /// Its keys.
    pub keys: &'static [Key],
}

/// Every section, in the order of the file.
pub const SECTIONS: &[Section] = &[
    server::SECTION,
    tls::SECTION,
    redis::SECTION,
    store::SECTION,
    presence::SECTION,
    limits::SECTION,
    session::SECTION,
    log::SECTION,
    channels::SECTION,
];

/// Declares the `SECTION` of a file: doc comments, the header, then a row for each key.
///
/// A row reads `name = default: kind, live;` or `…, restart;`. `live` copies the field of the same
/// name; `live(function)` copies what the function says.
macro_rules! section {
    ($(#[doc = $about:literal])* [$section:ident]
     $($(#[doc = $doc:literal])* $key:ident = $default:tt: $kind:expr, $reload:ident $(($adopt:expr))?;)+) => {
        /// The rows of this section.
        pub(super) const SECTION: super::Section = super::Section {
            header: concat!("[", stringify!($section), "]"),
            about: &[$($about),*],
            keys: &[$(super::Key {
                path: concat!(stringify!($section), ".", stringify!($key)),
                doc: &[$($doc),*],
                default: stringify!($default),
                kind: $kind,
                reload: super::section!(@$reload $section $key $($adopt)?),
            }),+],
        };
    };
    (@restart $section:ident $key:ident) => { super::Reload::Restart };
    (@live $section:ident $key:ident) => {
        super::Reload::Live(|running, new| running.$section.$key = new.$section.$key.clone())
    };
    (@live $section:ident $key:ident $adopt:expr) => { super::Reload::Live($adopt) };
}
use section;

const HOUR: u64 = 3_600_000;
const GIB: u64 = 1 << 30;

/// Every key, in the order of the file.
pub fn all() -> impl Iterator<Item = &'static Key> {
    SECTIONS.iter().flat_map(|section| section.keys)
}

/// The row of a key.
pub fn find(path: &str) -> Option<&'static Key> {
    all().find(|key| key.path == path)
}

/// The defaults as one TOML document, read by the same code as a file.
pub fn defaults() -> String {
    all().map(|key| format!("{} = {}\n", key.path, key.default)).collect()
}

impl Key {
    /// The key's name within its section.
    pub fn name(&self) -> &'static str {
        self.path.split_once('.').map_or(self.path, |(_, name)| name)
    }

    /// The allowed values and when a change takes effect, in a sentence or two. May be empty.
    pub fn note(&self) -> String {
        let mut note = match self.kind {
            Kind::Int(min, max) => format!("Allowed: {min} to {max}. "),
            Kind::Duration(min, max) => format!("Allowed: \"{}\" to \"{}\". ", shown_ms(min), shown_ms(max)),
            Kind::Size(min, max) => format!("Allowed: {} to {}. ", shown_bytes(min), shown_bytes(max)),
            Kind::Choice(words) => {
                let words: Vec<_> = words.iter().map(|word| value::quoted(word)).collect();
                format!("Allowed: {}. ", words.join(", "))
            }
            _ => String::new(),
        };
        if let Reload::Restart = self.reload {
            note.push_str("Needs a restart.");
        }
        note.trim_end().to_owned()
    }
}

fn shown_ms(ms: u64) -> String {
    format_duration(std::time::Duration::from_millis(ms)).to_string()
}

/// Bytes in the largest unit that needs no fraction.
fn shown_bytes(bytes: u64) -> String {
    let units = [(1 << 50, "PiB"), (1 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    match units.iter().find(|(unit, _)| bytes >= *unit && bytes.is_multiple_of(*unit)) {
        Some((unit, name)) => format!("\"{}{name}\"", bytes / unit),
        None => bytes.to_string(),
    }
}

/// What the head of the file says.
pub const ABOUT: &[&str] = &[
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
        if let [Key { kind: Kind::Channels, .. }] = section.keys {
            file.push_str(channels::TABLES);
            continue;
        }
        file.push_str(section.header);
        for (at, key) in section.keys.iter().enumerate() {
            file.push_str(if at == 0 { "\n" } else { "\n\n" });
            comment(&mut file, key.doc);
            let note = key.note();
            if !note.is_empty() {
                let _ = writeln!(file, "# {note}");
            }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_documented_and_named_once() {
        let paths: Vec<_> = all().map(|key| key.path).collect();
        for (at, key) in all().enumerate() {
            assert!(!paths[at + 1..].contains(&key.path), "{} has two rows", key.path);
            assert!(matches!(key.kind, Kind::Channels) || !key.doc.is_empty(), "{} is not documented", key.path);
        }
    }

    #[test]
    fn the_commented_file_is_the_list_of_keys_written_out() {
        let expected = file();
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/config/headcount.toml");
        assert!(
            std::fs::read_to_string(path).unwrap() == expected,
            "config/headcount.toml differs from the rows in src/config/keys: run\n    \
             cargo run -- man headcount.toml > config/headcount.toml"
        );
        assert!(expected.lines().all(|line| line.len() <= 110), "a line is too long");
    }
}
