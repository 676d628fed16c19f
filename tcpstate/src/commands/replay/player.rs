//! Plays a recording to an engine: forth at any speed, back from a checkpoint.
//!
//! The first screen does not wait for the whole recording. While nothing else is
//! to be done, the rest of it is indexed, then a lookahead runs through all of it
//! and leaves checkpoints, so that every later seek is short.

mod speed;

use std::mem;
use std::sync::Arc;

use anyhow::{Context as _, Result};

use self::speed::Speed;
use super::advance::{Limit, Source};
use super::checkpoints::Checkpoints;
use super::seek::{Destination, SeekQueue, SeekTarget};
use super::state::ReplayState;
use crate::clock;
use crate::engine::Engine;
use crate::event::{Body, ClockAnchor};
use crate::recording::index::{Index, LandmarkKind};
use crate::recording::prefetch::{Prefetcher, ReadPool};
use crate::tui::ReplayAction;
use crate::tui::replay::{Mark, MarkKind, ReplayPosition};

/// Longest that keys wait while we read or seek.
const SLICE_NS: u64 = 20_000_000;
/// Bytes that are read between two readings of the clock.
const PIECE: u64 = 1 << 18;
/// Sockets in a table that the lookahead still carries: it is one more of them.
const MAX_LOOKAHEAD_SOCKETS: usize = 1 << 18;
/// A jump in seconds.
const JUMP_NS: u64 = 10_000_000_000;
/// Marks up to which each new one is shown at once; of more, when there are twice
/// as many, since all are drawn again.
const FEW_MARKS: usize = 1 << 10;

/// A recording being played.
pub(super) struct Player {
    index: Index,
    /// What the screen shows.
    current: ReplayState,
    prefetcher: Prefetcher,
    now_ns: u64,
    is_playing: bool,
    speed: Speed,
    /// Seeks of which it is not known yet where they lead.
    pending: SeekQueue,
    /// The seek that is under way.
    seek: Option<Seek>,
    checkpoints: Checkpoints,
    /// Runs ahead of the current state.
    lookahead: Option<ReplayState>,
    lookahead_prefetcher: Prefetcher,
    /// Up to here there are checkpoints.
    checkpointed: usize,
    marks: Arc<[Mark]>,
    /// Position of the recording's first event; of a later part it is not 0.
    first_seq: u64,
    /// As the recording's header has it.
    clock: Option<ClockAnchor>,
}

/// A seek whose destination is known.
#[derive(Clone, Copy)]
struct Seek {
    event: usize,
    /// Where it began.
    from: usize,
    /// The time to show there.
    now_ns: u64,
}

impl Player {
    /// A player that plays from the beginning, but for a recording with a failed
    /// call or a restart: there it goes to the first. The index has an event, and need
    /// not be complete.
    pub(super) fn new(mut index: Index) -> Self {
        let first = index.read(0).ok().flatten();
        let first_seq = first.as_ref().map_or(0, |event| event.seq);
        let clock = match first.map(|event| event.body) {
            Some(Body::Header(header)) => Some(header.clock),
            _ => None,
        };
        let pool = ReadPool::start();
        let mut player = Self {
            first_seq,
            clock,
            current: ReplayState::at_start(first_seq),
            prefetcher: Prefetcher::with_pool(&pool),
            now_ns: index.time(0),
            is_playing: false,
            speed: Speed::default(),
            pending: SeekQueue::default(),
            seek: None,
            checkpoints: Checkpoints::new(),
            lookahead: None,
            lookahead_prefetcher: Prefetcher::with_pool(&pool),
            checkpointed: 0,
            marks: Arc::new([]),
            index,
        };
        player.refresh_marks();
        // Until it is known whether there is a mark, there is something to see.
        player.is_playing = !player.index.is_complete();
        player.seek_to(SeekTarget::Open);
        player
    }

    pub(super) fn engine(&self) -> &Engine {
        &self.current.engine
    }

    pub(super) fn index(&self) -> &Index {
        &self.index
    }

    /// The time that the screen shows.
    pub(super) fn now_ns(&self) -> u64 {
        self.now_ns
    }

    pub(super) fn position(&self) -> ReplayPosition {
        let is_reading = !self.index.is_complete();
        ReplayPosition {
            is_playing: self.is_playing,
            speed: self.speed.label(),
            event: self.current.next as u64,
            events: self.index.len() as u64,
            now_ns: self.now_ns,
            clock: self.clock,
            first_ns: self.index.time(0),
            last_ns: self.index.time(usize::MAX),
            reading: is_reading.then(|| self.index.percent()),
            seeking: self.seek.map(|seek| self.progress(seek)),
            is_waiting: self.pending.is_pending(),
            marks: Arc::clone(&self.marks),
        }
    }

    fn progress(&self, seek: Seek) -> u8 {
        let distance = seek.event.saturating_sub(seek.from).max(1);
        let done = self.current.next.saturating_sub(seek.from);
        u8::try_from(done * 100 / distance).unwrap_or(100).min(99)
    }

