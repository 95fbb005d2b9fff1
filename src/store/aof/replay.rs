//! Replaying a log: its commands are run again, up to the last complete one.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use crate::store::StoreError;
use crate::store::command::{Flags, find};
use crate::store::data::Data;
use crate::store::error::CommandError;
use crate::store::reply::Reply;
use crate::store::resp::{ArgList, Args, Decoder, Limits};
use crate::store::small_bytes::SmallBytes;

/// How many bytes are read from the file at a time.
const READ: usize = 1 << 20;
/// No argument longer than this was ever accepted.
const LIMITS: Limits = Limits { bulk: 1 << 31, unauthenticated: false };

/// The contents of a log.
#[derive(Debug, Clone, Copy)]
pub struct Contents {
    /// The offset after the last complete change.
    pub good: u64,
    /// How many changes there are.
    pub changes: u64,
}

/// Replays a log up to its last complete change. What a power cut may leave at its end, a partial change or zeros,
/// does not count as damage.
pub fn replay(file: &mut File, path: &Path, data: &mut Data) -> Result<Contents, StoreError> {
    let folder = |source| StoreError::Folder { path: path.to_owned(), source };
    let end = without_trailing_zeros(file).map_err(folder)?;
    file.seek(SeekFrom::Start(0)).map_err(folder)?;
    let mut file = file.take(end);
    let mut replay = Replay { data, together: None, good: 0, changes: 0 };
    let (mut decoder, mut buffer, mut offset) = (Decoder::default(), Vec::new(), 0);
    // Nothing expires while a log is replayed: keys that expired are in it as deletions.
    replay.data.keys.now = 0;
    loop {
        let mut used = 0;
        while used < buffer.len() {
            let rest: &[u8] = &buffer[used..];
            let outcome = step(&mut replay, &mut decoder, rest, offset).map_err(|reason| StoreError::Damaged {
                path: path.to_owned(),
                offset,
                good: replay.good,
                reason,
            })?;
            let Some(length) = outcome else { break };
            used += length;
            offset += length as u64;
        }
        buffer.drain(..used);
        let read = file.by_ref().take(READ as u64).read_to_end(&mut buffer).map_err(folder)?;
        if read == 0 {
            break;
        }
    }
    replay.data.keys.selected = 0;
    replay.data.keys.changes = 0;
    Ok(Contents { good: replay.good, changes: replay.changes })
}

/// Runs the command at the start of `rest`; returns its length, or `None` if it is incomplete.
fn step(replay: &mut Replay, decoder: &mut Decoder, rest: &[u8], offset: u64) -> Result<Option<usize>, String> {
    if rest[0] != b'*' {
        return Err(format!("expected '*', got byte {}", rest[0]));
    }
    let Some(length) = decoder.decode(rest, &LIMITS).map_err(|problem| problem.to_string())? else {
        return Ok(None);
    };
    if !decoder.is_terminated(rest) {
        return Err("an argument does not end where it should".to_owned());
    }
    replay.run(&decoder.args(rest), offset + length as u64)?;
    Ok(Some(length))
}

/// The length of a file without the zeros at its end.
fn without_trailing_zeros(file: &mut File) -> io::Result<u64> {
    let mut end = file.metadata()?.len();
    let mut block = vec![0; READ];
    while end > 0 {
        let start = end.saturating_sub(READ as u64);
        let block = &mut block[..(end - start) as usize];
        file.seek(SeekFrom::Start(start))?;
        file.read_exact(block)?;
        if let Some(last) = block.iter().rposition(|byte| *byte != 0) {
            return Ok(start + last as u64 + 1);
        }
        end = start;
    }
    Ok(0)
}

struct Replay<'a> {
    data: &'a mut Data,
    /// The commands since a `MULTI`; they take effect only at their `EXEC`.
    together: Option<Vec<Vec<SmallBytes>>>,
    good: u64,
    changes: u64,
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
            self.changes += 1;
        } else if let Some(queue) = &mut self.together {
            queue.push(args.iter().map(|arg| SmallBytes::new(arg)).collect());
        } else {
            self.apply(args)?;
            self.good = end;
            self.changes += 1;
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
