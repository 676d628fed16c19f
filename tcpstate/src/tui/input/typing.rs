//! What is typed at the prompt: a filter, or a time to go to.

use super::control::Control;
use super::keys::{Action, ReplayAction};
use super::release;
use super::time::{TimeRange, TimeTarget, duration};
use crate::tui::state::UiState;
use crate::tui::state::event_list::Entry;
use crate::tui::state::filter::Filter;
use crate::tui::state::panel::Panel;
use crate::tui::state::prompt::{Asked, PromptError};
use crate::tui::state::replay::ReplayPosition;
use crate::tui::state::view::View;
use crate::units;

/// A key that edits what is typed.
pub(super) fn edit(state: &mut UiState, action: Action) {
    let Some(prompt) = &mut state.prompt else {
        return;
    };
    match action {
        Action::Erase => prompt.erase(),
        Action::EraseAll => prompt.erase_all(),
        Action::Type(letter) => prompt.insert(letter),
        _ => {}
    }
}

/// Pasted text goes to the prompt; elsewhere its letters are no keys.
pub(crate) fn paste(state: &mut UiState, text: &str) {
    let Some(prompt) = &mut state.prompt else {
        state.reply = Some("what is pasted is taken while a filter or a time is typed".to_owned());
        return;
    };
    for letter in text.trim().chars() {
        prompt.insert(letter);
    }
}

/// Takes what was typed, or says what is wrong with it.
pub(super) fn accept(state: &mut UiState, view: &View<'_>) -> Control {
    let Some(mut prompt) = state.prompt.take() else {
        return Control::Continue;
    };
    let accepted = match prompt.asked {
        Asked::Filter => accept_filter(state, &prompt.text),
        Asked::Time => go_to(state, view, &prompt.text),
        Asked::Release => Ok(release::answer(state, &prompt.text)),
    };
    accepted.unwrap_or_else(|error| {
        prompt.error = Some(error);
        state.prompt = Some(prompt);
        Control::Continue
    })
}

fn accept_filter(state: &mut UiState, text: &str) -> Result<Control, PromptError> {
    state.filter = Filter::parse(text).map_err(|error| PromptError {
        reason: error.reason,
        at: Some(error.at),
    })?;
    Ok(Control::Continue)
}

/// In a recording the whole screen goes there; live the event list does.
fn go_to(state: &mut UiState, view: &View<'_>, text: &str) -> Result<Control, PromptError> {
    let of_all = |reason| PromptError { reason, at: None };
    let target = TimeTarget::parse(text).map_err(of_all)?;
    if let Some(position) = &state.replay {
        let action = replay_action(position, view, target).map_err(of_all)?;
        return Ok(Control::Replay(action));
    }
    go_to_entry(state, view, target).map_err(of_all)?;
    Ok(Control::Continue)
}

fn no_calendar() -> String {
    "the time of day is not known yet; write -30s".to_owned()
}

fn replay_action(
    position: &ReplayPosition,
    view: &View<'_>,
    target: TimeTarget,
) -> Result<ReplayAction, String> {
    match target {
        TimeTarget::Event(seq) => Ok(ReplayAction::GoToEvent(seq)),
        // Of a whole that may not be known yet.
        TimeTarget::Share(percent) => Ok(ReplayAction::GoToShare(percent)),
        _ => {
            let clock = position.clock.or(view.anchor().copied());
            let mono_ns = target.resolve(TimeRange::of_replay(position), clock);
            mono_ns.map(ReplayAction::GoTo).ok_or_else(no_calendar)
        }
    }
}

/// Chooses the entry of the event list at this time, or of this event.
fn go_to_entry(state: &mut UiState, view: &View<'_>, target: TimeTarget) -> Result<(), String> {
    let messages = &state.messages;
    let entries = state.events.items.entries();
    let time_of = |entry: &Entry| match entry {
        Entry::Event(seq) => view.event(*seq).map(|event| event.mono_ns),
        Entry::Message(number) => messages.get(*number).map(|message| message.mono_ns),
    };
    let Some(first_ns) = entries.front().and_then(time_of) else {
        return Err("no events to go to".to_owned());
    };
    let index = if let TimeTarget::Event(seq) = target {
        if seq >= view.next_seq {
            return Err(format!(
                "#{seq} has not happened; the last event is #{}",
                view.next_seq.saturating_sub(1)
            ));
        }
        entries.partition_point(|entry| match entry {
            Entry::Event(other) => *other < seq,
            Entry::Message(number) => {
                let message = messages.get(*number);
                message.is_some_and(|message| message.seq <= seq)
            }
        })
    } else {
        let here_ns = match state.focus {
            Panel::Events => state.events.chosen().as_ref().and_then(time_of),
            _ => None,
        };
        let range = TimeRange {
            here_ns: here_ns.unwrap_or(view.now_ns),
            first_ns,
            last_ns: view.now_ns,
        };
        let mono_ns = target.resolve(range, view.anchor().copied());
        let mono_ns = mono_ns.ok_or_else(no_calendar)?;
        entries.partition_point(|entry| time_of(entry).is_some_and(|at_ns| at_ns < mono_ns))
    };
    let index = index.min(entries.len().saturating_sub(1));
    let at_ns = entries.get(index).and_then(time_of).unwrap_or(first_ns);
    let ago = duration(view.now_ns.saturating_sub(at_ns));
    let time = units::time_of_day(view.anchor(), at_ns);
    let reply = match entries.get(index) {
        Some(Entry::Event(seq)) => format!("event #{seq}, {time}, {ago} ago"),
        _ => format!("{time}, {ago} ago"),
    };
    state.reply = Some(reply);
    state.events.choose(index);
    state.overlay = None;
    state.focus = Panel::Events;
    Ok(())
}
