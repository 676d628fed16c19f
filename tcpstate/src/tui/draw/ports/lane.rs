//! A port's last minutes, drawn: a row of cells and the time below it.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use crate::event::ClockAnchor;
use crate::tui::draw::ports::description::PortDescription;
use crate::tui::draw::ports::timeline::{Cell, Timeline};
use crate::tui::draw::screen::{Screen, Span};
use crate::tui::theme::Tone;
use crate::tui::units::{self, NS_PER_S};

/// Cells from one time of day to the next, at least.
const APART: u64 = 12;
/// Times of day that are easily read, in seconds.
const ROUND_S: [u64; 11] = [5, 10, 15, 30, 60, 120, 300, 600, 900, 1_800, 3_600];

/// The signs and what they mean, for the help.
pub(crate) fn legend() -> impl Iterator<Item = (&'static str, &'static str)> {
    [
        (Cell::Listening, "somebody listened"),
        (Cell::Down, "nobody listened any more"),
        (Cell::Failed, "a bind or listen failed"),
        (Cell::Back, "somebody listened again: a restart"),
        (Cell::Nobody, "nobody listened, and nobody had before"),
        (Cell::Held, "to come: closed connections hold the port"),
        (Cell::Free, "to come: the port is free from here on"),
    ]
    .into_iter()
    .map(|(cell, meaning)| (glyph(cell).0, meaning))
}

/// Draws the port's lane and, where the area has a second row, its times.
pub(crate) fn draw(buf: &mut Buffer, area: Rect, screen: &Screen<'_>, port: &PortDescription<'_>) {
    if area.height == 0 {
        return;
    }
    let width = usize::from(area.width).saturating_sub(2);
    for (row, line) in (0..area.height).zip(lines(port, width)) {
        let mut pen = screen.pen(buf, area, row);
        pen.skip(1);
        for (text, tone) in line {
            pen.put(&text, tone);
        }
    }
}

/// The port's lane and its times.
pub(crate) fn lines(port: &PortDescription<'_>, width: usize) -> [Vec<Span>; 2] {
    let timeline = port.timeline(width);
    let indent = " ".repeat(width - timeline.cells.len().min(width));
    let axis = axis(&timeline, port.view.anchor());
    let mut lane = vec![(indent.clone(), Tone::Dim)];
    lane.extend(row(&timeline, true));
    [lane, vec![(indent + &axis, Tone::Dim)]]
}

/// The cells as text; stretches that have room say what they are.
pub(crate) fn row(timeline: &Timeline, is_labelled: bool) -> Vec<Span> {
    let mut spans: Vec<Span> = Vec::new();
    let mut rest = timeline.cells.as_slice();
    while let Some(cell) = rest.first() {
        let length = rest.iter().take_while(|other| *other == cell).count();
        rest = &rest[length..];
        let (symbol, tone, name) = glyph(*cell);
        let taken = name.len() + 3;
        if is_labelled && !name.is_empty() && length > taken {
            spans.push((symbol.to_owned(), tone));
            spans.push((format!(" {name} "), Tone::Dim));
            spans.push((symbol.repeat(length - taken), tone));
        } else {
            spans.push((symbol.repeat(length), tone));
        }
    }
    spans
}

/// Symbol, meaning and name. No two symbols are alike: colour only helps.
fn glyph(cell: Cell) -> (&'static str, Tone, &'static str) {
    match cell {
        Cell::Unseen => (" ", Tone::Dim, "not watched"),
        Cell::Nobody => ("·", Tone::Dim, "nobody listens"),
        Cell::Listening => ("━", Tone::Good, "listening"),
        Cell::Down => ("╌", Tone::Bad, "down"),
        Cell::Failed => ("✖", Tone::Bad, ""),
        Cell::Back => ("▲", Tone::Good, ""),
        Cell::Held => ("┄", Tone::Warn, "held"),
        Cell::Free => ("◇", Tone::Good, ""),
        Cell::Future => (" ", Tone::Dim, ""),
    }
}

