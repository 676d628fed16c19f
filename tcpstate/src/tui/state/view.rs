//! What the panels read: the engine as it is, or as it was when the screen was
//! frozen.
//!
//! Freezing copies what the screen can reach (rows in their order, events,
//! ports, chart), not the picture of it: a frozen screen can still be scrolled,
//! filtered, sorted and looked into, and survives a resize. All of it is
//! bounded, so the copy takes milliseconds even over a million sockets.

use std::borrow::Cow;

use crate::engine::{Engine, Failure};
use crate::event::{ClockAnchor, Event, Footer, Header, State};
use crate::model::{Chart, EventLog, Ports, Sample, Socket, SocketId, SocketTable};
use crate::tui::units::NS_PER_S;

type Counts = [u32; State::ALL.len()];

/// What the panels read: borrowed from the engine, or a copy of its own.
#[derive(Debug)]
pub(crate) struct View<'a> {
    pub(crate) now_ns: u64,
    pub(crate) next_seq: u64,
    pub(crate) is_frozen: bool,
    header: Option<Cow<'a, Header>>,
    footer: Option<Cow<'a, Footer>>,
    pub(crate) table: Cow<'a, SocketTable>,
    /// Sockets in the engine's table; `table` of a frozen view may have fewer.
    pub(crate) total: usize,
    pub(crate) counts: Counts,
    pub(crate) ports: Cow<'a, Ports>,
    pub(crate) log: Cow<'a, EventLog>,
    /// Oldest first.
    pub(crate) failures: Vec<Failure>,
    pub(crate) lost: u64,
    pub(crate) unresynced: u64,
    chart: Cow<'a, Chart>,
    engine_now_ns: u64,
}

impl<'a> View<'a> {
    /// The engine as it is.
    pub(crate) fn live(engine: &'a Engine, now_ns: u64) -> Self {
        Self {
            now_ns,
            next_seq: engine.next_seq(),
            is_frozen: false,
            header: engine.header().map(Cow::Borrowed),
            footer: engine.footer().map(Cow::Borrowed),
            table: Cow::Borrowed(engine.table()),
            total: engine.table().len(),
            counts: engine.table().counts(),
            ports: Cow::Borrowed(engine.ports()),
            log: Cow::Borrowed(engine.log()),
            failures: engine.failures().cloned().collect(),
            lost: engine.losses().values().sum(),
            unresynced: engine.unresynced(),
            chart: Cow::Borrowed(engine.chart()),
            engine_now_ns: engine.now_ns(),
        }
    }

    /// A copy of what can be reached from these rows: at most so many sockets, in
    /// the order of the table, and so many events.
    pub(crate) fn frozen(
        &self,
        rows: &[SocketId],
        max_sockets: usize,
        max_events: usize,
    ) -> View<'static> {
        let mut table = SocketTable::new(max_sockets);
        let sockets = rows.iter().filter_map(|id| self.table.get(id));
        for socket in sockets.take(max_sockets) {
            table.insert(socket.id(), socket.clone());
        }
        // What the filter hides now may be asked for while frozen.
        if self.total <= max_sockets {
            for socket in self.table.iter() {
                table.insert(socket.id(), socket.clone());
            }
        }
        for socket in self.table.closed() {
            table.remember_closed(socket.clone());
        }
        let mut log = EventLog::new(max_events);
        let skip = self.log.len().saturating_sub(max_events);
        for event in self.log.iter().skip(skip) {
            log.push(event.clone());
        }
        View {
            is_frozen: true,
            header: self.header().cloned().map(Cow::Owned),
            footer: self.footer().cloned().map(Cow::Owned),
            table: Cow::Owned(table),
            ports: Cow::Owned(Ports::clone(&self.ports)),
            log: Cow::Owned(log),
            failures: self.failures.clone(),
            chart: Cow::Owned(Chart::clone(&self.chart)),
            now_ns: self.now_ns,
            next_seq: self.next_seq,
            total: self.total,
            counts: self.counts,
            lost: self.lost,
            unresynced: self.unresynced,
            engine_now_ns: self.engine_now_ns,
        }
    }

    /// The same view without a copy.
    pub(crate) fn borrowed(&self) -> View<'_> {
        View {
            header: self.header().map(Cow::Borrowed),
            footer: self.footer().map(Cow::Borrowed),
            table: Cow::Borrowed(&self.table),
            ports: Cow::Borrowed(&self.ports),
            log: Cow::Borrowed(&self.log),
            failures: self.failures.clone(),
            chart: Cow::Borrowed(&self.chart),
            ..*self
        }
    }

    pub(crate) fn header(&self) -> Option<&Header> {
        self.header.as_deref()
    }

    pub(crate) fn footer(&self) -> Option<&Footer> {
        self.footer.as_deref()
    }

    /// The socket, closed or not.
    pub(crate) fn socket(&self, id: &SocketId) -> Option<&Socket> {
        self.table.get_or_closed(id)
    }

    /// The event, if it is still kept.
    pub(crate) fn event(&self, seq: u64) -> Option<&Event> {
        self.log.get(seq)
    }

    /// The failed call with this position.
    pub(crate) fn failure(&self, seq: u64) -> Option<&Failure> {
        self.failures
            .iter()
            .rev()
            .find(|failure| failure.seq == seq)
    }

    /// Network namespace that tcpstate runs in.
    pub(crate) fn own_netns(&self) -> Option<u32> {
        self.header()?.netns
    }

    /// Ties the monotonic clock to the calendar.
    pub(crate) fn anchor(&self) -> Option<&ClockAnchor> {
        self.header().map(|header| &header.clock)
    }

    /// The last seconds, oldest first, the running one last. Seconds in which
    /// nothing was observed are filled up: nothing has changed in them.
    pub(crate) fn seconds(&self, wanted: usize) -> Vec<Sample> {
        let current = Sample {
            states: self.counts,
            ..Sample::default()
        };
        let idle = self.idle_seconds().min(wanted).saturating_add(1);
        let finished = self.chart.samples();
        let skip = (finished.len() + idle).saturating_sub(wanted);
        finished
            .skip(skip)
            .copied()
            .chain(std::iter::repeat_n(current, idle.min(wanted)))
            .collect()
    }

    /// Events in the last second that has ended.
    pub(crate) fn events_per_second(&self) -> u32 {
        if self.idle_seconds() > 1 {
            0
        } else {
            self.chart.events_per_second()
        }
    }

    fn idle_seconds(&self) -> usize {
        let idle = (self.now_ns / NS_PER_S).saturating_sub(self.engine_now_ns / NS_PER_S);
        usize::try_from(idle).unwrap_or(usize::MAX)
    }
}