    /// Whether there is something to do before anyone presses a key.
    pub(super) fn is_busy(&self) -> bool {
        self.seek.is_some() || !self.index.is_complete() || self.checkpointed < self.index.len()
    }

    /// Does what a key asks for.
    pub(super) fn handle(&mut self, action: ReplayAction) {
        match action {
            ReplayAction::Play => self.toggle_playing(),
            ReplayAction::Step => self.stop_at(self.current.next.saturating_add(1)),
            ReplayAction::StepBack => self.stop_at(self.current.next.saturating_sub(1)),
            ReplayAction::NextMark => self.seek_to(SeekTarget::NextMark),
            ReplayAction::PreviousMark => self.seek_to(SeekTarget::PreviousMark),
            ReplayAction::Forward => {
                self.seek_to(SeekTarget::Time(self.now_ns.saturating_add(JUMP_NS)));
            }
            ReplayAction::Back => {
                self.seek_to(SeekTarget::Time(self.now_ns.saturating_sub(JUMP_NS)));
            }
            ReplayAction::GoTo(mono_ns) => self.seek_to(SeekTarget::Time(mono_ns)),
            ReplayAction::GoToShare(percent) => self.seek_to(SeekTarget::Share(percent)),
            ReplayAction::GoToEvent(seq) => {
                // Positions have no gaps: the first one is enough to know all.
                let event = usize::try_from(seq.saturating_sub(self.first_seq));
                self.stop_at(event.unwrap_or(usize::MAX).saturating_add(1));
            }
            ReplayAction::Faster => self.speed = self.speed.faster(),
            ReplayAction::Slower => self.speed = self.speed.slower(),
            ReplayAction::Begin => self.stop_at(0),
            ReplayAction::End => self.stop_at(usize::MAX),
        }
    }

    fn toggle_playing(&mut self) {
        if self.seek.is_some() || self.pending.is_pending() {
            // A long seek: stay where it has led so far.
            self.pending.clear();
            self.abandon_seek();
            self.is_playing = false;
            return;
        }
        self.pending.clear();
        self.is_playing = !self.is_playing;
        if self.is_playing && self.is_at_end() {
            self.seek_to(SeekTarget::Event(0));
        }
    }

    fn is_at_end(&self) -> bool {
        self.index.is_complete() && self.current.next >= self.index.len()
    }

    fn stop_at(&mut self, event: usize) {
        self.is_playing = false;
        self.seek_to(SeekTarget::Event(event));
    }

    fn seek_to(&mut self, target: SeekTarget) {
        self.pending.push(target);
        if !target.is_relative() {
            self.abandon_seek();
        }
        self.begin_seeks();
    }

    /// Stays where the seek has led so far.
    fn abandon_seek(&mut self) {
        if self.seek.take().is_some() {
            self.now_ns = self.current.engine.now_ns().max(self.index.time(0));
        }
    }

    /// Begins the pending seeks, as far as it is known where they lead.
    fn begin_seeks(&mut self) {
        loop {
            let from = self.seek.map_or(self.current.next, |seek| seek.event);
            let Some((target, destination)) = self.pending.pop_resolved(&self.index, from) else {
                return;
            };
            match destination {
                Destination::Event { event, now_ns } => {
                    self.is_playing &= !target.is_mark();
                    self.restore_nearest(event);
                    self.seek = Some(Seek {
                        event,
                        from: self.current.next,
                        now_ns,
                    });
                }
                Destination::Play => self.is_playing = true,
                Destination::Nowhere => {}
            }
        }
    }

    /// Goes on from the lookahead or the nearest checkpoint before the event, unless
    /// the current state is nearer.
    fn restore_nearest(&mut self, event: usize) {
        let is_before = |state: &mut ReplayState| state.next <= event;
        let checkpoint = self.checkpoints.at_or_before(event);
        let nearest = checkpoint.map_or(0, |state| state.next);
        let is_behind = self.current.next > event;
        let own = if is_behind { 0 } else { self.current.next };
        let ahead = self.lookahead.as_ref().map_or(0, |state| state.next);
        if ahead > nearest.max(own)
            && let Some(state) = self.lookahead.take_if(is_before)
        {
            self.current = state;
            mem::swap(&mut self.prefetcher, &mut self.lookahead_prefetcher);
        } else if is_behind || nearest > own {
            self.current = checkpoint
                .map_or_else(|| ReplayState::at_start(self.first_seq), ReplayState::clone);
        }
    }

    /// Lets `elapsed_ns` of our time go by, for no longer than a slice of it.
    pub(super) fn advance(&mut self, elapsed_ns: u64) -> Result<()> {
        let deadline_ns = clock::monotonic_ns().saturating_add(SLICE_NS);
        let is_there = if let Some(seek) = self.seek {
            self.continue_seek(seek, deadline_ns)?
        } else {
            !self.is_playing || self.play(elapsed_ns, deadline_ns)?
        };
        self.note_progress();
        if is_there && !self.index.is_complete() {
            let is_awaited = self.pending.is_pending();
            let share_ns = if is_awaited { SLICE_NS / 2 } else { 0 };
            self.extend_index(deadline_ns.saturating_sub(share_ns))?;
            if !is_awaited {
                return Ok(());
            }
        }
        // Where a pending seek leads, the lookahead goes while the rest is indexed.
        if is_there && self.seek.is_none() && !self.is_lookahead_full() {
            self.look_ahead(deadline_ns)?;
        }
        Ok(())
    }

