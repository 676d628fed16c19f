//! The restarts of a test: how each came out, the latest last.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use crate::event::RestartOutcome;
use crate::export::restart_test as export;
use crate::tui::draw::screen::Screen;
use crate::tui::state::rounds::{CurrentRound, Entry, Rounds};
use crate::tui::theme::Tone;

/// Width of way and number: the longest way, and two numbers of two digits.
const LABEL: usize = 29;
/// Height of a terminal that nobody has enlarged.
const USUAL: u16 = 24;
/// From here on, there is room for all ways.
const TALL: u16 = 30;

/// Lines of the panel on a screen of this height: its title and the latest rounds.
pub(crate) fn height(rounds: &Rounds, screen: u16) -> u16 {
    let room = match screen {
        ..USUAL => 2,
        USUAL..TALL => 3,
        _ => 8,
    };
    1 + u16::try_from(rounds.planned())
        .unwrap_or(u16::MAX)
        .min(room)
}

pub(crate) fn draw(buf: &mut Buffer, area: Rect, screen: &Screen<'_>, rounds: &Rounds) {
    screen.title(buf, area, false, "restarts", &progress(rounds));
    let entries = rounds.entries();
    let room = usize::from(area.height.saturating_sub(1));
    let hidden = entries.len().saturating_sub(room);
    for (row, entry) in (1..).zip(entries.into_iter().skip(hidden)) {
        draw_entry(buf, area, row, screen, rounds, entry);
    }
}

/// Where the test is; in the end its verdict.
fn progress(rounds: &Rounds) -> String {
    let test = &rounds.test;
    if rounds.current.is_none() {
        return format!("{}: {}", test.verdict.name(), export::sentence(test));
    }
    let times = usize::try_from(rounds.times).unwrap_or(usize::MAX);
    let over = test.rounds.len() + test.skipped.len().saturating_mul(times);
    format!("{over} of {} are over", rounds.planned())
}

fn draw_entry(
    buf: &mut Buffer,
    area: Rect,
    row: u16,
    screen: &Screen<'_>,
    rounds: &Rounds,
    entry: Entry<'_>,
) {
    let mut pen = screen.pen(buf, area, row);
    let label = |way: &str, number: u32| format!("{way} {number} of {}", rounds.times);
    pen.skip(1);
    match entry {
        Entry::Current(CurrentRound { way, number }) => {
            pen.column(2, "▶", Tone::Accent)
                .column(LABEL, &label(way.name(), number), Tone::Strong)
                .put("goes on", Tone::Accent);
        }
        Entry::Skipped(skipped) => {
            pen.column(2, "·", Tone::Dim)
                .column(LABEL, skipped.way.name(), Tone::Text)
                .put("not tried: ", Tone::Dim)
                .put(&skipped.why, Tone::Dim);
        }
        Entry::Round(round) => {
            let (mark, tone) = match round.outcome {
                RestartOutcome::AtOnce => ("✔", Tone::Good),
                RestartOutcome::Waits => ("!", Tone::Warn),
                RestartOutcome::Fails => ("✖", Tone::Bad),
                RestartOutcome::Unknown => ("?", Tone::Warn),
            };
            pen.column(2, mark, tone)
                .column(LABEL, &label(round.way.name(), round.number), Tone::Text)
                .column(8, export::says(round.outcome), tone)
                .column_right(8, &export::downtime(round), Tone::Text)
                .put(&format!("  {} refused", round.refused), Tone::Text)
                .put(&format!("  {} reset", round.reset), Tone::Text);
            if let Some(diagnosis) = &round.diagnosis {
                pen.put("  ", Tone::Dim).put(diagnosis.cause.name(), tone);
            } else if let Some(note) = round.notes.last() {
                pen.put("  ", Tone::Dim).put(note, Tone::Dim);
            }
        }
    }
}
