//! Which sockets the table shows, in which order.
//!
//! Sorting and filtering happen when the table, the filter or the order has
//! changed, and the more sockets there are the more seldom; never per frame.

use std::collections::HashMap;
use std::net::IpAddr;

use foldhash::fast::FixedState;

use super::filter::Filter;
use super::units::{NS_PER_MS, NS_PER_S};
use super::view::View;
use crate::event::{Endpoint, State};
use crate::model::{PortKey, Socket, SocketId};

/// Rows that can be scrolled to. Nobody reads further; a filter or the reversed
/// order brings the rest within reach.
pub(crate) const MAX_ROWS: usize = 10_000;

/// A column of the socket table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Column {
    /// TCP state, who has the port first.
    #[default]
    State,
    /// Local port, then address.
    Local,
    /// Peer port, then address.
    Peer,
    /// Name of the owner.
    Owner,
    /// Youngest first.
    Age,
    /// Least time left first, without a timer last.
    Left,
}

impl Column {
    /// All columns, from left to right.
    pub const ALL: [Self; 6] = [
        Self::State,
        Self::Local,
        Self::Peer,
        Self::Owner,
        Self::Age,
        Self::Left,
    ];

    /// The heading.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::State => "STATE",
            Self::Local => "LOCAL",
            Self::Peer => "PEER",
            Self::Owner => "OWNER",
            Self::Age => "AGE",
            Self::Left => "LEFT",
        }
    }

    pub(crate) fn next(self) -> Self {
        Self::ALL[(self as usize + 1) % Self::ALL.len()]
    }

    pub(crate) fn previous(self) -> Self {
        Self::ALL[(self as usize + Self::ALL.len() - 1) % Self::ALL.len()]
    }
}

/// Order of the socket table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sort {
    /// By which column.
    pub column: Column,
    /// The other way round.
    pub is_reversed: bool,
}

/// Timers that hold a port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Held {
    /// Sockets with a timer.
    pub(crate) count: u32,
    /// When the last of them ends.
    pub(crate) until_ns: u64,
}

/// The rows of the socket table.
#[derive(Debug, Default)]
pub(crate) struct Rows {
    ids: Vec<SocketId>,
    matched: usize,
    held: HashMap<PortKey, Held, FixedState>,
    made: Option<Made>,
}

/// What the rows were made from.
#[derive(Clone, Debug, PartialEq)]
struct Made {
    next_seq: u64,
    at_ns: u64,
    total: usize,
    is_frozen: bool,
    filter: Filter,
    sort: Sort,
}

impl Rows {
    /// Makes the rows anew if they are out of date.
    pub(crate) fn refresh(&mut self, view: &View<'_>, filter: &Filter, sort: Sort) {
        if let Some(made) = &self.made {
            let is_same_question = made.filter == *filter && made.sort == sort;
            let is_same_table = made.next_seq == view.next_seq
                && made.total == view.total
                && made.is_frozen == view.is_frozen;
            let went_back = view.next_seq < made.next_seq || view.now_ns < made.at_ns;
            let is_fresh = view.now_ns.saturating_sub(made.at_ns) < min_interval_ns(made.total);
            if is_same_question && (is_same_table || (is_fresh && !went_back)) {
                return;
            }
        }
        self.made = Some(Made {
            next_seq: view.next_seq,
            at_ns: view.now_ns,
            total: view.total,
            is_frozen: view.is_frozen,
            filter: filter.clone(),
            sort,
        });
        self.held.clear();
        for (key, _) in view.ports.iter() {
            self.held.insert(*key, Held::default());
        }
        let mut first = First::default();
        self.matched = 0;
        for socket in view.table.iter() {
            self.note_timer(socket);
            if filter.matches_socket(socket) {
                self.matched += 1;
                let (high, low) = sort_key(sort.column, socket);
                let key = if sort.is_reversed {
                    (!high, !low)
                } else {
                    (high, low)
                };
                first.offer(key, socket);
            }
        }
        self.held.retain(|_, held| held.count > 0);
        self.ids = first.into_ids();
    }

    fn note_timer(&mut self, socket: &Socket) {
        let Some(until_ns) = socket.expires_at_ns else {
            return;
        };
        let key = PortKey {
            port: socket.local.port,
            netns: socket.sock.netns,
        };
        if let Some(held) = self.held.get_mut(&key) {
            held.count += 1;
            held.until_ns = held.until_ns.max(until_ns);
        }
    }

    /// The rows, first to last.
    pub(crate) fn ids(&self) -> &[SocketId] {
        &self.ids
    }

    /// Sockets that the filter lets through, shown or not.
    pub(crate) fn matched(&self) -> usize {
        self.matched
    }

    /// Timers that hold the port.
    pub(crate) fn held(&self, key: PortKey) -> Option<Held> {
        self.held.get(&key).copied()
    }
}

/// The first [`MAX_ROWS`] of what is offered. Most of a large table is turned
/// away by one comparison.
#[derive(Default)]
struct First {
    rows: Vec<(Key, SocketId)>,
    /// No row from here on can be among the first.
    bound: Option<Key>,
}

impl First {
    fn offer(&mut self, key: Key, socket: &Socket) {
        if self.bound.is_some_and(|bound| key > bound) {
            return;
        }
        self.rows.push((key, socket.id()));
        if self.rows.len() >= 2 * MAX_ROWS {
            self.cut();
        }
    }