    /// The lookahead need not go where the current state has been.
    fn note_progress(&mut self) {
        if self.current.next > self.checkpointed {
            self.checkpointed = self.current.next;
            if self.is_at_end() {
                self.checkpoints.keep(&self.current);
            }
        }
    }

    fn advance_current(&mut self, limit: Limit) -> Result<bool> {
        let mut source = Source {
            index: &mut self.index,
            prefetcher: &mut self.prefetcher,
            checkpoints: &mut self.checkpoints,
        };
        source.advance(&mut self.current, limit)
    }

    fn continue_seek(&mut self, seek: Seek, deadline_ns: u64) -> Result<bool> {
        let is_there = self.advance_current(Limit {
            event: seek.event,
            mono_ns: u64::MAX,
            deadline_ns,
        })?;
        if is_there {
            self.now_ns = seek.now_ns;
            self.seek = None;
        }
        Ok(is_there)
    }

    fn play(&mut self, elapsed_ns: u64, deadline_ns: u64) -> Result<bool> {
        let last_ns = self.index.time(usize::MAX);
        let wanted_ns = self
            .speed
            .after(self.now_ns, elapsed_ns)
            .map_or(last_ns, |wanted_ns| wanted_ns.min(last_ns));
        let is_there = self.advance_current(Limit {
            event: usize::MAX,
            mono_ns: wanted_ns,
            deadline_ns,
        })?;
        if is_there {
            self.now_ns = wanted_ns;
            self.is_playing = !self.is_at_end();
        } else {
            self.now_ns = self.now_ns.max(self.current.engine.now_ns().min(wanted_ns));
        }
        Ok(is_there)
    }

    fn extend_index(&mut self, deadline_ns: u64) -> Result<()> {
        let name = self.index.reading().map(|path| path.display().to_string());
        loop {
            let is_more = self.index.advance(PIECE).with_context(|| {
                let name = name.as_deref().unwrap_or_default();
                format!("cannot read the recording {name}")
            })?;
            if !is_more || clock::monotonic_ns() >= deadline_ns {
                break;
            }
        }
        self.refresh_marks();
        self.begin_seeks();
        Ok(())
    }

    /// Takes in the landmarks that were indexed.
    fn refresh_marks(&mut self) {
        let (shown, found) = (self.marks.len(), self.index.landmarks().len());
        let is_due = found <= FEW_MARKS || found >= 2 * shown || self.index.is_complete();
        if shown == found || !is_due {
            return;
        }
        let marks = self.index.landmarks().iter().map(|landmark| Mark {
            mono_ns: self.index.time(landmark.event),
            kind: match landmark.kind {
                LandmarkKind::Failure => MarkKind::Failure,
                LandmarkKind::Restart => MarkKind::Restart,
            },
        });
        self.marks = marks.collect();
    }

    /// Whether it carries as much as it can, and more is to come.
    fn is_lookahead_full(&self) -> bool {
        !self.index.is_complete() && self.lookahead.as_ref().is_some_and(is_too_large)
    }

    fn look_ahead(&mut self, deadline_ns: u64) -> Result<()> {
        let end = self.index.len();
        if self.checkpointed >= end {
            return Ok(());
        }
        let is_ahead = |state: &ReplayState| state.next >= self.checkpointed;
        let lookahead = self.lookahead.take();
        let mut lookahead = lookahead.filter(is_ahead).unwrap_or_else(|| {
            let last = self.checkpoints.at_or_before(usize::MAX);
            match last.filter(|state| state.next > self.current.next) {
                Some(state) => state.clone(),
                None => self.current.clone(),
            }
        });
        let mut source = Source {
            index: &mut self.index,
            prefetcher: &mut self.lookahead_prefetcher,
            checkpoints: &mut self.checkpoints,
        };
        let limit = Limit {
            event: end,
            mono_ns: u64::MAX,
            deadline_ns,
        };
        let is_there = source.advance(&mut lookahead, limit)?;
        self.checkpointed = self.checkpointed.max(lookahead.next);
        let is_complete = self.index.is_complete();
        if is_there && is_complete {
            self.checkpoints.keep(&lookahead);
        } else if is_complete && is_too_large(&lookahead) {
            // Checkpoints are then made where the user goes.
            self.checkpointed = end;
        } else {
            self.lookahead = Some(lookahead);
        }
        Ok(())
    }
}

/// More than a lookahead carries.
fn is_too_large(state: &ReplayState) -> bool {
    state.engine.table().len() > MAX_LOOKAHEAD_SOCKETS
}

#[cfg(test)]
#[path = "player_tests.rs"]
mod tests;
