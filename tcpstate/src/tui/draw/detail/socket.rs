//! A socket: whose it is, how that is known, its options, its life.

use crate::event::State;
use crate::model::{Origin, Socket, SocketId};
use crate::tui::draw::detail::life;
use crate::tui::draw::detail::parts::{gone, known_by, process};
use crate::tui::draw::glossary::meaning;
use crate::tui::draw::page::Page;
use crate::tui::draw::phrases::state_name;
use crate::tui::draw::phrases::{age, options};
use crate::tui::state::view::View;
use crate::tui::theme::Tone;
use crate::tui::units;

pub(crate) fn text(view: &View<'_>, id: &SocketId, width: usize) -> Page {
    let Some(socket) = view.socket(id) else {
        return gone("socket", width);
    };
    let mut text = Page::new(format!("socket {}", ends(socket)), width);
    let state = format!(
        "{} for {}",
        state_name(socket.state),
        age(socket, view.now_ns)
    );
    text.field("state", &state, Tone::State(socket.state));
    text.field("", meaning(socket.state), Tone::Dim);
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
        text.field("free", &left, Tone::Warn);
    }
    if let Some(owner) = &socket.owner {
        let label = if socket.is_mini {
            "owner, once"
        } else {
            "owner"
        };
        process(&mut text, label, owner);
    } else {
        text.field("owner", "not known", Tone::Dim);
    }
    if let Some(left_by) = &socket.left_by {
        if socket.owner.as_ref().map(|owner| owner.pid) == Some(left_by.pid) {
            let how = format!("{left_by}, too ({})", known_by(left_by));
            text.field("closed by", &how, Tone::Text);
        } else {
            process(&mut text, "closed by", left_by);
        }
    }
    life::draw(&mut text, view, socket, None);
    text.heading("what it is");
    text.field("came about", origin(socket), Tone::Text);
    text.field("options", &options(socket.reuse), Tone::Text);
    text.field(
        "identity",
        &format!("cookie {}, netns {}", socket.sock.cookie, socket.sock.netns),
        Tone::Dim,
    );
    text
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
