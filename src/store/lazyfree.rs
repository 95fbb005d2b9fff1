//! Frees big values on a separate thread, so that deleting one does not hold up other clients.
//!
//! The thread starts with the first big value and ends when the [`LazyFree`] is dropped. Its queue is
//! bounded; when the queue is full, values are freed in place.

use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;

use super::small_bytes::SmallBytes;
use super::value::Value;

/// A value with more elements than this is big.
const BIG: usize = 256;
const QUEUE: usize = 64;

enum Waste {
    One(#[expect(dead_code, reason = "held to be dropped")] Value),
    Many(#[expect(dead_code, reason = "held to be dropped")] Vec<(SmallBytes, Value)>),
}

/// Takes big values to be freed; see the module's text.
#[derive(Default)]
pub struct LazyFree {
    queue: Option<SyncSender<Waste>>,
}

impl std::fmt::Debug for LazyFree {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("LazyFree")
    }
}

impl LazyFree {
    /// Drops a value: on the thread if it is big, otherwise here.
    pub fn throw(&mut self, value: Value) {
        if value.elements() > BIG {
            self.send(Waste::One(value));
        }
    }

    /// Drops the items of a whole database: on the thread if there are many, otherwise here.
    pub fn throw_all(&mut self, items: Vec<(SmallBytes, Value)>) {
        if items.len() > BIG {
            self.send(Waste::Many(items));
        }
    }

    fn send(&mut self, waste: Waste) {
        if self.queue.is_none() {
            let (sender, receiver) = sync_channel::<Waste>(QUEUE);
            let run = move || receiver.into_iter().for_each(drop);
            if thread::Builder::new().name("store-free".to_owned()).spawn(run).is_ok() {
                self.queue = Some(sender);
            }
        }
        if let Some(queue) = &self.queue {
            let _ = queue.try_send(waste);
        }
    }
}
