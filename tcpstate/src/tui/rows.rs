//! Which sockets the table shows, in which order.
//!
//! Sorting and filtering happen when the table, the filter or the order has
//! changed, and the more sockets there are the more seldom; never per frame.

use std::collections::HashMap;

use foldhash::fast::FixedState;

pub use super::columns::{Column, Sort};
use super::columns::{Key, sort_key};
use super::filter::Filter;
use super::units::{NS_PER_MS, NS_PER_S};
use super::view::View;
use crate::event::State;
use crate::model::{PortKey, Socket, SocketId};

/// Rows that can be scrolled to. Nobody reads further; a filter or the reversed
/// order brings the rest within reach.
pub(crate) const MAX_ROWS: usize = 10_000;

/// The sockets of a port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Held {
    /// All of them.
    pub(crate) sockets: u32,
    /// Those with a timer.
    pub(crate) timers: u32,
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
            self.note_holder(socket);
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
        self.ids = first.into_ids();
    }

    fn note_holder(&mut self, socket: &Socket) {
        let key = PortKey {
            port: socket.local.port,
            netns: socket.sock.netns,
        };
        if let Some(held) = self.held.get_mut(&key) {
            held.sockets += 1;
            if let Some(until_ns) = socket.expires_at_ns {
                held.timers += 1;
                held.until_ns = held.until_ns.max(until_ns);
            }
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

    /// What is on the port, if it has a story.
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
