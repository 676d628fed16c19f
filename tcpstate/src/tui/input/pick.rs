//! Lists to pick from: the columns of the socket table, the theme.

use crate::tui::state::UiState;
use crate::tui::state::columns::Column;
use crate::tui::state::overlay::Content;
use crate::tui::theme::Theme;

/// Moves in the open list. `false`: none is open.
pub(super) fn step(state: &mut UiState, by: isize) -> bool {
    let Some(overlay) = &mut state.overlay else {
        return false;
    };
    match &mut overlay.content {
        Content::Columns { chosen } => {
            let last = Column::ALL.len() - 1;
            *chosen = chosen.saturating_add_signed(by).min(last);
        }
        Content::Themes { chosen, .. } => {
            let last = Theme::ALL.len() - 1;
            *chosen = chosen.saturating_add_signed(by).min(last);
            // A theme is judged by looking at it.
            state.settings.theme = Theme::ALL[*chosen];
        }
        Content::Help | Content::Messages | Content::Release | Content::Detail(_) => {
            return false;
        }
    }
    true
}

/// Enter: shows or hides the column; takes the theme. `false`: no list is open.
pub(super) fn take(state: &mut UiState) -> bool {
    let Some(overlay) = &mut state.overlay else {
        return false;
    };
    match &mut overlay.content {
        Content::Columns { chosen } => {
            let Some(column) = state.settings.listed_columns().get(*chosen).copied() else {
                return true;
            };
            if state.settings.toggle_column(column) {
                let mut listed = state.settings.listed_columns().into_iter();
                *chosen = listed.position(|other| other == column).unwrap_or(0);
            } else {
                state.reply = Some("one column has to stay".to_owned());
            }
        }
        Content::Themes { chosen, .. } => {
            let theme = Theme::ALL[*chosen];
            state.settings.theme = theme;
            state.reply = Some(format!("theme {}", theme.name()));
            state.overlay = None;
        }
        Content::Help | Content::Messages | Content::Release | Content::Detail(_) => {
            return false;
        }
    }
    true
}

/// Left, right: moves the chosen column. `false`: no list is open.
pub(super) fn shift(state: &mut UiState, is_right: bool) -> bool {
    let Some(overlay) = &mut state.overlay else {
        return false;
    };
    match &mut overlay.content {
        Content::Columns { chosen } => {
            let columns = &mut state.settings.columns;
            let last = columns.len() - 1;
            if *chosen <= last {
                let to = if is_right {
                    (*chosen + 1).min(last)
                } else {
                    chosen.saturating_sub(1)
                };
                columns.swap(*chosen, to);
                *chosen = to;
            }
        }
        Content::Themes { .. } => {}
        Content::Help | Content::Messages | Content::Release | Content::Detail(_) => {
            return false;
        }
    }
    true
}
