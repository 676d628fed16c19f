//! Keys that take something out: into the clipboard or into a file.

use crate::engine::Engine;
use crate::event::Effect;
use crate::printable::printable;
use crate::tui::app::{App, Control, Overlay, Panel, Subject};
use crate::tui::output::clipboard::Copied;
use crate::tui::output::copy_text;
use crate::tui::output::new_file::{Save, stem};
use crate::tui::state::advice::{self, Advice};
use crate::tui::state::event_list::Line;
use crate::tui::state::problems::port_of;
use crate::tui::state::view::View;

impl App {
    /// What is open, else the chosen row of the panel.
    pub(crate) fn chosen(&self, view: &View<'_>) -> Option<Subject> {
        if let Overlay::Detail(subject) = self.overlay {
            return Some(subject);
        }
        match self.focus {
            Panel::Ports => {
                let key = self.ports.get(self.port.index());
                key.copied().map(Subject::Port)
            }
            Panel::Banner => {
                let problem = self.banner(view).shown();
                problem.map(|problem| Subject::Failure(problem.latest.seq))
            }
            Panel::Sockets => {
                let id = self.rows.ids().get(self.socket.index());
                id.copied().map(Subject::Socket)
            }
            Panel::Stream => match self.stream.lines().get(self.event.index()) {
                Some(Line::Event(seq)) => Some(Subject::Event(*seq)),
                Some(Line::Note(_)) | None => None,
            },
        }
    }

    pub(crate) fn copy_chosen(&mut self, engine: &Engine) -> Control {
        let view = View::of(self.frozen.as_deref(), engine, self.now_ns);
        let words = match self.chosen(&view) {
            Some(subject) => copy_text::words(&view, subject),
            None => self.chosen_note(),
        };
        self.copy(words, "", "nothing is chosen that could be copied")
    }

    pub(crate) fn copy_diagnosis(&mut self, engine: &Engine) -> Control {
        let view = View::of(self.frozen.as_deref(), engine, self.now_ns);
        let seq = self.failure_in_sight(&view);
        let mut words = seq.and_then(|seq| copy_text::words(&view, Subject::Failure(seq)));
        let failure = seq.and_then(|seq| view.failure(seq));
        if let (Some(words), Some(failure), true) = (&mut words, failure, self.is_replay()) {
            let then = advice::then(&view, failure);
            *words += "\nFrom a recording, as of ";
            *words += &printable(&then);
            *words += ": look again before you run a command";
        }
        self.copy(words, "", super::NO_FAILURE)
    }

    /// The first fix; each time the key comes again, the next one.
    pub(crate) fn copy_fix(&mut self, engine: &Engine) -> Control {
        let view = View::of(self.frozen.as_deref(), engine, self.now_ns);
        let seq = self.failure_in_sight(&view);
        let Some(failure) = seq.and_then(|seq| view.failure(seq)) else {
            return self.copy(None, "", super::NO_FAILURE);
        };
        let advised = advice::in_order(&failure.diagnosis.fixes);
        // Retries fail for the same reason and have the same fixes; of another
        // problem the first comes first, as its banner shows.
        let problem = (port_of(failure), failure.diagnosis.cause);
        let at = match &self.copied_fix {
            Some((of, last)) if *of == problem => advised
                .iter()
                .position(|advice| advice.line == *last)
                .map_or(0, |at| at + 1),
            _ => 0,
        };
        let (at, count) = (at % advised.len().max(1), advised.len());
        let line = advised.get(at).map(|advice| advice.line.clone());
        let then = self.is_replay().then(|| advice::then(&view, failure));
        let note = advised
            .get(at)
            .map(|advice| caution(advice, then.as_deref()))
            .unwrap_or_default();
        self.copied_fix = line.clone().map(|line| (problem, line));
        let control = self.copy(line, &note, "no fix is known for this failure");
        if let (Some(answer), true) = (&mut self.answer, count > 1) {
            *answer = format!("fix {} of {count} {answer}", at + 1);
        }
        control
    }

    /// The events of what is chosen, into a file.
    pub(crate) fn export(&mut self, engine: &Engine) -> Control {
        let view = View::of(self.frozen.as_deref(), engine, self.now_ns);
        let Some(subject) = self.chosen(&view) else {
            self.answer = Some("nothing is chosen that has events".to_owned());
            return Control::Continue;
        };
        let seqs = copy_text::events(&view, subject);
        let content = match copy_text::json_lines(&view, &seqs) {
            Ok(content) if !seqs.is_empty() => content,
            Ok(_) => {
                self.answer = Some("its events are not kept any more".to_owned());
                return Control::Continue;
            }
            Err(error) => {
                self.answer = Some(format!("its events cannot be written: {error}"));
                return Control::Continue;
            }
        };
        let of = copy_text::stem(&view, subject);
        Control::Save(Save {
            stem: stem(view.anchor(), view.now_ns, &of),
            extension: "jsonl",
            content,
        })
    }

    /// The failure that is open, else the banner's, else the last of all.
    fn failure_in_sight(&self, view: &View<'_>) -> Option<u64> {
        if let Overlay::Detail(Subject::Failure(seq)) = self.overlay {
            return Some(seq);
        }
        let banner = self.banner(view).shown().map(|problem| problem.latest.seq);
        banner.or_else(|| view.failures.last().map(|failure| failure.seq))
    }

    fn chosen_note(&self) -> Option<String> {
        match self.stream.lines().get(self.event.index()) {
            Some(Line::Note(number)) if self.focus == Panel::Stream => {
                let note = self.notes.get(*number)?;
                Some(printable(&note.text).into_owned())
            }
            _ => None,
        }
    }

    /// Copies the words; the answer has the note before them.
    fn copy(&mut self, words: Option<String>, note: &str, nothing: &str) -> Control {
        let Some(words) = words else {
            self.answer = Some(nothing.to_owned());
            return Control::Continue;
        };
        let copied = Copied::new(&words);
        self.answer = Some(copied.told(note));
        Control::Copy(copied)
    }
}

/// What is to be known before a fix is run: what it does, and that it is of
/// another time.
fn caution(advice: &Advice<'_>, then: Option<&str>) -> String {
    let effect = advice.fix.effect.filter(|_| advice.is_run());
    let warning = effect.and_then(Effect::warning);
    let mut note = warning.map_or_else(String::new, |warning| format!(": it {warning}"));
    if let Some(then) = then {
        note += ", as of ";
        note += then;
    }
    if then.is_some() && advice.is_run() {
        note += if warning.is_some() { ", " } else { ": " };
        note += "look again before you run it";
    } else if effect == Some(Effect::Destroys) {
        note += ", read it before you run it";
    }
    note
}
