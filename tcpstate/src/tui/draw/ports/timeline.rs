//! The last minutes of a port as a row of cells: who had it when, what failed,
//! and what is to come.
//!
//! Pure: a scenario and the time in, cells out. Cells begin at whole multiples of
//! their length, so that the picture stands still while time goes on.

use crate::model::port::MAX_RESTARTS;
use crate::model::{Phase, PortHistory};
use crate::units::{NS_PER_MS, NS_PER_S};

/// Lengths of a cell, in seconds.
const STEPS_S: [u64; 10] = [1, 2, 5, 10, 15, 30, 60, 120, 300, 900];
/// What is shown at least, if there is a past.
const PAST_NS: u64 = 300 * NS_PER_S;

/// What there is to see in the time of one cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cell {
    /// Before our time.
    Unseen,
    /// Nobody listened, and nobody had before.
    Nobody,
    /// Somebody listened.
    Listening,
    /// Nobody listened any more.
    Down,
    /// A call failed.
    Failed,
    /// Somebody listened again.
    Back,
    /// Still to come, and the port is held.
    Held,
    /// Still to come, and the port is free from here on.
    Free,
    /// Still to come, and nothing is known of it.
    Future,
}

/// Cells of equal length, the oldest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Timeline {
    pub(crate) cells: Vec<Cell>,
    /// When the first cell begins.
    pub(crate) from_ns: u64,
    /// Length of a cell.
    pub(crate) step_ns: u64,
    /// The cell of the present.
    pub(crate) now: usize,
}

impl Timeline {
    /// The port's scenario in so many cells.
    pub(crate) fn of(history: &History<'_>, width: usize) -> Self {
        Self::from(history, history.wanted_from_ns(), width)
    }

    /// The same from a time on, so that several have the same scale.
    pub(crate) fn from(history: &History<'_>, begin_ns: u64, width: usize) -> Self {
        let History {
            scenario,
            now_ns,
            free_ns,
            ..
        } = *history;
        let stretches = history.stretches();
        let end_ns = free_ns.map_or(now_ns, |free_ns| free_ns.max(now_ns));
        let width = width.max(1);
        let step_ns = step_ns(end_ns.saturating_sub(begin_ns), width);
        let cells = u64::try_from(width).unwrap_or(u64::MAX);
        // Until there is enough of a past, the room is left to what will come.
        let seen = history.seen_from_ns.min(begin_ns).min(now_ns) / step_ns;
        let first = (end_ns / step_ns + 1).saturating_sub(cells).max(seen);
        let last = first.saturating_add(cells - 1);
        let mut timeline = Self {
            cells: Vec::with_capacity(width),
            from_ns: first.saturating_mul(step_ns),
            step_ns,
            now: usize::try_from((now_ns / step_ns).saturating_sub(first)).unwrap_or(0),
        };
        for cell in first..=last {
            let from_ns = cell.saturating_mul(step_ns);
            timeline.cells.push(if from_ns > now_ns {
                match free_ns.map(|free_ns| free_ns / step_ns) {
                    Some(free) if cell < free => Cell::Held,
                    Some(free) if cell == free => Cell::Free,
                    _ => Cell::Future,
                }
            } else {
                let until_ns = from_ns
                    .saturating_add(step_ns)
                    .min(now_ns.saturating_add(1));
                past(scenario, &stretches, from_ns, until_ns)
            });
        }
        timeline
    }
}

/// What a timeline is made from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct History<'a> {
    pub(crate) scenario: &'a PortHistory,
    /// When we began to watch.
    pub(crate) seen_from_ns: u64,
    pub(crate) now_ns: u64,
    /// When the last of what holds the port is gone.
    pub(crate) free_ns: Option<u64>,
}

/// From when on, and what.
type Stretch = (u64, Cell);

impl History<'_> {
    /// The port's life, oldest first.
    fn stretches(&self) -> Vec<Stretch> {
        let scenario = self.scenario;
        let mut stretches = vec![(0, Cell::Unseen)];
        let has_whole_past = scenario.restarts.len() < MAX_RESTARTS;
        if has_whole_past {
            if scenario.first_listened.is_none_or(|(_, is_known)| is_known) {
                stretches.push((self.seen_from_ns, Cell::Nobody));
            }
            let first = scenario.first_listened;
            stretches.extend(first.map(|(at_ns, _)| (at_ns, Cell::Listening)));
        }
        for (back_ns, restart) in &scenario.restarts {
            let down_ns = restart.downtime_ms.saturating_mul(NS_PER_MS);
            stretches.push((back_ns.saturating_sub(down_ns), Cell::Down));
            stretches.push((*back_ns, Cell::Listening));
        }
        if let Phase::Down { since_ns, .. } = scenario.phase {
            stretches.push((since_ns, Cell::Down));
        }
        stretches
    }

    /// From when on the scenario is shown: a downtime is shown whole, with
    /// a little of what was before.
    pub(crate) fn wanted_from_ns(&self) -> u64 {
        let first_ns = match self.scenario.first_listened {
            Some((at_ns, false)) => at_ns,
            _ => self.seen_from_ns,
        };
        let recent_ns = first_ns.max(self.now_ns.saturating_sub(PAST_NS));
        match self.scenario.phase {
            Phase::Down { since_ns, .. } => {
                let down_ns = self.now_ns.saturating_sub(since_ns);
                recent_ns.min(since_ns.saturating_sub(down_ns / 4))
            }
            _ => recent_ns,
        }
    }
}

