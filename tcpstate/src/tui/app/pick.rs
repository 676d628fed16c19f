//! Lists to pick from: the columns of the socket table, the theme.

use crate::tui::app::{App, Overlay};
use crate::tui::state::columns::Column;
use crate::tui::theme::Theme;

impl App {
    pub(crate) fn open_columns(&mut self) {
        self.toggle(Overlay::Columns);
        self.pick = 0;
    }

    pub(crate) fn open_themes(&mut self) {
        self.theme_before = Some(self.theme);
        self.toggle(Overlay::Themes);
        let at = Theme::ALL.iter().position(|theme| *theme == self.theme);
        self.pick = at.unwrap_or(0);
    }

    /// All columns in the order of the list: the shown ones as they stand.
    pub(crate) fn listed_columns(&self) -> Vec<Column> {
        let hidden = Column::ALL
            .into_iter()
            .filter(|column| !self.columns.contains(column));
        self.columns.iter().copied().chain(hidden).collect()
    }

    pub(crate) fn step_pick(&mut self, by: isize) {
        let last = match self.overlay {
            Overlay::Columns => Column::ALL.len() - 1,
            _ => Theme::ALL.len() - 1,
        };
        self.pick = self.pick.saturating_add_signed(by).min(last);
        // A theme is judged by looking at it.
        if self.overlay == Overlay::Themes {
            self.theme = Theme::ALL[self.pick];
        }
    }

    /// Enter: shows or hides the column; takes the theme.
    pub(crate) fn take_pick(&mut self) {
        if self.overlay == Overlay::Themes {
            self.theme = Theme::ALL[self.pick];
            self.answer = Some(format!("theme {}", self.theme.name()));
            self.open(Overlay::None);
            return;
        }
        let Some(column) = self.listed_columns().get(self.pick).copied() else {
            return;
        };
        match self.columns.iter().position(|shown| *shown == column) {
            Some(_) if self.columns.len() == 1 => {
                self.answer = Some("one column has to stay".to_owned());
            }
            Some(at) => {
                self.columns.remove(at);
                if self.sort.column == column {
                    self.sort.column = self.columns[0];
                }
                self.follow(column);
            }
            None => {
                self.columns.push(column);
                self.follow(column);
            }
        }
    }

    /// Left, right: the column's place.
    pub(crate) fn move_pick(&mut self, is_right: bool) {
        let last = self.columns.len() - 1;
        if self.overlay != Overlay::Columns || self.pick > last {
            return;
        }
        let to = if is_right {
            (self.pick + 1).min(last)
        } else {
            self.pick.saturating_sub(1)
        };
        self.columns.swap(self.pick, to);
        self.pick = to;
    }

    fn follow(&mut self, column: Column) {
        let at = self
            .listed_columns()
            .iter()
            .position(|other| *other == column);
        self.pick = at.unwrap_or(0);
    }
}
