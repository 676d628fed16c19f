//! Names out of a set that others fill.

/// At most so many names; all further ones are one, `other`.
#[derive(Clone, Debug)]
pub(super) struct Names {
    known: Vec<Box<str>>,
    limit: usize,
}

/// The name of names that had no room.
const OTHER: &str = "other";

impl Names {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            known: Vec::new(),
            limit,
        }
    }

    /// The number of a name.
    pub(super) fn of(&mut self, name: &str) -> usize {
        if let Some(at) = self.known.iter().position(|known| **known == *name) {
            return at;
        }
        if self.known.len() >= self.limit || name.len() > MAX_LEN {
            return self.other();
        }
        self.known.push(name.into());
        self.known.len() - 1
    }

    pub(super) fn other(&self) -> usize {
        self.limit
    }

    pub(super) fn name(&self, at: usize) -> &str {
        self.known.get(at).map_or(OTHER, |name| name)
    }
}

/// The longest name of an error or a reason that the kernel has is half of it.
const MAX_LEN: usize = 64;
