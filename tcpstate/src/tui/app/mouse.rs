//! The mouse: a click chooses a row or a column, the wheel moves.

use crossterm::event::{MouseButton, MouseEvent, MouseEventKind};
use ratatui::layout::{Position, Rect};

use crate::engine::Engine;
use crate::tui::app::{App, Overlay, Panel};
use crate::tui::draw::sockets::column_at;
use crate::tui::state::view::View;

/// Rows that one notch of the wheel moves by.
const NOTCH: isize = 3;

impl App {
    /// Does what the mouse asks for.
    pub fn point(&mut self, event: MouseEvent, engine: &Engine) {
        let at = Position::new(event.column, event.row);
        match event.kind {
            MouseEventKind::ScrollUp => self.wheel(at, -NOTCH, engine),
            MouseEventKind::ScrollDown => self.wheel(at, NOTCH, engine),
            MouseEventKind::Down(MouseButton::Left) => self.click(at, engine),
            _ => {}
        }
    }

    fn wheel(&mut self, at: Position, by: isize, engine: &Engine) {
        if self.overlay == Overlay::None
            && let Some((panel, _)) = self.panel_at(at)
        {
            self.focus = panel;
        }
        self.step(by, engine);
    }

    fn click(&mut self, at: Position, engine: &Engine) {
        self.answer = None;
        if self.overlay != Overlay::None || self.draft.is_some() {
            return;
        }
        let Some((panel, area)) = self.panel_at(at) else {
            return;
        };
        let was_focused = self.focus == panel;
        self.focus = panel;
        let row = usize::from(at.y - area.y);
        let chosen = match panel {
            // Below the title and, in the table, the heads of the columns.
            Panel::Sockets if row == 1 => {
                let view = View::of(self.frozen.as_deref(), engine, self.now_ns);
                let column = column_at(&view, self, area, at.x);
                if let Some(column) = column {
                    self.sort_by(column);
                }
                return;
            }
            Panel::Sockets => row.checked_sub(2).map(|row| {
                let ids = self.rows.ids();
                self.socket.click(row, ids.len(), |at| ids[at])
            }),
            Panel::Stream => row.checked_sub(1).map(|row| {
                let lines = self.stream.lines();
                self.event.click(row, lines.len(), |at| lines[at])
            }),
            Panel::Ports => {
                let ports = &self.ports;
                Some(self.port.click(row, ports.len(), |at| ports[at]))
            }
            Panel::Banner => Some(true),
        };
        // A click on what was chosen already opens it.
        if was_focused && chosen == Some(true) {
            self.open_chosen(engine);
        }
    }

    fn panel_at(&self, at: Position) -> Option<(Panel, Rect)> {
        let plan = self.plan.as_ref()?;
        [
            (Panel::Ports, plan.ports),
            (Panel::Banner, plan.banner),
            (Panel::Sockets, plan.sockets),
            (Panel::Stream, plan.stream),
        ]
        .into_iter()
        .find(|(_, area)| area.contains(at))
    }
}
