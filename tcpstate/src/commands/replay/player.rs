//! Plays a recording to an engine: forth at any speed, back from a copy that
//! was put aside on the way.
//!
//! The first screen does not wait for the whole recording. While nothing else is
//! to be done, the rest of it is read, then a scout goes ahead through all of it
//! and puts copies aside, so that every later way is short.

use std::mem;
use std::sync::Arc;

use anyhow::{Context as _, Result};

use super::copies::Copies;
use super::place::Place;
use super::wishes::{Way, Wish, Wishes};
use crate::clock;
use crate::engine::Engine;
use crate::event::{Body, ClockAnchor};
use crate::recording::ahead::{Ahead, Threads};
use crate::recording::index::{Index, Landmark};
use crate::tui::Replay;
use crate::tui::replay::{Mark, MarkKind, Position};

/// Longest that keys wait while we read or go elsewhere.
const SLICE_NS: u64 = 20_000_000;
/// Bytes that are read between two looks at the clock.
const PIECE: u64 = 1 << 18;
/// Sockets in a table that a scout still carries: it is one more of them.
const MAX_SCOUTED_SOCKETS: usize = 1 << 18;
/// A jump in seconds.
const JUMP_NS: u64 = 10_000_000_000;
/// Marks up to which each new one is shown at once; of more, when there are twice
/// as many, since all are drawn anew.
const FEW_MARKS: usize = 1 << 10;

/// Speeds: what the person reads, and how many nanoseconds of the recording go
/// by in a thousand of ours.
const SPEEDS: [(&str, u64); 9] = [
    ("0.1×", 100),
    ("0.25×", 250),
    ("0.5×", 500),
    ("1×", 1_000),
    ("2×", 2_000),
    ("5×", 5_000),
    ("20×", 20_000),
    ("100×", 100_000),
    ("max", u64::MAX),
];
const NORMAL_SPEED: usize = 3;

/// A recording being played.
pub(super) struct Player {
    index: Index,
    here: Place,
    /// Reads ahead of where we are.
    ahead: Ahead,
    now_ns: u64,
    is_playing: bool,
    speed: usize,
    wishes: Wishes,
    /// On the way to this event.
    goal: Option<Goal>,
    copies: Copies,
    /// Goes ahead of us.
    scout: Option<Place>,
    scout_ahead: Ahead,
    /// Up to here copies were put aside.
    scouted: usize,
    marks: Arc<[Mark]>,
    /// Position of the recording's first event; of a later part it is not 0.
    first_seq: u64,
    /// As the recording's header has it.
    clock: Option<ClockAnchor>,
}

#[derive(Clone, Copy)]
struct Goal {
    event: usize,
    /// Where the way began.
    from: usize,
    /// The time to show there.
    now_ns: u64,
}

impl Player {
    /// A player that plays from the beginning, but for a recording with a failed
    /// call or a restart: there it goes to the first. The index has an event, and need not be
    /// complete.
    pub(super) fn new(mut index: Index) -> Self {
        let first = index.read(0).ok().flatten();
        let first_seq = first.as_ref().map_or(0, |event| event.seq);
        let clock = match first.map(|event| event.body) {
            Some(Body::Header(header)) => Some(header.clock),
            _ => None,
        };
        let threads = Threads::start();
        let mut player = Self {
            first_seq,
            clock,
            here: Place::first(first_seq),
            ahead: Ahead::by(&threads),
            now_ns: index.time(0),
            is_playing: false,
            speed: NORMAL_SPEED,
            wishes: Wishes::default(),
            goal: None,
            copies: Copies::new(),
            scout: None,
            scout_ahead: Ahead::by(&threads),
            scouted: 0,
            marks: Arc::new([]),
            index,
        };
        player.mark();
        // Until it is known whether there is one, there is something to see.
        player.is_playing = !player.index.is_complete();
        player.wish(Wish::Open);
        player
    }

    pub(super) fn engine(&self) -> &Engine {
        &self.here.engine
    }

    pub(super) fn index(&self) -> &Index {
        &self.index
    }

    /// The time that the screen shows.
    pub(super) fn now_ns(&self) -> u64 {
        self.now_ns
    }

    pub(super) fn position(&self) -> Position {
        let is_reading = !self.index.is_complete();
        Position {
            is_playing: self.is_playing,
            speed: SPEEDS[self.speed].0,
            event: self.here.next as u64,
            events: self.index.len() as u64,
            now_ns: self.now_ns,
            clock: self.clock,
            first_ns: self.index.time(0),
            last_ns: self.index.time(usize::MAX),
            reading: is_reading.then(|| self.index.percent()),
            seeking: self.goal.map(|goal| self.progress(goal)),
            is_waiting: self.wishes.is_waiting(),
            marks: Arc::clone(&self.marks),
        }
    }

