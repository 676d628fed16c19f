//! The seek queue: where the user wants to go. While a recording is still being
//! read, it is not yet known where some targets lead.

use std::collections::VecDeque;

use crate::recording::index::{Index, Landmark};

/// Seeks that may be pending: a held key asks for no more.
const MAX_PENDING: usize = 64;

/// What the user asked to go to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SeekTarget {
    /// The first failed call or restart; where there is none, play.
    Open,
    /// The next failed call or restart.
    NextMark,
    /// The one before.
    PreviousMark,
    /// Before the event with this number.
    Event(usize),
    /// A time.
    Time(u64),
    /// So many percent of the recording's time.
    Share(u64),
}

/// Where a target leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Destination {
    /// Before this event, with this time on the screen.
    Event { event: usize, now_ns: u64 },
    /// Play from where we are.
    Play,
    /// There is nothing to go to.
    Nowhere,
}

/// Seeks that are pending, the first one first.
#[derive(Debug, Default)]
pub(super) struct SeekQueue(VecDeque<SeekTarget>);

impl SeekQueue {
    /// Adds a seek. One from mark to mark starts where the one before it ends; any
    /// other replaces all that are pending.
    pub(super) fn push(&mut self, target: SeekTarget) {
        if !target.is_relative() || self.0.front() == Some(&SeekTarget::Open) {
            self.0.clear();
        }
        if self.0.len() < MAX_PENDING {
            self.0.push_back(target);
        }
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// Whether a seek is pending that the user asked for.
    pub(super) fn is_pending(&self) -> bool {
        self.0
            .front()
            .is_some_and(|target| *target != SeekTarget::Open)
    }

    /// Takes the first seek if it is known where it leads, for one who is at `from`
    /// or on the way there.
    pub(super) fn pop_resolved(
        &mut self,
        index: &Index,
        from: usize,
    ) -> Option<(SeekTarget, Destination)> {
        let target = *self.0.front()?;
        let destination = target.resolve(index, from)?;
        self.0.pop_front();
        Some((target, destination))
    }
}

impl SeekTarget {
    /// Whether it depends on where the target before it leads.
    pub(super) fn is_relative(self) -> bool {
        matches!(self, Self::NextMark | Self::PreviousMark)
    }

    /// Whether it leads to a failed call or a restart.
    pub(super) fn is_mark(self) -> bool {
        matches!(self, Self::Open | Self::NextMark | Self::PreviousMark)
    }

    /// `None`: the index does not reach there yet. What is found does not depend on
    /// how much was read.
    fn resolve(self, index: &Index, from: usize) -> Option<Destination> {
        let to_event = |event: usize| Destination::Event {
            event,
            now_ns: index.time(event.saturating_sub(1)),
        };
        let is_complete = index.is_complete();
        match self {
            Self::Open | Self::NextMark => {
                let after = if self == Self::Open { 0 } else { from };
                match next_mark(index, after) {
                    Some(event) => Some(to_event(event)),
                    None if !is_complete => None,
                    None if self == Self::Open => Some(Destination::Play),
                    None => Some(Destination::Nowhere),
                }
            }
            // All before `from` was read.
            Self::PreviousMark => Some(to_event(previous_mark(index, from).unwrap_or(0))),
            Self::Event(event) if event <= index.len() || is_complete => {
                Some(to_event(event.min(index.len())))
            }
            Self::Event(_) => None,
            Self::Time(mono_ns) => {
                let event = index.first_after(mono_ns)?;
                let now_ns = mono_ns.clamp(index.time(0), index.time(usize::MAX));
                Some(Destination::Event { event, now_ns })
            }
            Self::Share(percent) => {
                let (first_ns, last_ns) = (index.time(0), index.time(usize::MAX));
                let length = u128::from(last_ns.saturating_sub(first_ns));
                let share = length * u128::from(percent.min(100)) / 100;
                let mono_ns = first_ns.saturating_add(u64::try_from(share).unwrap_or(u64::MAX));
                is_complete
                    .then(|| Self::Time(mono_ns).resolve(index, from))
                    .flatten()
            }
        }
    }
}

/// The position right after the next mark.
fn next_mark(index: &Index, from: usize) -> Option<usize> {
    let marks = index.landmarks();
    let next = marks.partition_point(|mark| after(*mark) <= from);
    marks.get(next).map(|mark| after(*mark))
}

fn previous_mark(index: &Index, from: usize) -> Option<usize> {
    let marks = index.landmarks();
    let next = marks.partition_point(|mark| after(*mark) < from);
    marks.get(next.checked_sub(1)?).map(|mark| after(*mark))
}

fn after(mark: Landmark) -> usize {
    mark.event + 1
}
