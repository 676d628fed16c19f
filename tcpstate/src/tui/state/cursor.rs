//! A chosen row in a list that changes underneath.

/// Which row a list shows as chosen until one is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Follow {
    /// The first one.
    #[default]
    Top,
    /// The last one, also when more are added.
    Tail,
}

/// A chosen row. It is remembered by what it shows, so that it stays on it when
/// rows come, go, or change places.
#[derive(Debug, Default)]
pub(crate) struct Cursor<K> {
    follow: Follow,
    chosen: Option<K>,
    index: usize,
    offset: usize,
    height: usize,
}

impl<K: Copy + PartialEq> Cursor<K> {
    pub(crate) fn new(follow: Follow) -> Self {
        Self {
            follow,
            chosen: None,
            index: 0,
            offset: 0,
            height: 0,
        }
    }

    /// Finds the chosen row again and scrolls it into a window of this height.
    /// If it has gone, the row in its place is chosen.
    pub(crate) fn sync(&mut self, len: usize, height: usize, key_at: impl Fn(usize) -> K) {
        self.height = height;
        if len == 0 {
            self.index = 0;
            self.offset = 0;
            return;
        }
        let last = len - 1;
        match self.chosen {
            None => self.index = if self.follow == Follow::Top { 0 } else { last },
            Some(key) => {
                self.index = self.index.min(last);
                if key_at(self.index) != key {
                    match (0..len).find(|index| key_at(*index) == key) {
                        Some(index) => self.index = index,
                        None => self.chosen = Some(key_at(self.index)),
                    }
                }
            }
        }
        let last_offset = len.saturating_sub(height);
        let first_offset = (self.index + 1).saturating_sub(height);
        self.offset = self
            .offset
            .clamp(first_offset, self.index.max(first_offset))
            .min(last_offset);
    }

    /// Moves by rows.
    pub(crate) fn step(&mut self, by: isize, len: usize, key_at: impl Fn(usize) -> K) {
        let last = len.saturating_sub(1);
        self.index = self.index.min(last).saturating_add_signed(by).min(last);
        let is_followed = match self.follow {
            Follow::Top => self.index == 0,
            Follow::Tail => self.index == last,
        };
        self.chosen = (len > 0 && !is_followed).then(|| key_at(self.index));
    }

    /// Chooses a row, and stays on it even on the row that the list follows.
    pub(crate) fn choose(&mut self, index: usize, len: usize, key_at: impl Fn(usize) -> K) {
        self.index = index.min(len.saturating_sub(1));
        self.chosen = (len > 0).then(|| key_at(self.index));
    }

    /// Chooses the row that is shown so far below the first. `true`: it was
    /// chosen already.
    pub(crate) fn click(&mut self, row: usize, len: usize, key_at: impl Fn(usize) -> K) -> bool {
        let index = self.offset + row;
        let was_chosen = index == self.index;
        if index < len {
            self.choose(index, len, key_at);
        }
        was_chosen && index < len
    }

    /// Rows that a page key moves by: one row stays in sight.
    pub(crate) fn page(&self) -> isize {
        isize::try_from(self.height.saturating_sub(1).max(1)).unwrap_or(isize::MAX)
    }

    /// The chosen row.
    pub(crate) fn index(&self) -> usize {
        self.index
    }

    /// The first row in sight.
    pub(crate) fn offset(&self) -> usize {
        self.offset
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_chosen_row_is_followed_when_others_come_before_it() {
        let mut cursor = Cursor::new(Follow::Top);
        let rows = [10, 20, 30];
        cursor.sync(3, 5, |at| rows[at]);
        cursor.step(1, 3, |at| rows[at]);
        let rows = [5, 10, 20, 30];

        cursor.sync(4, 5, |at| rows[at]);

        assert_eq!(cursor.index(), 2);
    }

    #[test]
    fn the_row_in_its_place_is_chosen_when_it_goes() {
        let mut cursor = Cursor::new(Follow::Top);
        let rows = [10, 20, 30];
        cursor.sync(3, 5, |at| rows[at]);
        cursor.step(1, 3, |at| rows[at]);
        let rows = [10, 30];

        cursor.sync(2, 5, |at| rows[at]);

        assert_eq!(cursor.index(), 1);
    }

    #[test]
    fn a_list_that_follows_its_tail_shows_what_is_added() {
        let mut cursor = Cursor::new(Follow::Tail);
        cursor.sync(3, 2, |at| at);
        assert_eq!((cursor.index(), cursor.offset()), (2, 1));

        cursor.sync(10, 2, |at| at);

        assert_eq!((cursor.index(), cursor.offset()), (9, 8));
    }

    #[test]
    fn a_row_that_was_asked_for_is_kept_even_at_the_end() {
        let mut cursor = Cursor::new(Follow::Tail);
        cursor.sync(3, 2, |at| at);

        cursor.choose(2, 3, |at| at);
        cursor.sync(10, 2, |at| at);

        assert_eq!(cursor.index(), 2);
    }

    #[test]
    fn an_empty_list_and_an_empty_window_are_fine() {
        let mut cursor = Cursor::new(Follow::Top);
        cursor.sync(0, 0, |at| at);
        cursor.step(5, 0, |at| at);
        cursor.sync(3, 0, |at| at);

        assert_eq!(cursor.index(), 0);
    }
}
