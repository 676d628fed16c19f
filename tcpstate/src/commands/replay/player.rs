//! Plays a recording to an engine: forth at any speed, back from a copy that
//! was put aside on the way.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context as _, Result};

use crate::clock;
use crate::engine::{Engine, Limits};
use crate::event::Event;
use crate::recording::index::{Index, Landmark};
use crate::tui::Replay;
use crate::tui::replay::{Mark, MarkKind, Position};

/// Events between two copies of the engine, at least.
const COPY_EVERY: usize = 1 << 14;
/// Copies at most. When there are more, every other one goes and the distance
/// between them doubles.
const MAX_COPIES: usize = 64;
/// Sockets in all copies together: about 500 bytes each.
const MAX_COPIED_SOCKETS: usize = 1 << 20;
/// How many times the table's sockets must have gone by as events before it is
/// copied again: copies of large tables are rarer.
const EVENTS_PER_SOCKET: usize = 4;
/// Longest that keys wait while we go elsewhere.
const SLICE_NS: u64 = 20_000_000;
/// Events between two looks at the clock.
const CLOCK_EVERY: usize = 64;
/// A jump in seconds.
const JUMP_NS: u64 = 10_000_000_000;
/// Events that the screen can reach back to.
const KEPT_EVENTS: usize = 1 << 13;

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
    engine: Engine,
    /// The event that comes next.
    next: usize,
    now_ns: u64,
    is_playing: bool,
    speed: usize,
    /// On the way to this event.
    goal: Option<Goal>,
    copies: BTreeMap<usize, Engine>,
    copy_every: usize,
    marks: Arc<[Mark]>,
    /// Position of the recording's first event; of a later part it is not 0.
    first_seq: u64,
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
    /// A player at the first failed call or restart, or, where there is none,
    /// playing from the beginning.
    pub(super) fn new(mut index: Index) -> Self {
        let marks = index
            .landmarks()
            .iter()
            .map(|landmark| match *landmark {
                Landmark::Failure(event) => (event, MarkKind::Failure),
                Landmark::Restart(event) => (event, MarkKind::Restart),
            })
            .map(|(event, kind)| Mark {
                mono_ns: index.time(event),
                kind,
            })
            .collect();
        let first = index.read(0).ok().flatten();
        let mut player = Self {
            first_seq: first.map_or(0, |event| event.seq),
            engine: engine(),
            next: 0,
            now_ns: index.time(0),
            is_playing: false,
            speed: NORMAL_SPEED,
            goal: None,
            copies: BTreeMap::new(),
            copy_every: COPY_EVERY,
            marks,
            index,
        };
        if player.index.landmarks().is_empty() {
            player.is_playing = true;
        } else {
            player.do_as(Replay::NextMark);
        }
        player
    }

    pub(super) fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The time that the screen shows.
    pub(super) fn now_ns(&self) -> u64 {
        self.now_ns
    }

    pub(super) fn position(&self) -> Position {
        Position {
            is_playing: self.is_playing,
            speed: SPEEDS[self.speed].0,
            event: self.next as u64,
            events: self.index.len() as u64,
            now_ns: self.now_ns,
            first_ns: self.index.time(0),
            last_ns: self.index.time(usize::MAX),
            seeking: self.goal.map(|goal| self.progress(goal)),
            marks: Arc::clone(&self.marks),
        }
    }

    fn progress(&self, goal: Goal) -> u8 {
        let way = goal.event.saturating_sub(goal.from).max(1);
        let done = self.next.saturating_sub(goal.from);
        u8::try_from(done * 100 / way).unwrap_or(100).min(99)
    }

    /// Does what a key asks for.
    pub(super) fn do_as(&mut self, wish: Replay) {
        match wish {
            Replay::Play => {
                let is_over = self.next >= self.index.len();
                self.is_playing = !self.is_playing;
                if self.is_playing && is_over && self.goal.is_none() {
                    self.go_to(0);
                }
            }
            Replay::Step => self.go_to_and_stop(self.next.saturating_add(1)),
            Replay::StepBack => self.go_to_and_stop(self.next.saturating_sub(1)),
            Replay::NextMark => {
                let next = self.marked().find(|event| *event > self.target());
                if let Some(event) = next {
                    self.go_to_and_stop(event);
                }
            }
            Replay::PreviousMark => {
                let before = self.marked().rfind(|event| *event < self.target());
                self.go_to_and_stop(before.unwrap_or(0));
            }
            Replay::Forward => self.go_to_time(self.now_ns.saturating_add(JUMP_NS)),
            Replay::Back => self.go_to_time(self.now_ns.saturating_sub(JUMP_NS)),
            Replay::GoTo(mono_ns) => self.go_to_time(mono_ns),
            Replay::GoToEvent(seq) => self.go_to_event(seq),
            Replay::Faster => self.speed = (self.speed + 1).min(SPEEDS.len() - 1),
            Replay::Slower => self.speed = self.speed.saturating_sub(1),
            Replay::Begin => self.go_to_and_stop(0),
            Replay::End => self.go_to_and_stop(self.index.len()),
        }
    }

    /// The position right after each mark.
    fn marked(&self) -> impl DoubleEndedIterator<Item = usize> + '_ {
        self.index
            .landmarks()
            .iter()
            .map(|landmark| match *landmark {
                Landmark::Failure(event) | Landmark::Restart(event) => event + 1,
            })
    }

    /// Where we are, or will be.
    fn target(&self) -> usize {
        self.goal.map_or(self.next, |goal| goal.event)
    }

    fn go_to_and_stop(&mut self, event: usize) {
        self.is_playing = false;
        self.go_to(event);
    }

    fn go_to(&mut self, event: usize) {
        let event = event.min(self.index.len());
        let now_ns = self.index.time(event.saturating_sub(1));
        self.set_out(event, now_ns);
    }

    /// To right after it. Positions have no gaps, so the first one tells them all.
    fn go_to_event(&mut self, seq: u64) {
        let event = usize::try_from(seq.saturating_sub(self.first_seq)).unwrap_or(usize::MAX);
        self.go_to_and_stop(event.saturating_add(1));
    }

    fn go_to_time(&mut self, mono_ns: u64) {
        let mono_ns = mono_ns.clamp(self.index.time(0), self.index.time(usize::MAX));
        self.set_out(self.index.first_after(mono_ns), mono_ns);
    }

    /// From the nearest copy before the goal, unless we are nearer.
    fn set_out(&mut self, event: usize, now_ns: u64) {
        let copy = self.copies.range(..=event).next_back();
        let copied = copy.map_or(0, |(at, _)| *at);
        if event < self.next || copied > self.next {
            self.engine = copy.map_or_else(engine, |(_, engine)| engine.clone());
            self.next = copied;
        }
        self.goal = Some(Goal {
            event,
            from: self.next,
            now_ns,
        });
    }

    /// Lets `elapsed_ns` of our time go by, for no longer than a slice of it.
    pub(super) fn advance(&mut self, elapsed_ns: u64) -> Result<()> {
        let until_ns = clock::monotonic_ns().saturating_add(SLICE_NS);
        if let Some(goal) = self.goal {
            if self.feed_until(goal.event, u64::MAX, until_ns)? {
                self.now_ns = goal.now_ns;
                self.goal = None;
            }
            return Ok(());
        }
        if !self.is_playing {
            return Ok(());
        }
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
        if self.feed_until(self.index.len(), wanted_ns, until_ns)? {
            self.now_ns = wanted_ns;
            self.is_playing = self.next < self.index.len();
        } else {
            self.now_ns = self.now_ns.max(self.engine.now_ns().min(wanted_ns));
        }
        Ok(())
    }

    /// Feeds events before number `event` and up to `mono_ns`. `false`: the time
    /// for it was over first.
    fn feed_until(&mut self, event: usize, mono_ns: u64, until_ns: u64) -> Result<bool> {
        let mut fed = 0_usize;
        while self.next < event && self.index.time(self.next) <= mono_ns {
            if fed.is_multiple_of(CLOCK_EVERY) && fed > 0 && clock::monotonic_ns() >= until_ns {
                return Ok(false);
            }
            self.put_copy_aside();
            if let Some(event) = self
                .index
                .read(self.next)
                .context("cannot read the recording")?
            {
                self.feed(event);
            }
            self.next += 1;
            fed += 1;
        }
        Ok(true)
    }

    fn feed(&mut self, event: Event) {
        if self.engine.next_seq() == 0 {
            self.engine.begin_at(event.seq);
        }
        self.engine.observe(event.mono_ns, event.body);
    }

    fn copied_sockets(&self) -> usize {
        let copies = self.copies.values();
        copies.map(|engine| engine.table().len()).sum()
    }

    fn put_copy_aside(&mut self) {
        let last = self.copies.range(..=self.next).next_back();
        let distance = self.next - last.map_or(0, |(at, _)| *at);
        let wanted = self
            .copy_every
            .max(self.engine.table().len().saturating_mul(EVENTS_PER_SOCKET));
        if distance < wanted {
            return;
        }
        self.copies.insert(self.next, self.engine.clone());
        while self.copies.len() > MAX_COPIES
            || (self.copies.len() > 1 && self.copied_sockets() > MAX_COPIED_SOCKETS)
        {
            self.copy_every *= 2;
            let mut is_kept = false;
            self.copies.retain(|_, _| {
                is_kept = !is_kept;
                is_kept
            });
        }
    }
}

fn engine() -> Engine {
    Engine::new(Limits {
        events: KEPT_EVENTS,
        ..Limits::default()
    })
}

#[cfg(test)]
#[path = "player_tests.rs"]
mod tests;
