//! A socket's life, step by step, with the times between.

use super::super::banner::state_name;
use super::super::overlay::Text;
use super::super::sockets::age;
use super::{gone, process};
use crate::event::{Reuse, State};
use crate::model::{Origin, Socket, SocketId};
use crate::tui::theme::Role;
use crate::tui::units;
use crate::tui::view::View;
use crate::tui::words::meaning;

pub(super) fn text(view: &View<'_>, id: &SocketId, width: usize) -> Text {
    let Some(socket) = view.socket(id) else {
        return gone("socket", width);
    };
    let mut text = Text::new(format!("socket {}", ends(socket)), width);
    let state = format!(
        "{} for {}",
        state_name(socket.state),
        age(socket, view.now_ns)
    );
    text.field("state", &state, Role::State(socket.state));
    text.field("", meaning(socket.state), Role::Dim);
    if let Some(left_ns) = socket.remaining_ns(view.now_ns)
        && socket.state != State::Closed
    {
        let left = match left_ns {
            0 => "its timer has run out; the kernel lets go within a second or two".to_owned(),
            _ => format!(
                "in {}, if the peer sends nothing more",
                units::left(left_ns)
            ),
        };
        text.field("free", &left, Role::Warn);
    }
    if let Some(owner) = &socket.owner {
        let label = if socket.is_mini {
            "was owned by"
        } else {
            "owner"
        };
        process(&mut text, label, owner);
    } else {
        text.field("owner", "not known", Role::Dim);
    }
    if let Some(left_by) = &socket.left_by {
        process(&mut text, "closed by", left_by);
    }
    text.field("came about", origin(socket), Role::Text);
    text.field("options", &options(socket.reuse), Role::Text);
    text.field(
        "identity",
        &format!("cookie {}, netns {}", socket.sock.cookie, socket.sock.netns),
        Role::Dim,
    );
    timeline(&mut text, view, socket, None);
    text
}

/// The steps from top to bottom; one of them may be pointed at.
pub(super) fn timeline(text: &mut Text, view: &View<'_>, socket: &Socket, pointed: Option<u64>) {
    text.heading("life");
    let mut before: Option<u64> = None;
    for step in &socket.steps {
        if let Some(before_ns) = before {
            let between = units::between(step.mono_ns.saturating_sub(before_ns));
            text.line([
                (" ".repeat(14), Role::Dim),
                ("│ ".to_owned(), Role::Dim),
                (between, Role::Dim),
            ]);
        }
        before = Some(step.mono_ns);
        let time = units::time_of_day(view.anchor(), step.mono_ns);
        let mark = if pointed == Some(step.seq) {
            "◉"
        } else {
            "●"
        };
        let mut line = vec![
            (format!("{time:<14}"), Role::Dim),
            (format!("{mark} "), Role::State(step.state)),
            (
                format!("{:<13}", state_name(step.state)),
                Role::State(step.state),
            ),
            (format!("#{}", step.seq), Role::Dim),
        ];
        if step.state == State::FinWait1
            && let Some(left_by) = &socket.left_by
        {
            line.push((format!("  {left_by} closed first"), Role::Text));
        }
        if step.state == State::CloseWait {
            line.push(("  the peer closed first".to_owned(), Role::Text));
        }
        text.line(line);
    }
    if socket.state != State::Closed
        && let Some(before_ns) = before
    {
        let so_far = units::age(view.now_ns.saturating_sub(before_ns));
        text.line([
            (" ".repeat(14), Role::Dim),
            ("┊ ".to_owned(), Role::Dim),
            (format!("{so_far} so far"), Role::Dim),
        ]);
    }
}

fn ends(socket: &Socket) -> String {
    if socket.peer.port == 0 {
        socket.local.to_string()
    } else {
        format!("{} ↔ {}", socket.local, socket.peer)
    }
}

fn origin(socket: &Socket) -> &'static str {
    match socket.origin {
        Origin::Accepted => "accepted through a listening socket",
        Origin::Outgoing => "opened by connect",
        Origin::OutgoingFromFixedPort => "bound to its port, then opened by connect",
        Origin::Listener => "it listens",
        Origin::Unknown => "before tcpstate began",
    }
}

pub(super) fn options(reuse: Option<Reuse>) -> String {
    let Some(reuse) = reuse else {
        return "not known".to_owned();
    };
    let word = |is_set, name| {
        if is_set {
            format!("{name} set")
        } else {
            format!("{name} not set")
        }
    };
    let mut text = format!(
        "{}, {}",
        word(reuse.reuseaddr, "SO_REUSEADDR"),
        word(reuse.reuseport, "SO_REUSEPORT")
    );
    if reuse.v6only {
        text += ", IPV6_V6ONLY set";
    }
    text
}
