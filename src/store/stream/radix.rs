//! Counting the nodes that Redis's radix tree of a stream's blocks would have, for `XINFO`.

use super::id::Id;

/// The length of a key in the tree, in bytes.
const KEY: usize = 16;

/// The number of nodes in a tree of these keys, which must be sorted.
pub fn nodes(keys: &[Id]) -> usize {
    if keys.is_empty() { 1 } else { below(keys, 0) }
}

/// The number of nodes for keys that share their first `depth` bytes.
fn below(keys: &[Id], depth: usize) -> usize {
    let (first, last) = (bytes(keys[0]), bytes(keys[keys.len() - 1]));
    let common = (depth..KEY).take_while(|at| first[*at] == last[*at]).count();
    let at = depth + common;
    // The common part of the keys takes one node, and the branch or end after it takes another.
    let mut count = usize::from(common > 0) + 1;
    if at < KEY {
        let mut rest = keys;
        while let Some(first) = rest.first() {
            let byte = bytes(*first)[at];
            let (same, others) = rest.split_at(rest.partition_point(|key| bytes(*key)[at] <= byte));
            count += below(same, at + 1);
            rest = others;
        }
    }
    count
}

fn bytes(id: Id) -> [u8; KEY] {
    ((u128::from(id.ms) << 64) | u128::from(id.seq)).to_be_bytes()
}
