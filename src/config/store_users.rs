//! Reads `[[store.users]]`.

use std::path::PathBuf;

use config::{Map, Value, ValueKind};

use super::files;
use super::model::{CheckUser, StoreUser};
use super::reader::Reader;
use super::{redact, value};

const PATH: &str = "store.users";
/// The keys of one table.
const KEYS: &[&str] = &["name", "password", "password_file", "acl"];
/// The maximum number of users.
const MOST: usize = 1000;

/// Reads all users. No mistake shows a password, or text that may be one.
pub fn users(reader: &mut Reader, check: Option<CheckUser>) -> Vec<StoreUser> {
    const SHAPE: &str = "must be [[store.users]] tables, each with name, acl, and password or password_file";
    let Some(found) = reader.values.get(PATH).cloned() else { return Vec::new() };
    let source = found.origin().unwrap_or_default().to_owned();
    let ValueKind::Array(tables) = &found.kind else {
        reader.reject(PATH, SHAPE);
        return Vec::new();
    };
    if tables.len() > MOST {
        reader.reject(PATH, "has more than 1000 users");
        return Vec::new();
    }
    let mut users: Vec<StoreUser> = Vec::new();
    for (index, table) in tables.iter().enumerate() {
        let ValueKind::Table(table) = &table.kind else {
            reader.reject(PATH, SHAPE);
            continue;
        };
        let mut table = UserTable { reader, source: &source, index, table };
        let Some(user) = table.user() else { continue };
        if users.iter().any(|known| known.name == user.name) {
            table.note("name", "another user has this name already".to_owned());
        }
        if let Some(Err(problem)) = check.map(|check| check(&user)) {
            table.note_of(&user, problem);
        }
        users.push(user);
    }
    reader.effective.insert(PATH, shown(&users));
    users
}

/// Returns whether a password is written in the tables themselves.
pub fn has_password(value: &Value) -> bool {
    let ValueKind::Array(tables) = &value.kind else { return false };
    tables.iter().any(|table| match &table.kind {
        ValueKind::Table(table) => table.get("password").and_then(value::text).is_some_and(|text| !text.is_empty()),
        _ => false,
    })
}

/// One `[[store.users]]` table, and the reader that collects its mistakes.
struct UserTable<'a> {
    reader: &'a mut Reader,
    source: &'a str,
    index: usize,
    table: &'a Map<String, Value>,
}

impl UserTable<'_> {
    fn note(&mut self, key: &str, message: String) {
        self.reader.note(self.source, &format!("{PATH}[{}].{key}", self.index), "", message);
    }

    /// Reports what is wrong with a user, with the user's name. A name or a rule that contains the password is
    /// not shown.
    fn note_of(&mut self, user: &StoreUser, problem: String) {
        let text = format!("user {}: {problem}", value::quoted(&user.name));
        let leaks = user.password.as_deref().is_some_and(|password| text.contains(password));
        let hidden = redact::message(&text);
        self.note("acl", if leaks { format!("user {}: a rule or the name cannot be", redact::HIDDEN) } else { hidden });
    }

    fn text(&mut self, key: &str) -> Option<String> {
        let found = self.table.get(key)?;
        let text = value::text(found);
        if text.is_none() {
            self.note(key, "must be a string in quotes".to_owned());
        }
        text
    }

    fn user(&mut self) -> Option<StoreUser> {
        let mut unknown: Vec<_> = self.table.keys().filter(|key| !KEYS.contains(&key.as_str())).cloned().collect();
        unknown.sort();
        for key in &unknown {
            self.note(key, format!("no such key; a user has {}", KEYS.join(", ")));
        }
        for key in ["name", "acl"].into_iter().filter(|key| !self.table.contains_key(*key)) {
            self.note(key, "is missing".to_owned());
        }
        let (name, acl) = (self.text("name"), self.text("acl"));
        let password = self.text("password").filter(|text| !text.is_empty());
        let from_file = self.read_file();
        if password.is_some() && from_file.is_some() {
            self.note("password_file", "is one password too many: password is set already".to_owned());
        }
        let rules = acl?.split_whitespace().map(str::to_owned).collect();
        Some(StoreUser { name: name?, password: password.or(from_file), rules })
    }

    fn read_file(&mut self) -> Option<String> {
        let name = self.text("password_file").filter(|text| !text.is_empty())?;
        let unseen = self.reader.unseen.as_ref().map_or(0, Vec::len);
        let Some(bytes) = files::read(self.reader, PATH, PathBuf::from(name)) else {
            // A placeholder for a password that this process cannot see.
            return (self.reader.unseen.as_ref().map_or(0, Vec::len) > unseen).then(|| "unseen".to_owned());
        };
        match files::password_in(&bytes) {
            Ok(text) => Some(text),
            Err(problem) => {
                self.note("password_file", problem.to_owned());
                None
            }
        }
    }
}

fn shown(users: &[StoreUser]) -> String {
    if users.is_empty() {
        return "[]".to_owned();
    }
    let rows = users.iter().map(|user| {
        let password = if user.password.is_some() { ", password = \"***\"" } else { "" };
        let text = |text: &str| value::quoted(redact::accepted(text));
        format!("  {{ name = {}{password}, acl = {} }},\n", text(&user.name), text(&user.rules.join(" ")))
    });
    format!("[\n{}]", rows.collect::<String>())
}
