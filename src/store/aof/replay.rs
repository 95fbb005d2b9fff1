//! Opening a log: its commands are run again, from the first to the last that is whole.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::Arc;

use super::{Aof, FILE, LOCK, NEW_FILE, Syncer, Wanted, lock, private};
use crate::store::StoreError;
use crate::store::command::{Flags, find};
use crate::store::data::Data;
use crate::store::error::CommandError;
use crate::store::reply::Reply;
use crate::store::resp::{ArgList, Args, Decoder, Limits};
use crate::store::settings::Fsync;
use crate::store::small_bytes::SmallBytes;

/// What is read from the file at a time.
const READ: usize = 1 << 20;
/// No argument that was ever taken is longer.
const LIMITS: Limits = Limits { bulk: 1 << 31, unauthenticated: false };

impl Aof {
    /// Locks the folder, runs the log in it into `data`, and makes it ready to be appended to.
    pub fn open(folder: &Path, fsync: Fsync, data: &mut Data) -> Result<Self, StoreError> {
        let at = |path: &Path| {
            let path = path.to_owned();
            move |source: io::Error| StoreError::Folder { path, source }
        };
        fs::create_dir_all(folder).map_err(at(folder))?;
        let lock = lock(folder).map_err(|source| match source.kind() {
            io::ErrorKind::WouldBlock => StoreError::Locked { path: folder.to_owned() },
            _ => StoreError::Folder { path: folder.join(LOCK), source },
        })?;
        let _ = fs::remove_file(folder.join(NEW_FILE));
        let path = folder.join(FILE);
        let mut file = private().create(true).truncate(false).read(true).write(true).open(&path).map_err(at(&path))?;
        let good = replay(&mut file, &path, data)?;
        let size = file.metadata().map_err(at(&path))?.len();
        if good < size {
            tracing::warn!(path = %path.display(), offset = good, lost = size - good,
                "the store's log ends in the middle of a change, which is cut off");
            file.set_len(good).map_err(at(&path))?;
        }
        file.seek(SeekFrom::Start(good)).map_err(at(&path))?;
        data.keys.journal.enabled = true;
        tracing::info!(path = %path.display(), size = good, "the store's log is read");
        Ok(Self {
            folder: folder.to_owned(),
            file: Arc::new(file),
            _lock: lock,
            size: good,
            base: good,
            fsync,
            pending: Vec::new(),
            problem: None,
            retry_at: None,
            unsynced_since: None,
            syncer: Syncer::default(),
            rewrite: None,
            wanted: Wanted::Nothing,
        })
    }
}

/// Runs a log; the offset behind the last whole change.
fn replay(file: &mut File, path: &Path, data: &mut Data) -> Result<u64, StoreError> {
    let damaged = |offset: u64, reason: String| StoreError::Damaged { path: path.to_owned(), offset, reason };
    let mut replay = Replay { data, together: None, good: 0 };
    let (mut decoder, mut buffer, mut offset) = (Decoder::default(), Vec::new(), 0);
    // Nothing expires while a log is read: what did is in it as a deletion.
    replay.data.keys.now = 0;
    loop {
        let mut used = 0;
        while used < buffer.len() {
            let rest: &[u8] = &buffer[used..];
            if rest[0] != b'*' {
                return Err(damaged(offset, format!("expected '*', got byte {}", rest[0])));
            }
            let length = decoder.decode(rest, &LIMITS).map_err(|problem| damaged(offset, problem.to_string()))?;
            let Some(length) = length else { break };
            let end = offset + length as u64;
            replay.run(&decoder.args(rest), end).map_err(|reason| damaged(offset, reason))?;
            used += length;
            offset = end;
        }
        buffer.drain(..used);
        let read = file.by_ref().take(READ as u64).read_to_end(&mut buffer);
        let read = read.map_err(|source| StoreError::Folder { path: path.to_owned(), source })?;
        if read == 0 {
            break;
        }
    }
    replay.data.keys.selected = 0;
    replay.data.keys.changes = 0;
    Ok(replay.good)
}

struct Replay<'a> {
    data: &'a mut Data,
    /// The commands since a `MULTI`; they count only with their `EXEC`.
    together: Option<Vec<Vec<SmallBytes>>>,
    good: u64,
}

impl Replay<'_> {
    fn run(&mut self, args: &Args, end: u64) -> Result<(), String> {
        let Some(name) = args.first() else {
            return Err("an empty command".to_owned());
        };
        if name.eq_ignore_ascii_case(b"MULTI") {
            self.together = Some(Vec::new());
        } else if name.eq_ignore_ascii_case(b"EXEC") {
            let queue = self.together.take().ok_or("EXEC without MULTI")?;
            for args in queue {
                let args: ArgList = args.iter().map(|arg| &**arg).collect();
                self.apply(&args)?;
            }
            self.good = end;
        } else if let Some(queue) = &mut self.together {
            queue.push(args.iter().map(|arg| SmallBytes::new(arg)).collect());
        } else {
            self.apply(args)?;
            self.good = end;
        }
        Ok(())
    }

    fn apply(&mut self, args: &Args) -> Result<(), String> {
        let shown = String::from_utf8_lossy(args[0]).into_owned();
        let command = find(args[0])
            .filter(|command| command.spec.takes(args.len()))
            .filter(|command| command.spec.flags.has(Flags::WRITE) || command.spec.name == "select")
            .ok_or_else(|| format!("'{shown}' is not a change"))?;
        match command.call(self.data, args, &mut Reply::default()) {
            Ok(()) => Ok(()),
            Err(CommandError::Error(text)) => Err(format!("'{shown}' fails: {text}")),
            Err(CommandError::Block(_)) => Err(format!("'{shown}' would wait")),
        }
    }
}
