//! Reads `[[channels]]`.

use config::{Map, Value, ValueKind};

use super::channels::{Deliver, Rule, Rules, check_name};
use super::reader::Reader;
use super::value;

/// The keys of one table.
const KEYS: &[&str] = &["pattern", "count", "deliver"];

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
        let counted = word("count", &["sockets", "none"]) == "sockets";
        let deliver = if word("deliver", &["every", "latest"]) == "every" { Deliver::Every } else { Deliver::Latest };
        let pattern = table.get("pattern").and_then(value::text).unwrap_or_default();
        if let Err(why) = check_name(&pattern) {
            let shown = table.get("pattern").map(value::shown).unwrap_or_default();
            self.note(source, &path("pattern"), &shown, format!("{why}; * stands for any run of characters"));
        }
        if counted && deliver == Deliver::Every {
            let message = "a counted channel must deliver \"latest\": only the newest count is worth anything";
            self.note(source, &path("deliver"), "\"every\"", message.to_owned());
        }
        let mut unknown: Vec<_> = table.keys().filter(|key| !KEYS.contains(&key.as_str())).collect();
        unknown.sort();
        for key in unknown {
            self.note(source, &path(key), "", format!("no such key; a channel has {}", KEYS.join(", ")));
        }
        Rule { pattern, counted, deliver }
    }
}

fn shown(rules: &Rules) -> String {
    let rows = rules.0.iter().map(|rule| {
        let count = if rule.counted { "sockets" } else { "none" };
        let deliver = if rule.deliver == Deliver::Every { "every" } else { "latest" };
        let pattern = value::quoted(&rule.pattern);
        format!("  {{ pattern = {pattern}, count = \"{count}\", deliver = \"{deliver}\" }},\n")
    });
    format!("[\n{}]", rows.collect::<String>())
}
