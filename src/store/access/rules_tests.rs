//! Rules of any content, and rules against a model of what they allow.

use proptest::prelude::*;

use super::known::KnownCommand;
use super::rights::Access;
use super::rules::{BadRule, read};
use crate::store::settings::User;

const NAMES: [(&str, &[&str]); 6] = [
    ("get", &["read", "string"]),
    ("set", &["write", "string"]),
    ("ping", &["connection"]),
    ("client", &["slow"]),
    ("client|id", &["connection"]),
    ("client|kill", &["admin", "connection"]),
];

fn known() -> Vec<KnownCommand> {
    let one = |(number, (name, categories)): (usize, &(&str, &[&'static str]))| KnownCommand {
        name: (*name).to_owned(),
        number,
        categories: categories.to_vec(),
    };
    NAMES.iter().enumerate().map(one).collect()
}

fn user(rules: Vec<String>) -> Result<Access, BadRule> {
    let user = User { name: "ann".to_owned(), password: Some("hunter2".to_owned()), rules };
    read(&user, &known(), |name| name == b"failover")
}

/// Rules about commands that are valid, some of which change nothing.
fn of_commands() -> impl Strategy<Value = Vec<String>> {
    let names: Vec<&str> =
        NAMES.iter().map(|(name, _)| *name).chain(["@all", "@read", "@connection", "@slow", "failover"]).collect();
    let rule = (any::<bool>(), prop::sample::select(names))
        .prop_map(|(may, name)| format!("{}{name}", if may { '+' } else { '-' }));
    let first = prop::sample::select(vec!["+get|one", "+get|two", "+set|one"]).prop_map(str::to_owned);
    prop::collection::vec(prop_oneof![4 => rule, 1 => first], 0..12)
}

/// What each command is allowed, and with which first arguments, one rule after another.
fn model(rules: &[String]) -> Vec<(bool, Vec<String>)> {
    let mut allowed = vec![(false, Vec::new()); NAMES.len()];
    for rule in rules {
        let (may, name) = (rule.starts_with('+'), &rule[1..]);
        let first = name.split_once('|').filter(|(command, _)| *command != "client");
        if let Some((command, word)) = first {
            let at = NAMES.iter().position(|(known, _)| *known == command).unwrap();
            if !allowed[at].1.contains(&word.to_owned()) {
                allowed[at].1.push(word.to_owned());
            }
            continue;
        }
        let category = name.strip_prefix('@');
        for (at, (known, categories)) in NAMES.iter().enumerate() {
            let head = known.split('|').next().unwrap();
            let of_head = |category| NAMES.iter().any(|(name, all)| *name == head && all.contains(&category));
            let meant = match category {
                Some("all") => true,
                Some(category) => categories.contains(&category) || of_head(category),
                None => *known == name || head == name,
            };
            if meant {
                allowed[at] = (may, Vec::new());
            }
        }
    }
    allowed
}

fn rights(access: &Access) -> Vec<(bool, Vec<String>)> {
    let first = |number| access.first_args.get(&number).cloned().unwrap_or_default();
    access.commands.iter().enumerate().map(|(number, may)| (*may, first(number))).collect()
}

proptest! {
    #[test]
    fn rules_allow_what_they_say_and_those_in_effect_say_the_same(rules in of_commands()) {
        let access = user([vec!["on".to_owned()], rules.clone()].concat()).unwrap();
        prop_assert_eq!(rights(&access), model(&rules));
        let again = user([vec!["on".to_owned()], access.rules.clone()].concat()).unwrap();
        prop_assert_eq!(rights(&again), rights(&access));
        prop_assert_eq!(again.rules, access.rules);
    }

    #[test]
    fn no_text_breaks_the_rules_and_no_password_is_shown(
        sign in "[-+~%&(><#!]?|%(R|W|RW|rR|)~|[+-]@|[+-]client\\|",
        text in "\\PC{0,80}",
    ) {
        let secret = "hunter2-hunter2";
        let _ = user(vec![format!("{sign}{text}")]);
        for rule in [format!(">{secret}"), format!("<{secret}"), format!("#{secret}"), secret.to_owned(), format!("({secret})")] {
            let refused = user(vec![rule]).unwrap_err();
            prop_assert!(!refused.to_string().contains(secret));
        }
    }

    #[test]
    fn keys_are_those_that_a_pattern_names(rules in prop::collection::vec("[~]([a-c]{1,2}[*]?)|%[RW]~[a-c]|resetkeys", 0..8)) {
        let access = user([vec!["on".to_owned()], rules.clone()].concat()).unwrap();
        let from = rules.iter().rposition(|rule| rule == "resetkeys").map_or(0, |at| at + 1);
        for rule in &rules[from..] {
            let (letters, text) = rule.split_once('~').unwrap();
            let pattern = access.keys.iter().find(|pattern| pattern.text == text).unwrap();
            prop_assert!(pattern.read || letters == "%W");
            prop_assert!(pattern.write || letters == "%R");
        }
        prop_assert!(access.keys.len() <= rules.len() - from);
    }
}

#[test]
fn the_longest_texts_are_refused_and_one_less_is_not() {
    let pattern = |length: usize| vec!["on".to_owned(), format!("~{}", "k".repeat(length - 1))];
    assert!(user(pattern(16 << 10)).is_ok());
    assert!(user(pattern((16 << 10) + 1)).is_err());
    let many = |number: usize| (0..number).map(|n| if n == 0 { "on".to_owned() } else { format!("~{n}") }).collect();
    assert_eq!(user(many(4096)).unwrap().keys.len(), 4095);
    assert!(user(many(4097)).is_err());
}
