//! Which sockets the table shows, in which order.
//!
//! Sorting and filtering happen when the table, the filter or the order has
//! changed, and the more sockets there are the more seldom. A large table is
//! gone through in pieces, one a frame: no frame waits for all of it.

use std::collections::HashMap;

use foldhash::fast::FixedState;

use crate::event::State;
use crate::model::{PortKey, Socket, SocketId};
pub(crate) use crate::tui::state::columns::{Column, Sort};
use crate::tui::state::columns::{Key, sort_key};
use crate::tui::state::filter::Filter;
use crate::tui::state::view::View;
use crate::tui::units::{NS_PER_MS, NS_PER_S};

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

/// Sockets that are looked at in one frame; a few milliseconds.
const PIECE: usize = 22_000;

/// The rows of the socket table.
#[derive(Debug, Default)]
pub(crate) struct Rows {
    ids: Vec<SocketId>,
    matched: usize,
    held: HashMap<PortKey, Held, FixedState>,
    made: Option<Made>,
    search: Option<Search>,
    /// Room for the sockets of the next search: asking for it anew is what a
    /// search over a million of them spends most of its time with.
    room: Vec<SocketId>,
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

impl Made {
    fn of(view: &View<'_>, filter: &Filter, sort: Sort) -> Self {
        Self {
            next_seq: view.next_seq,
            at_ns: view.now_ns,
            total: view.total,
            is_frozen: view.is_frozen,
            filter: filter.clone(),
            sort,
        }
    }

    /// Whether rows that were made from this will do.
    fn will_do(&self, view: &View<'_>, filter: &Filter, sort: Sort) -> bool {
        let is_same_table = self.next_seq == view.next_seq
            && self.total == view.total
            && self.is_frozen == view.is_frozen;
        let is_fresh = view.now_ns.saturating_sub(self.at_ns) < min_interval_ns(self.total);
        self.answers(filter, sort) && (is_same_table || (is_fresh && !self.is_ahead_of(view)))
    }

    fn answers(&self, filter: &Filter, sort: Sort) -> bool {
        self.filter == *filter && self.sort == sort
    }

    /// Whether the view went back in time since.
    fn is_ahead_of(&self, view: &View<'_>) -> bool {
        view.next_seq < self.next_seq || view.now_ns < self.at_ns
    }
}

/// A table that is being gone through.
#[derive(Debug)]
struct Search {
    made: Made,
    /// Sockets that were there when it began.
    ids: Vec<SocketId>,
    next: usize,
    first: First,
    matched: usize,
    held: HashMap<PortKey, Held, FixedState>,
}

impl Rows {
    /// Makes the rows anew if they are out of date; of a large table, as much of
    /// that as one frame has time for.
    pub(crate) fn refresh(&mut self, view: &View<'_>, filter: &Filter, sort: Sort) {
        let is_of_use = |search: &Search| {
            search.made.answers(filter, sort)
                && search.made.is_frozen == view.is_frozen
                && !search.made.is_ahead_of(view)
        };
        if let Some(search) = self.search.take() {
            if is_of_use(&search) {
                self.go_on(search, view);
                return;
            }
            self.room = search.ids;
        }
        if let Some(made) = &self.made
            && made.will_do(view, filter, sort)
        {
            return;
        }
        let mut held = HashMap::default();
        held.extend(view.ports.iter().map(|(key, _)| (*key, Held::default())));
        let mut ids = std::mem::take(&mut self.room);
        ids.clear();
        ids.extend(view.table.ids());
        let search = Search {
            made: Made::of(view, filter, sort),
            ids,
            next: 0,
            first: First::default(),
            matched: 0,
            held,
        };
        self.go_on(search, view);
    }

    fn go_on(&mut self, mut search: Search, view: &View<'_>) {
        let end = search.ids.len().min(search.next + PIECE);
        for at in search.next..end {
            if let Some(socket) = view.table.get(&search.ids[at]) {
                search.look_at(socket);
            }
        }
        search.next = end;
        if end < search.ids.len() {
            self.search = Some(search);
            return;
        }
        self.matched = search.matched;
        self.held = search.held;
        self.ids = search.first.into_ids();
        self.made = Some(search.made);
        self.room = search.ids;
    }

    /// Whether the rows are about to change without any news.
    pub(crate) fn is_unfinished(&self) -> bool {
        self.search.is_some()
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

impl Search {
    fn look_at(&mut self, socket: &Socket) {
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
        if self.made.filter.matches_socket(socket) {
            self.matched += 1;
            let Sort {
                column,
                is_reversed,
            } = self.made.sort;
            let (high, low) = sort_key(column, socket);
            let key = if is_reversed {
                (!high, !low)
            } else {
                (high, low)
            };
            self.first.offer(key, socket);
        }
    }
}

/// The first [`MAX_ROWS`] of what is offered. Most of a large table is turned
/// away by one comparison.
#[derive(Debug, Default)]
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
        _ => 4 * NS_PER_S,
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
        let pieces = (count as usize).div_ceil(PIECE);
        for piece in 1..=pieces {
            rows.refresh(&view, &Filter::default(), sort);
            assert_eq!(rows.is_unfinished(), piece < pieces);
        }
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
    fn a_search_goes_on_while_the_table_changes_and_begins_anew_with_the_question() {
        let mut story = Story::begun();
        story.find(60_000, State::Established, None);
        let (filter, sort) = (Filter::default(), Sort::default());
        let mut rows = Rows::default();
        let mut refresh = |story: &Story, filter: &Filter| {
            let view = View::live(&story.engine, story.now_ns);
            rows.refresh(&view, filter, sort);
            (rows.is_unfinished(), rows.matched())
        };

        assert_eq!(refresh(&story, &filter), (true, 0));
        story.find(5, State::Established, None);
        assert_eq!(refresh(&story, &filter), (true, 0));
        assert_eq!(
            refresh(&story, &filter),
            (false, 60_000),
            "of its beginning"
        );

        let none = Filter::parse("state:listen").expect("a filter");
        for unfinished in [true, true, false] {
            let matched = if unfinished { 60_000 } else { 0 };
            assert_eq!(refresh(&story, &none), (unfinished, matched));
        }
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
