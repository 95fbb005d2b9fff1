//! Whose a number is among the visitors of a channel, as the store has it: `<count> <stamp> <node>`.

use super::lease::NodeId;
use super::visitors::Confirmed;

/// Whether an owner's entry is to be swept: it is marked so, or cannot be read.
pub fn is_dying(entry: &[u8]) -> bool {
    node_of(entry).is_none()
}

/// The node of a living owner's entry.
pub fn node_of(entry: &[u8]) -> Option<NodeId> {
    let mut parts = entry.splitn(3, |byte| *byte == b' ');
    let number = |part: Option<&[u8]>| part.is_some_and(|part| !part.is_empty() && part.iter().all(u8::is_ascii_digit));
    let numbers = number(parts.next()) && number(parts.next());
    parts.next().filter(|node| numbers && !node.is_empty()).map(NodeId::of)
}

/// How a script is told what the store last confirmed of the node's visitors.
pub fn confirmed(visitors: Confirmed) -> (Vec<u8>, Vec<u8>) {
    visitors.map_or((Vec::new(), Vec::new()), |(number, stamp)| (number.to_vec(), stamp.to_string().into_bytes()))
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
}
