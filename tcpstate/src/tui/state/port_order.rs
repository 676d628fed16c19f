//! Which ports have a line of their own, in which order: the failing first, then
//! the busiest.

use std::cmp::Reverse;

use crate::model::{Phase, PortHistory, PortKey};
use crate::tui::state::rows::Rows;
use crate::tui::state::view::View;

/// The ports that have a line, the failing first, then the busiest.
pub(crate) fn port_order(view: &View<'_>, rows: &Rows) -> Vec<PortKey> {
    let watched = view
        .header()
        .map_or(&[][..], |header| header.filters.ports.as_slice());
    let is_watched = |port: u16| {
        watched.is_empty()
            || watched
                .iter()
                .any(|[first, last]| (*first..=*last).contains(&port))
    };
    let mut order: Vec<(u8, Reverse<u32>, PortKey)> = view
        .ports
        .iter()
        .filter(|(key, scenario)| is_watched(key.port) && has_history(scenario))
        .map(|(key, scenario)| (rank(scenario), Reverse(activity(rows, *key)), *key))
        .collect();
    order.sort_unstable();
    order.into_iter().map(|(.., key)| key).collect()
}

/// How busy a port is, roughly: lines that change places with every connection
/// cannot be read.
fn activity(rows: &Rows, key: PortKey) -> u32 {
    let sockets = rows.usage(key).map_or(0, |held| held.sockets);
    (sockets / 8)
        .checked_ilog2()
        .map_or(0, |magnitude| magnitude + 1)
}

/// A port that was only bound, as every outgoing connection's is, has no scenario.
fn has_history(scenario: &PortHistory) -> bool {
    scenario.phase != Phase::NeverListened || scenario.failed_total > 0
}

fn rank(scenario: &PortHistory) -> u8 {
    match &scenario.phase {
        Phase::Down { .. } if scenario.failed_since_down > 0 => 0,
        Phase::NeverListened => 1,
        Phase::Listening { since_ns, .. }
            if scenario.last_failure.is_some_and(|(_, at)| at > *since_ns) =>
        {
            2
        }
        Phase::Down { .. } => 3,
        Phase::Listening { .. } => 4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tui::screens::scenario::{Scenario, process};
    use crate::tui::state::columns::Sort;
    use crate::tui::state::filter::Filter;

    #[test]
    fn the_failing_come_first_then_the_busiest() {
        let mut scenario = Scenario::watching(vec![]);
        let server = process("server", 1);
        for port in [22, 80, 443, 8080] {
            let listener = scenario.listen(port, &server);
            let clients = if port == 443 { 100 } else { 1 };
            for client in 0..clients {
                scenario.accept(listener, port, 40_000 + client);
            }
        }
        scenario.wait_ms(1_000);
        scenario.bind_fails(8080, &server, vec![]);

        let view = View::live(&scenario.engine, scenario.now_ns);
        let mut rows = Rows::default();
        rows.refresh(&view, &Filter::default(), Sort::default());

        let order = port_order(&view, &rows);
        let ports: Vec<u16> = order.iter().map(|key| key.port).collect();
        assert_eq!(ports, [8080, 443, 22, 80]);
    }
}
