//! Forcing files onto the disk without making the loop wait.

use std::fs::File;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

/// A file to be forced onto the disk, and where to say how that went.
type SyncRequest = (Arc<File>, SyncSender<io::Result<()>>);

/// A thread that waits for the disk, so that the loop need not.
#[derive(Debug, Default)]
pub struct Syncer {
    queue: Option<SyncSender<SyncRequest>>,
    /// How the log's own sync goes that was started last.
    pub running: Option<Receiver<io::Result<()>>>,
}

impl Syncer {
    /// Starts to force a file onto the disk; `None` if the thread is busy or cannot be had.
    pub fn start(&mut self, file: &Arc<File>) -> Option<Receiver<io::Result<()>>> {
        if self.queue.is_none() {
            let (sender, receiver) = sync_channel::<SyncRequest>(2);
            let run = move || {
                for (file, done) in receiver {
                    let _ = done.try_send(file.sync_data());
                }
            };
            thread::Builder::new().name("store-sync".to_owned()).spawn(run).ok()?;
            self.queue = Some(sender);
        }
        let (done, outcome) = sync_channel(1);
        self.queue.as_ref()?.try_send((Arc::clone(file), done)).ok()?;
        Some(outcome)
    }
}
