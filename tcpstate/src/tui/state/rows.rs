//! Which sockets the table shows, in which order.
//!
//! Sorting and filtering happen when the table, the filter or the order has
//! changed, and the more sockets there are the more seldom. A large table is
//! scanned in pieces, one a frame: no frame waits for all of it.

use std::collections::HashMap;

use foldhash::fast::FixedState;

use crate::model::{PortKey, Socket, SocketId};
use crate::tui::state::columns::{Sort, SortKey, sort_key};
use crate::tui::state::filter::Filter;
use crate::tui::state::list::Items;
use crate::tui::state::view::View;
use crate::units::{NS_PER_MS, NS_PER_S};

/// Rows that can be scrolled to. Nobody reads further; a filter or the reversed
/// order brings the rest within reach.
pub(crate) const MAX_ROWS: usize = 10_000;

/// The sockets of a port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct PortUsage {
    /// All of them.
    pub(crate) sockets: u32,
    /// Those with a timer.
    pub(crate) timers: u32,
    /// When the last of them ends.
    pub(crate) until_ns: u64,
}

/// Sockets that are scanned in one frame; a few milliseconds.
const PIECE: usize = 22_000;

/// The rows of the socket table.
#[derive(Debug, Default)]
pub(crate) struct Rows {
    ids: Vec<SocketId>,
    matched: usize,
    usage: HashMap<PortKey, PortUsage, FixedState>,
    built: Option<BuiltFrom>,
    scan: Option<Scan>,
    /// Memory for the sockets of the next scan: allocating it is what a
    /// scan over a million of them spends most of its time with.
    spare: Vec<SocketId>,
}

/// What the rows were built from.
#[derive(Clone, Debug, PartialEq)]
struct BuiltFrom {
    next_seq: u64,
    at_ns: u64,
    total: usize,
    is_frozen: bool,
    filter: Filter,
    sort: Sort,
}

impl BuiltFrom {
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

    /// Whether rows that were built from this will do.
    fn is_current(&self, view: &View<'_>, filter: &Filter, sort: Sort) -> bool {
        let is_same_table = self.next_seq == view.next_seq
            && self.total == view.total
            && self.is_frozen == view.is_frozen;
        let is_fresh = view.now_ns.saturating_sub(self.at_ns) < min_interval_ns(self.total);
        self.matches(filter, sort) && (is_same_table || (is_fresh && !self.is_ahead_of(view)))
    }

    fn matches(&self, filter: &Filter, sort: Sort) -> bool {
        self.filter == *filter && self.sort == sort
    }

    /// Whether the view went back in time since.
    fn is_ahead_of(&self, view: &View<'_>) -> bool {
        view.next_seq < self.next_seq || view.now_ns < self.at_ns
    }
}

/// A table that is being gone through.
#[derive(Debug)]
struct Scan {
    built: BuiltFrom,
    /// Sockets that were there when it began.
    ids: Vec<SocketId>,
    next: usize,
    first: TopRows,
    matched: usize,
    usage: HashMap<PortKey, PortUsage, FixedState>,
}

impl Rows {
    /// Updates the rows if they are out of date; of a large table, as much of
    /// that as one frame has time for.
    pub(crate) fn refresh(&mut self, view: &View<'_>, filter: &Filter, sort: Sort) {
        let is_of_use = |scan: &Scan| {
            scan.built.matches(filter, sort)
                && scan.built.is_frozen == view.is_frozen
                && !scan.built.is_ahead_of(view)
        };
        if let Some(scan) = self.scan.take() {
            if is_of_use(&scan) {
                self.continue_scan(scan, view);
                return;
            }
            self.spare = scan.ids;
        }
        if let Some(built) = &self.built
            && built.is_current(view, filter, sort)
        {
            return;
        }
        let mut usage = HashMap::default();
        usage.extend(
            view.ports
                .iter()
                .map(|(key, _)| (*key, PortUsage::default())),
        );
        let mut ids = std::mem::take(&mut self.spare);
        ids.clear();
        ids.extend(view.table.ids());
        let scan = Scan {
            built: BuiltFrom::of(view, filter, sort),
            ids,
            next: 0,
            first: TopRows::default(),
            matched: 0,
            usage,
        };
        self.continue_scan(scan, view);
    }

