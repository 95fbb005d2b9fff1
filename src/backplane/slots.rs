//! Computes the cluster slot of a key, and finds the key that a command is about. No I/O.
//!
//! This is short because every command of the backplane has its key as its first argument or, if it is a
//! script, as its first key. All further keys are in the same slot.

use redis::{Arg, Cmd};

/// The number of slots in a cluster.
pub const SLOTS: u16 = 16_384;

/// Returns the slot of a key: a checksum of the part between its first braces, or else of the whole key.
pub fn slot(key: &[u8]) -> u16 {
    checksum(hashed(key)) % SLOTS
}

/// The part of a key that decides its slot.
fn hashed(key: &[u8]) -> &[u8] {
    let Some(open) = key.iter().position(|byte| *byte == b'{') else { return key };
    let rest = &key[open + 1..];
    match rest.iter().position(|byte| *byte == b'}') {
        Some(close) if close > 0 => &rest[..close],
        _ => key,
    }
}

/// CRC-16/XMODEM, as Redis Cluster specifies it.
fn checksum(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |sum: u16, byte| {
        (0..8).fold(sum ^ (u16::from(*byte) << 8), |sum, _| (sum << 1) ^ if sum & 0x8000 == 0 { 0 } else { 0x1021 })
    })
}

/// Returns a number that, used as a hash tag, falls into one of these slot ranges; None if they are empty.
pub fn tag_within(ranges: &[(u16, u16)]) -> Option<String> {
    let within = |slot: u16| ranges.iter().any(|(first, last)| (*first..=*last).contains(&slot));
    // A hundred times as many numbers as there are slots reach every slot.
    (0..u32::from(SLOTS) * 100).map(|number| number.to_string()).find(|text| within(slot(text.as_bytes())))
}

/// Returns the slot of the key that a command is about; None if it is about no key.
pub fn slot_of(command: &Cmd) -> Option<u16> {
    let mut words = command.args_iter().map(|word| match word {
        Arg::Simple(bytes) => bytes,
        _ => b"",
    });
    let key = match words.next()?.to_ascii_uppercase().as_slice() {
        b"EVAL" | b"EVALSHA" => {
            let keys = words.nth(1)?;
            words.next().filter(|_| keys != b"0")
        }
        b"PING" | b"INFO" | b"TIME" | b"SCRIPT" | b"CLUSTER" | b"CLIENT" | b"ROLE" | b"SCAN" => None,
        _ => words.next(),
    };
    key.map(slot)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use redis::cmd;

    use super::*;

    #[test]
    fn a_slot_is_the_one_that_redis_computes() {
        // As returned by CLUSTER KEYSLOT of Redis 7.
        let known: [(&[u8], u16); 7] = [
            (b"", 0),
            (b"123456789", 12_739),
            (b"foo", 12_182),
            (b"{foo}bar", 12_182),
            (b"a{foo}b{c}", 12_182),
            (b"foo{}", 5_542),
            (b"users:count", 1_536),
        ];
        for (key, expected) in known {
            assert_eq!(slot(key), expected, "{}", key.escape_ascii());
        }
    }

    #[test]
    fn the_keys_of_a_channel_are_in_the_slot_of_its_name() {
        let keys = super::super::keys::Keys::new("staging:");
        let total = slot(keys.total("room:1").as_bytes());
        for key in [keys.tally("room:1"), keys.own("room:1"), keys.people("room:1"), keys.owner("room:1")] {
            assert_eq!(slot(key.as_bytes()), total, "{key}");
        }
    }

    #[test]
    fn a_command_is_about_its_first_key() {
        let foo = Some(slot(b"foo"));
        for command in [
            cmd("GET").arg("foo"),
            cmd("publish").arg("foo").arg("text"),
            cmd("MGET").arg("foo").arg("{foo}2"),
            cmd("EVALSHA").arg("abc").arg(2).arg("foo").arg("{foo}2").arg("argument"),
            cmd("eval").arg("return 1").arg(1).arg("foo"),
        ] {
            assert_eq!(slot_of(command), foo, "{command:?}");
        }
        for command in [&cmd("PING"), cmd("EVAL").arg("return 1").arg(0).arg("x"), cmd("CLUSTER").arg("SLOTS")] {
            assert_eq!(slot_of(command), None, "{command:?}");
        }
    }

    proptest! {
        #[test]
        fn a_key_is_in_the_slot_of_what_is_between_its_braces(before in "[^{}]{0,9}", tag in "[^{}]{1,9}", after in ".{0,9}") {
            prop_assert_eq!(slot(format!("{before}{{{tag}}}{after}").as_bytes()), slot(tag.as_bytes()));
        }

        #[test]
        fn any_bytes_have_a_slot(key in proptest::collection::vec(any::<u8>(), 0..64)) {
            prop_assert!(slot(&key) < SLOTS);
        }

        #[test]
        fn every_slot_has_a_number(first in 0..SLOTS) {
            let text = tag_within(&[(first, first)]).unwrap();
            prop_assert_eq!(slot(text.as_bytes()), first);
        }
    }
}
