//! The pure middle: facts and time in, events and a view out.
//!
//! Kernel, recordings and tests feed the same engine. It reads no clock and
//! does no IO; the same facts give the same events, byte for byte.

mod calls;
mod failures;
mod fallbacks;
mod hints;
mod identity;
mod listeners;
mod resets;
mod snapshots;
mod tracked_processes;
mod transitions;

use std::collections::{BTreeMap, VecDeque};
use std::num::NonZeroU64;
use std::sync::Arc;

use crate::diagnosis::CallKind;
use crate::event::{Ability, Body, Call, Diagnosis, Event, Footer, Header, LossStage, State};
use crate::model::{Chart, EventLog, PollSchedule, Ports, Socket, SocketId, SocketTable};

/// How much the engine keeps.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Sockets; further ones are counted as lost.
    pub sockets: usize,
    /// Latest events. Readers of [`Engine::log`] must keep up with this many.
    pub events: usize,
    /// Failed calls with their diagnosis.
    pub failures: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            sockets: 1 << 20,
            events: 1 << 16,
            failures: 512,
        }
    }
}

/// A failed call with its diagnosis.
#[derive(Clone, Debug, PartialEq)]
pub struct Failure {
    /// Position of the failed call.
    pub seq: u64,
    /// When it returned.
    pub mono_ns: u64,
    /// Which call.
    pub kind: CallKind,
    /// The call.
    pub call: Arc<Call>,
    /// Why it failed.
    pub diagnosis: Arc<Diagnosis>,
    /// So many calls of the same process, port and errno it stands for, this one among
    /// them.
    pub count: u64,
}

/// What happened, and what follows from it.
#[derive(Clone, Debug)]
pub struct Engine {
    now_ns: u64,
    next_seq: u64,
    header: Option<Box<Header>>,
    footer: Option<Footer>,
    table: SocketTable,
    ports: Ports,
    checks: PollSchedule,
    chart: Chart,
    log: EventLog,
    failures: VecDeque<Failure>,
    failure_limit: usize,
    counts: BTreeMap<&'static str, u64>,
    losses: BTreeMap<&'static str, u64>,
    unresynced: u64,
    flooded: u64,
    unconfirmed: Vec<listeners::Unconfirmed>,
    fallbacks: fallbacks::Fallbacks,
    /// Function hooks report what becomes of mini-sockets.
    are_minis_hooked: bool,
    /// Connections that ended before anybody could accept them, until their RST.
    unaccepted: VecDeque<SocketId>,
    followed: tracked_processes::TrackedProcesses,
}

