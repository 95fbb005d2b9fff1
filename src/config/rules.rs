//! Reads `[[channels]]`.

use std::ops::RangeInclusive;
use std::time::Duration;

use config::{Map, Value, ValueKind};

use super::auth::Auth;
use super::channels::{Access, BoardRule, Count, Deliver, MembersRule, Rule, Rules, SortOrder, check_name};
use super::reader::Reader;
use super::value;
use crate::glob::matches_stars;

/// The keys of one table.
const KEYS: &[&str] = &[
    "pattern",
    "count",
    "deliver",
    "linger",
    "members",
    "members_max",
    "members_bytes",
    "source",
    "top",
    "order",
    "of",
    "access",
    "publish",
];
/// How long a visitor is still counted after their last socket has closed, so that a click from page to page
/// does not change the count.
const LINGER: Duration = Duration::from_secs(1);
/// The longest linger time that may be set.
const MAX_LINGER: Duration = Duration::from_secs(60);
/// The maximum number of members that a board may show, and its default.
const MOST: u32 = 1000;
const TOP: u32 = 10;
/// The default and the maximum length of a member list, then the default, minimum and maximum of its bytes.
const MEMBERS: u32 = 1000;
const MOST_MEMBERS: u32 = 10_000;
const MEMBERS_BYTES: u32 = 64 << 10;
const FEWEST_MEMBERS_BYTES: u32 = 4 << 10;
const MOST_MEMBERS_BYTES: u32 = 1 << 20;

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
        self.check_kept(&source, &rules);
        if rules.default_channel().is_none() {
            self.reject("channels", "one table must name a channel exactly, without *: it is the default channel");
        }
        self.effective.insert("channels", shown(&rules));
        rules
    }

    fn rule(&mut self, source: &str, index: usize, table: &Map<String, Value>) -> Rule {
        let mut table = ChannelTable { reader: self, source, index, table };
        let board = table.board();
        // A board counts nobody and has only one value, its newest, so neither key is required.
        let (counts, delivers) = if board.is_some() { (Some("none"), Some("latest")) } else { (None, None) };
        let count = match table.word("count", &["visitors", "sockets", "none"], counts).as_str() {
            "visitors" => Count::Visitors,
            "sockets" => Count::Sockets,
            _ => Count::None,
        };
        let every = table.word("deliver", &["every", "latest"], delivers) == "every";
        let pattern = table.pattern();
        let counted = count != Count::None;
        if counted && every {
            let message = "a counted channel must deliver \"latest\": only the newest count is worth anything";
            table.note("deliver", "\"every\"", message.to_owned());
        }
        if board.is_some() && (counted || every) {
            let message = "a sorted set goes with count = \"none\" and deliver = \"latest\", or without both";
            table.note("source", "\"zset\"", message.to_owned());
        }
        let of = table.of(board.is_some(), &pattern);
        table.unknown();
        let linger = table.linger(count);
        let members = table.members(count);
        let access = if table.word("access", &["open", "token"], Some("open")) == "token" {
            Access::Token
        } else {
            Access::Open
        };
        let publish = table.word("publish", &["none", "token"], Some("none")) == "token";
        if publish && board.is_some() {
            table.note("publish", "\"token\"", "a sorted set is written in the store, not published".to_owned());
        }
        let deliver = if every { Deliver::Every } else { Deliver::Latest };
        Rule { pattern, count, linger, deliver, access, publish, members, board, of }
    }

    /// Checks that each board that headcount maintains can rank a counted channel.
    fn check_kept(&mut self, source: &str, rules: &Rules) {
        let counted = |of: &str| {
            let mut counted = rules.0.iter().filter(|rule| rule.counted());
            counted.any(|rule| overlap(of.as_bytes(), rule.pattern.as_bytes()))
        };
        for (index, rule) in rules.0.iter().enumerate() {
            if let Some(of) = rule.of.as_deref().filter(|of| !counted(of)) {
                let message = "no counted channel has such a name".to_owned();
                self.note(source, &format!("channels[{index}].of"), &value::quoted(of), message);
            }
        }
    }

    /// Checks that tokens are accepted if any channel requires them.
    pub fn check_access(&mut self, rules: &Rules, auth: &Auth) {
        let unseen = self.unseen.iter().flatten().any(|path| path.starts_with("auth."));
        if auth.is_on() || unseen || !rules.0.iter().any(|rule| rule.publish || rule.access == Access::Token) {
            return;
        }
        self.reject(
            "channels",
            "access or publish = \"token\" needs a key in [auth]: secret_files, public_key_files or jwks",
        );
    }
}

