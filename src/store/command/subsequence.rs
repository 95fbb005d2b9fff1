//! `LCS`: the longest common subsequence of two strings.

use crate::store::args::{Cursor, int, is};
use crate::store::error::{CommandError, Outcome, SYNTAX};
use crate::store::keyspace::Keyspace;
use crate::store::reply::Reply;
use crate::store::resp::Args;

/// The most cells in the table of lengths; more would take too much memory and time for one command.
const CELLS: usize = 32 << 20;

/// The parsed options.
#[derive(Default)]
struct Request {
    length: bool,
    ranges: bool,
    with_lengths: bool,
    least: usize,
}

impl Request {
    fn parse(args: &Args) -> Result<Self, CommandError> {
        let mut request = Self::default();
        let mut cursor = Cursor::new(args, 3);
        while let Some(word) = cursor.next() {
            match () {
                () if is(word, "IDX") => request.ranges = true,
                () if is(word, "LEN") => request.length = true,
                () if is(word, "WITHMATCHLEN") => request.with_lengths = true,
                () if is(word, "MINMATCHLEN") && cursor.left() > 0 => {
                    request.least = int(cursor.value()?)?.max(0) as usize;
                }
                () => return Err(SYNTAX),
            }
        }
        if request.length && request.ranges {
            return Err(CommandError::new("ERR If you want both the length and indexes, please just use IDX."));
        }
        Ok(request)
    }
}

/// The lengths of the longest common subsequences of all pairs of prefixes of two strings.
struct Lengths {
    cells: Vec<u32>,
    width: usize,
}

impl Lengths {
    fn new(one: &[u8], other: &[u8]) -> Result<Self, CommandError> {
        let width = other.len() + 1;
        let cells = (one.len() + 1)
            .checked_mul(width)
            .filter(|cells| *cells <= CELLS)
            .ok_or_else(|| CommandError::new("ERR Insufficient memory, failed allocating transient memory for LCS"))?;
        let mut lengths = Self { cells: vec![0; cells], width };
        for (i, a) in one.iter().enumerate() {
            let (before, after) = lengths.cells.split_at_mut((i + 1) * width);
            let (above, row) = (&before[i * width..], &mut after[..width]);
            for (j, b) in other.iter().enumerate() {
                row[j + 1] = if a == b { above[j] + 1 } else { above[j + 1].max(row[j]) };
            }
        }
        Ok(lengths)
    }

    fn at(&self, i: usize, j: usize) -> usize {
        self.cells[i * self.width + j] as usize
    }
}

/// A run of bytes common to both strings: where it begins in each, and its length.
#[derive(Clone, Copy)]
struct Match {
    one: usize,
    other: usize,
    length: usize,
}

/// Returns the subsequence and its runs, the last run first.
fn trace(one: &[u8], other: &[u8], lengths: &Lengths) -> (Vec<u8>, Vec<Match>) {
    let (mut i, mut j) = (one.len(), other.len());
    let mut left = lengths.at(i, j);
    let mut sequence = vec![0; left];
    let (mut matches, mut run) = (Vec::new(), None::<Match>);
    while i > 0 && j > 0 {
        let mut ends = false;
        if one[i - 1] == other[j - 1] {
            sequence[left - 1] = one[i - 1];
            run = Some(match run {
                Some(run) if run.one == i && run.other == j => {
                    Match { one: i - 1, other: j - 1, length: run.length + 1 }
                }
                Some(run) => {
                    ends = true;
                    run
                }
                None => Match { one: i - 1, other: j - 1, length: 1 },
            });
            ends |= run.is_some_and(|run| run.one == 0 || run.other == 0);
            (left, i, j) = (left - 1, i - 1, j - 1);
        } else {
            if lengths.at(i - 1, j) > lengths.at(i, j - 1) {
                i -= 1;
            } else {
                j -= 1;
            }
            ends = run.is_some();
        }
        if ends {
            matches.extend(run.take());
        }
    }
    (sequence, matches)
}

pub fn lcs(keys: &mut Keyspace, args: &Args, out: &mut Reply) -> Outcome {
    let mut texts = [const { Vec::new() }; 2];
    let mut strings = true;
    for (text, key) in texts.iter_mut().zip(&args[1..3]) {
        let Some(value) = keys.get(key) else { continue };
        match value.as_string() {
            // A string longer than the table allows is refused below, so it need not be copied.
            Some(bytes) if bytes.len() > CELLS => text.resize(CELLS, 0),
            Some(bytes) => *text = bytes.into_owned(),
            None => strings = false,
        }
    }
    if !strings {
        return Err(CommandError::new("ERR The specified keys must contain string values"));
    }
    let request = Request::parse(args)?;
    let [one, other] = &texts;
    let lengths = Lengths::new(one, other)?;
    let length = lengths.at(one.len(), other.len());
    if request.length {
        out.len(length);
        return Ok(());
    }
    let (sequence, matches) = trace(one, other, &lengths);
    if !request.ranges {
        out.bulk(&sequence);
        return Ok(());
    }
    out.map(2);
    out.bulk(b"matches");
    let long: Vec<&Match> = matches.iter().filter(|found| found.length >= request.least).collect();
    out.array(long.len());
    for found in long {
        out.array(2 + usize::from(request.with_lengths));
        for start in [found.one, found.other] {
            out.array(2);
            out.len(start);
            out.len(start + found.length - 1);
        }
        if request.with_lengths {
            out.len(found.length);
        }
    }
    out.bulk(b"len");
    out.len(length);
    Ok(())
}
