use super::*;
use crate::store::clock::Time;
use crate::store::command::find;
use crate::store::data::Data;
use crate::store::reply::Reply;

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("headcount-aof-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Runs a command, if there is one, and ends a round at this time.
fn round(aof: &mut Aof, data: &mut Data, now: u64, args: &[&[u8]]) -> Round {
    data.keys.set_time(Time::from_millis(now));
    if let Some(name) = args.first() {
        find(name).unwrap().call(data, args, &mut Reply::default()).unwrap();
        data.keys.journal.commit();
    }
    aof.write_round(&mut data.keys)
}

#[test]
fn after_a_failed_sync_changes_are_refused_until_a_new_log_has_them_all() {
    for fsync in [Fsync::EverySecond, Fsync::Always] {
        let folder = Folder::new(fsync.name());
        let mut data = Data::new();
        let mut aof = Aof::open(&folder.0, fsync, &mut data).unwrap();
        assert!(!round(&mut aof, &mut data, 1_000, &[b"SET", b"before", b"1"]).unsafe_changes);
        // A pipe accepts writes, but cannot be synced to disk.
        let (reader, writer) = std::io::pipe().unwrap();
        aof.file = Arc::new(File::from(std::os::fd::OwnedFd::from(writer)));
        round(&mut aof, &mut data, 3_000, &[b"SET", b"lost", b"1"]);
        let mut now = 3_000;
        while aof.problem().is_none() {
            now += 1_000;
            assert!(now < 100_000, "nobody notices");
            std::thread::sleep(std::time::Duration::from_millis(5));
            round(&mut aof, &mut data, now, &[]);
        }
        // Until a new log is in place, changes that are made all the same are reported as unsafe.
        assert!(round(&mut aof, &mut data, now, &[b"SET", b"refused", b"1"]).unsafe_changes);
        while aof.problem().is_some() || aof.is_rewriting() {
            now += 1_000;
            assert!(now < 1_000_000, "it does not heal");
            std::thread::sleep(std::time::Duration::from_millis(5));
            round(&mut aof, &mut data, now, &[]);
        }
        assert!(!round(&mut aof, &mut data, now, &[b"SET", b"after", b"1"]).unsafe_changes);
        drop((aof, reader));
        let mut again = Data::new();
        Aof::open(&folder.0, fsync, &mut again).unwrap();
        for key in [&b"before"[..], b"lost", b"refused", b"after"] {
            assert!(again.keys.contains(key), "{}", key.escape_ascii());
        }
    }
}