    fn progress(&self, goal: Goal) -> u8 {
        let way = goal.event.saturating_sub(goal.from).max(1);
        let done = self.here.next.saturating_sub(goal.from);
        u8::try_from(done * 100 / way).unwrap_or(100).min(99)
    }

    /// Whether there is something to do before anyone presses a key.
    pub(super) fn is_busy(&self) -> bool {
        self.goal.is_some() || !self.index.is_complete() || self.scouted < self.index.len()
    }

    /// Does what a key asks for.
    pub(super) fn do_as(&mut self, key: Replay) {
        match key {
            Replay::Play => self.play_or_stop(),
            Replay::Step => self.wish_and_stop(self.here.next.saturating_add(1)),
            Replay::StepBack => self.wish_and_stop(self.here.next.saturating_sub(1)),
            Replay::NextMark => self.wish(Wish::NextMark),
            Replay::PreviousMark => self.wish(Wish::PreviousMark),
            Replay::Forward => self.wish(Wish::Time(self.now_ns.saturating_add(JUMP_NS))),
            Replay::Back => self.wish(Wish::Time(self.now_ns.saturating_sub(JUMP_NS))),
            Replay::GoTo(mono_ns) => self.wish(Wish::Time(mono_ns)),
            Replay::GoToShare(percent) => self.wish(Wish::Share(percent)),
            Replay::GoToEvent(seq) => {
                // Positions have no gaps, so the first one tells them all.
                let event = usize::try_from(seq.saturating_sub(self.first_seq));
                self.wish_and_stop(event.unwrap_or(usize::MAX).saturating_add(1));
            }
            Replay::Faster => self.speed = (self.speed + 1).min(SPEEDS.len() - 1),
            Replay::Slower => self.speed = self.speed.saturating_sub(1),
            Replay::Begin => self.wish_and_stop(0),
            Replay::End => self.wish_and_stop(usize::MAX),
        }
    }

    fn play_or_stop(&mut self) {
        if self.goal.is_some() || self.wishes.is_waiting() {
            // On a long way: stay where it has led so far.
            self.wishes.clear();
            self.leave_way();
            self.is_playing = false;
            return;
        }
        self.wishes.clear();
        self.is_playing = !self.is_playing;
        if self.is_playing && self.is_over() {
            self.wish(Wish::Event(0));
        }
    }

    fn is_over(&self) -> bool {
        self.index.is_complete() && self.here.next >= self.index.len()
    }

    fn wish_and_stop(&mut self, event: usize) {
        self.is_playing = false;
        self.wish(Wish::Event(event));
    }

    fn wish(&mut self, wish: Wish) {
        self.wishes.push(wish);
        if !wish.is_from_there() {
            self.leave_way();
        }
        self.set_out();
    }

    /// Stays where the way has led so far.
    fn leave_way(&mut self) {
        if self.goal.take().is_some() {
            self.now_ns = self.here.engine.now_ns().max(self.index.time(0));
        }
    }

    /// Sets out for what is wished for, as far as it is known where that is.
    fn set_out(&mut self) {
        loop {
            let there = self.goal.map_or(self.here.next, |goal| goal.event);
            let Some((wish, way)) = self.wishes.next_known(&self.index, there) else {
                return;
            };
            match way {
                Way::To { event, now_ns } => {
                    let is_mark = matches!(wish, Wish::Open | Wish::NextMark | Wish::PreviousMark);
                    self.is_playing &= !is_mark;
                    self.start_near(event);
                    self.goal = Some(Goal {
                        event,
                        from: self.here.next,
                        now_ns,
                    });
                }
                Way::Play => self.is_playing = true,
                Way::None => {}
            }
        }
    }

    /// From the scout or the nearest copy before the goal, unless we are nearer.
    fn start_near(&mut self, event: usize) {
        let is_scout_there = |place: &mut Place| place.next <= event;
        let copied = self.copies.before(event);
        let nearest = copied.map_or(0, |copy| copy.next);
        let is_behind = self.here.next > event;
        let own = if is_behind { 0 } else { self.here.next };
        let scouted = self.scout.as_ref().map_or(0, |scout| scout.next);
        if scouted > nearest.max(own)
            && let Some(scout) = self.scout.take_if(is_scout_there)
        {
            self.here = scout;
            mem::swap(&mut self.ahead, &mut self.scout_ahead);
        } else if is_behind || nearest > own {
            self.here = copied.map_or_else(|| Place::first(self.first_seq), Place::clone);
        }
    }

