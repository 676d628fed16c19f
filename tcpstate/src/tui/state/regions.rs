//! Where the panels were drawn last: what a click of the mouse means.

use ratatui::layout::{Position, Rect};

use super::columns::Column;
use super::panel::Panel;

/// Where the panels were drawn last.
#[derive(Debug, Default)]
pub(crate) struct Regions {
    /// Panels that can be clicked.
    pub(crate) panels: Vec<(Panel, Rect)>,
    /// Columns of the socket table from left to right, and where each ends.
    pub(crate) columns: Vec<(Column, u16)>,
}

impl Regions {
    pub(crate) fn panel_at(&self, at: Position) -> Option<(Panel, Rect)> {
        let mut panels = self.panels.iter().copied();
        panels.find(|(_, area)| area.contains(at))
    }

    pub(crate) fn column_at(&self, x: u16) -> Option<Column> {
        let mut columns = self.columns.iter();
        columns.find(|(_, end)| x < *end).map(|(column, _)| *column)
    }
}
