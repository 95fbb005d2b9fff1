use super::*;
use crate::store::value::Hash;

#[test]
fn a_key_is_gone_the_millisecond_it_expires() {
    let mut keys = Keyspace::new();
    keys.now = 1000;
    keys.insert(b"k", Value::Int(1));
    keys.set_expiry(b"k", 1500);
    keys.now = 1499;
    assert!(keys.contains(b"k"));
    keys.now = 1500;
    assert!(!keys.contains(b"k"));
    assert_eq!(keys.expired, 1);
    assert_eq!(keys.len(), 0);
}

#[test]
fn due_keys_go_in_bounded_steps_and_the_next_time_is_known() {
    let mut keys = Keyspace::new();
    for i in 0..10u64 {
        let key = [b'a' + i as u8];
        keys.insert(&key, Value::Int(1));
        keys.set_expiry(&key, 100 + i);
    }
    keys.now = 104;
    keys.expire_due(2);
    assert_eq!(keys.next_expiry(), Some(102));
    keys.expire_due(100);
    assert_eq!(keys.next_expiry(), Some(105));
    assert_eq!(keys.len(), 5);
}

#[test]
fn memory_is_counted_back_to_nothing() {
    let mut keys = Keyspace::new();
    keys.insert(b"text", Value::string(&[b'x'; 500]));
    keys.write_or_create::<Hash>(b"hash").unwrap().insert(b"field", &[b'y'; 300]);
    assert!(keys.used() > 800);
    keys.write::<Hash>(b"hash").unwrap().unwrap().remove(b"field");
    keys.remove_if_empty(b"hash");
    assert!(keys.delete(b"text"));
    assert_eq!(keys.used(), 0);
    keys.insert(b"a", Value::string(&[b'x'; 500]));
    keys.flush(true);
    assert_eq!(keys.used(), 0);
}

#[test]
fn a_watch_sees_changes_and_expiry_only() {
    let mut keys = Keyspace::new();
    keys.insert(b"k", Value::Int(1));
    let version = keys.watch(b"k");
    assert!(!keys.unwatch(0, b"k", version));
    let version = keys.watch(b"k");
    keys.changed(b"k");
    assert!(keys.unwatch(0, b"k", version));
    keys.set_expiry(b"k", 10);
    let version = keys.watch(b"k");
    keys.now = 10;
    assert!(keys.unwatch(0, b"k", version));
}

#[test]
fn a_rewrite_saves_each_key_once_and_before_it_is_changed() {
    let mut keys = Keyspace::new();
    for i in 0..100 {
        keys.insert(format!("k{i}").as_bytes(), Value::Int(i));
    }
    keys.begin_rewrite();
    assert!(keys.continue_rewrite(10));
    keys.delete(b"k3");
    keys.insert(b"k4", Value::Int(1_000_000));
    keys.insert(b"new", Value::Int(7));
    while keys.continue_rewrite(usize::MAX) {}
    let saved = String::from_utf8(std::mem::take(&mut keys.journal.saved)).unwrap();
    for i in 0..100 {
        assert_eq!(saved.matches(&format!("\r\nk{i}\r\n")).count(), 1, "k{i}");
    }
    assert!(!saved.contains("1000000") && !saved.contains("new"));
}

#[test]
fn a_large_value_is_saved_in_parts_and_the_rest_at_once_when_it_is_wanted() {
    let mut keys = Keyspace::new();
    for i in 0..10_000 {
        keys.write_or_create::<Hash>(b"hash").unwrap().insert(format!("f{i}").as_bytes(), b"v");
    }
    keys.begin_rewrite();
    assert!(keys.continue_rewrite(1000));
    assert!(keys.journal.saved.len() < 5000);
    keys.write::<Hash>(b"hash").unwrap().unwrap().insert(b"later", b"v");
    while keys.continue_rewrite(usize::MAX) {}
    let saved = String::from_utf8(std::mem::take(&mut keys.journal.saved)).unwrap();
    let mut fields: Vec<&str> = saved.split("\r\n").filter(|line| line.starts_with('f')).collect();
    fields.sort_unstable();
    let mut expected: Vec<String> = (0..10_000).map(|i| format!("f{i}")).collect();
    expected.sort_unstable();
    assert_eq!(fields, expected);
    assert!(!saved.contains("later"));
}
