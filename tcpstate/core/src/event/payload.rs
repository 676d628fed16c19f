//! What is asked of every event, whatever it holds.

/// What an event holds.
pub(crate) trait Payload {
    /// Inode number of the network namespace that it is about.
    fn netns(&self) -> Option<u32> {
        None
    }

    /// Bytes on the heap, about: what is kept is bounded by it, as one failed call can have
    /// more to say than a thousand transitions. What events share counts for each of them.
    fn weight(&self) -> usize {
        0
    }
}
