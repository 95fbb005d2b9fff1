//! Reads one key after another out of the merged sources and keeps every mistake.
//!
//! A key that is wrong is noted and its default stands in, so that reading goes on and the person
//! sees all mistakes in one run.

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::Duration;

use config::{Environment, File, FileFormat, Map, Source, Value, ValueKind};

use super::channels::{Deliver, Rule, Rules, check_name};
use super::keys::{self, KEYS, Kind};
use super::value;
use super::{Embedded, Invalid, LogFormat, Overrides, Problem};
use crate::store::Fsync;

const COMMAND_LINE: &str = "the command line";
const ENVIRONMENT: &str = "the environment";

pub(super) struct Reader {
    /// Flat: full key name to the value of the strongest source that sets it.
    values: HashMap<String, Value>,
    problems: Vec<Problem>,
    pub(super) effective: HashMap<&'static str, String>,
    pub(super) port: Option<u16>,
    /// Where systemd puts what is handed over to this process alone.
    pub(super) credentials: Option<PathBuf>,
    /// Keys whose files are let pass unread; None if none may be.
    pub(super) unseen: Option<Vec<&'static str>>,
}

impl Reader {
    /// Merges the sources, weakest first, and notes keys that do not exist.
    pub fn collect(overrides: &Overrides, env: HashMap<String, String>) -> Result<Self, Invalid> {
        let credentials = env.get("CREDENTIALS_DIRECTORY").map(PathBuf::from);
        let (values, problems, effective) = (HashMap::new(), Vec::new(), HashMap::new());
        let unseen = overrides.only_check.then(Vec::new);
        let mut reader = Self { values, problems, effective, port: None, credentials, unseen };
        let defaults = keys::defaults();
        reader.merge("the defaults", &File::from_str(&defaults, FileFormat::Toml));
        if let Some(path) = &overrides.file {
            let name = path.display().to_string();
            match std::fs::read_to_string(path) {
                Ok(text) => reader.merge(&name, &File::from_str(&text, FileFormat::Toml)),
                Err(error) => reader.note(&name, "", "", format!("cannot be read: {error}")),
            }
        }
        reader.environment(env);
        if !overrides.listen.is_empty() {
            reader.set(COMMAND_LINE, "server.listen", overrides.listen.join(","));
            reader.port = None;
        }
        reader.port = overrides.port.or(reader.port);
        if let Some(url) = &overrides.redis_url {
            reader.set(COMMAND_LINE, "redis.url", url.clone());
        }
        if let Some(level) = &overrides.log_level {
            reader.set(COMMAND_LINE, "log.level", level.clone());
        }
        Ok(reader)
    }

    /// The two names everyone uses, then our own, which say more and so win.
    fn environment(&mut self, env: HashMap<String, String>) {
        if let Some(url) = env.get("REDIS_URL").filter(|url| !url.is_empty()) {
            self.set("the environment (REDIS_URL)", "redis.url", url.clone());
        }
        if let Some(port) = env.get("PORT").filter(|port| !port.is_empty()) {
            match port.parse() {
                Ok(port) => self.port = Some(port),
                Err(_) => self.note(ENVIRONMENT, "PORT", port, "must be a whole number from 0 to 65535".to_owned()),
            }
        }
        let ours = Environment::with_prefix("HEADCOUNT")
            .prefix_separator("_")
            .separator("__")
            .ignore_empty(true)
            .source(Some(env.into_iter().collect()));
        self.merge(ENVIRONMENT, &ours);
    }

    fn set(&mut self, source: &str, path: &str, text: String) {
        let value = Value::new(Some(&source.to_owned()), ValueKind::String(text));
        self.values.insert(path.to_owned(), value);
    }

    fn merge(&mut self, name: &str, source: &dyn Source) {
        match source.collect() {
            Ok(table) => self.flatten(name, "", table),
            Err(error) => self.note(name, "", "", error.to_string().trim_end().to_owned()),
        }
    }

