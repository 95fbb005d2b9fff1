//! What a row of the list of keys says.

use humantime::format_duration;

use super::super::model::Config;
use super::super::value;

/// An hour, in milliseconds.
pub(super) const HOUR: u64 = 3_600_000;
/// A day, in milliseconds.
pub(super) const DAY: u64 = 24 * HOUR;
/// A gibibyte, in bytes.
pub(super) const GIB: u64 = 1 << 30;

/// What values a key takes.
#[derive(Debug, Clone, Copy)]
pub enum ValueType {
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
    /// Several of those.
    SecretFiles,
    /// A string that is never shown.
    Secret,
    /// The address of a store, which may contain a password.
    Url,
    /// An array of tables, `[[channels]]`.
    Channels,
    /// An array of tables with passwords in them, `[[store.users]]`.
    Users,
}

/// When a changed value takes effect.
#[derive(Debug, Clone, Copy)]
pub enum TakesEffect {
    /// At the next start.
    Restart,
    /// At a reload: copies the value from the configuration just loaded to the one in effect.
    Live(fn(&mut Config, &Config)),
}

/// One row of the list.
#[derive(Debug, Clone, Copy)]
pub struct ConfigKey {
    /// `section.key`
    pub path: &'static str,
    /// What it does, in lines.
    pub doc: &'static [&'static str],
    /// The default, as TOML.
    pub default: &'static str,
    /// What values it takes.
    pub kind: ValueType,
    /// When a changed value takes effect.
    pub reload: TakesEffect,
}

/// A table of the configuration.
#[derive(Debug, Clone, Copy)]
pub struct Section {
    /// Its header.
    pub header: &'static str,
    /// What its keys have in common, in lines.
    pub about: &'static [&'static str],
    /// Its keys.
    pub keys: &'static [ConfigKey],
}

impl ConfigKey {
    /// The key's name within its section.
    pub fn name(&self) -> &'static str {
        self.path.split_once('.').map_or(self.path, |(_, name)| name)
    }

    /// The allowed values and when a change takes effect, in a sentence or two. May be empty.
    pub fn note(&self) -> String {
        let mut note = match self.kind {
            ValueType::Int(min, max) => format!("Allowed: {min} to {max}. "),
            ValueType::Duration(min, max) => format!("Allowed: \"{}\" to \"{}\". ", shown_ms(min), shown_ms(max)),
            ValueType::Size(min, max) => format!("Allowed: {} to {}. ", shown_bytes(min), shown_bytes(max)),
            ValueType::Choice(words) => {
                let words: Vec<_> = words.iter().map(|word| value::quoted(word)).collect();
                format!("Allowed: {}. ", words.join(", "))
            }
            _ => String::new(),
        };
        if let TakesEffect::Restart = self.reload {
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

/// Declares the `SECTION` of a file: doc comments, the header, then a row for each key.
///
/// A row reads `name = default: kind, live;` or `…, restart;`. `live` copies the field of the same
/// name; `live(function)` copies what the function says.
macro_rules! section {
    ($(#[doc = $about:literal])* [$section:ident]
     $($(#[doc = $doc:literal])* $key:ident = $default:tt: $kind:expr, $reload:ident $(($adopt:expr))?;)+) => {
        /// The rows of this section.
        pub(super) const SECTION: super::row::Section = super::row::Section {
            header: concat!("[", stringify!($section), "]"),
            about: &[$($about),*],
            keys: &[$(super::row::ConfigKey {
                path: concat!(stringify!($section), ".", stringify!($key)),
                doc: &[$($doc),*],
                default: stringify!($default),
                kind: $kind,
                reload: super::row::section!(@$reload $section $key $($adopt)?),
            }),+],
        };
    };
    (@restart $section:ident $key:ident) => { super::row::TakesEffect::Restart };
    (@live $section:ident $key:ident) => {
        super::row::TakesEffect::Live(|running, new| running.$section.$key = new.$section.$key.clone())
    };
    (@live $section:ident $key:ident $adopt:expr) => { super::row::TakesEffect::Live($adopt) };
}
pub(super) use section;
