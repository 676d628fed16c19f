//! The detail of a port, a socket, an event or a failure.

mod event;
mod failure;
mod holders;
mod life;
mod port;
mod socket;

use super::overlay::Text;
use crate::event::{KnownBy, Process};
use crate::tui::app::Subject;
use crate::tui::theme::Role;
use crate::tui::view::View;

/// `is_replay`: all of it is of another time.
pub(super) fn text(view: &View<'_>, subject: Subject, width: usize, is_replay: bool) -> Text {
    match subject {
        Subject::Port(key) => port::text(view, key, width),
        Subject::Socket(id) => socket::text(view, &id, width),
        Subject::Event(seq) => event::text(view, seq, width),
        Subject::Failure(seq) => failure::text(view, seq, width, is_replay),
    }
}

/// What is said of something that is not kept any more.
fn gone(what: &str, width: usize) -> Text {
    let mut text = Text::new(what, width);
    text.paragraph(
        &format!("This {what} is not remembered any more: only the latest are kept."),
        Role::Text,
    );
    text
}

/// A process: who, and what it was started as.
fn process(text: &mut Text, label: &str, process: &Process) {
    let who = format!("{process}, uid {} ({})", process.uid, known_by(process));
    text.field(label, &who, Role::Text);
    if let Some(argv) = &process.argv {
        text.field("", &argv.join(" "), Role::Dim);
    } else if let Some(exe) = &process.exe {
        text.field("", exe, Role::Dim);
    }
    if let Some(container) = process.in_container() {
        text.field("", &container.to_string(), Role::Dim);
    } else if let Some(cgroup) = &process.cgroup {
        text.field("", &format!("cgroup {cgroup}"), Role::Dim);
    }
}

/// How it is known that it was this one.
fn known_by(process: &Process) -> &'static str {
    match process.via {
        KnownBy::Syscall => "seen making the call",
        KnownBy::Tracked => "followed from an earlier call",
        KnownBy::Proc => "has the descriptor open (/proc)",
        KnownBy::Unknown => "not known how",
    }
}
