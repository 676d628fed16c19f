//! One event, and the life of the socket that it is about.

use crate::event::{Body, Endpoint, Sock};
use crate::model::SocketId;
use crate::tui::draw::detail::life;
use crate::tui::draw::detail::parts::{gone, process};
use crate::tui::draw::event_line::describe;
use crate::tui::draw::page::Page;
use crate::tui::draw::phrases::options;
use crate::tui::state::view::View;
use crate::tui::theme::Tone;
use crate::tui::units;

pub(crate) fn text(view: &View<'_>, seq: u64, width: usize) -> Page {
    let Some(event) = view.event(seq) else {
        return gone("event", width);
    };
    let mut text = Page::new(format!("event #{seq} {}", event.body.name()), width);
    let described = describe(event, true, view.own_netns());
    text.paragraph(&described.text, described.tone);
    text.blank();
    let time = units::time_of_day(view.anchor(), event.mono_ns);
    let ago = units::between(view.now_ns.saturating_sub(event.mono_ns));
    text.field("time", &format!("{time}, {ago} ago"), Tone::Text);
    if let Some(call) = event.body.call() {
        process(&mut text, "process", &call.process);
        let options = options(Some(call.reuse));
        text.field("options", &options, Tone::Text);
    }
    match &event.body {
        Body::State(change) => {
            if let Some(actor) = &change.process {
                process(&mut text, "process", actor);
            }
        }
        Body::Reset(reset) => {
            if let Some(actor) = &reset.process {
                process(&mut text, "process", actor);
            }
        }
        Body::TimeWaitEnter(entered) => {
            if let Some(left_by) = &entered.left_by {
                process(&mut text, "closed by", left_by);
            }
        }
        _ => {}
    }
    if let Some((sock, local, peer)) = socket_of(&event.body)
        && let Some(socket) = view.socket(&SocketId::of(sock, local, peer))
    {
        life::draw(&mut text, view, socket, Some(seq));
    }
    text
}

fn socket_of(body: &Body) -> Option<(&Sock, Endpoint, Endpoint)> {
    match body {
        Body::Socket(seen) => Some((&seen.sock, seen.local, seen.peer)),
        Body::State(change) => Some((&change.sock, change.local, change.peer)),
        Body::TimeWaitEnter(entered) => Some((&entered.sock, entered.local, entered.peer)),
        Body::TimeWaitExit(exited) => Some((&exited.sock, exited.local, exited.peer)),
        Body::Reset(reset) => Some((reset.sock.as_ref()?, reset.local, reset.peer)),
        _ => {
            let call = body.call()?;
            let local = call.local?;
            Some((call.sock.as_ref()?, local, call.peer.unwrap_or(local)))
        }
    }
}
