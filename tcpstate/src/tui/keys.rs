//! The key table: the only place that says which key does what.
//!
//! Key events are mapped by it and the help screen is printed from it.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

/// What a key asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// End the program.
    Quit,
    /// Open or close the help.
    Help,
    /// One row up.
    Up,
    /// One row down.
    Down,
    /// Column to the left; earlier problem.
    Left,
    /// Column to the right; later problem.
    Right,
    /// First row.
    Top,
    /// Last row.
    Bottom,
    /// One page up.
    PageUp,
    /// One page down.
    PageDown,
    /// Focus the next panel.
    NextPanel,
    /// Focus the previous panel.
    PreviousPanel,
    /// Open the detail of what is chosen.
    Open,
    /// Read everything that was said.
    Notes,
    /// Close what is open, else put the note away, else clear the filter.
    Close,
    /// Freeze the screen, or let it go on.
    Pause,
    /// Type a filter.
    Filter,
    /// Sort by the next column.
    Sort,
    /// Reverse the order.
    Reverse,
    /// Jump to the diagnosis of the latest failure, or leave it.
    Diagnosis,
    /// Put the failure banner away.
    Clear,
    /// Stop the program as ctrl-z does; `fg` brings it back.
    Suspend,
    /// In a replay.
    Replay(Replay),
    /// While typing: take what was typed.
    Accept,
    /// While typing: leave it as it was.
    Cancel,
    /// While typing: take the last character back.
    Erase,
    /// While typing: take everything back.
    EraseAll,
    /// While typing: this character.
    Type(char),
}

/// What a key asks of a replay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Replay {
    /// Play, or stop.
    Play,
    /// One event on.
    Step,
    /// One event back.
    StepBack,
    /// To the next failed call or restart.
    NextMark,
    /// To the one before.
    PreviousMark,
    /// Ten seconds on.
    Forward,
    /// Ten seconds back.
    Back,
    /// Faster.
    Faster,
    /// Slower.
    Slower,
    /// To the beginning.
    Begin,
    /// To the end.
    End,
    /// Type a time to go to.
    AskTime,
    /// To this time on the recording's monotonic clock, in nanoseconds.
    GoTo(u64),
}

/// What the keys go to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// The dashboard.
    Browse,
    /// The dashboard over a recording: as the dashboard, but for its own keys.
    Replay,
    /// The filter's text.
    Typing,
}

/// A key, or a key pressed twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// The key alone.
    Plain(KeyCode),
    /// The key with ctrl.
    Ctrl(char),
    /// The letter twice in a row.
    Twice(char),
}

/// One line of the help: keys, what they do.
#[derive(Clone, Copy, Debug)]
pub struct Binding {
    /// Where it holds.
    pub mode: Mode,
    /// The keys, any of them.
    pub keys: &'static [Key],
    /// The keys as the help writes them.
    pub label: &'static str,
    /// What they do.
    pub action: Action,
    /// What they do, in words.
    pub help: &'static str,
}