    fn cut(&mut self) {
        if self.rows.len() > MAX_ROWS {
            let (_, last, _) = self.rows.select_nth_unstable(MAX_ROWS - 1);
            self.bound = Some(last.0);
            self.rows.truncate(MAX_ROWS);
        }
    }

    fn into_ids(mut self) -> Vec<SocketId> {
        self.cut();
        self.rows.sort_unstable();
        self.rows.into_iter().map(|(_, id)| id).collect()
    }
}

/// Least time between two orders of a table of this size, so that sorting takes
/// no more than a few percent of a core under full-speed events.
fn min_interval_ns(total: usize) -> u64 {
    match total {
        0..2_000 => 0,
        2_000..20_000 => 100 * NS_PER_MS,
        20_000..200_000 => 500 * NS_PER_MS,
        _ => 2 * NS_PER_S,
    }
}

/// Primary and secondary key.
type Key = (u128, u64);

fn sort_key(column: Column, socket: &Socket) -> Key {
    match column {
        Column::State => (
            u128::from(state_rank(socket.state)) << 64
                | u128::from(socket.local.port) << 48
                | latest_first(socket),
            u64::from(socket.peer.port),
        ),
        Column::Local => by_endpoint(socket.local, socket.peer.port),
        Column::Peer => by_endpoint(socket.peer, socket.local.port),
        Column::Owner => by_owner(socket),
        Column::Age => (u128::from(u64::MAX - socket.since_ns), 0),
        Column::Left => (u128::from(socket.expires_at_ns.unwrap_or(u64::MAX)), 0),
    }
}

/// Who has the port comes first, then what lingers on it, then what is alive.
pub(crate) fn state_rank(state: State) -> u8 {
    match state {
        State::Listen => 0,
        State::Bound => 1,
        State::CloseWait => 2,
        State::FinWait1 => 3,
        State::FinWait2 => 4,
        State::Closing => 5,
        State::LastAck => 6,
        State::TimeWait => 7,
        State::SynSent => 8,
        State::SynReceived => 9,
        State::Established => 10,
        State::Closed => 11,
    }
}

/// Within a state: the timer that ends last, for it decides when the port is
/// free; without a timer the youngest.
fn latest_first(socket: &Socket) -> u128 {
    let at_ns = socket.expires_at_ns.unwrap_or(socket.since_ns);
    u128::from((1 << 48) - 1 - low_bits(at_ns))
}

/// Microseconds in 48 bits: nine years of uptime.
fn low_bits(ns: u64) -> u64 {
    (ns / 1_000).min((1 << 48) - 1)
}

fn by_endpoint(endpoint: Endpoint, other_port: u16) -> Key {
    let bits = match endpoint.addr {
        IpAddr::V4(addr) => u128::from(addr.to_bits()),
        IpAddr::V6(addr) => addr.to_bits(),
    };
    (
        u128::from(endpoint.port) << 112 | bits >> 16,
        // The sixteen bits that were shifted out, then the other end.
        u64::try_from(bits & 0xffff).unwrap_or(0) << 16 | u64::from(other_port),
    )
}

/// Names of processes have at most fifteen bytes; they fit the key. Unknown last.
fn by_owner(socket: &Socket) -> Key {
    let Some(process) = socket.left_by.as_ref().or(socket.owner.as_ref()) else {
        return (u128::MAX, 0);
    };
    let mut bytes = [0; 16];
    for (place, byte) in bytes.iter_mut().zip(process.comm.bytes()) {
        *place = byte;
    }
    (u128::from_be_bytes(bytes), u64::from(process.pid))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tui::screens::story::{PORT, Story};

    fn ports(sort: Sort, count: u32) -> Vec<u16> {
        let mut story = Story::begun();
        story.find(count, State::Established, None);
        let view = View::live(&story.engine, story.now_ns);
        let mut rows = Rows::default();
        rows.refresh(&view, &Filter::default(), sort);
        assert_eq!(rows.matched(), count as usize);
        let sockets = rows.ids().iter().filter_map(|id| view.socket(id));
        sockets
            .inspect(|socket| assert_eq!(socket.local.port, PORT))
            .map(|socket| socket.peer.port)
            .collect()
    }

    #[test]
    fn of_many_the_first_are_kept_in_order() {
        let column = Column::Peer;
        let mut sort = Sort {
            column,
            is_reversed: false,
        };

        let first: Vec<u16> = (1024..).take(MAX_ROWS).collect();
        assert_eq!(ports(sort, 45_000), first);

        sort.is_reversed = true;
        let last: Vec<u16> = (0..46_024).rev().take(MAX_ROWS).collect();
        assert_eq!(ports(sort, 45_000), last);
    }

    #[test]
    fn an_unchanged_table_is_not_ordered_again() {
        let mut story = Story::begun();
        story.find(10, State::Established, None);
        let mut rows = Rows::default();
        let (filter, sort) = (Filter::default(), Sort::default());
        rows.refresh(&View::live(&story.engine, story.now_ns), &filter, sort);
        let made = rows.made.clone();

        let later_ns = story.now_ns + 5 * NS_PER_S;
        rows.refresh(&View::live(&story.engine, later_ns), &filter, sort);
        assert_eq!(rows.made, made);

        story.find(1, State::Established, None);
        rows.refresh(&View::live(&story.engine, later_ns), &filter, sort);
        assert_eq!(rows.ids().len(), 11);
    }
}
