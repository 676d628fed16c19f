//! A list of the dashboard with its chosen row: ports, sockets, events.

use super::cursor::{Cursor, Follow};

/// What a list is made of: each row is known by a key.
pub(crate) trait Items {
    type Key: Copy + PartialEq;

    /// Number of rows.
    fn len(&self) -> usize;

    /// Key of a row that there is.
    fn key(&self, at: usize) -> Self::Key;
}

impl<K: Copy + PartialEq> Items for Vec<K> {
    type Key = K;

    fn len(&self) -> usize {
        self.as_slice().len()
    }

    fn key(&self, at: usize) -> K {
        self[at]
    }
}

/// Rows, and which of them is chosen.
#[derive(Debug)]
pub(crate) struct List<I: Items> {
    pub(crate) items: I,
    cursor: Cursor<I::Key>,
}

impl<I: Items + Default> List<I> {
    pub(crate) fn new(follow: Follow) -> Self {
        Self {
            items: I::default(),
            cursor: Cursor::new(follow),
        }
    }
}

impl<I: Items> List<I> {
    /// Key of the chosen row; `None`: there are no rows.
    pub(crate) fn chosen(&self) -> Option<I::Key> {
        let at = self.cursor.index();
        (at < self.items.len()).then(|| self.items.key(at))
    }

    /// Finds the chosen row again and scrolls it into a window of this height.
    pub(crate) fn scroll_into_view(&mut self, height: usize) {
        let Self { items, cursor } = self;
        cursor.sync(items.len(), height, |at| items.key(at));
    }

    /// Moves by rows.
    pub(crate) fn step(&mut self, by: isize) {
        let Self { items, cursor } = self;
        cursor.step(by, items.len(), |at| items.key(at));
    }

    /// Chooses a row, and stays on it even at the end that the list follows.
    pub(crate) fn choose(&mut self, index: usize) {
        let Self { items, cursor } = self;
        cursor.choose(index, items.len(), |at| items.key(at));
    }

    /// Chooses the row that is shown so far below the first. `true`: it was chosen
    /// already.
    pub(crate) fn click(&mut self, row: usize) -> bool {
        let Self { items, cursor } = self;
        cursor.click(row, items.len(), |at| items.key(at))
    }

    /// Rows that a page key moves by.
    pub(crate) fn page(&self) -> isize {
        self.cursor.page()
    }

    /// The chosen row.
    pub(crate) fn index(&self) -> usize {
        self.cursor.index()
    }

    /// The first row in sight.
    pub(crate) fn offset(&self) -> usize {
        self.cursor.offset()
    }
}