fn step_ns(length_ns: u64, width: usize) -> u64 {
    let width = u64::try_from(width).unwrap_or(u64::MAX);
    let greatest = STEPS_S[STEPS_S.len() - 1];
    STEPS_S
        .into_iter()
        .find(|step| length_ns / (step * NS_PER_S) < width)
        .unwrap_or(greatest)
        * NS_PER_S
}

/// The most important of what happened in this time.
fn past(scenario: &PortHistory, stretches: &[Stretch], from_ns: u64, until_ns: u64) -> Cell {
    let is_within = |at_ns: u64| (from_ns..until_ns).contains(&at_ns);
    let failed_from = scenario
        .failed_seconds
        .partition_point(|second| (second + 1).saturating_mul(NS_PER_S) <= from_ns);
    if scenario
        .failed_seconds
        .get(failed_from)
        .is_some_and(|second| second * NS_PER_S < until_ns)
    {
        return Cell::Failed;
    }
    if scenario.restarts.iter().any(|(at_ns, _)| is_within(*at_ns)) {
        return Cell::Back;
    }
    let first = stretches
        .partition_point(|(at_ns, _)| *at_ns <= from_ns)
        .saturating_sub(1);
    let within = stretches[first..]
        .iter()
        .take_while(|(at_ns, _)| *at_ns < until_ns)
        .map(|(_, cell)| *cell);
    // A downtime that is shorter than a cell is seen all the same.
    let mut last = Cell::Unseen;
    for cell in within {
        if cell == Cell::Down {
            return cell;
        }
        last = cell;
    }
    last
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::PortKey;
    use crate::tui::screens::scenario::{self, NETNS, PORT, START_NS, Scenario, process};

    fn drawn(scenario: &Scenario, free_ns: Option<u64>, width: usize) -> (Timeline, String) {
        let key = PortKey {
            port: PORT,
            netns: NETNS,
        };
        let history = History {
            scenario: scenario
                .engine
                .ports()
                .get(&key)
                .expect("the port is known"),
            seen_from_ns: START_NS,
            now_ns: scenario.now_ns,
            free_ns,
        };
        let timeline = Timeline::of(&history, width);
        let letters = timeline.cells.iter().map(|cell| match cell {
            Cell::Unseen => ' ',
            Cell::Nobody => '.',
            Cell::Listening => 'L',
            Cell::Down => 'd',
            Cell::Failed => 'x',
            Cell::Back => 'R',
            Cell::Held => '-',
            Cell::Free => 'F',
            Cell::Future => '?',
        });
        let letters = letters.collect();
        (timeline, letters)
    }

    #[test]
    fn a_restart_is_told_from_left_to_right() {
        let mut scenario = Scenario::begun();
        let nginx = process("nginx", 1);
        scenario.wait_ms(2_000);
        let listener = scenario.listen(PORT, &nginx);
        scenario.wait_ms(4_000);
        scenario.stop_listening(listener, PORT, &nginx);
        scenario.wait_ms(3_000);
        scenario.bind_fails(PORT, &nginx, vec![]);
        scenario.wait_ms(2_000);

        let free_ns = Some(scenario.now_ns + 3 * NS_PER_S);
        let (timeline, letters) = drawn(&scenario, free_ns, 20);
        assert_eq!(letters, "..LLLLdddxdd--F?????");
        assert_eq!(timeline.now, 11);

        scenario.wait_ms(1_000);
        let later = drawn(&scenario, free_ns, 20).0;
        assert_eq!((later.from_ns, later.now), (timeline.from_ns, 12));

        scenario.listen(PORT, &nginx);
        scenario.wait_ms(2_000);
        assert_eq!(drawn(&scenario, None, 20).1, "..LLLLdddxddRLL?????");
    }

    #[test]
    fn a_cell_is_as_long_as_it_must_be() {
        let mut scenario = scenario::down();
        scenario.wait_ms(600_000);
        let (timeline, letters) = drawn(&scenario, None, 60);
        assert_eq!(timeline.step_ns, 15 * NS_PER_S);
        assert!(letters.contains("Lx"), "{letters}");
        assert!(letters.trim_end_matches('?').ends_with("ddd"), "{letters}");
        for width in 0..100 {
            assert_eq!(drawn(&scenario, None, width).0.cells.len(), width.max(1));
        }
    }

    #[test]
    fn a_short_downtime_is_seen_in_a_long_cell() {
        let mut scenario = Scenario::begun();
        let nginx = process("nginx", 1);
        let listener = scenario.listen(PORT, &nginx);
        scenario.wait_ms(100_000);
        scenario.stop_listening(listener, PORT, &nginx);
        scenario.wait_ms(40);
        scenario.listen(PORT, &nginx);
        scenario.wait_ms(200_000);

        let (timeline, letters) = drawn(&scenario, None, 20);
        assert_eq!(timeline.step_ns, 30 * NS_PER_S);
        assert_eq!(letters.matches('R').count(), 1, "{letters}");
    }
}
