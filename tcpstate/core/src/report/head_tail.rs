//! A list that keeps its beginning and its end, and counts the middle.

use std::collections::VecDeque;

/// The first and the last of many.
#[derive(Debug)]
pub(super) struct HeadTail<T> {
    first: Vec<T>,
    last: VecDeque<T>,
    half: usize,
    left_out: u64,
}

impl<T> HeadTail<T> {
    /// Keeps this many at each end.
    pub(super) fn new(half: usize) -> Self {
        Self {
            first: Vec::new(),
            last: VecDeque::new(),
            half,
            left_out: 0,
        }
    }

    pub(super) fn push(&mut self, item: T) {
        if self.first.len() < self.half {
            self.first.push(item);
            return;
        }
        if self.last.len() == self.half {
            self.last.pop_front();
            self.left_out += 1;
        }
        self.last.push_back(item);
    }

    pub(super) fn last(&self) -> Option<&T> {
        self.last.back().or(self.first.last())
    }

    pub(super) fn left_out(&self) -> u64 {
        self.left_out
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.first.iter().chain(&self.last)
    }

    pub(super) fn iter_mut(&mut self) -> impl DoubleEndedIterator<Item = &mut T> {
        self.first.iter_mut().chain(&mut self.last)
    }

    pub(super) fn into_vec(self) -> Vec<T> {
        self.first.into_iter().chain(self.last).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_is_counted() {
        let mut ends = HeadTail::new(2);
        for number in 0..7 {
            ends.push(number);
        }

        assert_eq!(ends.last(), Some(&6));
        assert_eq!(ends.left_out(), 3);
        assert_eq!(ends.into_vec(), [0, 1, 5, 6]);
    }

    #[test]
    fn few_are_kept_whole() {
        let mut ends = HeadTail::new(2);
        for number in 0..3 {
            ends.push(number);
        }

        assert_eq!(ends.left_out(), 0);
        assert_eq!(ends.into_vec(), [0, 1, 2]);
    }
}
