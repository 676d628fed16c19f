//! States over time: a line per state, a column per second or more.

use std::fmt::Write as _;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use crate::event::State;
use crate::model::Sample;
use crate::tui::draw::phrases::state_name;
use crate::tui::draw::screen::Screen;
use crate::tui::state::columns::state_rank;
use crate::tui::theme::Tone;
use crate::tui::units;

/// Seconds that are shown at least.
const SECONDS: usize = 60;
/// Label of the row of failed calls.
const FAILED: &str = "failed";
const LEVELS: [&str; 8] = ["▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"];

pub(crate) fn draw(buf: &mut Buffer, area: Rect, screen: &Screen<'_>) {
    if area.height == 0 {
        return;
    }
    let width = usize::from(area.width);
    let all = screen.view.seconds(width.max(SECONDS));
    let has_failures = all.iter().any(|second| second.failures > 0);
    let room = usize::from(area.height.saturating_sub(1 + u16::from(has_failures)));
    let states = states_by_weight(&all);
    let hidden = states.len().saturating_sub(room);
    let mut shown: Vec<State> = states.into_iter().take(room).collect();
    shown.sort_by_key(|state| state_rank(*state));

    let label = shown.iter().map(|state| state.name().len()).max();
    let label = label.unwrap_or(0).max(FAILED.len()) + 1;
    let greatest = shown
        .iter()
        .map(|state| screen.view.counts[*state as usize]);
    let count = units::count(greatest.max().unwrap_or(0).into())
        .len()
        .max(3)
        + 1;
    let cells = width.saturating_sub(2 + label + count).max(1);
    let per_cell = SECONDS.div_ceil(cells);
    let seconds = screen.view.seconds(cells * per_cell);

    let mut title = format!("last {} s", cells * per_cell);
    if hidden > 0 {
        let _ = write!(
            title,
            " · {hidden} more {}",
            if hidden == 1 { "state" } else { "states" }
        );
    }
    screen.title(buf, area, false, "states", &title);
    if shown.is_empty() && !has_failures {
        screen
            .pen(buf, area, 1)
            .skip(1)
            .put("no sockets yet", Tone::Dim);
    }
    let mut rows = Vec::new();
    if has_failures {
        let failed = |second: &Sample| second.failures;
        let sum = seconds
            .iter()
            .map(|second| u64::from(second.failures))
            .sum();
        rows.push((
            FAILED.to_owned(),
            Tone::Bad,
            columns(&seconds, cells, per_cell, failed),
            sum,
        ));
    }
    for state in shown {
        let of_state = |second: &Sample| second.states[state as usize];
        rows.push((
            state_name(state),
            Tone::State(state),
            columns(&seconds, cells, per_cell, of_state),
            u64::from(screen.view.counts[state as usize]),
        ));
    }
    for (row, (name, tone, values, now)) in (1..).zip(rows) {
        let peak = values.iter().flatten().max().copied().unwrap_or(0);
        let mut pen = screen.pen(buf, area, row);
        pen.skip(1).column(label, &name, tone);
        for value in values {
            match value {
                None => pen.skip(1),
                Some(0) => pen.put("·", Tone::Dim),
                Some(_) if name == FAILED => pen.put("✖", tone),
                Some(value) => pen.put(level(value, peak), tone),
            };
        }
        pen.column_right(count, &units::count(now), Tone::Text);
    }
}

/// States that were there, those with most sockets first.
fn states_by_weight(seconds: &[Sample]) -> Vec<State> {
    let peak = |state: State| {
        seconds
            .iter()
            .map(|second| second.states[state as usize])
            .max()
            .unwrap_or(0)
    };
    let mut states: Vec<State> = State::ALL
        .into_iter()
        .filter(|state| peak(*state) > 0)
        .collect();
    states.sort_by_key(|state| {
        let is_small_print = !matches!(state, State::Listen | State::TimeWait | State::Established);
        (is_small_print, std::cmp::Reverse(peak(*state)))
    });
    states
}

/// One value per column, the newest at the right; `None`: before our time.
fn columns(
    seconds: &[Sample],
    cells: usize,
    per_cell: usize,
    value: impl Fn(&Sample) -> u32,
) -> Vec<Option<u32>> {
    let filled: Vec<Option<u32>> = seconds
        .rchunks(per_cell)
        .map(|chunk| chunk.iter().map(&value).max())
        .take(cells)
        .collect();
    std::iter::repeat_n(None, cells - filled.len())
        .chain(filled.into_iter().rev())
        .collect()
}

fn level(value: u32, peak: u32) -> &'static str {
    let step = u64::from(value) * (LEVELS.len() as u64) / u64::from(peak.max(1));
    let step = usize::try_from(step.saturating_sub(1)).unwrap_or(0);
    LEVELS[step.min(LEVELS.len() - 1)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_second_is_at_the_right() {
        let seconds: Vec<Sample> = (1..=5)
            .map(|events| Sample {
                events,
                ..Sample::default()
            })
            .collect();

        assert_eq!(
            columns(&seconds, 4, 2, |second| second.events),
            [None, Some(1), Some(3), Some(5)]
        );
    }

    #[test]
    fn one_is_seen_and_the_peak_is_full() {
        assert_eq!(level(1, 1_000), "▁");
        assert_eq!(level(1_000, 1_000), "█");
        assert_eq!(level(0, 0), "▁");
    }
}
