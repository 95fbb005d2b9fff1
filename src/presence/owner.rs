//! The node that a number belongs to among a channel's visitors, as the store has it: `<count> <stamp> <node>`, or,
//! for a dying number, `!<count> <stamp> <node> <since>`.

use super::digits::Digits;
use super::lease::NodeId;
use super::visitors::Confirmed;

/// Whether an owner's entry should be swept: it is marked as dying, or cannot be read.
pub fn is_dying(entry: &[u8]) -> bool {
    node_of(entry).is_none()
}

/// The node of a dying owner's entry; None if the entry is not dying or cannot be read.
pub fn dying_of(entry: &[u8]) -> Option<NodeId> {
    let entry = entry.strip_prefix(b"!")?;
    let since = entry.iter().rposition(|byte| *byte == b' ')?;
    node_of(&entry[..since])
}

/// The node of a living owner's entry; None if the entry is dying or cannot be read.
pub fn node_of(entry: &[u8]) -> Option<NodeId> {
    let mut parts = entry.splitn(3, |byte| *byte == b' ');
    let number = |part: Option<&[u8]>| part.is_some_and(|part| !part.is_empty() && part.iter().all(u8::is_ascii_digit));
    let numbers = number(parts.next()) && number(parts.next());
    parts.next().filter(|node| numbers && !node.is_empty()).map(NodeId::of)
}

/// The arguments that tell a script what the store last confirmed of the node's visitors.
pub fn confirmed(visitors: &Confirmed) -> (&[u8], Digits) {
    visitors.as_ref().map_or((b"", Digits::default()), |(number, stamp)| (number, Digits::of(stamp)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_owner_is_its_node_unless_it_is_dying_or_damaged() {
        assert_eq!(node_of(b"3 17 ab cd"), Some(NodeId::of(b"ab cd")));
        for bad in [&b"!3 17 abc"[..], b"", b"3", b"3 17", b"3 17 ", b"x 17 abc", b" 17 abc", b"\xff \xff \xff"] {
            assert_eq!(node_of(bad), None, "{}", bad.escape_ascii());
        }
    }

    #[test]
    fn a_dying_number_was_its_nodes() {
        assert_eq!(dying_of(b"!3 17 abc 1764"), Some(NodeId::of(b"abc")));
        for bad in [&b"3 17 abc 1764"[..], b"!", b"!3", b"!3 17 ", b"!x 17 abc 1764"] {
            assert_eq!(dying_of(bad), None, "{}", bad.escape_ascii());
        }
    }
}