/// Returns whether either pattern, taken as a name, matches the other.
fn overlap(one: &[u8], other: &[u8]) -> bool {
    matches_stars(one, other) || matches_stars(other, one)
}

/// One `[[channels]]` table, and the reader that collects its mistakes.
struct ChannelTable<'a> {
    reader: &'a mut Reader,
    source: &'a str,
    index: usize,
    table: &'a Map<String, Value>,
}

impl ChannelTable<'_> {
    fn note(&mut self, key: &str, shown: &str, message: String) {
        self.reader.note(self.source, &format!("channels[{}].{key}", self.index), shown, message);
    }

    fn shown(&self, key: &str) -> String {
        self.table.get(key).map(value::shown).unwrap_or_default()
    }

    /// Returns one of the allowed words. Without a default, the key is required.
    fn word(&mut self, key: &str, allowed: &[&str], default: Option<&str>) -> String {
        let found = self.table.get(key);
        if let (None, Some(default)) = (found, default) {
            return default.to_owned();
        }
        let text = found.and_then(value::text).filter(|text| allowed.contains(&text.as_str()));
        if text.is_none() {
            self.note(key, &self.shown(key), format!("must be one of {}", allowed.join(", ")));
        }
        text.unwrap_or_default()
    }

    fn pattern(&mut self) -> String {
        let pattern = self.table.get("pattern").and_then(value::text).unwrap_or_default();
        if let Err(why) = check_name(&pattern) {
            self.note("pattern", &self.shown("pattern"), format!("{why}; * stands for any run of characters"));
        }
        pattern
    }

    fn board(&mut self) -> Option<BoardRule> {
        if self.word("source", &["pubsub", "zset"], Some("pubsub")) != "zset" {
            for key in ["top", "order"].into_iter().filter(|key| self.table.contains_key(*key)) {
                self.note(key, &self.shown(key), "needs source = \"zset\"".to_owned());
            }
            return None;
        }
        let falling = self.word("order", &["desc", "asc"], Some("desc")) == "desc";
        let order = if falling { SortOrder::Descending } else { SortOrder::Ascending };
        let top = self.table.get("top").map_or(Some(TOP), |found| {
            value::int(found).and_then(|top| u32::try_from(top).ok()).filter(|top| (1..=MOST).contains(top))
        });
        if top.is_none() {
            self.note("top", &self.shown("top"), format!("must be a whole number from 1 to {MOST}"));
        }
        Some(BoardRule { top: top.unwrap_or(TOP), order })
    }

    /// Returns the pattern of the channels that a board ranks, if headcount maintains it.
    fn of(&mut self, board: bool, pattern: &str) -> Option<String> {
        let found = self.table.get("of")?;
        let of = value::text(found);
        let problem = match &of {
            _ if !board => "needs source = \"zset\"".to_owned(),
            _ if pattern.contains('*') => "needs a board that is named exactly, without *".to_owned(),
            None => "must be a pattern of counted channels".to_owned(),
            Some(of) => match check_name(of) {
                Ok(()) => return Some(of.to_owned()),
                Err(bad) => bad.to_string(),
            },
        };
        self.note("of", &self.shown("of"), problem);
        None
    }

    fn members(&mut self, count: Count) -> Option<MembersRule> {
        let listed = self.table.get("members").map_or(Some(false), value::boolean);
        let most = self.size("members_max", MEMBERS, 1..=MOST_MEMBERS);
        let bytes = self.size("members_bytes", MEMBERS_BYTES, FEWEST_MEMBERS_BYTES..=MOST_MEMBERS_BYTES);
        match listed {
            None => self.note("members", &self.shown("members"), "must be true or false".to_owned()),
            Some(true) if count != Count::Visitors => {
                self.note("members", "true", "needs count = \"visitors\": sockets are nobody".to_owned());
            }
            Some(true) => return Some(MembersRule { most, bytes }),
            Some(false) => {
                for key in ["members_max", "members_bytes"].into_iter().filter(|key| self.table.contains_key(*key)) {
                    self.note(key, &self.shown(key), "needs members = true".to_owned());
                }
            }
        }
        None
    }

    /// Returns a whole number or a size within the allowed range.
    fn size(&mut self, key: &str, default: u32, allowed: RangeInclusive<u32>) -> u32 {
        let Some(found) = self.table.get(key) else { return default };
        let size = value::size(found).and_then(|size| u32::try_from(size).ok()).filter(|size| allowed.contains(size));
        if size.is_none() {
            let (least, most) = allowed.into_inner();
            self.note(key, &self.shown(key), format!("must be from {least} to {most}"));
        }
        size.unwrap_or(default)
    }

    fn unknown(&mut self) {
        let mut unknown: Vec<_> = self.table.keys().filter(|key| !KEYS.contains(&key.as_str())).collect();
        unknown.sort();
        for key in unknown {
            self.note(key, "", format!("no such key; a channel has {}", KEYS.join(", ")));
        }
    }

    fn linger(&mut self, count: Count) -> Duration {
        let Some(found) = self.table.get("linger") else {
            return if count == Count::Visitors { LINGER } else { Duration::ZERO };
        };
        let linger = value::text(found).and_then(|text| humantime::parse_duration(&text).ok());
        let message = match linger {
            Some(linger) if linger > Duration::ZERO && count != Count::Visitors => "only visitors linger".to_owned(),
            Some(linger) if linger <= MAX_LINGER => return linger,
            _ => format!("must be a time such as \"1s\", at most {}", humantime::format_duration(MAX_LINGER)),
        };
        self.note("linger", &self.shown("linger"), message);
        Duration::ZERO
    }
}