impl Engine {
    /// An engine that has seen nothing.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            now_ns: 0,
            next_seq: 0,
            header: None,
            footer: None,
            table: SocketTable::new(limits.sockets),
            ports: Ports::default(),
            checks: PollSchedule::default(),
            chart: Chart::default(),
            log: EventLog::new(limits.events),
            failures: VecDeque::new(),
            failure_limit: limits.failures.max(1),
            counts: BTreeMap::new(),
            losses: BTreeMap::new(),
            unresynced: 0,
            flooded: 0,
            unconfirmed: Vec::new(),
            fallbacks: fallbacks::Fallbacks::default(),
            are_minis_hooked: false,
            unaccepted: VecDeque::new(),
            followed: tracked_processes::TrackedProcesses::default(),
        }
    }

    /// Counts positions from `seq` on, if nothing has happened yet.
    pub fn begin_at(&mut self, seq: u64) {
        if self.next_seq == 0 {
            self.next_seq = seq;
        }
    }

    /// Takes in one fact; what follows from it is appended to [`Self::log`].
    ///
    /// Derived bodies are ignored: they are the engine's own to make.
    pub fn observe(&mut self, mono_ns: u64, body: Body) {
        if body.is_derived() {
            return;
        }
        self.now_ns = self.now_ns.max(mono_ns);
        self.chart.advance(self.now_ns, self.table.counts());
        self.confirm_listeners_by_age(mono_ns);
        self.conclude_fallbacks(mono_ns);
        match body {
            Body::Header(header) => {
                self.are_minis_hooked = header.has(Ability::MiniSockets);
                self.header = Some(header.clone());
                self.push(mono_ns, Body::Header(header));
            }
            Body::Socket(seen) => self.on_snapshot(mono_ns, seen),
            Body::State(change) => {
                self.remember_unaccepted(&change);
                self.on_transition(mono_ns, change);
            }
            Body::Reset(reset) => self.on_reset(mono_ns, reset),
            Body::Bind(call) => self.on_call(mono_ns, CallKind::Bind, call),
            Body::Listen(call) => self.on_call(mono_ns, CallKind::Listen, call),
            Body::Connect(call) => self.on_call(mono_ns, CallKind::Connect, call),
            Body::Accept(call) => self.on_accept(mono_ns, call),
            Body::Loss(loss) => {
                *self.losses.entry(stage_name(loss.stage)).or_default() += loss.count;
                self.unresynced = if loss.resynced {
                    0
                } else {
                    self.unresynced + loss.count
                };
                self.push(mono_ns, Body::Loss(loss));
            }
            Body::Flood(flood) => {
                self.flooded = self.flooded.saturating_add(flood.count);
                self.push(mono_ns, Body::Flood(flood));
            }
            Body::Holders(holders) => self.on_late_holders(mono_ns, holders),
            Body::Tick(tick) => {
                self.push(mono_ns, Body::Tick(tick));
            }
            Body::Footer(footer) => self.on_footer(mono_ns, footer),
            Body::TimeWaitEnter(_)
            | Body::TimeWaitExit(_)
            | Body::Diagnosis(_)
            | Body::Restart(_)
            | Body::Fallback(_) => {}
        }
    }

    fn on_footer(&mut self, mono_ns: u64, mut footer: Box<Footer>) {
        *self.counts.entry("footer").or_default() += 1;
        footer.counts = self
            .counts
            .iter()
            .map(|(name, count)| ((*name).to_owned(), *count))
            .collect();
        *self.counts.entry("footer").or_default() -= 1;
        footer.losses = self
            .losses
            .iter()
            .map(|(name, count)| ((*name).to_owned(), *count))
            .collect();
        footer.sockets = State::ALL
            .iter()
            .zip(self.table.counts())
            .filter(|(_, count)| *count > 0)
            .map(|(state, count)| (state.name().to_owned(), u64::from(count)))
            .collect();
        self.footer = Some((*footer).clone());
        self.push(mono_ns, Body::Footer(footer));
    }

    /// Appends an event to the log and gives its position.
    fn push(&mut self, mono_ns: u64, body: Body) -> u64 {
        let seq = self.next_seq;
        self.next_seq += 1;
        *self.counts.entry(body.name()).or_default() += 1;
        if !matches!(body, Body::Tick(_)) {
            self.chart.count_event(match &body {
                Body::Flood(flood) => flood.count,
                body => body.call().map_or(0, Call::failures),
            });
        }
        self.log.push(Event { seq, mono_ns, body });
        seq
    }

    /// The engine's time: the latest that a fact carried, monotonic clock.
    #[must_use]
    pub fn now_ns(&self) -> u64 {
        self.now_ns
    }

    /// The position that the next event will have.
    #[must_use]
    pub fn next_seq(&self) -> u64 {
        self.next_seq
    }

    /// The run's header.
    #[must_use]
    pub fn header(&self) -> Option<&Header> {
        self.header.as_deref()
    }

    /// The run's footer; there once the run has ended.
    #[must_use]
    pub fn footer(&self) -> Option<&Footer> {
        self.footer.as_ref()
    }

    /// The mirror of the kernel's sockets.
    #[must_use]
    pub fn table(&self) -> &SocketTable {
        &self.table
    }

    /// The socket.
    #[must_use]
    pub fn socket(&self, id: &SocketId) -> Option<&Socket> {
        self.table.get_or_closed(id)
    }

    /// The histories of the ports.
    #[must_use]
    pub fn ports(&self) -> &Ports {
        &self.ports
    }

    /// Drops the histories of the ports of a network namespace, for who knows that it has
    /// ended: no fact says so, so that a replay keeps them.
    pub fn forget_ports(&mut self, netns: u32) {
        self.ports.forget(netns);
    }

    /// Counts of states over time.
    #[must_use]
    pub fn chart(&self) -> &Chart {
        &self.chart
    }

    /// The latest events.
    #[must_use]
    pub fn log(&self) -> &EventLog {
        &self.log
    }

    /// The latest failed calls, oldest first.
    #[must_use]
    pub fn failures(&self) -> impl DoubleEndedIterator<Item = &Failure> + ExactSizeIterator {
        self.failures.iter()
    }

    /// Events so far, by name.
    #[must_use]
    pub fn counts(&self) -> &BTreeMap<&'static str, u64> {
        &self.counts
    }

    /// Everything that was lost, by stage.
    #[must_use]
    pub fn losses(&self) -> &BTreeMap<&'static str, u64> {
        &self.losses
    }

    /// Failed calls that were counted with nothing but their user (`flood`).
    #[must_use]
    pub fn flooded(&self) -> u64 {
        self.flooded
    }

    /// Events that were lost and not made up for by a snapshot since.
    #[must_use]
    pub fn unresynced(&self) -> u64 {
        self.unresynced
    }

    /// Mini-sockets that the kernel should be asked about now, at most `max`;
    /// each is scheduled anew. Feed what was found as `socket` facts.
    pub fn take_due_polls(&mut self, now_ns: u64, max: usize) -> Vec<SocketId> {
        let mut due = Vec::new();
        while due.len() < max {
            let Some((at_ns, id)) = self.checks.pop_due(now_ns) else {
                break;
            };
            let Some(socket) = self.table.get(&id) else {
                continue;
            };
            if !socket.is_mini || socket.next_poll_ns != NonZeroU64::new(at_ns) {
                continue;
            }
            due.push(id);
            self.schedule_poll(id, now_ns);
        }
        due
    }

    /// When the next poll is due, monotonic clock.
    #[must_use]
    pub fn next_poll_ns(&self) -> Option<u64> {
        self.checks.next_due_ns()
    }

    fn schedule_poll(&mut self, id: SocketId, now_ns: u64) {
        let Some(socket) = self.table.get(&id) else {
            return;
        };
        let is_time_wait = socket.state == State::TimeWait;
        let at_ns = if self.are_minis_hooked {
            PollSchedule::next_poll_behind_hooks_ns(socket.expires_at_ns, now_ns)
        } else {
            PollSchedule::next_poll_ns(is_time_wait, socket.since_ns, socket.expires_at_ns, now_ns)
        };
        self.schedule_check(id, at_ns);
    }

    /// Has the kernel asked about a mini-socket at this time, not before. Where
    /// hooks report it, there is nothing to poll.
    fn check_at(&mut self, id: SocketId, at_ns: u64) {
        if !self.are_minis_hooked {
            self.schedule_check(id, at_ns);
        }
    }

    fn schedule_check(&mut self, id: SocketId, at_ns: u64) {
        let before_ns = self.table.update(&id, |socket| {
            std::mem::replace(&mut socket.next_poll_ns, NonZeroU64::new(at_ns))
        });
        if let Some(before_ns) = before_ns {
            // One poll per socket is scheduled, however often it is put off.
            self.checks.cancel(before_ns, id);
            self.checks.schedule(at_ns, id);
        }
    }

    /// Takes a socket out, and what was scheduled for it.
    fn take_out(&mut self, id: &SocketId) -> Option<Socket> {
        let mut socket = self.table.remove(id)?;
        self.checks.cancel(socket.next_poll_ns, *id);
        socket.next_poll_ns = None;
        Some(socket)
    }
}

fn stage_name(stage: LossStage) -> &'static str {
    match stage {
        LossStage::Kernel => "kernel",
        LossStage::User => "user",
        LossStage::Snapshot => "snapshot",
    }
}
