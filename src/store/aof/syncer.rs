//! Syncing files to disk without making the event loop wait.

use std::fs::File;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread;

/// A file to be synced to disk, and where to send the outcome.
type SyncRequest = (Arc<File>, SyncSender<io::Result<()>>);

/// A thread that waits for the disk, so that the event loop need not.
#[derive(Debug, Default)]
pub struct Syncer {
    queue: Option<SyncSender<SyncRequest>>,
    /// The outcome of the last sync that was started for the log itself.
    pub running: Option<Receiver<io::Result<()>>>,
}

/// Whether a sync could be started.
pub enum Started {
    /// It was started; the receiver gets its outcome.
    Running(Receiver<io::Result<()>>),
    /// The thread is busy; try again later.
    Busy,
    /// No thread is available.
    NoThread(io::Error),
}

impl Syncer {
    /// Starts to sync a file to disk.
    pub fn start(&mut self, file: &Arc<File>) -> Started {
        if self.queue.is_none() {
            let (sender, receiver) = sync_channel::<SyncRequest>(2);
            let run = move || {
                for (file, done) in receiver {
                    let _ = done.try_send(file.sync_data());
                }
            };
            if let Err(error) = thread::Builder::new().name("store-sync".to_owned()).spawn(run) {
                return Started::NoThread(error);
            }
            self.queue = Some(sender);
        }
        let (done, outcome) = sync_channel(1);
        match self.queue.as_ref().map(|queue| queue.try_send((Arc::clone(file), done))) {
            Some(Ok(())) => Started::Running(outcome),
            Some(Err(TrySendError::Full(_))) => Started::Busy,
            Some(Err(TrySendError::Disconnected(_))) | None => {
                self.queue = None;
                Started::NoThread(io::Error::other("it has ended"))
            }
        }
    }
}
