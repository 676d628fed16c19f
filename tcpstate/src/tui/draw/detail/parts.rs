//! What several details have in common.

use crate::event::{KnownBy, Process};
use crate::tui::draw::page::Page;
use crate::tui::theme::Tone;

/// The page for something that is not kept any more.
pub(crate) fn gone(what: &str, width: usize) -> Page {
    let mut text = Page::new(what, width);
    text.paragraph(
        &format!("This {what} is not remembered any more: only the latest are kept."),
        Tone::Text,
    );
    text
}

/// A process: who, and what it was started as.
pub(crate) fn process(text: &mut Page, label: &str, process: &Process) {
    let who = format!("{process}, uid {} ({})", process.uid, known_by(process));
    text.field(label, &who, Tone::Text);
    if let Some(argv) = &process.argv {
        text.field("", &argv.join(" "), Tone::Dim);
    } else if let Some(exe) = &process.exe {
        text.field("", exe, Tone::Dim);
    }
    if let Some(container) = process.in_container() {
        text.field("", &container.to_string(), Tone::Dim);
    } else if let Some(cgroup) = &process.cgroup {
        text.field("", &format!("cgroup {cgroup}"), Tone::Dim);
    }
}

/// How it is known that it was this one.
pub(crate) fn known_by(process: &Process) -> &'static str {
    match process.via {
        KnownBy::Syscall => "seen making the call",
        KnownBy::Tracked => "followed from an earlier call",
        KnownBy::Proc => "has the descriptor open (/proc)",
        KnownBy::Unknown => "not known how",
    }
}