    fn flatten(&mut self, name: &str, prefix: &str, table: Map<String, Value>) {
        let mut rows: Vec<_> = table.into_iter().collect();
        rows.sort_by(|a, b| a.0.cmp(&b.0));
        for (key, value) in rows {
            let path = if prefix.is_empty() { key } else { format!("{prefix}.{key}") };
            if keys::find(&path).is_some() {
                self.values.insert(path, Value::new(Some(&name.to_owned()), value.kind));
                continue;
            }
            let section = format!("{path}.");
            let is_section = KEYS.iter().any(|key| key.path.starts_with(&section));
            match value.kind {
                ValueKind::Table(inner) if is_section => self.flatten(name, &path, inner),
                _ if is_section => self.note(name, &path, "", "is a section, not a key".to_owned()),
                kind => {
                    let shown = value::shown(&Value::new(None, kind));
                    let message = format!("no such key; {}", allowed_names(&path));
                    self.note(name, &path, &shown, message);
                }
            }
        }
    }

    fn note(&mut self, source: &str, key: &str, value: &str, message: String) {
        // Named as the person wrote it.
        let key = match source {
            ENVIRONMENT if key.contains('.') => format!("HEADCOUNT_{}", key.to_uppercase().replace('.', "__")),
            _ => key.to_owned(),
        };
        let (source, value) = (source.to_owned(), value.to_owned());
        self.problems.push(Problem { source, key, value, message });
    }

    /// Notes that a key's value, though of the right kind, cannot stand.
    pub fn reject(&mut self, path: &'static str, message: &str) {
        let Some(found) = self.values.get(path) else { return };
        let source = found.origin().unwrap_or_default().to_owned();
        let shown = match path {
            "redis.url" => value::quoted(&value::without_password(&value::text(found).unwrap_or_default())),
            _ => value::shown(found),
        };
        self.note(&source, path, &shown, message.to_owned());
    }

    pub(super) fn get<T>(&self, path: &str, read: impl Fn(&Value) -> Option<T>) -> Option<T> {
        self.values.get(path).and_then(read)
    }

