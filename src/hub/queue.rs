//! The path to one worker: a queue of bounded length, and a bound on bytes that all workers share.
//!
//! In: deliveries, as fast as the router makes them. Out: the same ones, in order. The rule: what waits for
//! the workers is bounded in number and in bytes; when there is no room, the sender waits.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use super::Delivery;

/// How many deliveries may wait for one worker.
const DELIVERIES: usize = 1024;
/// How many bytes of frames may wait for the workers. A frame that several of them wait for counts once.
const BYTES: u32 = 4 << 20;

/// A delivery on its way, and the room that it takes until it is carried out.
#[derive(Debug)]
pub struct Queued {
    /// What to carry out.
    pub delivery: Delivery,
    /// Its share of the byte budget; given back when the last worker drops it.
    pub room: Option<Arc<OwnedSemaphorePermit>>,
}

impl From<Delivery> for Queued {
    fn from(delivery: Delivery) -> Self {
        Self { delivery, room: None }
    }
}

/// The sending end of a worker's queue.
pub type Sender = mpsc::Sender<Queued>;
/// The receiving end of a worker's queue.
pub type Receiver = mpsc::Receiver<Queued>;

/// Creates the queue of one worker.
pub fn queue() -> (Sender, Receiver) {
    mpsc::channel(DELIVERIES)
}

/// The byte budget for frames on their way to the workers.
#[derive(Debug)]
pub struct ByteBudget(Arc<Semaphore>);

impl Default for ByteBudget {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(BYTES as usize)))
    }
}

impl ByteBudget {
    /// Waits until there is room for this many bytes; a request for more than the whole budget takes all of
    /// it.
    pub async fn take(&self, bytes: usize) -> Option<Arc<OwnedSemaphorePermit>> {
        let bytes = u32::try_from(bytes).unwrap_or(BYTES).min(BYTES);
        if bytes == 0 {
            return None;
        }
        // The semaphore is never closed.
        self.0.clone().acquire_many_owned(bytes).await.ok().map(Arc::new)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::pin::pin;
    use std::task::Poll;

    use super::*;

    #[tokio::test]
    async fn a_frame_waits_for_room_and_one_larger_than_all_goes_alone() {
        let room = ByteBudget::default();
        let first = room.take(BYTES as usize - 1).await;
        assert!(room.take(1).await.is_some(), "what fits goes at once");
        let mut huge = pin!(room.take(usize::MAX));
        poll_fn(|cx| {
            assert!(huge.as_mut().poll(cx).is_pending(), "it is larger than what is left");
            Poll::Ready(())
        })
        .await;
        let second = first.clone();
        drop(first);
        poll_fn(|cx| {
            assert!(huge.as_mut().poll(cx).is_pending(), "another worker still has the frame before it");
            Poll::Ready(())
        })
        .await;
        drop(second);
        assert!(huge.await.is_some(), "all of the room is enough");
    }
}