/// All keys.
pub const BINDINGS: &[Binding] = &[
    browse(
        &[Key::Plain(KeyCode::Char('q')), Key::Ctrl('c')],
        "q  ctrl-c",
        Action::Quit,
        "quit",
    ),
    browse(
        &[Key::Plain(KeyCode::Char('?'))],
        "?",
        Action::Help,
        "this help",
    ),
    browse(
        &[Key::Plain(KeyCode::Up), Key::Plain(KeyCode::Char('k'))],
        "↑  k",
        Action::Up,
        "one row up",
    ),
    browse(
        &[Key::Plain(KeyCode::Down), Key::Plain(KeyCode::Char('j'))],
        "↓  j",
        Action::Down,
        "one row down",
    ),
    browse(
        &[Key::Plain(KeyCode::Left), Key::Plain(KeyCode::Char('h'))],
        "←  h",
        Action::Left,
        "sort by the column to the left; previous problem",
    ),
    browse(
        &[Key::Plain(KeyCode::Right), Key::Plain(KeyCode::Char('l'))],
        "→  l",
        Action::Right,
        "sort by the column to the right; next problem",
    ),
    browse(
        &[Key::Twice('g'), Key::Plain(KeyCode::Home)],
        "gg  Home",
        Action::Top,
        "first row",
    ),
    browse(
        &[Key::Plain(KeyCode::Char('G')), Key::Plain(KeyCode::End)],
        "G  End",
        Action::Bottom,
        "last row; in the events: follow the newest",
    ),
    browse(
        &[Key::Plain(KeyCode::PageUp), Key::Ctrl('b')],
        "PageUp",
        Action::PageUp,
        "one page up",
    ),
    browse(
        &[Key::Plain(KeyCode::PageDown), Key::Ctrl('f')],
        "PageDown",
        Action::PageDown,
        "one page down",
    ),
    browse(
        &[Key::Plain(KeyCode::Tab)],
        "Tab",
        Action::NextPanel,
        "to the next panel",
    ),
    browse(
        &[Key::Plain(KeyCode::BackTab)],
        "Shift-Tab",
        Action::PreviousPanel,
        "to the previous panel",
    ),
    browse(
        &[Key::Plain(KeyCode::Enter)],
        "Enter",
        Action::Open,
        "detail of the chosen port, socket, event or problem",
    ),
    browse(
        &[Key::Plain(KeyCode::Esc)],
        "Esc",
        Action::Close,
        "close; then put the message away; then clear the filter",
    ),
    browse(
        &[Key::Plain(KeyCode::Char('n'))],
        "n",
        Action::Notes,
        "all messages: the story of a demo, warnings",
    ),
    browse(
        &[Key::Plain(KeyCode::Char(' '))],
        "Space",
        Action::Pause,
        "freeze the screen, go on; nothing is lost meanwhile",
    ),
    browse(
        &[Key::Plain(KeyCode::Char('/'))],
        "/",
        Action::Filter,
        "filter sockets and events",
    ),
    browse(
        &[Key::Plain(KeyCode::Char('s'))],
        "s",
        Action::Sort,
        "sort the sockets by the next column",
    ),
    browse(
        &[Key::Plain(KeyCode::Char('r'))],
        "r",
        Action::Reverse,
        "reverse the order of the sockets",
    ),
    browse(
        &[Key::Plain(KeyCode::Char('d'))],
        "d",
        Action::Diagnosis,
        "diagnosis of the latest failure in full; again: back",
    ),
    browse(
        &[Key::Plain(KeyCode::Char('c'))],
        "c",
        Action::Clear,
        "put the failure banner away (d brings it back)",
    ),
    browse(
        &[Key::Ctrl('z')],
        "ctrl-z",
        Action::Suspend,
        "to the shell; fg comes back",
    ),
    replay(
        &[Key::Plain(KeyCode::Char(' '))],
        "Space",
        Replay::Play,
        "play, stop",
    ),
    replay(
        &[Key::Plain(KeyCode::Char(']'))],
        "]",
        Replay::NextMark,
        "to the next failed call or restart",
    ),
    replay(
        &[Key::Plain(KeyCode::Char('['))],
        "[",
        Replay::PreviousMark,
        "to the failed call or restart before",
    ),
    replay(
        &[Key::Plain(KeyCode::Char('.'))],
        ".",
        Replay::Step,
        "one event on",
    ),
    replay(
        &[Key::Plain(KeyCode::Char(','))],
        ",",
        Replay::StepBack,
        "one event back",
    ),
    replay(
        &[Key::Plain(KeyCode::Char('}'))],
        "}",
        Replay::Forward,
        "ten seconds on",
    ),
    replay(
        &[Key::Plain(KeyCode::Char('{'))],
        "{",
        Replay::Back,
        "ten seconds back",
    ),
    replay(
        &[Key::Plain(KeyCode::Char('+'))],
        "+",
        Replay::Faster,
        "faster",
    ),
    replay(
        &[Key::Plain(KeyCode::Char('-'))],
        "-",
        Replay::Slower,
        "slower",
    ),
    replay(
        &[Key::Plain(KeyCode::Char('<'))],
        "<",
        Replay::Begin,
        "to the beginning",
    ),
    replay(
        &[Key::Plain(KeyCode::Char('>'))],
        ">",
        Replay::End,
        "to the end",
    ),
    replay(
        &[Key::Plain(KeyCode::Char('t'))],
        "t",
        Replay::AskTime,
        "go to a time: 11:06:41, +90s from the beginning, 50%",
    ),
    typing(
        &[Key::Plain(KeyCode::Enter)],
        "Enter",
        Action::Accept,
        "take it",
    ),
    typing(
        &[Key::Plain(KeyCode::Esc)],
        "Esc",
        Action::Cancel,
        "leave it as it was",
    ),
    typing(
        &[Key::Plain(KeyCode::Backspace), Key::Ctrl('h')],
        "Backspace",
        Action::Erase,
        "take a character back",
    ),
    typing(
        &[Key::Ctrl('u'), Key::Ctrl('w')],
        "ctrl-u",
        Action::EraseAll,
        "take everything back",
    ),
    typing(&[Key::Ctrl('c')], "ctrl-c", Action::Quit, "quit"),
];