    pub fn int(&mut self, path: &'static str) -> i64 {
        let Some(Kind::Int(min, max)) = keys::find(path).map(|key| key.kind) else { return 0 };
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
        let Some(Kind::Duration(min, max)) = keys::find(path).map(|key| key.kind) else { return Duration::ZERO };
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
        let Some(Kind::Size(min, max)) = keys::find(path).map(|key| key.kind) else { return 0 };
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

    /// The word of a key that takes one of a few.
    pub(super) fn choice(&mut self, path: &'static str) -> String {
        let Some(Kind::Choice(words)) = keys::find(path).map(|key| key.kind) else { return String::new() };
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
        Fsync::parse(&self.choice(path)).unwrap_or_default()
    }

    fn text(&mut self, path: &'static str) -> String {
        self.get(path, value::text).unwrap_or_else(|| {
            self.reject(path, "must be a text in quotes");
            String::new()
        })
    }

    /// A folder; empty stands for none.
    pub fn folder(&mut self, path: &'static str) -> Option<PathBuf> {
        let text = self.text(path);
        self.effective.insert(path, value::quoted(&text));
        (!text.is_empty()).then(|| PathBuf::from(text))
    }

    /// A text that is never shown; empty stands for none.
    pub fn secret(&mut self, path: &'static str) -> Option<String> {
        let text = self.text(path);
        self.effective.insert(path, value::quoted(if text.is_empty() { "" } else { "***" }));
        (!text.is_empty()).then_some(text)
    }

    pub fn redis_url(&mut self, path: &'static str) -> String {
        let url = self.get(path, value::text).unwrap_or_default();
        match redis::Client::open(url.as_str()) {
            Ok(_) if url.starts_with("redis://") || url.starts_with("redis+unix://") => {}
            _ => self
                .reject(path, "must be redis://[user:password@]host[:port][/database] or redis+unix:///path/to/socket"),
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
        self.effective.insert(path, value::quoted(&prefix));
        prefix
    }

    pub fn channels(&mut self) -> Rules {
        const SHAPE: &str = "must be [[channels]] tables, each with pattern, count and deliver";
        let Some(found) = self.values.get("channels").cloned() else { return Rules::default() };
        let source = found.origin().unwrap_or_default().to_owned();
        let ValueKind::Array(tables) = &found.kind else {
            self.reject("channels", SHAPE);
            return Rules::default();
        };
        let mut rules = Vec::new();
        for (index, table) in tables.iter().enumerate() {
            match &table.kind {
                ValueKind::Table(table) => rules.push(self.rule(&source, index, table)),
                _ => self.reject("channels", SHAPE),
            }
        }
        let rules = Rules(rules);
        if rules.default_channel().is_none() {
            self.reject("channels", "one table must name a channel exactly, without *: it is the default channel");
        }
        let shown = rules.0.iter().map(|rule| {
            let count = if rule.counted { "sockets" } else { "none" };
            let deliver = if rule.deliver == Deliver::Every { "every" } else { "latest" };
            format!(
                "  {{ pattern = {}, count = \"{count}\", deliver = \"{deliver}\" }},\n",
                value::quoted(&rule.pattern)
            )
        });
        self.effective.insert("channels", format!("[\n{}]", shown.collect::<String>()));
        rules
    }

    fn rule(&mut self, source: &str, index: usize, table: &Map<String, Value>) -> Rule {
        let path = |key: &str| format!("channels[{index}].{key}");
        let mut word = |key: &str, allowed: &[&str]| {
            let found = table.get(key);
            let text = found.and_then(value::text).filter(|text| allowed.contains(&text.as_str()));
            if text.is_none() {
                let shown = found.map(value::shown).unwrap_or_default();
                self.note(source, &path(key), &shown, format!("must be one of {}", allowed.join(", ")));
            }
            text.unwrap_or_default()
        };
        let counted = word("count", &["sockets", "none"]) == "sockets";
        let deliver = if word("deliver", &["every", "latest"]) == "every" { Deliver::Every } else { Deliver::Latest };
        let pattern = table.get("pattern").and_then(value::text).unwrap_or_default();
        if let Err(why) = check_name(&pattern) {
            let shown = table.get("pattern").map(value::shown).unwrap_or_default();
            self.note(source, &path("pattern"), &shown, format!("{why}; * stands for any run of characters"));
        }
        if counted && deliver == Deliver::Every {
            let message = "a counted channel delivers \"latest\": a count is worth only its newest value";
            self.note(source, &path("deliver"), "\"every\"", message.to_owned());
        }
        for key in table.keys().filter(|key| !["pattern", "count", "deliver"].contains(&key.as_str())) {
            self.note(
                source,
                &path(key),
                &value::shown(&table[key]),
                "no such key; a channel has pattern, count, deliver".to_owned(),
            );
        }
        Rule { pattern, counted, deliver }
    }

    /// What was read, in the list's order.
    pub fn finish(mut self) -> Result<Vec<(&'static str, String)>, Invalid> {
        if !self.problems.is_empty() {
            return Err(Invalid(self.problems));
        }
        Ok(KEYS.iter().filter_map(|key| self.effective.remove(key.path).map(|text| (key.path, text))).collect())
    }
}

/// Stands in for a time that was refused, so that checks between keys find no second mistake.
fn max_of(path: &str) -> Duration {
    let default = keys::find(path).map(|key| key.default.trim_matches('"'));
    default.and_then(value::duration).unwrap_or_default()
}

/// What could have been meant by a key that does not exist.
fn allowed_names(path: &str) -> String {
    let section = path.split('.').next().unwrap_or_default();
    let inside: Vec<_> = KEYS
        .iter()
        .filter_map(|key| key.path.split_once('.').filter(|(head, _)| *head == section).map(|(_, key)| key))
        .collect();
    if !inside.is_empty() {
        return format!("[{section}] has {}", inside.join(", "));
    }
    let mut sections: Vec<_> = KEYS.iter().filter_map(|key| key.path.split('.').next()).collect();
    sections.dedup();
    format!("the sections are {}", sections.join(", "))
}
