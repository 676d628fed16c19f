//! What is typed in the last line: a filter, or a time to go to.

use crate::engine::Engine;
use crate::tui::app::{App, Control, Overlay, Panel};
use crate::tui::input::keys::{Action, ReplayAction};
use crate::tui::input::time::{Span, When, told};
use crate::tui::state::event_list::Line;
use crate::tui::state::filter::Filter;
use crate::tui::state::view::View;
use crate::tui::units;

/// Length of what is typed, in bytes; more is not taken.
const MAX_DRAFT: usize = 200;

impl App {
    pub(crate) fn ask_filter(&mut self) {
        self.is_time = false;
        self.begin_draft(self.filter.text().to_owned());
    }

    pub(crate) fn ask_time(&mut self) {
        self.is_time = true;
        self.begin_draft(String::new());
    }

    fn begin_draft(&mut self, text: String) {
        self.wrong = None;
        self.draft = Some(text);
    }

    /// A key while something is typed.
    pub(crate) fn edit(&mut self, action: Action) {
        self.wrong = None;
        let Some(draft) = &mut self.draft else {
            return;
        };
        match action {
            Action::Cancel => self.draft = None,
            Action::Erase => {
                draft.pop();
            }
            Action::EraseAll => draft.clear(),
            Action::Type(letter) if draft.len() < MAX_DRAFT && !letter.is_control() => {
                draft.push(letter);
            }
            _ => {}
        }
    }

    /// Pasted text is typed where something is being typed; elsewhere its letters
    /// are no keys.
    pub(crate) fn paste(&mut self, text: &str) {
        if self.draft.is_none() {
            self.answer =
                Some("what is pasted is taken while a filter or a time is typed".to_owned());
            return;
        }
        for letter in text.trim().chars() {
            self.edit(Action::Type(letter));
        }
    }

    pub(crate) fn accept(&mut self, engine: &Engine) -> Control {
        let Some(draft) = self.draft.take() else {
            return Control::Continue;
        };
        if self.is_time {
            return match self.go_to(&draft, engine) {
                Ok(control) => control,
                Err(reason) => {
                    self.answer = Some(reason);
                    self.draft = Some(draft);
                    Control::Continue
                }
            };
        }
        match Filter::parse(&draft) {
            Ok(filter) => self.filter = filter,
            Err(wrong) => {
                self.answer = Some(wrong.reason);
                self.wrong = Some(wrong.at);
                self.draft = Some(draft);
            }
        }
        Control::Continue
    }

    /// In a recording the whole screen goes there; live the events do.
    fn go_to(&mut self, text: &str, engine: &Engine) -> Result<Control, String> {
        let when = When::parse(text)?;
        let anchor = engine.header().map(|header| header.clock);
        let no_calendar = || "the time of day is not known yet; write -30s".to_owned();
        if let Some(position) = &self.position {
            let replay = match when {
                When::Event(seq) => ReplayAction::GoToEvent(seq),
                // Of a whole that may not be known yet.
                When::Share(percent) => ReplayAction::GoToShare(percent),
                _ => {
                    let mono_ns = when.resolve(position.span(), position.clock.or(anchor));
                    ReplayAction::GoTo(mono_ns.ok_or_else(no_calendar)?)
                }
            };
            return Ok(Control::Replay(replay));
        }
        let view = View::of(self.frozen.as_deref(), engine, self.now_ns);
        let lines = self.stream.lines();
        let time_of = |line: &Line| match line {
            Line::Event(seq) => view.event(*seq).map(|event| event.mono_ns),
            Line::Note(number) => self.notes.get(*number).map(|note| note.mono_ns),
        };
        let first_ns = lines.front().and_then(time_of);
        let Some(first_ns) = first_ns else {
            return Err("no events to go to".to_owned());
        };
        let index = if let When::Event(seq) = when {
            if seq >= view.next_seq {
                return Err(format!(
                    "#{seq} has not happened; the last event is #{}",
                    view.next_seq.saturating_sub(1)
                ));
            }
            lines.partition_point(|line| match line {
                Line::Event(other) => *other < seq,
                Line::Note(number) => self.notes.get(*number).is_some_and(|note| note.seq <= seq),
            })
        } else {
            let here_ns = match self.focus {
                Panel::Stream => lines.get(self.event.index()).and_then(time_of),
                _ => None,
            };
            let span = Span {
                here_ns: here_ns.unwrap_or(view.now_ns),
                first_ns,
                last_ns: view.now_ns,
            };
            let mono_ns = when.resolve(span, anchor).ok_or_else(no_calendar)?;
            lines.partition_point(|line| time_of(line).is_some_and(|at_ns| at_ns < mono_ns))
        };
        let index = index.min(lines.len().saturating_sub(1));
        let at_ns = lines.get(index).and_then(time_of).unwrap_or(first_ns);
        let ago = told(view.now_ns.saturating_sub(at_ns));
        let time = units::time_of_day(view.anchor(), at_ns);
        self.answer = Some(match lines.get(index) {
            Some(Line::Event(seq)) => format!("event #{seq}, {time}, {ago} ago"),
            _ => format!("{time}, {ago} ago"),
        });
        self.event.choose(index, lines.len(), |at| lines[at]);
        self.open(Overlay::None);
        self.focus = Panel::Stream;
        Ok(Control::Continue)
    }
}
