//! Keys that move: through rows, between panels and problems, into details.

use super::pick;
use crate::event::Body;
use crate::model::PortKey;
use crate::tui::state::UiState;
use crate::tui::state::list::Items as _;
use crate::tui::state::overlay::Overlay;
use crate::tui::state::panel::{Panel, Subject};
use crate::tui::state::view::View;

/// Rows that a page key moves by.
pub(super) fn page(state: &UiState) -> isize {
    if let Some(overlay) = &state.overlay {
        return overlay.scroll.page();
    }
    match state.focus {
        Panel::Ports => state.ports.page(),
        Panel::Banner => 1,
        Panel::Sockets => state.sockets.page(),
        Panel::Events => state.events.page(),
    }
}

/// Moves by rows in what is open, else in the panel.
pub(super) fn step(state: &mut UiState, view: &View<'_>, by: isize) {
    if pick::step(state, by) {
        return;
    }
    if let Some(overlay) = &mut state.overlay {
        overlay.scroll.step(by);
        return;
    }
    match state.focus {
        Panel::Ports => state.ports.step(by),
        Panel::Banner => sideways(state, view, by > 0),
        Panel::Sockets => state.sockets.step(by),
        Panel::Events => state.events.step(by),
    }
}

/// Left, right: sorts the table, moves a column, or chooses another problem.
pub(super) fn sideways(state: &mut UiState, view: &View<'_>, is_right: bool) {
    if state.overlay.is_none() && state.focus == Panel::Sockets {
        state.settings.sort_by_next(is_right);
    } else if !pick::shift(state, is_right) {
        choose_problem(state, view, is_right);
    }
}

fn choose_problem(state: &mut UiState, view: &View<'_>, is_right: bool) {
    let open = state.banner.open(view);
    let Some(last) = open.problems.len().checked_sub(1) else {
        return;
    };
    let at = if is_right {
        (open.chosen + 1).min(last)
    } else {
        open.chosen.saturating_sub(1)
    };
    let problem = open.problems[at];
    state.banner.choose(problem.port);
    if state.overlay.as_ref().and_then(Overlay::failure).is_some() {
        state.overlay = Some(Overlay::detail(Subject::Failure(problem.latest.seq)));
    }
}

/// To the next panel; in a detail to the next link. Backwards if `by` is negative.
pub(super) fn next_panel(state: &mut UiState, view: &View<'_>, by: isize) {
    if let Some(overlay) = &mut state.overlay {
        overlay.choose_link(by);
        return;
    }
    let panels: &[Panel] = if state.banner.open(view).is_empty() {
        &[Panel::Ports, Panel::Sockets, Panel::Events]
    } else {
        &[Panel::Ports, Panel::Banner, Panel::Sockets, Panel::Events]
    };
    let at = panels.iter().position(|panel| *panel == state.focus);
    let at = at.unwrap_or(0);
    let next = if by > 0 {
        at + 1
    } else {
        at + panels.len() - 1
    };
    state.focus = panels[next % panels.len()];
}

/// Opens what the chosen row is about; in a detail what the chosen link leads to.
pub(super) fn open_chosen(state: &mut UiState, view: &View<'_>) {
    if pick::take(state) {
        return;
    }
    if let Some(overlay) = &mut state.overlay {
        overlay.follow_link();
        return;
    }
    let subject = match state.chosen(view) {
        Some(Subject::Event(seq)) => Some(subject_of_event(view, seq)),
        other => other,
    };
    if let Some(subject) = subject {
        state.overlay = Some(Overlay::detail(subject));
    } else if state.focus == Panel::Events && state.events.items.len() > 0 {
        state.overlay = Some(Overlay::messages());
    }
}

/// A failed call and its diagnosis open the same detail.
fn subject_of_event(view: &View<'_>, seq: u64) -> Subject {
    let body = view.event(seq).map(|event| &event.body);
    let call = match body {
        Some(Body::Diagnosis(diagnosis)) => diagnosis.of,
        _ => seq,
    };
    if let Some(failure) = view.failure(call) {
        return Subject::Failure(failure.seq);
    }
    match body {
        Some(Body::Restart(restart)) => Subject::Port(PortKey {
            port: restart.port,
            netns: restart.netns,
        }),
        Some(Body::Fallback(fallback)) => Subject::Port(PortKey {
            port: fallback
                .failed
                .first()
                .map_or(fallback.took, |tried| tried.port),
            netns: fallback.netns,
        }),
        _ => Subject::Event(seq),
    }
}