    fn continue_scan(&mut self, mut scan: Scan, view: &View<'_>) {
        let end = scan.ids.len().min(scan.next + PIECE);
        for at in scan.next..end {
            if let Some(socket) = view.table.get(&scan.ids[at]) {
                scan.visit(socket);
            }
        }
        scan.next = end;
        if end < scan.ids.len() {
            self.scan = Some(scan);
            return;
        }
        self.matched = scan.matched;
        self.usage = scan.usage;
        self.ids = scan.first.into_ids();
        self.built = Some(scan.built);
        self.spare = scan.ids;
    }

    /// Whether the rows are about to change without any event.
    pub(crate) fn is_unfinished(&self) -> bool {
        self.scan.is_some()
    }

    /// The rows, first to last.
    pub(crate) fn ids(&self) -> &[SocketId] {
        &self.ids
    }

    /// Sockets that the filter lets through, shown or not.
    pub(crate) fn matched(&self) -> usize {
        self.matched
    }

    /// What is on the port, if it has a scenario.
    pub(crate) fn usage(&self, key: PortKey) -> Option<PortUsage> {
        self.usage.get(&key).copied()
    }
}

impl Items for Rows {
    type Key = SocketId;

    fn len(&self) -> usize {
        self.ids.len()
    }

    fn key(&self, at: usize) -> SocketId {
        self.ids[at]
    }
}

impl Scan {
    fn visit(&mut self, socket: &Socket) {
        let key = PortKey {
            port: socket.local.port,
            netns: socket.sock.netns,
        };
        if let Some(usage) = self.usage.get_mut(&key) {
            usage.sockets += 1;
            if let Some(until_ns) = socket.expires_at_ns {
                usage.timers += 1;
                usage.until_ns = usage.until_ns.max(until_ns);
            }
        }
        if self.built.filter.matches_socket(socket) {
            self.matched += 1;
            let Sort {
                column,
                is_reversed,
            } = self.built.sort;
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
struct TopRows {
    rows: Vec<(SortKey, SocketId)>,
    /// No row from here on can be among the first.
    bound: Option<SortKey>,
}

impl TopRows {
    fn offer(&mut self, key: SortKey, socket: &Socket) {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::State;
    use crate::tui::screens::scenario::{PORT, Scenario};
    use crate::tui::state::columns::Column;

    fn ports(sort: Sort, count: u32) -> Vec<u16> {
        let mut scenario = Scenario::begun();
        scenario.find(count, State::Established, None);
        let view = View::live(&scenario.engine, scenario.now_ns);
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
        let mut scenario = Scenario::begun();
        scenario.find(60_000, State::Established, None);
        let (filter, sort) = (Filter::default(), Sort::default());
        let mut rows = Rows::default();
        let mut refresh = |scenario: &Scenario, filter: &Filter| {
            let view = View::live(&scenario.engine, scenario.now_ns);
            rows.refresh(&view, filter, sort);
            (rows.is_unfinished(), rows.matched())
        };

        assert_eq!(refresh(&scenario, &filter), (true, 0));
        scenario.find(5, State::Established, None);
        assert_eq!(refresh(&scenario, &filter), (true, 0));
        assert_eq!(
            refresh(&scenario, &filter),
            (false, 60_000),
            "of its beginning"
        );

        let none = Filter::parse("state:listen").expect("a filter");
        for unfinished in [true, true, false] {
            let matched = if unfinished { 60_000 } else { 0 };
            assert_eq!(refresh(&scenario, &none), (unfinished, matched));
        }
    }

    #[test]
    fn an_unchanged_table_is_not_ordered_again() {
        let mut scenario = Scenario::begun();
        scenario.find(10, State::Established, None);
        let mut rows = Rows::default();
        let (filter, sort) = (Filter::default(), Sort::default());
        rows.refresh(
            &View::live(&scenario.engine, scenario.now_ns),
            &filter,
            sort,
        );
        let built = rows.built.clone();

        let later_ns = scenario.now_ns + 5 * NS_PER_S;
        rows.refresh(&View::live(&scenario.engine, later_ns), &filter, sort);
        assert_eq!(rows.built, built);

        scenario.find(1, State::Established, None);
        rows.refresh(&View::live(&scenario.engine, later_ns), &filter, sort);
        assert_eq!(rows.ids().len(), 11);
    }
}
