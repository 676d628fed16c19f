//! The text of a row of the socket table.

use std::borrow::Cow;

use crate::event::{KnownBy, State};
use crate::model::Socket;
use crate::tui::draw::phrases::age;
use crate::tui::state::UiState;
use crate::tui::state::columns::{Column, group_of, process_of};
use crate::tui::state::view::View;
use crate::tui::text::{fit, width_of};
use crate::tui::units::NS_PER_S;

/// A row's text.
pub(super) struct Row {
    pub(super) state: State,
    pub(super) is_gone: bool,
    pub(super) local: String,
    pub(super) peer: String,
    pub(super) owner: String,
    pub(super) age: String,
    pub(super) left: Option<Left>,
    /// What the added columns hold, in the order in which they are shown.
    pub(super) added: Vec<String>,
}

/// What is left of a timer.
pub(super) struct Left {
    pub(super) ns: u64,
    pub(super) whole_ns: u64,
}

/// The text of a socket's row.
pub(super) fn row(view: &View<'_>, state: &UiState, socket: &Socket) -> Row {
    Row {
        added: state
            .settings
            .columns
            .iter()
            .filter(|column| is_added(**column))
            .map(|column| added(*column, socket))
            .collect(),
        state: socket.state,
        is_gone: socket.state == State::Closed,
        local: socket.local.to_string(),
        peer: if socket.peer.port == 0 {
            "–".to_owned()
        } else {
            socket.peer.to_string()
        },
        owner: owner(socket),
        age: age(socket, view.now_ns),
        left: (socket.state != State::Closed)
            .then(|| socket.remaining_ns(view.now_ns))
            .flatten()
            .map(|ns| Left {
                ns,
                whole_ns: whole_ns(view, socket).max(ns),
            }),
    }
}

fn is_added(column: Column) -> bool {
    !Column::USUAL.contains(&column)
}

/// What a column holds that is not there from the beginning.
fn added(column: Column, socket: &Socket) -> String {
    let process = process_of(socket);
    let text = match column {
        Column::User => process.map(|process| process.uid.to_string()),
        Column::Group => process.map(|process| group_of(process).to_owned()),
        Column::Options => socket.reuse.map(|reuse| reuse.names().join(" ")),
        Column::Netns => Some(socket.sock.netns.to_string()),
        Column::Cookie => Some(socket.sock.cookie.to_string()).filter(|cookie| cookie != "0"),
        _ => None,
    };
    text.filter(|text| !text.is_empty())
        .unwrap_or_else(|| "–".to_owned())
}

/// Whose it is, and how that is known. A mini-socket is nobody's: it was left.
fn owner(socket: &Socket) -> String {
    if socket.is_mini {
        return match (&socket.left_by, &socket.owner) {
            (Some(process), _) => format!("left by {process}"),
            (None, Some(process)) => format!("once {process}"),
            (None, None) => "–".to_owned(),
        };
    }
    match &socket.owner {
        Some(process) => match process.via {
            KnownBy::Syscall | KnownBy::Tracked => process.to_string(),
            KnownBy::Proc => format!("{process} /proc"),
            KnownBy::Unknown => format!("{process} ?"),
        },
        None => "–".to_owned(),
    }
}

/// The owner in this width: the process's id is worth more than the words
/// around it, and more than the end of its name.
pub(super) fn short_owner(owner: &str, width: usize) -> Cow<'_, str> {
    if width_of(owner) <= width {
        return owner.into();
    }
    let owner = owner.strip_prefix("left ").unwrap_or(owner);
    let owner = owner.strip_suffix(" /proc").unwrap_or(owner);
    match owner.rfind('[') {
        Some(at) if width_of(owner) > width && width_of(&owner[at..]) + 4 < width => {
            let name = fit(&owner[..at], width - width_of(&owner[at..]));
            format!("{name}{}", &owner[at..]).into()
        }
        _ => owner.into(),
    }
}

/// How long such a timer runs.
fn whole_ns(view: &View<'_>, socket: &Socket) -> u64 {
    let seconds = match socket.state {
        // TCP_TIMEWAIT_LEN, a constant of the kernel.
        State::TimeWait => 60,
        _ => view
            .header()
            .and_then(|header| header.sysctls.tcp_fin_timeout)
            .unwrap_or(60),
    };
    seconds.saturating_mul(NS_PER_S).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_owner_keeps_its_process_id() {
        for (width, short) in [
            (24, "left by server-old[4711]"),
            (23, "by server-old[4711]"),
            (16, "by server…[4711]"),
            (8, "by server-old[4711]"),
        ] {
            assert_eq!(short_owner("left by server-old[4711]", width), short);
        }
        assert_eq!(short_owner("nginx[4711] /proc", 12), "nginx[4711]");
    }
}
