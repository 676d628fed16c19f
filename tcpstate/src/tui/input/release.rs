//! Freeing the port of a failure: the plan first, then a typed `yes`.

use super::control::Control;
use super::copy::{NO_FAILURE, failure_in_sight};
use crate::diagnosis::CallKind;
use crate::engine::Failure;
use crate::event::Family;
use crate::tui::state::UiState;
use crate::tui::state::overlay::{Content, Overlay};
use crate::tui::state::prompt::Prompt;
use crate::tui::state::release::{Freeing, ReleaseRequest, Stage};
use crate::tui::state::view::View;

/// Shows the plan for the failure in sight; where one is open that waits for it, asks.
pub(super) fn ask(state: &mut UiState, view: &View<'_>) -> Control {
    if state.is_replay() {
        return reply(
            state,
            "a recording says nothing of now: `tcpstate release PORT` frees a port",
        );
    }
    if let Freeing::Off(why) = state.freeing {
        return reply(state, why);
    }
    let is_open = matches!(
        state.overlay,
        Some(Overlay {
            content: Content::Release,
            ..
        })
    );
    match state.freeing.stage() {
        Some(Stage::Asking) if is_open => {
            state.prompt = Some(Prompt::release());
            return Control::Continue;
        }
        Some(Stage::Ended) if is_open => {
            state.overlay = None;
            return Control::Continue;
        }
        // One after the other.
        Some(Stage::Asking | Stage::Working) => {
            state.overlay = Some(Overlay::release());
            return Control::Continue;
        }
        Some(Stage::Ended) | None => {}
    }
    let seq = failure_in_sight(state, view);
    let Some(failure) = seq.and_then(|seq| view.failure(seq)) else {
        return reply(state, NO_FAILURE);
    };
    match request(failure) {
        Ok(request) => {
            state.freeing.begin(request.port);
            state.overlay = Some(Overlay::release());
            Control::Release(request)
        }
        Err(why) => reply(state, why),
    }
}

/// Takes what was typed for `yes`, or not.
pub(super) fn answer(state: &mut UiState, text: &str) -> Control {
    state.freeing.enter(Stage::Working);
    Control::AnswerRelease(text.trim() == "yes")
}

fn request(failure: &Failure) -> Result<ReleaseRequest, &'static str> {
    let call = &failure.call;
    if failure.kind == CallKind::Connect {
        return Err("what failed is a connect, which waits for no port to be free");
    }
    if call.requested.port == 0 {
        return Err("it asked for any port, and no single one would help it");
    }
    if call.bound_dev_if.is_some() {
        return Err(
            "its socket is bound to an interface: `tcpstate release PORT --device NAME` frees it",
        );
    }
    let Some(sock) = call.sock else {
        return Err("it is not known in which network namespace it failed");
    };
    Ok(ReleaseRequest {
        port: call.requested.port,
        addr: call.requested.addr,
        is_ipv6: sock.family == Family::Ipv6,
        netns: sock.netns,
        reuse: call.reuse,
        uid: call.uid,
    })
}

fn reply(state: &mut UiState, text: &str) -> Control {
    state.reply = Some(text.to_owned());
    Control::Continue
}
