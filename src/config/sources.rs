//! The sources of values: the defaults, one file, the environment and the command line, merged so that later
//! ones win.

use std::collections::HashMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use config::{Environment, File, FileFormat, Map, Source, Value, ValueKind};

use super::files;
use super::keys::{self, ValueType};
use super::model::Overrides;
use super::problem::Invalid;
use super::reader::{ENVIRONMENT, PREFIX, Reader};
use super::{redact, store_users, value};

const COMMAND_LINE: &str = "the command line";
/// Variables that we read although they lack our prefix.
const OTHERS: &[&str] = &["PORT", "REDIS_URL", "STATE_DIRECTORY", "CREDENTIALS_DIRECTORY"];

/// The environment variables that this program reads.
#[derive(Debug, Default)]
pub struct Variables {
    pub readable: HashMap<String, String>,
    /// The names of variables whose values are not UTF-8.
    pub unreadable: Vec<String>,
}

impl Variables {
    /// Picks our variables from those of a process. A value that is not UTF-8 is a mistake only in one of ours.
    pub fn new(all: impl IntoIterator<Item = (OsString, OsString)>) -> Self {
        let mut variables = Self::default();
        for (name, value) in all {
            let name = name.to_string_lossy().into_owned();
            // This also keeps names that start with our prefix but are not UTF-8.
            if !name.starts_with(PREFIX) && !OTHERS.contains(&name.as_str()) {
                continue;
            }
            match value.into_string() {
                Ok(value) => drop(variables.readable.insert(name, value)),
                Err(_) => variables.unreadable.push(name),
            }
        }
        variables
    }
}

/// Merges the sources, weakest first, and reports unknown keys.
pub fn collect(overrides: &Overrides, env: Variables) -> Result<Reader, Invalid> {
    let credentials = env.readable.get("CREDENTIALS_DIRECTORY").map(PathBuf::from);
    let mut reader = Reader { credentials, unseen: overrides.only_check.then(Vec::new), ..Reader::default() };
    merge(&mut reader, "the defaults", &File::from_str(&keys::defaults(), FileFormat::Toml));
    if let Some(path) = &overrides.file {
        file_source(&mut reader, path);
    }
    environment(&mut reader, env);
    command_line(&mut reader, overrides);
    Ok(reader)
}

fn file_source(reader: &mut Reader, path: &Path) {
    let name = path.display().to_string();
    let text = match files::read_file(path).map(String::from_utf8) {
        Ok(Ok(text)) => text,
        Ok(Err(_)) => return reader.note(&name, "", "", "is not UTF-8".to_owned()),
        Err(error) => return reader.note(&name, "", "", format!("cannot be read: {error}")),
    };
    // Parsed here first, because the merging library's own error quotes the line, which may hold a password.
    match text.parse::<toml::Table>() {
        Ok(_) => merge(reader, &name, &File::from_str(&text, FileFormat::Toml)),
        Err(error) => {
            let place = error.span().map(|span| place(&text, span.start)).unwrap_or_default();
            reader.note(&name, "", "", format!("is not TOML: {place}{}", error.message()));
        }
    }
    readable_secrets(reader, path);
}

/// Reads the two variables that many programs use, then our own, which are more specific and so win.
fn environment(reader: &mut Reader, env: Variables) {
    let Variables { readable, unreadable } = env;
    for name in unreadable {
        reader.note(ENVIRONMENT, &name, "", "is not UTF-8".to_owned());
    }
    if let Some(url) = readable.get("REDIS_URL").filter(|url| !url.is_empty()) {
        set(reader, "the environment (REDIS_URL)", "redis.url", url.clone());
    }
    if let Some(port) = readable.get("PORT").filter(|port| !port.is_empty()) {
        match port.parse() {
            Ok(port) => reader.port = Some(port),
            Err(_) => reader.note(ENVIRONMENT, "PORT", port, "must be a whole number from 0 to 65535".to_owned()),
        }
    }
    let ours = Environment::with_prefix("HEADCOUNT")
        .prefix_separator("_")
        .separator("__")
        .ignore_empty(true)
        .source(Some(readable.into_iter().collect()));
    merge(reader, ENVIRONMENT, &ours);
}