/// Times of day, the present, and when the port is free; `╵` points at the
/// cell that is meant.
fn axis(timeline: &Timeline, anchor: Option<&ClockAnchor>) -> String {
    let mut row = vec![' '; timeline.cells.len()];
    let free = timeline.cells.iter().position(|cell| *cell == Cell::Free);
    write(&mut row, timeline.now, "now");
    if let Some(free) = free {
        write(&mut row, free, "free");
    }
    let (Some(anchor), step_s) = (anchor, timeline.step_ns / NS_PER_S) else {
        return row.into_iter().collect();
    };
    let last = ROUND_S[ROUND_S.len() - 1];
    let round_s = ROUND_S
        .into_iter()
        .find(|round| round / step_s.max(1) >= APART)
        .unwrap_or(last);
    let time = |at: usize| {
        let cells = u64::try_from(at).unwrap_or(0);
        let after_ns = cells.saturating_mul(timeline.step_ns);
        timeline.from_ns.saturating_add(after_ns)
    };
    let cells = timeline.cells.iter();
    for at in 0..cells.take_while(|cell| **cell != Cell::Future).count() {
        let begins_s = anchor.realtime_ns(time(at)).div_ceil(NS_PER_S);
        let ends_s = anchor.realtime_ns(time(at + 1)).div_ceil(NS_PER_S);
        let round = begins_s.next_multiple_of(round_s);
        if round < ends_s {
            let in_ns = (round - begins_s + 1) * NS_PER_S - 1;
            let mut text = units::to_the_second(anchor, time(at).saturating_add(in_ns));
            if round_s >= 60 {
                text.truncate(5);
            }
            write(&mut row, at, &text);
        }
    }
    row.into_iter().collect()
}

/// Points at a cell with a text beside it, where there is room.
fn write(row: &mut [char], at: usize, text: &str) {
    let length = text.chars().count() + 1;
    let from = if at + length <= row.len() {
        at
    } else {
        (at + 1).saturating_sub(length)
    };
    let is_before = from < at;
    let taken = from.saturating_sub(1)..(from + length + 1).min(row.len());
    let is_free = row
        .get(taken)
        .is_some_and(|cells| cells.iter().all(|cell| *cell == ' '));
    if !is_free || from + length > row.len() {
        return;
    }
    let mut letters: Vec<char> = text.chars().collect();
    letters.insert(if is_before { letters.len() } else { 0 }, '╵');
    row[from..from + length].copy_from_slice(&letters);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timeline(cells: Vec<Cell>, now: usize) -> Timeline {
        Timeline {
            cells,
            from_ns: 100 * NS_PER_S,
            step_ns: NS_PER_S,
            now,
        }
    }

    #[test]
    fn long_stretches_have_names_and_every_cell_is_one_wide() {
        let mut cells = vec![Cell::Listening; 20];
        cells.extend([Cell::Down, Cell::Failed, Cell::Down, Cell::Held, Cell::Free]);

        let text: String = row(&timeline(cells.clone(), 22), true)
            .into_iter()
            .map(|(text, _)| text)
            .collect();

        assert_eq!(text, "━ listening ━━━━━━━━╌✖╌┄◇");
        assert_eq!(crate::tui::text::width_of(&text), cells.len());
    }

    #[test]
    fn the_axis_points_at_round_times_at_now_and_at_the_end() {
        let mut cells = vec![Cell::Listening; 32];
        cells.extend(vec![Cell::Held; 9]);
        cells.push(Cell::Free);
        let anchor = ClockAnchor {
            mono_ns: 100 * NS_PER_S,
            realtime: 1_795_000_000_000_000_000,
        };

        assert_eq!(
            axis(&timeline(cells, 31), Some(&anchor)),
            "     ╵11:06:45      ╵11:07:00  ╵now  free╵"
        );
    }

    #[test]
    fn what_has_no_room_is_left_out() {
        let mut row = vec![' '; 8];
        write(&mut row, 7, "now");
        write(&mut row, 3, "free");
        write(&mut row, 100, "x");

        assert_eq!(row.iter().collect::<String>(), "    now╵");
    }
}