    /// Lets `elapsed_ns` of our time go by, for no longer than a slice of it.
    pub(super) fn advance(&mut self, elapsed_ns: u64) -> Result<()> {
        let until_ns = clock::monotonic_ns().saturating_add(SLICE_NS);
        let is_there = if let Some(goal) = self.goal {
            self.go_to(goal, until_ns)?
        } else {
            !self.is_playing || self.play(elapsed_ns, until_ns)?
        };
        self.pass();
        if is_there && !self.index.is_complete() {
            let is_awaited = self.wishes.is_waiting();
            self.read_on(until_ns - if is_awaited { SLICE_NS / 2 } else { 0 })?;
            if !is_awaited {
                return Ok(());
            }
        }
        // Where somebody wants to go the scout goes while the rest is read.
        if is_there && self.goal.is_none() && !self.is_scout_tired() {
            self.scout(until_ns)?;
        }
        Ok(())
    }

    /// Where we are the scout need not go.
    fn pass(&mut self) {
        if self.here.next > self.scouted {
            self.scouted = self.here.next;
            if self.is_over() {
                self.copies.keep(&self.here);
            }
        }
    }

    fn move_on(&mut self, target: (usize, u64), until_ns: u64) -> Result<bool> {
        let reading = (&mut self.index, &mut self.ahead);
        self.here.go_on(reading, &mut self.copies, target, until_ns)
    }

    fn go_to(&mut self, goal: Goal, until_ns: u64) -> Result<bool> {
        let target = (goal.event, u64::MAX);
        let is_there = self.move_on(target, until_ns)?;
        if is_there {
            self.now_ns = goal.now_ns;
            self.goal = None;
        }
        Ok(is_there)
    }

    fn play(&mut self, elapsed_ns: u64, until_ns: u64) -> Result<bool> {
        let rate = SPEEDS[self.speed].1;
        let last_ns = self.index.time(usize::MAX);
        let wanted_ns = if rate == u64::MAX {
            last_ns
        } else {
            let passed = u128::from(elapsed_ns) * u128::from(rate) / 1_000;
            self.now_ns
                .saturating_add(u64::try_from(passed).unwrap_or(u64::MAX))
                .min(last_ns)
        };
        let target = (usize::MAX, wanted_ns);
        let is_there = self.move_on(target, until_ns)?;
        if is_there {
            self.now_ns = wanted_ns;
            self.is_playing = !self.is_over();
        } else {
            self.now_ns = self.now_ns.max(self.here.engine.now_ns().min(wanted_ns));
        }
        Ok(is_there)
    }

    fn read_on(&mut self, until_ns: u64) -> Result<()> {
        let name = self.index.reading().map(|path| path.display().to_string());
        loop {
            let is_more = self.index.advance(PIECE).with_context(|| {
                let name = name.as_deref().unwrap_or_default();
                format!("cannot read the recording {name}")
            })?;
            if !is_more || clock::monotonic_ns() >= until_ns {
                break;
            }
        }
        self.mark();
        self.set_out();
        Ok(())
    }

    /// Takes in the marks that were found.
    fn mark(&mut self) {
        let (shown, found) = (self.marks.len(), self.index.landmarks().len());
        let is_due = found <= FEW_MARKS || found >= 2 * shown || self.index.is_complete();
        if shown == found || !is_due {
            return;
        }
        let marks = self.index.landmarks().iter().map(|landmark| {
            let (event, kind) = match *landmark {
                Landmark::Failure(event) => (event, MarkKind::Failure),
                Landmark::Restart(event) => (event, MarkKind::Restart),
            };
            let mono_ns = self.index.time(event);
            Mark { mono_ns, kind }
        });
        self.marks = marks.collect();
    }

    /// Whether it carries as much as it can, and more is to come.
    fn is_scout_tired(&self) -> bool {
        !self.index.is_complete() && self.scout.as_ref().is_some_and(is_too_much)
    }

    fn scout(&mut self, until_ns: u64) -> Result<()> {
        let end = self.index.len();
        if self.scouted >= end {
            return Ok(());
        }
        let is_ahead = |scout: &Place| scout.next >= self.scouted;
        let scout = self.scout.take();
        let mut scout = scout.filter(is_ahead).unwrap_or_else(|| {
            let copied = self.copies.before(usize::MAX);
            match copied.filter(|copy| copy.next > self.here.next) {
                Some(copy) => copy.clone(),
                None => self.here.clone(),
            }
        });
        let target = (end, u64::MAX);
        let is_there = scout.go_on(
            (&mut self.index, &mut self.scout_ahead),
            &mut self.copies,
            target,
            until_ns,
        )?;
        self.scouted = self.scouted.max(scout.next);
        let is_complete = self.index.is_complete();
        if is_there && is_complete {
            self.copies.keep(&scout);
        } else if is_complete && is_too_much(&scout) {
            // The user goes there alone.
            self.scouted = end;
        } else {
            self.scout = Some(scout);
        }
        Ok(())
    }
}

/// More than a scout carries.
fn is_too_much(scout: &Place) -> bool {
    scout.engine.table().len() > MAX_SCOUTED_SOCKETS
}

#[cfg(test)]
#[path = "player_tests.rs"]
mod tests;
