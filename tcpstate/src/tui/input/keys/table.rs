//! The default keys: the only place that says which key does what.
//!
//! Key events are mapped by this table, the help is printed from it, and the
//! configuration names its actions.

use crossterm::event::KeyCode;

use crate::tui::input::keys::action::{Action, ReplayAction};
use crate::tui::input::keys::name::Key;

/// What the keys go to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// The dashboard.
    Browse,
    /// The dashboard over a recording: as the dashboard, but for its own keys.
    Replay,
    /// The text of a filter or a time.
    Typing,
}

impl Mode {
    /// All modes, in the order of the help.
    pub const ALL: [Self; 3] = [Self::Browse, Self::Replay, Self::Typing];

    /// Its table in the configuration.
    #[must_use]
    pub fn table(self) -> &'static str {
        match self {
            Self::Browse => "keys",
            Self::Replay => "keys.replay",
            Self::Typing => "keys.typing",
        }
    }
}

/// One line of the help: keys, what they do.
#[derive(Clone, Copy, Debug)]
pub struct Binding {
    /// Where it holds.
    pub mode: Mode,
    /// Its name in the configuration.
    pub name: &'static str,
    /// The keys, any of them.
    pub keys: &'static [Key],
    /// What they do.
    pub action: Action,
    /// What they do, in words.
    pub help: &'static str,
}

impl Binding {
    /// Whether the program cannot be used without it.
    #[must_use]
    pub fn is_needed(&self) -> bool {
        matches!(self.action, Action::Quit | Action::Accept | Action::Cancel)
    }
}

