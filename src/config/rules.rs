//! Reads `[[channels]]`.

use std::time::Duration;

use config::{Map, Value, ValueKind};

use super::channels::{Count, Deliver, Rule, Rules, check_name};
use super::reader::Reader;
use super::value;

/// The keys of one table.
const KEYS: &[&str] = &["pattern", "count", "deliver", "linger"];
/// How long a visitor whose last socket went is still counted, so that a click from page to page changes
/// no number.
const LINGER: Duration = Duration::from_secs(1);
/// The longest that may be set.
const MAX_LINGER: Duration = Duration::from_secs(60);

impl Reader {
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
        self.effective.insert("channels", shown(&rules));
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
        let count = match word("count", &["visitors", "sockets", "none"]).as_str() {
            "visitors" => Count::Visitors,
            "sockets" => Count::Sockets,
            _ => Count::None,
        };
        let deliver = if word("deliver", &["every", "latest"]) == "every" { Deliver::Every } else { Deliver::Latest };
        let pattern = table.get("pattern").and_then(value::text).unwrap_or_default();
        if let Err(why) = check_name(&pattern) {
            let shown = table.get("pattern").map(value::shown).unwrap_or_default();
            self.note(source, &path("pattern"), &shown, format!("{why}; * stands for any run of characters"));
        }
        if count != Count::None && deliver == Deliver::Every {
            let message = "a counted channel must deliver \"latest\": only the newest count is worth anything";
            self.note(source, &path("deliver"), "\"every\"", message.to_owned());
        }
        let mut unknown: Vec<_> = table.keys().filter(|key| !KEYS.contains(&key.as_str())).collect();
        unknown.sort();
        for key in unknown {
            self.note(source, &path(key), "", format!("no such key; a channel has {}", KEYS.join(", ")));
        }
        let linger = self.linger(source, &path("linger"), count, table.get("linger"));
        Rule { pattern, count, linger, deliver }
    }

    fn linger(&mut self, source: &str, path: &str, count: Count, found: Option<&Value>) -> Duration {
        let Some(found) = found else {
            return if count == Count::Visitors { LINGER } else { Duration::ZERO };
        };
        let linger = value::text(found).and_then(|text| humantime::parse_duration(&text).ok());
        let message = match linger {
            Some(linger) if linger > Duration::ZERO && count != Count::Visitors => "only visitors linger".to_owned(),
            Some(linger) if linger <= MAX_LINGER => return linger,
            _ => format!("must be a time such as \"1s\", at most {}", humantime::format_duration(MAX_LINGER)),
        };
        self.note(source, path, &value::shown(found), message);
        Duration::ZERO
    }
}

fn shown(rules: &Rules) -> String {
    let rows = rules.0.iter().map(|rule| {
        let count = match rule.count {
            Count::Visitors => "visitors",
            Count::Sockets => "sockets",
            Count::None => "none",
        };
        let deliver = if rule.deliver == Deliver::Every { "every" } else { "latest" };
        let pattern = value::quoted(&rule.pattern);
        let linger = match rule.count {
            Count::Visitors => format!(", linger = \"{}\"", humantime::format_duration(rule.linger)),
            _ => String::new(),
        };
        format!("  {{ pattern = {pattern}, count = \"{count}\", deliver = \"{deliver}\"{linger} }},\n")
    });
    format!("[\n{}]", rows.collect::<String>())
}
