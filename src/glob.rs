//! Patterns of names: Redis globs, with `*`, `?`, `[a-z]`, `[^x]` and `\` as an escape, and the configuration's
//! patterns, in which only `*` is special.
//!
//! After a mismatch the search backtracks to the last star only. The work is therefore at most the product of
//! both lengths, and never more than [`MOST_STEPS`]: a pattern that would need more steps matches nothing.

/// The number of steps after which a match is given up. Names of a few hundred bytes never come near it.
const MOST_STEPS: usize = 4 << 20;

/// Returns whether the whole of `text` matches a Redis pattern.
pub fn matches(pattern: &[u8], text: &[u8]) -> bool {
    search(pattern, text, one)
}

/// Returns whether the whole of `text` matches a pattern in which `*` stands for any run of bytes, even an
/// empty one, and every other byte for itself.
pub fn matches_stars(pattern: &[u8], text: &[u8]) -> bool {
    search(pattern, text, |pattern, byte| (1, pattern[0] == byte))
}

/// Matches `pattern` against `text`. `one` matches one byte against the first element of a non-empty pattern,
/// and returns the length of that element and whether it matched.
fn search(pattern: &[u8], text: &[u8], one: impl Fn(&[u8], u8) -> (usize, bool)) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    let mut left = MOST_STEPS;
    while left > 0 {
        left -= 1;
        if p < pattern.len() && pattern[p] == b'*' {
            star = Some((p + 1, t));
            p += 1;
            continue;
        }
        if t == text.len() {
            return pattern[p..].iter().all(|&byte| byte == b'*');
        }
        let head = (p < pattern.len()).then(|| one(&pattern[p..], text[t]));
        // A character class is scanned in full, so each of its bytes is a step.
        left = left.saturating_sub(head.map_or(0, |(used, _)| used));
        match head {
            Some((used, true)) => {
                p += used;
                t += 1;
            }
            _ => match star {
                Some((after, from)) => {
                    p = after;
                    t = from + 1;
                    star = Some((after, t));
                }
                None => return false,
            },
        }
    }
    false
}

/// Matches one byte against the first element of a Redis pattern. Returns the length of that element and
/// whether it matched.
fn one(pattern: &[u8], byte: u8) -> (usize, bool) {
    match pattern {
        [b'?', ..] => (1, true),
        [b'[', ..] => class(pattern, byte),
        [b'\\', escaped, ..] => (2, *escaped == byte),
        [literal, ..] => (1, *literal == byte),
        [] => (0, false),
    }
}

fn class(pattern: &[u8], byte: u8) -> (usize, bool) {
    let mut at = 1;
    let negated = pattern.get(at) == Some(&b'^');
    if negated {
        at += 1;
    }
    let mut found = false;
    while at < pattern.len() && pattern[at] != b']' {
        if pattern[at] == b'\\' && at + 1 < pattern.len() {
            at += 1;
            found |= pattern[at] == byte;
        } else if at + 2 < pattern.len() && pattern[at + 1] == b'-' {
            let (low, high) = (pattern[at].min(pattern[at + 2]), pattern[at].max(pattern[at + 2]));
            found |= (low..=high).contains(&byte);
            at += 2;
        } else {
            found |= pattern[at] == byte;
        }
        at += 1;
    }
    ((at + 1).min(pattern.len()), found != negated)
}

#[cfg(test)]
mod tests {
    use super::{matches, matches_stars};

    #[test]
    fn patterns_match_as_in_redis() {
        for (pattern, text, expected) in [
            ("*", "", true),
            ("a*c", "abbc", true),
            ("a*c", "abbd", false),
            ("h?llo", "hello", true),
            ("h?llo", "hllo", false),
            ("h[ae]llo", "hallo", true),
            ("h[^e]llo", "hello", false),
            ("h[a-c]llo", "hbllo", true),
            ("\\*", "*", true),
            ("\\*", "x", false),
            ("[", "[", false),
            ("a**b*", "aXbY", true),
            ("*a*a*a*a*b", "aaaaaaaaaaaaaaaaaaaaaaaaaaaa", false),
        ] {
            assert_eq!(matches(pattern.as_bytes(), text.as_bytes()), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn only_a_star_is_special_in_the_configuration() {
        for (pattern, name, is) in [
            ("users:count", "users:count", true),
            ("users:count", "users:counts", false),
            ("page:/*", "page:/", true),
            ("page:/*", "page:/a/b", true),
            ("page:/*", "page:", false),
            ("*:count", "a:count:count", true),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-b-b-", false),
            ("*", "", true),
            ("a?[b]\\c", "a?[b]\\c", true),
            ("a?", "ab", false),
        ] {
            assert_eq!(matches_stars(pattern.as_bytes(), name.as_bytes()), is, "{pattern} on {name}");
        }
    }

    #[test]
    fn a_pattern_made_to_take_long_is_given_up() {
        let pattern = [b"*".to_vec(), vec![b'a'; 1 << 20], b"b".to_vec()].concat();
        assert!(!matches(&pattern, &vec![b'a'; 2 << 20]));
        let class = [b"*[".to_vec(), vec![b'a'; 1 << 20], b"]b".to_vec()].concat();
        assert!(!matches(&class, &vec![b'a'; 1 << 20]));
        assert!(matches(&vec![b'a'; 1 << 20], &vec![b'a'; 1 << 20]));
    }
}
