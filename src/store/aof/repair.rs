//! Checking a log that no store has open, and truncating it where it is damaged.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use super::files::{FILE, LOCK, lock, private};
use super::replay::replay;
use crate::store::StoreError;
use crate::store::data::Data;

/// What [`check`] and [`repair`] found.
#[derive(Debug)]
pub struct RepairReport {
    /// The log.
    pub path: PathBuf,
    /// How large it is, in bytes.
    pub size: u64,
    /// How many of these bytes belong to complete changes.
    pub good: u64,
    /// The number of changes, if the log is not damaged.
    pub changes: Option<u64>,
    /// Where the log is damaged, if it is: the offset in bytes, and the reason.
    pub damage: Option<(u64, String)>,
    /// Where [`repair`] has put a copy of the original log.
    pub copy: Option<PathBuf>,
}

/// Checks the log in a folder from the first change to the last.
///
/// # Errors
/// The folder cannot be used, or a store has it open.
pub fn check(folder: &Path) -> Result<RepairReport, StoreError> {
    let (report, _) = look(folder)?;
    Ok(report)
}

/// Truncates the log in a folder after its last complete change, and keeps a copy of the original. An undamaged log
/// is left alone.
///
/// # Errors
/// The folder cannot be used, or a store has it open.
pub fn repair(folder: &Path) -> Result<RepairReport, StoreError> {
    let (mut report, _lock) = look(folder)?;
    if report.good == report.size {
        return Ok(report);
    }
    let at = |source: io::Error| StoreError::Folder { path: report.path.clone(), source };
    let copy = free_name(&report.path);
    fs::copy(&report.path, &copy).map_err(at)?;
    File::open(&copy).and_then(|file| file.sync_all()).map_err(at)?;
    let file = private().write(true).open(&report.path).map_err(at)?;
    file.set_len(report.good).and_then(|()| file.sync_all()).map_err(at)?;
    report.copy = Some(copy);
    Ok(report)
}

fn look(folder: &Path) -> Result<(RepairReport, File), StoreError> {
    let path = folder.join(FILE);
    let at = |source: io::Error| StoreError::Folder { path: path.clone(), source };
    let mut file = File::open(&path).map_err(at)?;
    let lock = lock(folder).map_err(|source| match source.kind() {
        io::ErrorKind::WouldBlock => StoreError::Locked { path: folder.to_owned() },
        _ => StoreError::Folder { path: folder.join(LOCK), source },
    })?;
    let size = file.metadata().map_err(at)?.len();
    let (good, changes, damage) = match replay(&mut file, &path, &mut Data::new()) {
        Ok(contents) => (contents.good, Some(contents.changes), None),
        Err(StoreError::Damaged { offset, good, reason, .. }) => (good, None, Some((offset, reason))),
        Err(other) => return Err(other),
    };
    Ok((RepairReport { path, size, good, changes, damage, copy: None }, lock))
}

/// An unused file name next to the log.
fn free_name(path: &Path) -> PathBuf {
    let mut number = 1;
    loop {
        let name = path.with_extension(format!("aof.damaged-{number}"));
        if !name.exists() {
            return name;
        }
        number += 1;
    }
}
