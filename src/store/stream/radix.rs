//! How many nodes the radix tree would have in which Redis keeps a stream's blocks, for `XINFO`.

use super::id::Id;

/// Bytes of a key of the tree.
const KEY: usize = 16;

/// The number of nodes of the tree of these keys, which must be in order.
pub fn nodes(keys: &[Id]) -> usize {
    if keys.is_empty() { 1 } else { below(keys, 0) }
}

/// The nodes of those keys whose first bytes are the same.
fn below(keys: &[Id], depth: usize) -> usize {
    let (first, last) = (bytes(keys[0]), bytes(keys[keys.len() - 1]));
    let common = (depth..KEY).take_while(|at| first[*at] == last[*at]).count();
    let at = depth + common;
    // What all have in common is one node, and so is the end of a key.
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
