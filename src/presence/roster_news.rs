//! What the store publishes about a list of members; see `members.lua`.

use super::visitor_id::VisitorId;

/// How a list stands: the list has an epoch, each of its changes a turn, and each turn a mark.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// Drawn when the list began.
    pub epoch: Box<str>,
    /// How many changes it has had.
    pub turn: u64,
    /// Drawn at the last change.
    pub mark: Box<str>,
}

impl Head {
    /// Parses a head from the store's words.
    pub fn of(epoch: &str, turn: &str, mark: &str) -> Option<Self> {
        let hex = |word: &str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_hexdigit());
        let turn = turn.parse().ok()?;
        (hex(epoch) && hex(mark)).then(|| Self { epoch: epoch.into(), turn, mark: mark.into() })
    }

    /// Whether nothing is missing between this and `next`, given the `mark` that `next` follows.
    pub fn is_before(&self, next: &Self, mark: &str) -> bool {
        self.epoch == next.epoch && self.turn.checked_add(1) == Some(next.turn) && *self.mark == *mark
    }
}

/// A visitor who came, with the store's entry, or who left.
#[derive(Debug, PartialEq, Eq)]
pub struct RosterChange<'a> {
    /// The visitor.
    pub visitor: VisitorId,
    /// The store's entry for the visitor; None if the visitor left.
    pub entry: Option<&'a [u8]>,
}

/// One change of the list.
#[derive(Debug, PartialEq, Eq)]
pub struct RosterNews<'a> {
    /// How the list stands now.
    pub head: Head,
    /// The mark of the turn before.
    pub before: &'a str,
    /// The secret from which handles are made.
    pub secret: &'a str,
    /// What changed; None if that was too much to send.
    pub changes: Option<Vec<RosterChange<'a>>>,
}

impl<'a> RosterNews<'a> {
    /// Parses what was published; None if it only says that the list must be read, or cannot be parsed.
    pub fn parse(message: &'a [u8]) -> Option<Self> {
        let end = message.iter().position(|byte| *byte == b'\n')?;
        let mut words = std::str::from_utf8(&message[..end]).ok()?.split(' ');
        let mut word = || words.next();
        let (epoch, turn, before, mark, secret) = (word()?, word()?, word()?, word()?, word()?);
        let body = &message[end + 1..];
        let changes = if body == b"?" { None } else { Some(changes(body)?) };
        Some(Self { head: Head::of(epoch, turn, mark)?, before, secret, changes })
    }
}

fn changes(mut body: &[u8]) -> Option<Vec<RosterChange<'_>>> {
    let mut all = Vec::new();
    while let Some((sign, rest)) = body.split_first() {
        let (visitor, rest) = rest.split_first_chunk::<16>()?;
        let (entry, rest) = match sign {
            b'-' => (None, rest),
            b'+' => {
                let colon = rest.iter().take(8).position(|byte| *byte == b':')?;
                let length: usize = std::str::from_utf8(&rest[..colon]).ok()?.parse().ok()?;
                let (entry, rest) = rest[colon + 1..].split_at_checked(length)?;
                (Some(entry), rest)
            }
            _ => return None,
        };
        all.push(RosterChange { visitor: VisitorId(*visitor), entry });
        body = rest;
    }
    Some(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(body: &[u8]) -> Vec<u8> {
        [b"a1 2 b2 c3 d4\n", body].concat()
    }

    #[test]
    fn what_the_script_publishes_is_understood() {
        let body = [&b"+0123456789abcdef6:17 0 x"[..], b"-fedcba9876543210"].concat();
        let message = message(&body);
        let news = RosterNews::parse(&message).unwrap();
        assert_eq!((news.head, news.before, news.secret), (Head::of("a1", "2", "c3").unwrap(), "b2", "d4"));
        let came = RosterChange { visitor: VisitorId(*b"0123456789abcdef"), entry: Some(b"17 0 x") };
        let went = RosterChange { visitor: VisitorId(*b"fedcba9876543210"), entry: None };
        assert_eq!(news.changes, Some(vec![came, went]));
        assert_eq!(RosterNews::parse(b"a1 2 b2 c3 d4\n?").unwrap().changes, None);
    }

    #[test]
    fn whatever_else_is_published_is_none() {
        for bad in [&b""[..], b"?", b"\n", b"a1 2 b2 c3\n?", b"xyz 2 b2 c3 d4\n?", b"a1 -2 b2 c3 d4\n?", b"\xff\n"] {
            assert_eq!(RosterNews::parse(bad), None, "{}", bad.escape_ascii());
        }
        for bad in [&b"+"[..], b"+0123456789abcdef", b"+0123456789abcdef9:1", b"+0123456789abcdef-1:1", b"*"] {
            assert_eq!(RosterNews::parse(&message(bad)), None, "{}", bad.escape_ascii());
        }
        let mut draw = fastrand::Rng::with_seed(1);
        for _ in 0..20_000 {
            let body: Vec<u8> = (0..draw.usize(..40)).map(|_| draw.choice(*b"+-0123456789:?\n\xff").unwrap()).collect();
            let _ = RosterNews::parse(&message(&body));
        }
    }
}
