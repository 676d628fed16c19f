//! The mouse: a click chooses a row or a column, the wheel moves.

use crossterm::event::{MouseButton, MouseEvent, MouseEventKind};
use ratatui::layout::Position;

use super::navigate;
use crate::tui::state::UiState;
use crate::tui::state::panel::Panel;
use crate::tui::state::view::View;

/// Rows that one notch of the wheel moves by.
const NOTCH: isize = 3;

/// Does what the mouse asks for.
pub(crate) fn point(state: &mut UiState, view: &View<'_>, event: MouseEvent) {
    let at = Position::new(event.column, event.row);
    match event.kind {
        MouseEventKind::ScrollUp => wheel(state, view, at, -NOTCH),
        MouseEventKind::ScrollDown => wheel(state, view, at, NOTCH),
        MouseEventKind::Down(MouseButton::Left) => click(state, view, at),
        _ => {}
    }
}

fn wheel(state: &mut UiState, view: &View<'_>, at: Position, by: isize) {
    if state.overlay.is_none()
        && let Some((panel, _)) = state.regions.panel_at(at)
    {
        state.focus = panel;
    }
    navigate::step(state, view, by);
}

fn click(state: &mut UiState, view: &View<'_>, at: Position) {
    state.reply = None;
    if state.overlay.is_some() || state.prompt.is_some() {
        return;
    }
    let Some((panel, area)) = state.regions.panel_at(at) else {
        return;
    };
    let was_focused = state.focus == panel;
    state.focus = panel;
    let row = usize::from(at.y - area.y);
    let was_chosen = match panel {
        // Below the title and, in the table, the heads of the columns.
        Panel::Sockets if row == 1 => {
            if let Some(column) = state.regions.column_at(at.x) {
                state.settings.sort_by(column);
            }
            return;
        }
        Panel::Sockets => row.checked_sub(2).map(|row| state.sockets.click(row)),
        Panel::Events => row.checked_sub(1).map(|row| state.events.click(row)),
        Panel::Ports => Some(state.ports.click(row)),
        Panel::Banner => Some(true),
    };
    // A click on what was chosen already opens it.
    if was_focused && was_chosen == Some(true) {
        navigate::open_chosen(state, view);
    }
}
