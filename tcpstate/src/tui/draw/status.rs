//! The last line: what is typed, else the reply to a key, else the keys of the
//! moment.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use crate::tui::draw::pen::Pen;
use crate::tui::draw::screen::Screen;
use crate::tui::input::keys::{Action, Keys, ReplayAction};
use crate::tui::input::time;
use crate::tui::state::overlay::{Content, Detail};
use crate::tui::state::panel::{Panel, Subject};
use crate::tui::state::prompt::{Asked, Prompt};
use crate::tui::state::release::{Freeing, Stage};
use crate::tui::text::width_of;
use crate::tui::theme::Tone;

pub(crate) fn draw(buf: &mut Buffer, area: Rect, screen: &Screen<'_>) {
    let state = screen.state;
    let mut pen = screen.pen(buf, area, 0);
    pen.skip(1);
    if let Some(prompt) = &state.prompt {
        draw_prompt(&mut pen, prompt);
        return;
    }
    if let Some(reply) = &state.reply {
        pen.put(reply, Tone::Warn);
        return;
    }
    for (key, does) in hints(screen) {
        // A hint that does not fit is left out whole.
        if pen.room() < width_of(&key) + width_of(does) + 1 {
            break;
        }
        pen.put(&key, Tone::Accent)
            .put(" ", Tone::Dim)
            .put(does, Tone::Dim)
            .skip(2);
    }
}

fn draw_prompt(pen: &mut Pen<'_>, prompt: &Prompt) {
    let (label, help) = match prompt.asked {
        Asked::Filter => (
            "filter: ",
            "port: state: pid: comm: addr: cause: netns: word !not",
        ),
        Asked::Time => ("go to: ", time::LANGUAGE),
        Asked::Release => (
            "type yes to do this: ",
            "anything else, or Esc: nothing is done",
        ),
    };
    let text = &prompt.text;
    let error = prompt.error.as_ref();
    let wrong = error.and_then(|error| error.at.clone());
    let marked = wrong.clone().unwrap_or(text.len()..text.len());
    let part = |range: std::ops::Range<usize>| text.get(range).unwrap_or_default();
    pen.put(label, Tone::Accent)
        .put(part(0..marked.start), Tone::Text)
        .put(part(marked.clone()), Tone::Selected)
        .put(part(marked.end..text.len()), Tone::Text);
    if wrong.is_none() {
        pen.put(" ", Tone::Selected);
    }
    let (hint, tone) = match error {
        Some(error) => (error.reason.as_str(), Tone::Warn),
        None => (help, Tone::Dim),
    };
    pen.skip(2).put(hint, tone);
}

/// Keys of the moment as they are bound, the most useful first.
fn hints(screen: &Screen<'_>) -> Vec<(String, &'static str)> {
    let state = screen.state;
    let mut hints = Hints {
        keys: screen.keys,
        hints: Vec::new(),
    };
    if let Some(overlay) = &state.overlay {
        match &overlay.content {
            Content::Detail(detail) => hints.add_detail(detail, &state.freeing),
            Content::Columns { .. } => {
                hints.add(&[Action::Open], "show or hide");
                hints.add(&[Action::Up, Action::Down], "choose");
                hints.add(&[Action::Left, Action::Right], "move");
                hints.add(&[Action::Close], "close");
            }
            Content::Themes { .. } => {
                hints.add(&[Action::Up, Action::Down], "look");
                hints.add(&[Action::Open], "take");
                hints.add(&[Action::Close], "close");
            }
            Content::Release => hints.add_release(&state.freeing),
            Content::Help | Content::Messages => {
                hints.add(&[Action::Quit], "quit");
                hints.add(&[Action::Close], "close");
                hints.add(&[Action::Up, Action::Down], "scroll");
            }
        }
        return hints.hints;
    }
    hints.add(&[Action::Quit], "quit");
    hints.add(&[Action::Help], "help");
    if !screen.view.failures.is_empty() {
        hints.add(&[Action::Diagnosis], "diagnosis");
        hints.add(&[Action::CopyFix], "copy fix");
    }
    let is_frozen = screen.behind.is_some();
    if let Some(position) = &state.replay {
        let play = if position.is_playing { "stop" } else { "play" };
        hints.add(&[Action::Replay(ReplayAction::Play)], play);
        let marks = [ReplayAction::PreviousMark, ReplayAction::NextMark].map(Action::Replay);
        hints.add(&marks, "failures");
        let steps = [ReplayAction::StepBack, ReplayAction::Step].map(Action::Replay);
        hints.add(&steps, "events");
        hints.add(&[Action::AskTime], "time");
    } else {
        hints.add(&[Action::Pause], if is_frozen { "go on" } else { "pause" });
    }
    if state.messages.latest().is_some() {
        hints.add(&[Action::Messages], "messages");
    } else if !state.filter.is_empty() {
        hints.add(&[Action::Close], "clear filter");
    }
    hints.add(&[Action::Filter], "filter");
    hints.add(&[Action::Open], "detail");
    hints.add(&[Action::NextPanel], "panel");
    if state.focus == Panel::Sockets {
        hints.add(&[Action::Sort], "sort");
    }
    hints.hints
}

struct Hints<'a> {
    keys: &'a Keys,
    hints: Vec<(String, &'static str)>,
}

impl Hints<'_> {
    fn add_release(&mut self, freeing: &Freeing) {
        let close = match freeing.stage() {
            Some(Stage::Asking) => {
                self.add(&[Action::Release], "do it");
                "leave it"
            }
            _ => "close",
        };
        self.add(&[Action::Close], close);
        self.add(&[Action::Up, Action::Down], "scroll");
        self.add(&[Action::Quit], "quit");
    }

    fn add_detail(&mut self, detail: &Detail, freeing: &Freeing) {
        let links = &detail.links;
        let is_failure = matches!(detail.subject, Subject::Failure(_));
        self.add(&[Action::Quit], "quit");
        let close = if detail.has_trail() { "back" } else { "close" };
        self.add(&[Action::Close], close);
        if is_failure {
            self.add(&[Action::CopyFix], "copy fix");
        }
        if is_failure && !matches!(freeing, Freeing::Off(_)) {
            self.add(&[Action::Release], "free the port");
        }
        if links.chosen_line().is_some() {
            self.add(&[Action::Open], "go there");
        }
        if !links.is_empty() {
            self.add(&[Action::NextPanel], "next event");
        }
        self.add(&[Action::Up, Action::Down], "scroll");
        if is_failure {
            self.add(&[Action::Left, Action::Right], "other problem");
        }
        let copy = if is_failure {
            Action::CopyDiagnosis
        } else {
            Action::Copy
        };
        self.add(&[copy], "copy");
        self.add(&[Action::Export], "export");
    }

    /// One hint for actions that belong together; without keys there is none.
    fn add(&mut self, actions: &[Action], does: &'static str) {
        let labels: Vec<String> = actions
            .iter()
            .filter_map(|action| self.keys.label(*action))
            .collect();
        let are_arrows = labels.iter().all(|label| "←→↑↓".contains(label.as_str()));
        let key = labels.join(if are_arrows { "" } else { " " });
        if !key.is_empty() {
            self.hints.push((key, does));
        }
    }
}
