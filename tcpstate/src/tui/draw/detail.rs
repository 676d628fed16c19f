//! The detail of a port, a socket, an event or a failure.

mod event;
mod failure;
mod holders;
mod life;
mod parts;
mod port;
mod segments;
mod socket;

use crate::tui::draw::page::Page;
use crate::tui::state::panel::Subject;
use crate::tui::state::view::View;

/// `is_replay`: all of it is of another time.
pub(crate) fn text(view: &View<'_>, subject: Subject, width: usize, is_replay: bool) -> Page {
    match subject {
        Subject::Port(key) => port::text(view, key, width),
        Subject::Socket(id) => socket::text(view, &id, width),
        Subject::Event(seq) => event::text(view, seq, width),
        Subject::Failure(seq) => failure::text(view, seq, width, is_replay),
    }
}
