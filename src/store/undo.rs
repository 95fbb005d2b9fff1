//! How a value records its own changes, so that they can be undone.
//!
//! Each change is recorded as its inverse: an added element as a mere marker, a removed one as the
//! element itself, which is moved here instead of being dropped. So a change costs the same whether or
//! not it is recorded, however large the value is. Changes are undone from the last to the first, each
//! on the value as that change left it.

/// The changes of one or more values, oldest first; none are recorded until recording is started.
#[derive(Debug)]
pub struct Recorder<C>(Option<Box<Changes<C>>>);

/// Recorded changes, and roughly how many bytes they hold.
#[derive(Debug)]
pub struct Changes<C> {
    /// The changes, oldest first.
    pub list: Vec<C>,
    /// The bytes that they hold besides their own size.
    pub bytes: usize,
}

impl<C> Default for Changes<C> {
    fn default() -> Self {
        Self { list: Vec::new(), bytes: 0 }
    }
}

impl<C> Changes<C> {
    /// Roughly how many bytes they take.
    pub fn size(&self) -> usize {
        self.list.len() * size_of::<C>() + self.bytes
    }
}

impl<C> Default for Recorder<C> {
    fn default() -> Self {
        Self(None)
    }
}

impl<C> Clone for Recorder<C> {
    /// A copy is a separate value, so it does not record anything.
    fn clone(&self) -> Self {
        Self(None)
    }
}

impl<C> Recorder<C> {
    /// Starts recording changes, appending them to `changes`.
    pub fn start(&mut self, changes: Box<Changes<C>>) {
        self.0 = Some(changes);
    }

    /// Stops recording; returns the changes, if any were being recorded.
    pub fn stop(&mut self) -> Option<Box<Changes<C>>> {
        self.0.take()
    }

    /// Whether changes are being recorded.
    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Records the inverse of a change, and roughly how many bytes it holds.
    pub fn note(&mut self, change: impl FnOnce() -> (C, usize)) {
        if let Some(changes) = &mut self.0 {
            let (change, bytes) = change();
            changes.list.push(change);
            changes.bytes += bytes;
        }
    }
}