fn command_line(reader: &mut Reader, overrides: &Overrides) {
    if !overrides.listen.is_empty() {
        set(reader, COMMAND_LINE, "server.listen", overrides.listen.join(","));
        reader.port = None;
    }
    reader.port = overrides.port.or(reader.port);
    if let Some(url) = &overrides.redis_url {
        set(reader, COMMAND_LINE, "redis.url", url.clone());
        if value::has_password(url) {
            reader.warn(
                "--redis-url: every user of this machine can see the password in the process list; use REDIS_URL \
                 or redis.password_file"
                    .to_owned(),
            );
        }
    }
    if let Some(level) = &overrides.log_level {
        set(reader, COMMAND_LINE, "log.level", level.clone());
    }
}

fn set(reader: &mut Reader, source: &str, path: &str, text: String) {
    let value = Value::new(Some(&source.to_owned()), ValueKind::String(text));
    reader.values.insert(path.to_owned(), value);
}

fn merge(reader: &mut Reader, name: &str, source: &dyn Source) {
    match source.collect() {
        Ok(table) => flatten(reader, name, "", table),
        Err(error) => reader.note(name, "", "", redact::message(error.to_string().trim_end())),
    }
}

fn flatten(reader: &mut Reader, name: &str, prefix: &str, table: Map<String, Value>) {
    let mut rows: Vec<_> = table.into_iter().collect();
    rows.sort_by(|a, b| a.0.cmp(&b.0));
    for (key, value) in rows {
        let path = if prefix.is_empty() { key } else { format!("{prefix}.{key}") };
        if keys::find(&path).is_some() {
            reader.values.insert(path, Value::new(Some(&name.to_owned()), value.kind));
            continue;
        }
        let section = format!("{path}.");
        let is_section = keys::all().any(|key| key.path.starts_with(&section));
        match value.kind {
            ValueKind::Table(inner) if is_section => flatten(reader, name, &path, inner),
            _ if is_section => reader.note(name, &path, "", "is a section, not a key".to_owned()),
            // The value is hidden: it may be the password of a misspelled key.
            _ => reader.note(name, &path, "", format!("no such key; {}", allowed_names(&path))),
        }
    }
}

/// Warns about a file that everybody can read and that contains a secret.
fn readable_secrets(reader: &mut Reader, path: &Path) {
    let source = path.display().to_string();
    let secret = reader.values.iter().any(|(key, value)| {
        let text = value::text(value).unwrap_or_default();
        value.origin() == Some(source.as_str())
            && match keys::find(key).map(|key| key.kind) {
                Some(ValueType::Secret) => !text.is_empty(),
                Some(ValueType::Users) => store_users::has_password(value),
                Some(ValueType::Url) => value::has_password(&text),
                _ => false,
            }
    });
    if secret {
        files::warn_if_readable(reader, path);
    }
}

/// Returns the position of a mistake as a line and a column, both counted from 1.
fn place(text: &str, offset: usize) -> String {
    let before = text.get(..offset).unwrap_or_default();
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    format!("line {line}, column {column}: ")
}

/// Returns the names that could have been meant by an unknown key.
fn allowed_names(path: &str) -> String {
    let section = path.split('.').next().unwrap_or_default();
    let inside: Vec<_> = keys::all()
        .filter_map(|key| key.path.split_once('.').filter(|(head, _)| *head == section).map(|(_, key)| key))
        .collect();
    if !inside.is_empty() {
        return format!("[{section}] has {}", inside.join(", "));
    }
    let mut sections: Vec<_> = keys::all().filter_map(|key| key.path.split('.').next()).collect();
    sections.dedup();
    format!("the sections are {}", sections.join(", "))
}
