//! The last line: what is typed, else the answer to a key, else the keys of the
//! moment.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use crate::tui::app::{Overlay, Panel, Subject};
use crate::tui::draw::screen::Screen;
use crate::tui::input::keys::{Action, Keys, ReplayAction};
use crate::tui::input::time;
use crate::tui::text::width_of;
use crate::tui::theme::Role;

pub(crate) fn draw(buf: &mut Buffer, area: Rect, screen: &Screen<'_>) {
    let app = screen.app;
    let mut pen = screen.pen(buf, area, 0);
    pen.skip(1);
    if let Some(draft) = &app.draft {
        let what = if app.is_time { "go to: " } else { "filter: " };
        let wrong = app.wrong.clone().unwrap_or(draft.len()..draft.len());
        let part = |range: std::ops::Range<usize>| draft.get(range).unwrap_or_default();
        pen.put(what, Role::Accent)
            .put(part(0..wrong.start), Role::Text)
            .put(part(wrong.clone()), Role::Selected)
            .put(part(wrong.end..draft.len()), Role::Text);
        if app.wrong.is_none() {
            pen.put(" ", Role::Selected);
        }
        let (hint, role) = match &app.answer {
            Some(wrong) => (wrong.as_str(), Role::Warn),
            None if app.is_time => (time::LANGUAGE, Role::Dim),
            None => (
                "port: state: pid: comm: addr: cause: netns: word !not",
                Role::Dim,
            ),
        };
        pen.skip(2).put(hint, role);
        return;
    }
    if let Some(answer) = &app.answer {
        pen.put(answer, Role::Warn);
        return;
    }
    for (key, does) in hints(screen) {
        // A hint that does not fit is left out whole.
        if pen.room() < width_of(&key) + width_of(does) + 1 {
            break;
        }
        pen.put(&key, Role::Accent)
            .put(" ", Role::Dim)
            .put(does, Role::Dim)
            .skip(2);
    }
}

/// Keys of the moment as they are bound, the most useful first.
fn hints(screen: &Screen<'_>) -> Vec<(String, &'static str)> {
    let app = screen.app;
    let mut hints = Hints {
        keys: &app.keys,
        hints: Vec::new(),
    };
    match app.overlay {
        Overlay::Detail(subject) => {
            let links = &app.links;
            let is_failure = matches!(subject, Subject::Failure(_));
            hints.add(&[Action::Quit], "quit");
            let close = if links.has_trail() { "back" } else { "close" };
            hints.add(&[Action::Close], close);
            if is_failure {
                hints.add(&[Action::CopyFix], "copy fix");
            }
            if links.chosen_line().is_some() {
                hints.add(&[Action::Open], "go there");
            }
            if !links.is_empty() {
                hints.add(&[Action::NextPanel], "next event");
            }
            hints.add(&[Action::Up, Action::Down], "scroll");
            if is_failure {
                hints.add(&[Action::Left, Action::Right], "other problem");
            }
            let copy = if is_failure {
                Action::CopyDiagnosis
            } else {
                Action::Copy
            };
            hints.add(&[copy], "copy");
            hints.add(&[Action::Export], "export");
            return hints.hints;
        }
        Overlay::Columns => {
            hints.add(&[Action::Open], "show or hide");
            hints.add(&[Action::Up, Action::Down], "choose");
            hints.add(&[Action::Left, Action::Right], "move");
            hints.add(&[Action::Close], "close");
            return hints.hints;
        }
        Overlay::Themes => {
            hints.add(&[Action::Up, Action::Down], "look");
            hints.add(&[Action::Open], "take");
            hints.add(&[Action::Close], "close");
            return hints.hints;
        }
        Overlay::Help | Overlay::Notes => {
            hints.add(&[Action::Quit], "quit");
            hints.add(&[Action::Close], "close");
            hints.add(&[Action::Up, Action::Down], "scroll");
            return hints.hints;
        }
        Overlay::None => {}
    }
    hints.add(&[Action::Quit], "quit");
    hints.add(&[Action::Help], "help");
    if !screen.view.failures.is_empty() {
        hints.add(&[Action::Diagnosis], "diagnosis");
        hints.add(&[Action::CopyFix], "copy fix");
    }
    let is_frozen = screen.behind.is_some();
    if let Some(position) = &app.position {
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
    if app.notes.latest().is_some() {
        hints.add(&[Action::Notes], "messages");
    } else if !app.filter.is_empty() {
        hints.add(&[Action::Close], "clear filter");
    }
    hints.add(&[Action::Filter], "filter");
    hints.add(&[Action::Open], "detail");
    hints.add(&[Action::NextPanel], "panel");
    if app.focus == Panel::Sockets {
        hints.add(&[Action::Sort], "sort");
    }
    hints.hints
}

struct Hints<'a> {
    keys: &'a Keys,
    hints: Vec<(String, &'static str)>,
}

impl Hints<'_> {
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
