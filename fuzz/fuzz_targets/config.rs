//! A configuration file and an environment of any content: no panic, every mistake named, and what may be
//! a secret in none of them.
#![no_main]

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::OnceLock;

use headcount::config::keys::{self, ConfigKey, ValueType};
use headcount::config::{Overrides, load_from};
use libfuzzer_sys::fuzz_target;

/// Stands for a secret. It is long, so that no text has it by chance.
const SECRET: &str = "hunter2-hunter2-hunter2";
/// Files are read that a configuration names; none outside this folder may be.
const EXTREMES: [&str; 22] = [
    "0", "1", "-1", "9223372036854775807", "-9223372036854775808", "1e308", "nan", "true", "\"\"", "[]", "{}", "[[]]",
    "\"1s\"", "\"-1s\"", "\"99999999999999999999y\"", "\"16EiB\"", "\"18446744073709551616\"", "\"::1\"",
    "\"0.0.0.0/0\"", "[\"a\", 1, {b = 2}]", "1979-05-27T07:32:00Z", "\"\\u0000\\u202e\"",
];

fn file() -> PathBuf {
    static FILE: OnceLock<PathBuf> = OnceLock::new();
    FILE.get_or_init(|| std::env::temp_dir().join(format!("headcount-fuzz-{}.toml", std::process::id()))).clone()
}

/// A secret in the shapes in which people give them, some of them wrong.
fn secret(key: &ConfigKey, shape: u8) -> String {
    match (key.kind, shape % 6) {
        (ValueType::Url, 0) => format!("\"redis://user:{SECRET}@127.0.0.1:6379/x\""),
        (ValueType::Url, 1) => format!("\"rediss://:{SECRET}@[::1\""),
        (ValueType::Url, 2) => format!("\"redis:/{SECRET}@@host\""),
        (ValueType::Url, 3) => format!("[\"redis://:{SECRET}@h\"]"),
        (ValueType::Url, 4) => format!("\"redis://:{SECRET}@h:99999999\""),
        (_, 0) => format!("[\"{SECRET}\"]"),
        (_, 1) => format!("{{ a = \"{SECRET}\" }}"),
        (_, 2) => format!("\"{SECRET}"),
        _ => format!("\"{SECRET}\""),
    }
}

/// Lines of keys that exist, with values that may or may not fit.
fn lines(mut choices: &[u8]) -> String {
    let all: Vec<_> = keys::all().collect();
    let mut out = String::new();
    while let [which, value, rest @ ..] = choices {
        choices = rest;
        let key = all[usize::from(*which) % all.len()];
        let value = match key.kind {
            ValueType::Secret | ValueType::SecretFile | ValueType::SecretFiles | ValueType::Url => secret(key, *value),
            _ if *value < 128 => EXTREMES[usize::from(*value) % EXTREMES.len()].to_owned(),
            _ => key.default.to_owned(),
        };
        out.push_str(&format!("{} = {value}\n", key.path));
    }
    out
}

/// Whether a text names a file that another could have put there, such as a device that never ends.
fn names_files(text: &str) -> bool {
    text.contains('/') && ["/dev", "/proc", "/sys"].iter().any(|folder| text.contains(folder))
}

fuzz_target!(|data: &[u8]| {
    let Some((&kind, rest)) = data.split_first() else { return };
    let mut env = HashMap::new();
    let structured = kind % 4 != 0;
    let text = match kind % 4 {
        0 => String::from_utf8_lossy(rest).into_owned(),
        1 => lines(rest),
        2 => {
            // Of a default of several lines, the first will do.
            for (key, value) in lines(rest).lines().filter_map(|line| line.split_once(" = ")) {
                let name = format!("HEADCOUNT_{}", key.to_uppercase().replace('.', "__"));
                env.insert(name, value.trim_matches('"').to_owned());
            }
            String::new()
        }
        _ => {
            let middle = rest.len() / 2;
            lines(&rest[..middle]) + &String::from_utf8_lossy(&rest[middle..])
        }
    };
    if names_files(&text) || std::fs::write(file(), &text).is_err() {
        return;
    }
    let overrides = Overrides { file: Some(file()), only_check: true, ..Overrides::default() };
    match load_from(&overrides, env) {
        Ok(loaded) => {
            assert!(loaded.warnings.iter().all(|warning| !warning.contains(SECRET)));
            assert!(loaded.effective.iter().all(|(_, value)| !value.contains(SECRET)));
        }
        Err(invalid) => {
            assert!(!invalid.0.is_empty());
            let told = invalid.to_string();
            // What the fuzzer writes itself may be in the place of a name, where nothing is a secret.
            if structured && kind % 4 != 3 {
                assert!(!told.contains(SECRET), "{told}");
            }
        }
    }
});
