//! What frees a port, as `release` says it.

use crate::tui::draw::page::Page;
use crate::tui::state::release::{Freeing, Stage};
use crate::tui::theme::Tone;

pub(crate) fn text(freeing: &Freeing, width: usize) -> Page {
    let Freeing::Asked(release) = freeing else {
        return Page::new("release", width);
    };
    let mut page = Page::new(format!("release :{}", release.port), width);
    for line in release.text.lines() {
        let text = line.trim_start();
        if text.is_empty() {
            page.blank();
        } else {
            page.indented(line.len() - text.len(), text, Tone::Text);
        }
    }
    if release.stage == Stage::Working {
        page.paragraph("…", Tone::Dim);
    }
    page
}