/// All keys.
pub const BINDINGS: &[Binding] = &[
    browse(
        "quit",
        &[Key::Plain(KeyCode::Char('q')), Key::Ctrl('c')],
        Action::Quit,
        "quit",
    ),
    browse(
        "help",
        &[Key::Plain(KeyCode::Char('?'))],
        Action::Help,
        "this help",
    ),
    browse(
        "up",
        &[Key::Plain(KeyCode::Up), Key::Plain(KeyCode::Char('k'))],
        Action::Up,
        "one row up",
    ),
    browse(
        "down",
        &[Key::Plain(KeyCode::Down), Key::Plain(KeyCode::Char('j'))],
        Action::Down,
        "one row down",
    ),
    browse(
        "left",
        &[Key::Plain(KeyCode::Left), Key::Plain(KeyCode::Char('h'))],
        Action::Left,
        "sort by the column to the left; previous problem",
    ),
    browse(
        "right",
        &[Key::Plain(KeyCode::Right), Key::Plain(KeyCode::Char('l'))],
        Action::Right,
        "sort by the column to the right; next problem",
    ),
    browse(
        "top",
        &[Key::Twice('g'), Key::Plain(KeyCode::Home)],
        Action::Top,
        "first row",
    ),
    browse(
        "bottom",
        &[Key::Plain(KeyCode::Char('G')), Key::Plain(KeyCode::End)],
        Action::Bottom,
        "last row; in the events: follow the newest",
    ),
    browse(
        "page_up",
        &[Key::Plain(KeyCode::PageUp), Key::Ctrl('b')],
        Action::PageUp,
        "one page up",
    ),
    browse(
        "page_down",
        &[Key::Plain(KeyCode::PageDown), Key::Ctrl('f')],
        Action::PageDown,
        "one page down",
    ),
    browse(
        "next_panel",
        &[Key::Plain(KeyCode::Tab)],
        Action::NextPanel,
        "to the next panel; in a detail: to the next event",
    ),
    browse(
        "previous_panel",
        &[Key::Plain(KeyCode::BackTab)],
        Action::PreviousPanel,
        "to the previous panel; in a detail: to the event before",
    ),
    browse(
        "open",
        &[Key::Plain(KeyCode::Enter)],
        Action::Open,
        "detail of the chosen port, socket, event or problem; then of its events",
    ),
    browse(
        "close",
        &[Key::Plain(KeyCode::Esc)],
        Action::Close,
        "back or close; then put the message away; then clear the filter",
    ),
    browse(
        "notes",
        &[Key::Plain(KeyCode::Char('n'))],
        Action::Messages,
        "all messages: the story of a demo, warnings",
    ),
    browse(
        "freeze",
        &[Key::Plain(KeyCode::Char(' '))],
        Action::Pause,
        "freeze the screen, go on; nothing is lost meanwhile",
    ),
    browse(
        "filter",
        &[Key::Plain(KeyCode::Char('/'))],
        Action::Filter,
        "filter sockets and events",
    ),
    browse(
        "sort",
        &[Key::Plain(KeyCode::Char('s'))],
        Action::Sort,
        "sort the sockets by the next column",
    ),
    browse(
        "reverse",
        &[Key::Plain(KeyCode::Char('r'))],
        Action::Reverse,
        "reverse the order of the sockets",
    ),
    browse(
        "diagnosis",
        &[Key::Plain(KeyCode::Char('d'))],
        Action::Diagnosis,
        "diagnosis of the latest failure in full; again: back",
    ),
    browse(
        "put_away",
        &[Key::Plain(KeyCode::Char('c'))],
        Action::Clear,
        "put the failure banner away (d brings it back)",
    ),
    browse(
        "go_to",
        &[Key::Plain(KeyCode::Char('t'))],
        Action::AskTime,
        "go to a time or event: 11:06:41, -30s, +5m, #123",
    ),
    browse(
        "clear_events",
        &[Key::Plain(KeyCode::Char('C'))],
        Action::ClearEvents,
        "put the events so far out of sight; again: back",
    ),
    browse(
        "copy",
        &[Key::Plain(KeyCode::Char('y'))],
        Action::Copy,
        "copy what is chosen: port, socket, event or problem",
    ),
    browse(
        "copy_diagnosis",
        &[Key::Plain(KeyCode::Char('Y'))],
        Action::CopyDiagnosis,
        "copy the diagnosis of the failure",
    ),
    browse(
        "copy_fix",
        &[Key::Plain(KeyCode::Char('f'))],
        Action::CopyFix,
        "copy the fix of the failure; again: the next fix",
    ),
    browse(
        "release",
        &[Key::Plain(KeyCode::Char('x'))],
        Action::Release,
        "free the port of the failure: show the plan; again: ask, and do it",
    ),
    browse(
        "export",
        &[Key::Plain(KeyCode::Char('e'))],
        Action::Export,
        "write the events of what is chosen into a new file",
    ),
    browse(
        "screenshot",
        &[Key::Plain(KeyCode::Char('p'))],
        Action::ScreenshotText,
        "write the screen into a new file, as text",
    ),
    browse(
        "screenshot_svg",
        &[Key::Plain(KeyCode::Char('P'))],
        Action::ScreenshotSvg,
        "write the screen into a new file, as SVG",
    ),
    browse(
        "columns",
        &[Key::Plain(KeyCode::Char('o'))],
        Action::Columns,
        "choose the columns: Enter shows or hides, ←→ move",
    ),
    browse(
        "themes",
        &[Key::Plain(KeyCode::Char('T'))],
        Action::Themes,
        "choose the theme",
    ),
    browse(
        "mouse",
        &[Key::Plain(KeyCode::Char('m'))],
        Action::Mouse,
        "mouse on or off: rows, columns, wheel",
    ),
    browse(
        "suspend",
        &[Key::Ctrl('z')],
        Action::Suspend,
        "to the shell; fg comes back",
    ),
    replay(
        "play",
        &[Key::Plain(KeyCode::Char(' '))],
        ReplayAction::Play,
        "play, stop",
    ),
    replay(
        "next_failure",
        &[Key::Plain(KeyCode::Char(']'))],
        ReplayAction::NextMark,
        "to the next failed call or restart",
    ),
    replay(
        "previous_failure",
        &[Key::Plain(KeyCode::Char('['))],
        ReplayAction::PreviousMark,
        "to the failed call or restart before",
    ),
    replay(
        "step",
        &[Key::Plain(KeyCode::Char('.'))],
        ReplayAction::Step,
        "one event on",
    ),
    replay(
        "step_back",
        &[Key::Plain(KeyCode::Char(','))],
        ReplayAction::StepBack,
        "one event back",
    ),
    replay(
        "forward",
        &[Key::Plain(KeyCode::Char('}'))],
        ReplayAction::Forward,
        "ten seconds on",
    ),
    replay(
        "back",
        &[Key::Plain(KeyCode::Char('{'))],
        ReplayAction::Back,
        "ten seconds back",
    ),
    replay(
        "faster",
        &[Key::Plain(KeyCode::Char('+'))],
        ReplayAction::Faster,
        "faster",
    ),
    replay(
        "slower",
        &[Key::Plain(KeyCode::Char('-'))],
        ReplayAction::Slower,
        "slower",
    ),
    replay(
        "begin",
        &[Key::Plain(KeyCode::Char('<'))],
        ReplayAction::Begin,
        "to the beginning",
    ),
    replay(
        "end",
        &[Key::Plain(KeyCode::Char('>'))],
        ReplayAction::End,
        "to the end",
    ),
    typing(
        "accept",
        &[Key::Plain(KeyCode::Enter)],
        Action::Accept,
        "take it",
    ),
    typing(
        "cancel",
        &[Key::Plain(KeyCode::Esc)],
        Action::Cancel,
        "leave it as it was",
    ),
    typing(
        "erase",
        &[Key::Plain(KeyCode::Backspace), Key::Ctrl('h')],
        Action::Erase,
        "take a character back",
    ),
    typing(
        "erase_all",
        &[Key::Ctrl('u'), Key::Ctrl('w')],
        Action::EraseAll,
        "take everything back",
    ),
    typing("quit", &[Key::Ctrl('c')], Action::Quit, "quit"),
];

const fn browse(
    name: &'static str,
    keys: &'static [Key],
    action: Action,
    help: &'static str,
) -> Binding {
    Binding {
        mode: Mode::Browse,
        name,
        keys,
        action,
        help,
    }
}

const fn replay(
    name: &'static str,
    keys: &'static [Key],
    action: ReplayAction,
    help: &'static str,
) -> Binding {
    Binding {
        mode: Mode::Replay,
        name,
        keys,
        action: Action::Replay(action),
        help,
    }
}

const fn typing(
    name: &'static str,
    keys: &'static [Key],
    action: Action,
    help: &'static str,
) -> Binding {
    Binding {
        mode: Mode::Typing,
        name,
        keys,
        action,
        help,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_means_one_thing_in_one_mode() {
        let mut seen: Vec<(Mode, Key)> = Vec::new();
        for binding in BINDINGS {
            for key in binding.keys {
                let is_taken = |(mode, other): &(Mode, Key)| {
                    *mode == binding.mode && key.collides_with(*other)
                };
                assert!(!seen.iter().any(is_taken), "{key}");
                seen.push((binding.mode, *key));
            }
        }
    }

    #[test]
    fn an_action_has_one_name_in_one_mode() {
        let mut seen = Vec::new();
        for binding in BINDINGS {
            let name = (binding.mode.table(), binding.name);
            assert!(!seen.contains(&name), "{name:?}");
            seen.push(name);
        }
    }
}
