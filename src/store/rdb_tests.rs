use super::*;
use crate::store::stream::{Group, Id, Pending, Stream};
use proptest::prelude::*;

fn words() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let word = prop_oneof![
        any::<i64>().prop_map(|number| number.to_string().into_bytes()),
        (-300i64..300).prop_map(|number| number.to_string().into_bytes()),
        prop::collection::vec(any::<u8>(), 0..80),
    ];
    prop::collection::vec(word, 1..30)
}

fn value(kind: u8, words: &[Vec<u8>]) -> Value {
    let mut list = List::default();
    let (mut set, mut hash, mut zset) = (Set::default(), Hash::default(), Zset::default());
    let mut stream = Stream::default();
    for (at, word) in words.iter().enumerate() {
        list.push(false, SmallBytes::new(word));
        set.insert(word);
        hash.insert(word, &words[at / 2]);
        zset.insert(word, at as f64 / 3.0 - 1.0);
        let id = Id { ms: at as u64 * 7, seq: 1 };
        stream.entries.append(id, &[word, &words[at / 2]]);
        let mut group = Group::new(id, Some(at as u64));
        if let Some(consumer) = group.add_consumer(b"ann", 5) {
            group.give(id, Pending { consumer, delivered: 9, count: 2 });
        }
        stream.add_group(word, group);
    }
    stream.entries.delete(Id { ms: 7, seq: 1 });
    match kind {
        0 => Value::string(&words[0]),
        1 => list.into_value(),
        2 => set.into_value(),
        3 => hash.into_value(),
        4 => zset.into_value(),
        _ => stream.into_value(),
    }
}

proptest! {
    #[test]
    fn what_is_dumped_is_restored(kind in 0u8..6, words in words()) {
        let dumped = dump(&value(kind, &words));
        let restored = restore(&dumped, usize::MAX).unwrap();
        prop_assert_eq!(dump(&restored), dumped);
    }

    #[test]
    fn no_damage_breaks_it(kind in 0u8..6, words in words(), at: prop::sample::Index, byte: u8, kind_byte in 0u8..24) {
        let mut payload = dump(&value(kind, &words));
        payload.truncate(payload.len() - 8);
        for place in [at.index(payload.len() - 2), 0] {
            payload[place] = if place == 0 { kind_byte } else { byte };
            let sum = checksum(&payload).to_le_bytes();
            if let Ok(value) = restore(&[&payload[..], &sum].concat(), 1 << 20) {
                dump(&value);
            }
        }
    }

    #[test]
    fn what_is_compressed_does_not_break_it(bytes in prop::collection::vec(any::<u8>(), 0..60), length in 0usize..400) {
        if let Some(expanded) = compressed::expand(&bytes, length) {
            prop_assert_eq!(expanded.len(), length);
        }
    }
}