fn shown(rules: &Rules) -> String {
    let rows = rules.0.iter().map(|rule| {
        let pattern = value::quoted(&rule.pattern);
        let access = if rule.access == Access::Token { ", access = \"token\"" } else { "" };
        let publish = if rule.publish { ", publish = \"token\"" } else { "" };
        if let Some(BoardRule { top, order }) = rule.board {
            let order = if order == SortOrder::Descending { "desc" } else { "asc" };
            let of = rule.of.as_deref().map_or(String::new(), |of| format!(", of = {}", value::quoted(of)));
            return format!(
                "  {{ pattern = {pattern}, source = \"zset\", top = {top}, order = \"{order}\"{of}{access} }},\n"
            );
        }
        let count = match rule.count {
            Count::Visitors => "visitors",
            Count::Sockets => "sockets",
            Count::None => "none",
        };
        let deliver = if rule.deliver == Deliver::Every { "every" } else { "latest" };
        let linger = match rule.count {
            Count::Visitors => format!(", linger = \"{}\"", humantime::format_duration(rule.linger)),
            _ => String::new(),
        };
        let members = rule.members.map_or(String::new(), |MembersRule { most, bytes }| {
            format!(", members = true, members_max = {most}, members_bytes = {bytes}")
        });
        format!("  {{ pattern = {pattern}, count = \"{count}\", deliver = \"{deliver}\"{linger}{access}{publish}{members} }},\n")
    });
    format!("[\n{}]", rows.collect::<String>())
}
