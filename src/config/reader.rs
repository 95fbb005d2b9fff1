//! Reads one key after another from the merged sources, and collects every mistake.
//!
//! A harmless value stands in for a wrong one, so that reading continues and the person sees all mistakes in
//! one run.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::PathBuf;
use std::time::Duration;

use config::Value;

use super::channels::check_name;
use super::keys::{self, ValueType};
use super::model::{Embedded, Fsync, LogFormat};
use super::problem::{Invalid, Problem};
use super::store_address::StoreAddress;
use super::{redact, value};

/// The name of the source in mistakes that come from environment variables.
pub(super) const ENVIRONMENT: &str = "the environment";
/// The prefix of this program's environment variables.
pub(super) const PREFIX: &str = "HEADCOUNT_";

#[derive(Default)]
pub(super) struct Reader {
    /// Each full key name, with the value from the strongest source that sets it.
    pub(super) values: HashMap<String, Value>,
    pub(super) problems: Vec<Problem>,
    pub(super) warnings: Vec<String>,
    pub(super) effective: HashMap<&'static str, String>,
    /// Fingerprints of texts that `effective` does not show in full.
    pub(super) hidden: HashMap<&'static str, u64>,
    pub(super) port: Option<u16>,
    /// The directory of the credentials that systemd provides to this process alone.
    pub(super) credentials: Option<PathBuf>,
    /// Keys whose files were accepted unread; `None` if every file must be readable.
    pub(super) unseen: Option<Vec<&'static str>>,
}

impl Reader {
    /// Reports that a key's value has the right type, but is not allowed.
    pub fn reject(&mut self, path: &'static str, message: &str) {
        let Some(found) = self.values.get(path) else { return };
        let source = found.origin().unwrap_or_default().to_owned();
        let shown = match keys::find(path).map(|key| key.kind) {
            Some(ValueType::Secret | ValueType::Url) | None => redact::HIDDEN.to_owned(),
            Some(ValueType::SecretFile) if !value::text(found).is_some_and(|name| name.starts_with('/')) => {
                redact::HIDDEN.to_owned()
            }
            Some(ValueType::SecretFiles | ValueType::Users) => redact::HIDDEN.to_owned(),
            Some(_) => value::shown(found),
        };
        self.note(&source, path, &shown, message.to_owned());
    }

    /// Reports a mistake. Text from outside is shown only if it cannot be a secret.
    pub fn note(&mut self, source: &str, key: &str, value: &str, message: String) {
        // The key as the person wrote it.
        let key = match source {
            ENVIRONMENT if key.contains('.') => format!("{PREFIX}{}", key.to_uppercase().replace('.', "__")),
            _ => key.to_owned(),
        };
        let (source, key, value) = (redact::message(source), redact::message(&key), redact::value(value).to_owned());
        self.problems.push(Problem { source, key, value, message });
    }

    /// Warns about something that works, but should be changed.
    pub fn warn(&mut self, warning: String) {
        self.warnings.push(warning);
    }

    /// Reports that this program reads a key as a kind that its row does not have. Any start finds such a
    /// mistake.
    fn no_row(&mut self, path: &'static str) {
        self.note("headcount itself", path, "", "has no row of this kind in src/config/keys".to_owned());
    }

    pub(super) fn get<T>(&self, path: &str, read: impl Fn(&Value) -> Option<T>) -> Option<T> {
        self.values.get(path).and_then(read)
    }

    pub fn int(&mut self, path: &'static str) -> i64 {
        let Some(ValueType::Int(min, max)) = keys::find(path).map(|key| key.kind) else {
            self.no_row(path);
            return 0;
        };
        match self.get(path, value::int).filter(|n| (min..=max).contains(n)) {
            Some(n) => {
                self.effective.insert(path, n.to_string());
                n
            }
            None => {
                self.reject(path, &format!("must be a whole number from {min} to {max}"));
                min
            }
        }
    }

    pub fn duration(&mut self, path: &'static str) -> Duration {
        let Some(ValueType::Duration(min, max)) = keys::find(path).map(|key| key.kind) else {
            self.no_row(path);
            return Duration::ZERO;
        };
        let (min, max) = (Duration::from_millis(min), Duration::from_millis(max));
        let found = self.get(path, |value| value::text(value).and_then(|text| value::duration(&text)));
        match found.filter(|time| (min..=max).contains(time)) {
            Some(time) => {
                self.effective.insert(path, value::quoted(&humantime::format_duration(time).to_string()));
                time
            }
            None => {
                let (min, max) = (humantime::format_duration(min), humantime::format_duration(max));
                self.reject(path, &format!("must be a time from \"{min}\" to \"{max}\", such as \"500ms\" or \"10s\""));
                max_of(path)
            }
        }
    }

    pub fn size(&mut self, path: &'static str) -> usize {
        let Some(ValueType::Size(min, max)) = keys::find(path).map(|key| key.kind) else {
            self.no_row(path);
            return 0;
        };
        match self.get(path, value::size).filter(|n| (min..=max).contains(n)) {
            Some(n) => {
                self.effective.insert(path, n.to_string());
                n as usize
            }
            None => {
                self.reject(path, &format!("must be from {min} to {max} bytes, such as 65536 or \"1MiB\""));
                min as usize
            }
        }
    }

