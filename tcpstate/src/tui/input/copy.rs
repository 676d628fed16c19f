//! Keys that take something out: into the clipboard or into a file.

use super::control::Control;
use crate::event::Effect;
use crate::printable::printable;
use crate::tui::output::clipboard::ClipboardText;
use crate::tui::output::copy_text;
use crate::tui::output::new_file::{NewFile, stem};
use crate::tui::state::UiState;
use crate::tui::state::advice::{self, Advice};
use crate::tui::state::event_list::Entry;
use crate::tui::state::overlay::Overlay;
use crate::tui::state::panel::{Panel, Subject};
use crate::tui::state::view::View;

/// What a reply says where a key needs a failure.
pub(super) const NO_FAILURE: &str = "no bind, listen or connect has failed so far";

/// Copies what is open or chosen.
pub(super) fn chosen(state: &mut UiState, view: &View<'_>) -> Control {
    let text = match state.chosen(view) {
        Some(subject) => copy_text::describe(view, subject),
        None => chosen_message(state),
    };
    copy(state, text, "", "nothing is chosen that could be copied")
}

/// Copies the diagnosis in sight.
pub(super) fn diagnosis(state: &mut UiState, view: &View<'_>) -> Control {
    let seq = failure_in_sight(state, view);
    let mut text = seq.and_then(|seq| copy_text::describe(view, Subject::Failure(seq)));
    let failure = seq.and_then(|seq| view.failure(seq));
    if let (Some(text), Some(failure), true) = (&mut text, failure, state.is_replay()) {
        let failed_at = advice::failed_at(view, failure);
        *text += "\nFrom a recording, as of ";
        *text += &printable(&failed_at);
        *text += ": look again before you run a command";
    }
    copy(state, text, "", NO_FAILURE)
}

/// Copies the first fix; each time the key comes again, the next one.
pub(super) fn fix(state: &mut UiState, view: &View<'_>) -> Control {
    let seq = failure_in_sight(state, view);
    let Some(failure) = seq.and_then(|seq| view.failure(seq)) else {
        return copy(state, None, "", NO_FAILURE);
    };
    let fixes = advice::in_order(&failure.diagnosis.fixes);
    let lines: Vec<&str> = fixes.iter().map(|advice| advice.line.as_str()).collect();
    let at = state.banner.next_fix(failure, &lines);
    let failed_at = state.is_replay().then(|| advice::failed_at(view, failure));
    let advice = fixes.get(at);
    let note = advice
        .map(|advice| caution(advice, failed_at.as_deref()))
        .unwrap_or_default();
    let line = advice.map(|advice| advice.line.clone());
    let control = copy(state, line, &note, "no fix is known for this failure");
    let count = fixes.len();
    if let (Some(reply), true) = (&mut state.reply, count > 1) {
        *reply = format!("fix {} of {count} {reply}", at + 1);
    }
    control
}

/// Writes the events of what is open or chosen into a file.
pub(super) fn export(state: &mut UiState, view: &View<'_>) -> Control {
    match events_file(state, view) {
        Ok(file) => Control::Save(file),
        Err(reason) => {
            state.reply = Some(reason);
            Control::Continue
        }
    }
}

fn events_file(state: &UiState, view: &View<'_>) -> Result<NewFile, String> {
    let subject = state
        .chosen(view)
        .ok_or("nothing is chosen that has events")?;
    let seqs = copy_text::events(view, subject);
    let content = copy_text::json_lines(view, &seqs)
        .map_err(|error| format!("its events cannot be written: {error}"))?;
    if seqs.is_empty() {
        return Err("its events are not kept any more".to_owned());
    }
    let of = copy_text::stem(view, subject);
    Ok(NewFile {
        stem: stem(view.anchor(), view.now_ns, &of),
        extension: "jsonl",
        content,
    })
}

/// The failure that is open, else the banner's, else the last of all.
pub(super) fn failure_in_sight(state: &UiState, view: &View<'_>) -> Option<u64> {
    if let Some(seq) = state.overlay.as_ref().and_then(Overlay::failure) {
        return Some(seq);
    }
    let problem = state.banner.open(view).shown();
    let failure = problem.map(|problem| problem.latest);
    failure
        .or_else(|| view.failures.last())
        .map(|failure| failure.seq)
}

fn chosen_message(state: &UiState) -> Option<String> {
    match state.events.chosen() {
        Some(Entry::Message(number)) if state.focus == Panel::Events => {
            let message = state.messages.get(number)?;
            Some(printable(&message.text).into_owned())
        }
        _ => None,
    }
}

/// Copies the text; the reply has the note before it.
fn copy(state: &mut UiState, text: Option<String>, note: &str, nothing: &str) -> Control {
    let Some(text) = text else {
        state.reply = Some(nothing.to_owned());
        return Control::Continue;
    };
    let copied = ClipboardText::new(&text);
    state.reply = Some(copied.summary(note));
    Control::Copy(copied)
}

/// What to know before a fix is run: what it does, and how old it is.
fn caution(advice: &Advice<'_>, failed_at: Option<&str>) -> String {
    let effect = advice.fix.effect.filter(|_| advice.is_run());
    let warning = effect.and_then(Effect::warning);
    let mut note = warning.map_or_else(String::new, |warning| format!(": it {warning}"));
    if let Some(failed_at) = failed_at {
        note += ", as of ";
        note += failed_at;
    }
    if failed_at.is_some() && advice.is_run() {
        note += if warning.is_some() { ", " } else { ": " };
        note += "look again before you run it";
    } else if effect == Some(Effect::Destroys) {
        note += ", read it before you run it";
    }
    note
}
