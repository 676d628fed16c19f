//! Lists to pick from: columns and themes.

use crate::tui::app::App;
use crate::tui::draw::page::Page;
use crate::tui::theme::{Role, Theme};

/// Room for the mark and the name.
const NAME: usize = 22;

/// The columns: what is shown first, in its order.
pub(crate) fn columns(app: &App, width: usize) -> Page {
    let mut text = Page::new("columns of the socket table", width);
    for (at, column) in app.listed_columns().into_iter().enumerate() {
        let mark = if app.columns.contains(&column) {
            "[x]"
        } else {
            "[ ]"
        };
        let name = format!("{} {mark} {}", arrow(app, at), column.title());
        text.pair(NAME, &name, column.meaning(), role(app, at));
    }
    text
}

/// The themes; the screen shows the chosen one at once.
pub(crate) fn themes(app: &App, width: usize) -> Page {
    let mut text = Page::new("theme", width);
    for (at, theme) in Theme::ALL.into_iter().enumerate() {
        let meaning = match theme {
            Theme::Dark => "for dark backgrounds",
            Theme::Light => "for light backgrounds",
            Theme::HighContrast => "its own black background, bright colours",
            Theme::Mono => "no colour at all",
        };
        let name = format!("{} {}", arrow(app, at), theme.name());
        text.pair(NAME, &name, meaning, role(app, at));
    }
    text.blank();
    text.paragraph(
        "It stays until you quit; to keep it, write it into the configuration.",
        Role::Dim,
    );
    text
}

fn arrow(app: &App, at: usize) -> &'static str {
    if app.pick == at { "▸" } else { " " }
}

fn role(app: &App, at: usize) -> Role {
    if app.pick == at {
        Role::Selected
    } else {
        Role::Accent
    }
}
