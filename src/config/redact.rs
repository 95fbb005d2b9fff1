//! Hides possible secrets in text from outside before an error shows it.
//!
//! People paste a store's address into the wrong key, forget a quote or misspell `password`. The error still
//! says where the mistake is and what is allowed. The text written there is shown only if it cannot be a
//! secret.

/// The text that is shown in place of a secret.
pub const HIDDEN: &str = "***";

/// Words that indicate a secret.
const ANNOUNCE: &[&str] = &["pass", "secret", "token", "auth", "pwd", "credential", "-----begin", "bearer"];
/// A run of letters and digits of at least this length may be random, and thus a secret.
const RANDOM: usize = 16;

/// Returns a value, or [`HIDDEN`] if any part of it may be a secret.
pub fn value(text: &str) -> &str {
    let lower = text.to_lowercase();
    let announced = ANNOUNCE.iter().any(|word| lower.contains(word));
    if announced || text.split(is_separator).any(suspicious) { HIDDEN } else { text }
}

/// Returns an accepted value, or [`HIDDEN`] if it is a store's address with a user or password, which only
/// `redis.url` should have.
pub fn accepted(text: &str) -> &str {
    let address = text.split_once(":/").is_some_and(|(_, rest)| rest.contains('@'));
    if address || text.contains("pass=") { HIDDEN } else { text }
}

/// Returns a sentence in which each word that may be a secret is hidden.
pub fn message(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for word in text.split_inclusive(is_separator) {
        let bare = word.trim_end_matches(is_separator);
        let assigned = bare.split_once('=').is_some_and(|(name, value)| {
            !value.is_empty() && ANNOUNCE.iter().any(|word| name.to_lowercase().contains(word))
        });
        if assigned || suspicious(bare) {
            shown.push_str(HIDDEN);
            shown.push_str(&word[bare.len()..]);
        } else {
            shown.push_str(word);
        }
    }
    shown
}

fn is_separator(c: char) -> bool {
    c.is_whitespace() || matches!(c, '"' | '\'' | '`' | ',' | '(' | ')' | '[' | ']' | '{' | '}')
}

/// Returns whether a word may contain a secret: an address with a user, or something random.
fn suspicious(word: &str) -> bool {
    let address = word.split_once(":/").is_some_and(|(scheme, _)| !matches!(scheme, "http" | "https" | "unix"));
    word.contains('@') || address || random(word)
}

fn random(word: &str) -> bool {
    let of_base64 = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '=' | '-' | '_');
    word.len() >= RANDOM
        && !word.starts_with('/')
        && word.chars().all(of_base64)
        && word.contains(|c: char| c.is_ascii_digit())
        && word.contains(|c: char| c.is_ascii_alphabetic())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_a_secret_is_shown() {
        for harmless in
            ["soon", "\"10 parsecs\"", "-5", "[\"0.0.0.0:3000\", \"localhost\"]", "https://example.com/", ""]
        {
            assert_eq!(value(harmless), harmless);
        }
        let sentence = "unexpected argument '--pasword' found, in /etc/headcount/headcount2.toml";
        assert_eq!(message(sentence), sentence);
    }

    #[test]
    fn addresses_with_users_announced_secrets_and_random_words_are_hidden() {
        for secret in [
            "redis://:hunter2@h",
            "redis:/:hunter2",
            "me:hunter2@h",
            "[\"a\", \"x@y\"]",
            "h?pass=hunter2",
            "{ Password = 1 }",
            "-----BEGIN PRIVATE KEY-----",
            "q7Zk3mW9xT2vB8nL",
        ] {
            assert_eq!(value(secret), HIDDEN, "{secret}");
        }
        assert_eq!(message("no 'redis://:a b@h' or pass=x here"), "no '*** ***' or *** here");
    }
}
