//! Where the user wants to go, and where that is: while a recording is still
//! being read, some places are not known yet.

use std::collections::VecDeque;

use crate::recording::index::{Index, Landmark};

/// Wishes that wait: a held key asks for no more.
const MAX_WAITING: usize = 64;

/// Where to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wish {
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
    /// So many percent of the time.
    Share(u64),
}

/// A wish that is understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// To this event, with this time on the screen.
    To { event: usize, now_ns: u64 },
    /// Play from here.
    Play,
    /// There is nothing to go to.
    None,
}

/// What is wished for and not known to be where yet, first one first.
#[derive(Debug, Default)]
pub(super) struct Wishes(VecDeque<Wish>);

impl Wishes {
    /// One more. From mark to mark one goes on from where the last wish led to;
    /// any other wish is the only one.
    pub(super) fn push(&mut self, wish: Wish) {
        if !wish.is_from_there() || self.0.front() == Some(&Wish::Open) {
            self.0.clear();
        }
        if self.0.len() < MAX_WAITING {
            self.0.push_back(wish);
        }
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// Whether something is waited for that the user asked for.
    pub(super) fn is_waiting(&self) -> bool {
        self.0.front().is_some_and(|wish| *wish != Wish::Open)
    }

    /// The next way that is known, for one who is at `here` or on the way there.
    pub(super) fn next_known(&mut self, index: &Index, here: usize) -> Option<(Wish, Way)> {
        let wish = *self.0.front()?;
        let way = wish.find(index, here)?;
        self.0.pop_front();
        Some((wish, way))
    }
}

impl Wish {
    /// Whether it depends on where the wish before it leads to.
    pub(super) fn is_from_there(self) -> bool {
        matches!(self, Self::NextMark | Self::PreviousMark)
    }

    /// `None`: what was read so far does not tell, and more is to come. What
    /// is found does not depend on how much was read.
    fn find(self, index: &Index, here: usize) -> Option<Way> {
        let to_event = |event: usize| Way::To {
            event,
            now_ns: index.time(event.saturating_sub(1)),
        };
        let is_complete = index.is_complete();
        match self {
            Self::Open | Self::NextMark => {
                let after = if self == Self::Open { 0 } else { here };
                match next_mark(index, after) {
                    Some(event) => Some(to_event(event)),
                    None if !is_complete => None,
                    None if self == Self::Open => Some(Way::Play),
                    None => Some(Way::None),
                }
            }
            // All before here was read.
            Self::PreviousMark => Some(to_event(previous_mark(index, here).unwrap_or(0))),
            Self::Event(event) if event <= index.len() || is_complete => {
                Some(to_event(event.min(index.len())))
            }
            Self::Event(_) => None,
            Self::Time(mono_ns) => {
                let event = index.first_after(mono_ns)?;
                let now_ns = mono_ns.clamp(index.time(0), index.time(usize::MAX));
                Some(Way::To { event, now_ns })
            }
            Self::Share(percent) => {
                let (first_ns, last_ns) = (index.time(0), index.time(usize::MAX));
                let length = u128::from(last_ns - first_ns);
                let share = length * u128::from(percent.min(100)) / 100;
                let mono_ns = first_ns + u64::try_from(share).unwrap_or(u64::MAX);
                is_complete
                    .then(|| Self::Time(mono_ns).find(index, here))
                    .flatten()
            }
        }
    }
}

/// The position right after each mark.
fn next_mark(index: &Index, here: usize) -> Option<usize> {
    let marks = index.landmarks();
    let next = marks.partition_point(|mark| place_of(*mark) <= here);
    marks.get(next).map(|mark| place_of(*mark))
}

fn previous_mark(index: &Index, here: usize) -> Option<usize> {
    let marks = index.landmarks();
    let next = marks.partition_point(|mark| place_of(*mark) < here);
    marks.get(next.checked_sub(1)?).map(|mark| place_of(*mark))
}

fn place_of(mark: Landmark) -> usize {
    let (Landmark::Failure(event) | Landmark::Restart(event)) = mark;
    event + 1
}
