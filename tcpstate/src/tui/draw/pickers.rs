//! Lists to pick from: columns and themes.

use crate::tui::draw::page::Page;
use crate::tui::state::settings::Settings;
use crate::tui::theme::{Theme, Tone};

/// Room for the mark and the name.
const NAME: usize = 22;

/// The columns: what is shown first, in its order.
pub(crate) fn columns(settings: &Settings, chosen: usize, width: usize) -> Page {
    let mut text = Page::new("columns of the socket table", width);
    for (at, column) in settings.listed_columns().into_iter().enumerate() {
        let mark = if settings.columns.contains(&column) {
            "[x]"
        } else {
            "[ ]"
        };
        let name = format!("{} {mark} {}", arrow(chosen == at), column.title());
        text.pair(NAME, &name, column.meaning(), tone(chosen == at));
    }
    text
}

/// The themes; the screen shows the chosen one at once.
pub(crate) fn themes(chosen: usize, width: usize) -> Page {
    let mut text = Page::new("theme", width);
    for (at, theme) in Theme::ALL.into_iter().enumerate() {
        let meaning = match theme {
            Theme::Dark => "for dark backgrounds",
            Theme::Light => "for light backgrounds",
            Theme::HighContrast => "its own black background, bright colours",
            Theme::Mono => "no colour at all",
        };
        let name = format!("{} {}", arrow(chosen == at), theme.name());
        text.pair(NAME, &name, meaning, tone(chosen == at));
    }
    text.blank();
    text.paragraph(
        "It stays until you quit; to keep it, write it into the configuration.",
        Tone::Dim,
    );
    text
}

fn arrow(is_chosen: bool) -> &'static str {
    if is_chosen { "▸" } else { " " }
}

fn tone(is_chosen: bool) -> Tone {
    if is_chosen {
        Tone::Selected
    } else {
        Tone::Accent
    }
}