const fn browse(
    keys: &'static [Key],
    label: &'static str,
    action: Action,
    help: &'static str,
) -> Binding {
    Binding {
        mode: Mode::Browse,
        keys,
        label,
        action,
        help,
    }
}

const fn replay(
    keys: &'static [Key],
    label: &'static str,
    action: Replay,
    help: &'static str,
) -> Binding {
    Binding {
        mode: Mode::Replay,
        keys,
        label,
        action: Action::Replay(action),
        help,
    }
}

const fn typing(
    keys: &'static [Key],
    label: &'static str,
    action: Action,
    help: &'static str,
) -> Binding {
    Binding {
        mode: Mode::Typing,
        keys,
        label,
        action,
        help,
    }
}

/// Maps key events; remembers the first of two.
#[derive(Clone, Copy, Debug, Default)]
pub struct Keys {
    first: Option<char>,
}

impl Keys {
    /// What the key asks for; `None`: nothing, or the first of two.
    pub fn action(&mut self, mode: Mode, event: KeyEvent) -> Option<Action> {
        let first = self.first.take();
        let is_ctrl = event.modifiers.contains(KeyModifiers::CONTROL);
        if event.modifiers.contains(KeyModifiers::ALT) {
            return None;
        }
        let key = match event.code {
            KeyCode::Char(letter) if is_ctrl => Key::Ctrl(letter.to_ascii_lowercase()),
            code => Key::Plain(code),
        };
        // A replay's own keys come first.
        let falls_back = mode == Mode::Replay;
        let in_mode = || {
            let own = BINDINGS.iter().filter(move |binding| binding.mode == mode);
            let others = BINDINGS
                .iter()
                .filter(move |binding| falls_back && binding.mode == Mode::Browse);
            own.chain(others)
        };
        if let Some(binding) = in_mode().find(|binding| binding.keys.contains(&key)) {
            return Some(binding.action);
        }
        let Key::Plain(KeyCode::Char(letter)) = key else {
            return None;
        };
        if mode == Mode::Typing {
            return Some(Action::Type(letter));
        }
        let twice = in_mode().find(|binding| binding.keys.contains(&Key::Twice(letter)))?;
        if first == Some(letter) {
            return Some(twice.action);
        }
        self.first = Some(letter);
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn press(keys: &mut Keys, mode: Mode, key: Key) -> Option<Action> {
        match key {
            Key::Plain(code) => keys.action(mode, KeyEvent::from(code)),
            Key::Ctrl(letter) => keys.action(
                mode,
                KeyEvent::new(KeyCode::Char(letter), KeyModifiers::CONTROL),
            ),
            Key::Twice(letter) => {
                let code = KeyCode::Char(letter);
                assert_eq!(keys.action(mode, KeyEvent::from(code)), None);
                keys.action(mode, KeyEvent::from(code))
            }
        }
    }

    #[test]
    fn every_key_of_the_table_gives_its_action() {
        for binding in BINDINGS {
            for key in binding.keys {
                let action = press(&mut Keys::default(), binding.mode, *key);

                assert_eq!(action, Some(binding.action), "{key:?}");
            }
        }
    }

    #[test]
    fn a_key_means_one_thing_in_one_mode() {
        let mut seen = Vec::new();
        for binding in BINDINGS {
            for key in binding.keys {
                assert!(!seen.contains(&(binding.mode as u8, *key)), "{key:?}");
                seen.push((binding.mode as u8, *key));
            }
        }
    }

    #[test]
    fn another_key_between_two_breaks_them_up() {
        let mut keys = Keys::default();

        assert_eq!(
            press(&mut keys, Mode::Browse, Key::Plain(KeyCode::Char('g'))),
            None
        );
        press(&mut keys, Mode::Browse, Key::Plain(KeyCode::Char('j')));

        assert_eq!(
            press(&mut keys, Mode::Browse, Key::Plain(KeyCode::Char('g'))),
            None
        );
    }

    #[test]
    fn letters_are_text_while_typing() {
        let mut keys = Keys::default();

        assert_eq!(
            press(&mut keys, Mode::Typing, Key::Plain(KeyCode::Char('q'))),
            Some(Action::Type('q'))
        );
    }
}
