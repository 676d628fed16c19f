//! The bar of a replay: where we are, how fast, and what is worth a jump.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use crate::tui::draw::screen::Screen;
use crate::tui::state::replay::{MarkKind, ReplayPosition};
use crate::tui::theme::Tone;
use crate::tui::units;

/// Draws into the last row of the area.
pub(crate) fn draw(buf: &mut Buffer, area: Rect, screen: &Screen<'_>, position: &ReplayPosition) {
    let row = area.height.saturating_sub(1);
    let mut pen = screen.pen(buf, area, row);
    // Before the first event the engine knows no header.
    let clock = position.clock.as_ref().or(screen.view.anchor());
    let state = match (position.seeking, position.is_playing) {
        // A place that was not read yet: the other end says how long.
        _ if position.is_waiting => "…     ".to_owned(),
        (Some(percent), _) => format!("… {percent:>2} %"),
        (None, true) => format!("▶ {}", position.speed),
        (None, false) => format!("‖ {}", position.speed),
    };
    let counter = format!(
        "{} of {}",
        units::count(position.event),
        units::count(position.events)
    );
    let end = match position.reading {
        Some(percent) => format!("reading {percent:>2} %"),
        None => units::time_of_day(clock, position.last_ns),
    };
    pen.skip(1)
        .keep_right(1)
        .at_right(&counter, Tone::Text)
        .at_right("  ", Tone::Dim)
        .at_right(&end, Tone::Dim)
        .at_right(" ", Tone::Dim);
    pen.put(&state, Tone::Strong)
        .skip(2)
        .put(&units::time_of_day(clock, position.now_ns), Tone::Strong)
        .skip(1);
    let width = pen.room();
    for cell in bar(position, width) {
        let (symbol, tone) = match cell {
            BarCell::Here => ("◆", Tone::Accent),
            BarCell::Mark(MarkKind::Failure) => ("!", Tone::Bad),
            BarCell::Mark(MarkKind::Restart) => ("R", Tone::Good),
            BarCell::Past => ("━", Tone::Accent),
            BarCell::Future => ("─", Tone::Dim),
        };
        pen.put(symbol, tone);
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum BarCell {
    Past,
    Future,
    Mark(MarkKind),
    Here,
}

/// One cell per column. A failure is shown rather than a restart where both fall
/// into one, and where we are rather than either.
fn bar(position: &ReplayPosition, width: usize) -> Vec<BarCell> {
    let length_ns = position.last_ns.saturating_sub(position.first_ns).max(1);
    let last = width.saturating_sub(1);
    let column = |mono_ns: u64| {
        let offset_ns = mono_ns.saturating_sub(position.first_ns).min(length_ns);
        let at = u128::from(offset_ns) * last as u128 / u128::from(length_ns);
        usize::try_from(at).unwrap_or(last)
    };
    let here = column(position.now_ns);
    let mut cells: Vec<BarCell> = (0..width)
        .map(|at| {
            if at < here {
                BarCell::Past
            } else {
                BarCell::Future
            }
        })
        .collect();
    for mark in position.marks.iter() {
        if let Some(cell) = cells.get_mut(column(mark.mono_ns))
            && *cell != BarCell::Mark(MarkKind::Failure)
        {
            *cell = BarCell::Mark(mark.kind);
        }
    }
    if let Some(cell) = cells.get_mut(here) {
        *cell = BarCell::Here;
    }
    cells
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::tui::state::replay::Mark;

    #[test]
    fn the_bar_shows_past_marks_and_place() {
        let mark = |mono_ns, kind| Mark { mono_ns, kind };
        let mut position = ReplayPosition {
            is_playing: true,
            speed: "1×",
            event: 3,
            events: 9,
            now_ns: 150,
            clock: None,
            first_ns: 100,
            last_ns: 200,
            reading: None,
            is_waiting: false,
            seeking: None,
            marks: Arc::new([
                mark(120, MarkKind::Failure),
                mark(121, MarkKind::Restart),
                mark(200, MarkKind::Restart),
            ]),
        };

        assert_eq!(
            bar(&position, 11),
            [
                BarCell::Past,
                BarCell::Past,
                BarCell::Mark(MarkKind::Failure),
                BarCell::Past,
                BarCell::Past,
                BarCell::Here,
                BarCell::Future,
                BarCell::Future,
                BarCell::Future,
                BarCell::Future,
                BarCell::Mark(MarkKind::Restart),
            ]
        );
        assert_eq!(bar(&position, 0), []);
        position.last_ns = position.first_ns;
        assert_eq!(bar(&position, 2)[1], BarCell::Here);
    }
}
