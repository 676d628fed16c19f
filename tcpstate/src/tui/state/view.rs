//! What is drawn: the engine as it is, or as it was when the screen was frozen.
//!
//! Freezing copies what the screen can reach (rows in their order, events,
//! ports, chart), not the picture of it: a frozen screen can still be scrolled,
//! filtered, sorted and looked into, and survives a resize. All of it is
//! bounded, so the copy takes milliseconds even over a million sockets.

use crate::engine::{Engine, Failure};
use crate::event::{ClockAnchor, Event, Footer, Header, State};
use crate::model::{Chart, EventLog, Ports, Sample, Socket, SocketId, SocketTable};

use crate::tui::units::NS_PER_S;

/// Sockets that a frozen screen keeps, in the order of the table at that time.
const MAX_FROZEN_SOCKETS: usize = super::rows::MAX_ROWS;
/// Events that a frozen screen keeps.
const MAX_FROZEN_EVENTS: usize = super::event_list::MAX_LINES;

type Counts = [u32; State::ALL.len()];

/// What the panels read.
#[derive(Debug)]
pub(crate) struct View<'a> {
    pub(crate) now_ns: u64,
    pub(crate) next_seq: u64,
    pub(crate) is_frozen: bool,
    pub(crate) header: Option<&'a Header>,
    pub(crate) footer: Option<&'a Footer>,
    pub(crate) table: &'a SocketTable,
    /// Sockets in the engine's table; `table` of a frozen view may have fewer.
    pub(crate) total: usize,
    pub(crate) counts: Counts,
    pub(crate) ports: &'a Ports,
    pub(crate) log: &'a EventLog,
    pub(crate) failures: Vec<&'a Failure>,
    pub(crate) lost: u64,
    pub(crate) unresynced: u64,
    chart: &'a Chart,
    engine_now_ns: u64,
}

impl<'a> View<'a> {
    /// The engine as it is.
    pub(crate) fn live(engine: &'a Engine, now_ns: u64) -> Self {
        Self {
            now_ns,
            next_seq: engine.next_seq(),
            is_frozen: false,
            header: engine.header(),
            footer: engine.footer(),
            table: engine.table(),
            total: engine.table().len(),
            counts: engine.table().counts(),
            ports: engine.ports(),
            log: engine.log(),
            failures: engine.failures().collect(),
            lost: engine.losses().values().sum(),
            unresynced: engine.unresynced(),
            chart: engine.chart(),
            engine_now_ns: engine.now_ns(),
        }
    }

    /// The frozen state, or the engine as it is.
    pub(crate) fn of(frozen: Option<&'a Frozen>, engine: &'a Engine, now_ns: u64) -> Self {
        frozen.map_or_else(|| Self::live(engine, now_ns), Frozen::view)
    }

    /// The socket, closed or not.
    pub(crate) fn socket(&self, id: &SocketId) -> Option<&'a Socket> {
        self.table.get_or_closed(id)
    }

    /// The event, if it is still kept.
    pub(crate) fn event(&self, seq: u64) -> Option<&'a Event> {
        self.log.get(seq)
    }

    /// The failed call with this position.
    pub(crate) fn failure(&self, seq: u64) -> Option<&'a Failure> {
        self.failures
            .iter()
            .rev()
            .find(|failure| failure.seq == seq)
            .copied()
    }

    /// Network namespace that tcpstate runs in.
    pub(crate) fn own_netns(&self) -> Option<u32> {
        self.header?.netns
    }

    /// Ties the monotonic clock to the calendar.
    pub(crate) fn anchor(&self) -> Option<&'a ClockAnchor> {
        self.header.map(|header| &header.clock)
    }

    /// The last seconds, oldest first, the running one last. Seconds in which
    /// nothing was observed are filled up: nothing has changed in them.
    pub(crate) fn seconds(&self, wanted: usize) -> Vec<Sample> {
        let current = Sample {
            states: self.counts,
            ..Sample::default()
        };
        let silent = self.silent_seconds().min(wanted) + 1;
        let finished = self.chart.samples();
        let skip = (finished.len() + silent).saturating_sub(wanted);
        finished
            .skip(skip)
            .copied()
            .chain(std::iter::repeat_n(current, silent.min(wanted)))
            .collect()
    }

    /// Events in the last second that has ended.
    pub(crate) fn events_per_second(&self) -> u32 {
        if self.silent_seconds() > 1 {
            0
        } else {
            self.chart.events_per_second()
        }
    }

    fn silent_seconds(&self) -> usize {
        let silent = (self.now_ns / NS_PER_S).saturating_sub(self.engine_now_ns / NS_PER_S);
        usize::try_from(silent).unwrap_or(usize::MAX)
    }
}

/// A copy of what the screen can reach.
#[derive(Debug)]
pub(crate) struct Frozen {
    now_ns: u64,
    next_seq: u64,
    header: Option<Header>,
    footer: Option<Footer>,
    table: SocketTable,
    total: usize,
    counts: Counts,
    ports: Ports,
    log: EventLog,
    failures: Vec<Failure>,
    lost: u64,
    unresynced: u64,
    chart: Chart,
    engine_now_ns: u64,
}

impl Frozen {
    /// Copies what can be reached from these rows.
    pub(crate) fn of(view: &View<'_>, rows: &[SocketId]) -> Self {
        let mut table = SocketTable::new(MAX_FROZEN_SOCKETS);
        let sockets = rows.iter().filter_map(|id| view.table.get(id));
        for socket in sockets.take(MAX_FROZEN_SOCKETS) {
            table.insert(socket.id(), socket.clone());
        }
        // What the filter hides now may be asked for while frozen.
        if view.total <= MAX_FROZEN_SOCKETS {
            for socket in view.table.iter() {
                table.insert(socket.id(), socket.clone());
            }
        }
        for socket in view.table.closed() {
            table.bury(socket.clone());
        }
        let mut log = EventLog::new(MAX_FROZEN_EVENTS);
        let skip = view.log.len().saturating_sub(MAX_FROZEN_EVENTS);
        for event in view.log.iter().skip(skip) {
            log.push(event.clone());
        }
        Self {
            now_ns: view.now_ns,
            next_seq: view.next_seq,
            header: view.header.cloned(),
            footer: view.footer.cloned(),
            table,
            total: view.total,
            counts: view.counts,
            ports: view.ports.clone(),
            log,
            failures: view.failures.iter().copied().cloned().collect(),
            lost: view.lost,
            unresynced: view.unresynced,
            chart: view.chart.clone(),
            engine_now_ns: view.engine_now_ns,
        }
    }

    /// The position that the next event had.
    pub(crate) fn next_seq(&self) -> u64 {
        self.next_seq
    }

    /// The time at which it was.
    pub(crate) fn now_ns(&self) -> u64 {
        self.now_ns
    }

    fn view(&self) -> View<'_> {
        View {
            now_ns: self.now_ns,
            next_seq: self.next_seq,
            is_frozen: true,
            header: self.header.as_ref(),
            footer: self.footer.as_ref(),
            table: &self.table,
            total: self.total,
            counts: self.counts,
            ports: &self.ports,
            log: &self.log,
            failures: self.failures.iter().collect(),
            lost: self.lost,
            unresynced: self.unresynced,
            chart: &self.chart,
            engine_now_ns: self.engine_now_ns,
        }
    }
}
