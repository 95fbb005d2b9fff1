//! What a value notes of its own changes, so that they can be undone.
//!
//! Each change is noted as what takes it back: an element that was added by a word, one that was removed
//! by the element itself, which moves here instead of being dropped. So a change costs the same whether it
//! is noted or not, however large the value is. They are undone from the last to the first, each on the
//! value as the change has left it.

/// The changes of one value or several, the last at the end; none are noted unless somebody has asked.
#[derive(Debug)]
pub struct Recorder<C>(Option<Box<Changes<C>>>);

/// Changes, and about how many bytes they hold.
#[derive(Debug)]
pub struct Changes<C> {
    /// The changes, the last at the end.
    pub list: Vec<C>,
    /// What they hold beside their own size.
    pub bytes: usize,
}

impl<C> Default for Changes<C> {
    fn default() -> Self {
        Self { list: Vec::new(), bytes: 0 }
    }
}

impl<C> Changes<C> {
    /// About how many bytes they take.
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
    /// A copy of a value is another value.
    fn clone(&self) -> Self {
        Self(None)
    }
}

impl<C> Recorder<C> {
    /// Notes changes from here on, behind those that there are.
    pub fn start(&mut self, changes: Box<Changes<C>>) {
        self.0 = Some(changes);
    }

    /// Notes no more; the changes, if any were to be noted.
    pub fn stop(&mut self) -> Option<Box<Changes<C>>> {
        self.0.take()
    }

    /// Whether changes are noted.
    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Notes what takes a change back and about how many bytes that holds.
    pub fn note(&mut self, change: impl FnOnce() -> (C, usize)) {
        if let Some(changes) = &mut self.0 {
            let (change, bytes) = change();
            changes.list.push(change);
            changes.bytes += bytes;
        }
    }
}
