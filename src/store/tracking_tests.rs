use std::collections::{HashMap, HashSet};

use proptest::prelude::*;

use super::*;

fn key(name: &str, clients: &[ClientId]) -> Notice {
    Notice::Key(SmallBytes::new(name.as_bytes()), clients.iter().copied().collect(), None)
}

fn tracking() -> Tracking {
    Tracking { clients: 2, ..Tracking::default() }
}

#[test]
fn each_reader_is_told_of_a_key_once() {
    let mut tracking = tracking();
    for reader in [1, 2, 1] {
        tracking.reader = Some(reader);
        tracking.read(&[b"k"]);
    }
    tracking.changed(b"other");
    tracking.changed(b"k");
    tracking.changed(b"k");
    assert_eq!(tracking.take_notices(), [key("k", &[1, 2])]);
    assert_eq!(tracking.sizes(), [0, 0, 0]);
    assert_eq!(tracking.bytes, 0);
}

#[test]
fn what_is_forgotten_for_want_of_room_is_told_as_changed() {
    let mut tracking = Tracking { max_keys: 2, reader: Some(1), ..tracking() };
    tracking.read(&[b"a", b"b", b"c"]);
    assert_eq!(tracking.take_notices().len(), 1);
    assert_eq!(tracking.sizes(), [2, 2, 0]);
    tracking.limit(1);
    assert_eq!(tracking.take_notices().len(), 1, "a limit that is lowered is kept at once");
    assert_eq!(tracking.sizes(), [1, 1, 0]);
}

#[test]
fn a_key_that_went_by_itself_was_changed_by_nobody() {
    let mut tracking = Tracking { reader: Some(1), writer: Some(1), max_keys: 2, ..tracking() };
    let by = |tracking: &mut Tracking| match &tracking.take_notices()[..] {
        [Notice::Key(_, _, writer)] => *writer,
        other => panic!("{other:?}"),
    };
    tracking.read(&[b"a"]);
    tracking.changed(b"a");
    assert_eq!(by(&mut tracking), Some(1));
    tracking.read(&[b"a"]);
    tracking.ended(b"a");
    assert_eq!(by(&mut tracking), None);
    tracking.read(&[b"a", b"b", b"c"]);
    assert_eq!(by(&mut tracking), None, "forgotten for want of room");
}

#[test]
fn too_much_to_tell_becomes_everything_for_those_whom_it_concerns() {
    let mut tracking = Tracking { reader: Some(7), ..tracking() };
    let long = vec![b'x'; MOST_TOLD / 2];
    for last in [b'1', b'2', b'3', b'4'] {
        let mut name = long.clone();
        name.push(last);
        tracking.read(&[&name]);
        tracking.changed(&name);
    }
    let notices = tracking.take_notices();
    assert_eq!(notices.len(), 2);
    assert_eq!(notices[1], Notice::Lost([7].into()));
}

#[test]
fn a_broadcast_names_each_key_once_with_its_last_writer_in_order() {
    let mut tracking = tracking();
    tracking.subscribe(b"a", 1);
    tracking.subscribe(b"", 2);
    for (writer, name) in [(5, "ab"), (6, "b"), (7, "ab"), (7, "aa")] {
        tracking.writer = Some(writer);
        tracking.changed(name.as_bytes());
    }
    let told: Vec<_> = tracking.take_broadcasts().into_iter().map(|b| (b.clients, b.keys.unwrap())).collect();
    let keys = |list: &[(&str, ClientId)]| {
        list.iter().map(|(name, writer)| (SmallBytes::new(name.as_bytes()), Some(*writer))).collect::<BTreeMap<_, _>>()
    };
    assert_eq!(told[0], ([2].into(), keys(&[("aa", 7), ("ab", 7), ("b", 6)])));
    assert_eq!(told[1], ([1].into(), keys(&[("aa", 7), ("ab", 7)])));
    assert!(tracking.take_broadcasts().is_empty());
    tracking.unsubscribe(b"a", 1);
    tracking.unsubscribe(b"", 2);
    assert!(tracking.lengths.is_empty() && tracking.prefixes.is_empty());
}

proptest! {
    #[test]
    fn nobody_who_read_a_key_misses_its_next_change(steps in prop::collection::vec((0..4u8, 0..5u64, 0..6u8), 1..200)) {
        let mut tracking = Tracking { max_keys: 4, clients: 5, ..Tracking::default() };
        let mut owed: HashMap<u8, HashSet<ClientId>> = HashMap::new();
        for (what, client, name) in steps {
            tracking.reader = Some(client);
            let before = owed.clone();
            match what {
                0 | 1 => {
                    tracking.read(&[&[name]]);
                    owed.entry(name).or_default().insert(client);
                }
                2 => tracking.changed(&[name]),
                _ => tracking.flushed(),
            }
            let notices = tracking.take_notices();
            for notice in &notices {
                match notice {
                    Notice::Key(key, clients, _) => {
                        let expected = owed.remove(&key[0]).unwrap_or_default();
                        prop_assert_eq!(clients.iter().copied().collect::<HashSet<_>>(), expected);
                    }
                    Notice::Lost(_) => prop_assert!(false, "nothing is too much here"),
                    Notice::Flushed => owed.clear(),
                }
            }
            if what == 2 && before.get(&name).is_some_and(|clients| !clients.is_empty()) {
                prop_assert!(!owed.contains_key(&name), "a change was not told");
            }
            prop_assert!(tracking.sizes()[0] <= 4);
        }
    }
}
