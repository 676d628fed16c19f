//! What a key or the mouse asks for, and what that changes in the state.
//!
//! [`keys`] makes an [`Action`] of a key; [`act`] does it. What only the program
//! around the dashboard can do is returned as a [`Control`].

pub(crate) mod control;
pub(crate) mod copy;
pub mod keys;
pub(crate) mod mouse;
pub(crate) mod navigate;
pub(crate) mod pick;
pub(crate) mod release;
pub(crate) mod time;
pub(crate) mod typing;

use self::control::Control;
use self::keys::{Action, Mode};
use super::output::screenshot::ScreenshotFormat;
use super::state::UiState;
use super::state::feed::Feed;
use super::state::filter::Filter;
use super::state::overlay::{Content, Overlay};
use super::state::panel::Subject;
use super::state::prompt::Prompt;
use super::state::release::Stage;
use super::state::view::View;
use crate::engine::Engine;

/// What the keys go to.
pub(crate) fn mode(state: &UiState) -> Mode {
    if state.prompt.is_some() {
        Mode::Typing
    } else if state.is_replay() {
        Mode::Replay
    } else {
        Mode::Browse
    }
}

/// Does what a key asks for.
pub(crate) fn act(
    state: &mut UiState,
    feed: &mut Feed,
    action: Action,
    engine: &Engine,
) -> Control {
    if action == Action::Pause {
        feed.toggle_frozen(engine, state.sockets.items.ids());
        return Control::Continue;
    }
    let view = &feed.view(engine);
    match action {
        Action::Quit => return Control::Quit,
        Action::Suspend if state.rounds.is_some() => {
            state.reply = Some("a test that measures time is not stopped".to_owned());
        }
        Action::Suspend => return Control::Suspend,
        Action::Pause => {}
        Action::Help => state.toggle(Overlay::help()),
        Action::Messages => state.toggle(Overlay::messages()),
        Action::Columns => state.toggle(Overlay::columns()),
        Action::Themes => state.toggle(Overlay::themes(state.settings.theme)),
        Action::Up => navigate::step(state, view, -1),
        Action::Down => navigate::step(state, view, 1),
        Action::PageUp => navigate::step(state, view, -navigate::page(state)),
        Action::PageDown => navigate::step(state, view, navigate::page(state)),
        Action::Top => navigate::step(state, view, isize::MIN),
        Action::Bottom => navigate::step(state, view, isize::MAX),
        Action::Left => navigate::sideways(state, view, false),
        Action::Right => navigate::sideways(state, view, true),
        Action::NextPanel => navigate::next_panel(state, view, 1),
        Action::PreviousPanel => navigate::next_panel(state, view, -1),
        Action::Open => navigate::open_chosen(state, view),
        Action::Close => return close(state),
        Action::Filter => state.prompt = Some(Prompt::filter(state.filter.text())),
        Action::AskTime => state.prompt = Some(Prompt::time()),
        Action::Replay(action) => return Control::Replay(action),
        Action::Sort => state.settings.sort_by_next(true),
        Action::Reverse => {
            let sort = &mut state.settings.sort;
            sort.is_reversed = !sort.is_reversed;
        }
        Action::Diagnosis => toggle_diagnosis(state, view),
        Action::Clear => {
            state.banner.dismiss(view);
            state.leave_empty_banner(view);
        }
        Action::ClearEvents => clear_events(state, view),
        Action::Copy => return copy::chosen(state, view),
        Action::CopyDiagnosis => return copy::diagnosis(state, view),
        Action::CopyFix => return copy::fix(state, view),
        Action::Release => return release::ask(state, view),
        Action::Export => return copy::export(state, view),
        Action::ScreenshotText => return Control::Screenshot(ScreenshotFormat::Text),
        Action::ScreenshotSvg => return Control::Screenshot(ScreenshotFormat::Svg),
        Action::Mouse => return toggle_mouse(state),
        Action::Accept => return typing::accept(state, view),
        Action::Cancel => state.prompt = None,
        Action::Erase | Action::EraseAll | Action::Type(_) => typing::edit(state, action),
    }
    Control::Continue
}

/// Goes back, or closes what is open, or dismisses the message, or clears the
/// filter: the first of these that there is.
fn close(state: &mut UiState) -> Control {
    if let Some(overlay) = &mut state.overlay {
        if overlay.go_back() {
            return Control::Continue;
        }
        if matches!(overlay.content, Content::Release)
            && state.freeing.stage() == Some(Stage::Asking)
        {
            state.overlay = None;
            return release::answer(state, "");
        }
        if let Content::Themes { before, .. } = overlay.content {
            state.settings.theme = before;
        }
        state.overlay = None;
    } else if !state.messages.dismiss() {
        state.filter = Filter::default();
    }
    Control::Continue
}

/// Hides the events so far, or shows them again.
fn clear_events(state: &mut UiState, view: &View<'_>) {
    let events = &mut state.events.items;
    let reply = if events.toggle_cleared(view.next_seq, &state.messages) {
        "the events so far are put away; again: they come back"
    } else {
        "all events are shown"
    };
    state.reply = Some(reply.to_owned());
}

fn toggle_diagnosis(state: &mut UiState, view: &View<'_>) {
    if state.overlay.as_ref().and_then(Overlay::failure).is_some() {
        state.overlay = None;
        return;
    }
    state.banner.restore();
    // With no problem open, the last failure of all can still be read up on.
    let problem = state.banner.open(view).shown();
    let failure = problem.map(|problem| problem.latest);
    match failure.or_else(|| view.failures.last()) {
        Some(failure) => {
            state.overlay = Some(Overlay::detail(Subject::Failure(failure.seq)));
        }
        None => state.reply = Some(copy::NO_FAILURE.to_owned()),
    }
}

fn toggle_mouse(state: &mut UiState) -> Control {
    let is_on = !state.settings.is_mouse_on;
    state.settings.is_mouse_on = is_on;
    let word = if is_on { "on" } else { "off" };
    state.reply = Some(format!("mouse {word}"));
    Control::Mouse(is_on)
}
