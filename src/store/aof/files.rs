//! The files of a log, and how they are created.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// The name of the log in its folder.
pub const FILE: &str = "headcount.aof";
/// The file whose lock shows that the folder is in use.
pub const LOCK: &str = "lock";
/// The name of the file that a rewrite writes.
pub const NEW_FILE: &str = "headcount.aof.new";

/// How files are created: only the server's user may read and write them.
pub fn private() -> OpenOptions {
    let mut options = File::options();
    options.mode(0o600);
    options
}

/// Locks a folder for as long as the returned file is open.
pub fn lock(folder: &Path) -> io::Result<File> {
    let file = private().create(true).truncate(false).write(true).open(folder.join(LOCK))?;
    rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive)?;
    Ok(file)
}