    pub fn boolean(&mut self, path: &'static str) -> bool {
        let found = self.get(path, value::boolean);
        if found.is_none() {
            self.reject(path, "must be true or false");
        }
        let is = found.unwrap_or_default();
        self.effective.insert(path, is.to_string());
        is
    }

    /// Returns the word of a key that allows only certain words.
    pub(super) fn choice(&mut self, path: &'static str) -> String {
        let Some(ValueType::Choice(words)) = keys::find(path).map(|key| key.kind) else {
            self.no_row(path);
            return String::new();
        };
        match self.get(path, value::text).filter(|word| words.contains(&word.as_str())) {
            Some(word) => {
                self.effective.insert(path, value::quoted(&word));
                word
            }
            None => {
                self.reject(path, &format!("must be one of {}", words.join(", ")));
                String::new()
            }
        }
    }

    pub fn level(&mut self, path: &'static str) -> tracing::Level {
        self.choice(path).parse().unwrap_or(tracing::Level::INFO)
    }

    pub fn log_format(&mut self, path: &'static str) -> LogFormat {
        match self.choice(path).as_str() {
            "human" => LogFormat::Human,
            "plain" => LogFormat::Plain,
            "json" => LogFormat::Json,
            _ => LogFormat::Auto,
        }
    }

    pub fn embedded(&mut self, path: &'static str) -> Embedded {
        match self.choice(path).as_str() {
            "always" => Embedded::Always,
            "never" => Embedded::Never,
            _ => Embedded::Auto,
        }
    }

    pub fn fsync(&mut self, path: &'static str) -> Fsync {
        match self.choice(path).as_str() {
            "always" => Fsync::Always,
            "no" => Fsync::No,
            _ => Fsync::EverySecond,
        }
    }

    /// Returns the word of a key that allows only certain words.
    pub fn word(&mut self, path: &'static str) -> String {
        self.choice(path)
    }

    fn text(&mut self, path: &'static str) -> String {
        self.get(path, value::text).unwrap_or_else(|| {
            self.reject(path, "must be a string in quotes");
            String::new()
        })
    }

    /// Shows a text, unless it may have a password in it.
    fn show(&mut self, path: &'static str, text: &str) {
        let shown = redact::accepted(text);
        if shown != text {
            let mut hasher = DefaultHasher::new();
            text.hash(&mut hasher);
            self.hidden.insert(path, hasher.finish());
        }
        self.effective.insert(path, value::quoted(shown));
    }

    /// Returns a folder or file; an empty text means none.
    pub fn folder(&mut self, path: &'static str) -> Option<PathBuf> {
        let text = self.text(path);
        self.show(path, &text);
        (!text.is_empty()).then(|| PathBuf::from(text))
    }

    /// Returns a string as it is.
    pub fn plain(&mut self, path: &'static str) -> String {
        let text = self.text(path);
        self.show(path, &text);
        text
    }

    /// Returns a text that is never shown; an empty text means none.
    pub fn secret(&mut self, path: &'static str) -> Option<String> {
        let text = self.text(path);
        self.effective.insert(path, value::quoted(if text.is_empty() { "" } else { "***" }));
        (!text.is_empty()).then_some(text)
    }

    pub fn redis_url(&mut self, path: &'static str) -> String {
        let url = self.get(path, value::text).unwrap_or_default();
        if StoreAddress::parse(&url).is_none() {
            let missing = if url.contains("://") { "" } else { "has no scheme in front; it " };
            self.reject(
                path,
                &format!(
                    "{missing}must be redis://[user:password@]host[:port][/database] (rediss:// for TLS), \
                     redis+unix:///path/to/socket, redis+sentinel://[user:password@]host[:port],.../primary or \
                     redis+cluster://[user:password@]host[:port],..., with special characters of the password percent-encoded"
                ),
            );
        }
        self.effective.insert(path, value::quoted(&value::without_password(&url)));
        url
    }

    pub fn prefix(&mut self, path: &'static str) -> String {
        let prefix = self.get(path, value::text);
        let good = |prefix: &String| prefix.is_empty() || (prefix.len() <= 100 && check_name(prefix).is_ok());
        if !prefix.as_ref().is_some_and(good) {
            self.reject(path, "must be a text of at most 100 bytes without spaces and braces, such as \"staging:\"");
        }
        let prefix = prefix.unwrap_or_default();
        self.show(path, &prefix);
        prefix
    }

    /// Returns the effective values in the order of the list, or all mistakes.
    pub fn finish(mut self) -> Result<Vec<(&'static str, String)>, Invalid> {
        if !self.problems.is_empty() {
            return Err(Invalid(self.problems));
        }
        Ok(keys::all().filter_map(|key| self.effective.remove(key.path).map(|text| (key.path, text))).collect())
    }
}

/// Returns the default of a key whose time was rejected, so that checks between keys find no further mistake.
fn max_of(path: &str) -> Duration {
    let default = keys::find(path).map(|key| key.default.trim_matches('"'));
    default.and_then(value::duration).unwrap_or_default()
}
