//! How the dashboard looks: what the configuration and the pickers set.

use super::columns::{Column, Sort};
use crate::tui::theme::{ColorDepth, Theme};

/// How the dashboard looks.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) theme: Theme,
    pub(crate) depth: ColorDepth,
    /// Whether the terminal sends us the mouse.
    pub(crate) is_mouse_on: bool,
    /// Columns of the socket table, from left to right; never none.
    pub(crate) columns: Vec<Column>,
    pub(crate) sort: Sort,
}

impl Settings {
    /// All columns in the order of the picker: the shown ones as they stand.
    pub(crate) fn listed_columns(&self) -> Vec<Column> {
        let hidden = Column::ALL
            .into_iter()
            .filter(|column| !self.columns.contains(column));
        self.columns.iter().copied().chain(hidden).collect()
    }

    /// Sorts by the next column that is shown, or the one before.
    pub(crate) fn sort_by_next(&mut self, is_right: bool) {
        let count = self.columns.len();
        let at = self.columns.iter().position(|of| *of == self.sort.column);
        let next = match at {
            Some(at) if is_right => (at + 1) % count,
            Some(at) => (at + count - 1) % count,
            None => 0,
        };
        self.sort.column = self.columns[next];
    }

    /// Sorts by this column; if that is so already, the other way round.
    pub(crate) fn sort_by(&mut self, column: Column) {
        if self.sort.column == column {
            self.sort.is_reversed = !self.sort.is_reversed;
        } else {
            self.sort.column = column;
        }
    }

    /// Shows or hides a column. `false`: it is the only one.
    pub(crate) fn toggle_column(&mut self, column: Column) -> bool {
        match self.columns.iter().position(|shown| *shown == column) {
            Some(_) if self.columns.len() == 1 => return false,
            Some(at) => {
                self.columns.remove(at);
                if self.sort.column == column {
                    self.sort.column = self.columns[0];
                }
            }
            None => self.columns.push(column),
        }
        true
    }
}
