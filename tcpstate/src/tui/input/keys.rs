//! Keys: what they are called, what they do, and which are in force.

mod action;
mod name;
mod table;

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

pub use action::{Action, ReplayAction};
pub use name::Key;
pub use table::{BINDINGS, Binding, Mode};

/// What an action's keys are now.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Bound {
    /// Its place in [`BINDINGS`].
    at: usize,
    keys: Vec<Key>,
}

/// The keys in force. Maps key events; remembers the first of two.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keys {
    bound: Vec<Bound>,
    first: Option<char>,
}

impl Default for Keys {
    fn default() -> Self {
        let bound = BINDINGS.iter().enumerate().map(|(at, binding)| Bound {
            at,
            keys: binding.keys.to_vec(),
        });
        Self {
            bound: bound.collect(),
            first: None,
        }
    }
}

impl Keys {
    /// Gives an action other keys than its own. The error says what is wrong.
    pub fn rebind(&mut self, mode: Mode, name: &str, keys: Vec<Key>) -> Result<(), String> {
        let known = |binding: &Binding| binding.mode == mode && binding.name == name;
        let Some(at) = BINDINGS.iter().position(known) else {
            let names: Vec<&str> = of(mode).map(|binding| binding.name).collect();
            return Err(format!(
                "there is no action `{name}` in [{}]; the actions are {}",
                mode.table(),
                names.join(", ")
            ));
        };
        if keys.is_empty() && BINDINGS[at].is_needed() {
            return Err(format!("`{name}` needs a key"));
        }
        if let Some(text) = keys
            .iter()
            .find(|key| mode == Mode::Typing && key.is_text())
        {
            return Err(format!("`{text}` is text while typing; use another key"));
        }
        self.bound[at].keys = keys;
        Ok(())
    }

    /// Two actions with the same key in the same mode, if there are any. A
    /// replay's own keys come before the dashboard's and are no conflict.
    pub fn check(&self) -> Result<(), String> {
        for (at, one) in self.bound.iter().enumerate() {
            for other in &self.bound[at..] {
                let (first, second) = (&BINDINGS[one.at], &BINDINGS[other.at]);
                if first.mode != second.mode {
                    continue;
                }
                for (index, key) in one.keys.iter().enumerate() {
                    let skip = if one.at == other.at { index + 1 } else { 0 };
                    if let Some(same) = other.keys.iter().skip(skip).find(|k| k.collides_with(*key))
                    {
                        return Err(format!(
                            "the key `{same}` of `{}` is taken by `{}` in [{}]",
                            second.name,
                            first.name,
                            first.mode.table()
                        ));
                    }
                }
            }
        }
        Ok(())
    }

    /// The bindings of a mode and their keys, in the order of the help.
    pub fn of(&self, mode: Mode) -> impl Iterator<Item = (&'static Binding, &[Key])> {
        self.bound
            .iter()
            .map(|bound| (&BINDINGS[bound.at], bound.keys.as_slice()))
            .filter(move |(binding, _)| binding.mode == mode)
    }

    /// The first key of an action as the help shows it; `None`: it has none.
    #[must_use]
    pub fn label(&self, action: Action) -> Option<String> {
        let bound = self
            .bound
            .iter()
            .find(|bound| BINDINGS[bound.at].action == action)?;
        bound.keys.first().map(|key| key.label())
    }

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
        if let Some(action) = self.find(mode, key) {
            return Some(action);
        }
        let Key::Plain(KeyCode::Char(letter)) = key else {
            return None;
        };
        if mode == Mode::Typing {
            return Some(Action::Type(letter));
        }
        let twice = self.find(mode, Key::Twice(letter))?;
        if first == Some(letter) {
            return Some(twice);
        }
        self.first = Some(letter);
        None
    }

    /// A replay's own keys come first.
    fn find(&self, mode: Mode, key: Key) -> Option<Action> {
        let in_mode = |mode| {
            self.of(mode)
                .find(|(_, keys)| keys.contains(&key))
                .map(|(binding, _)| binding.action)
        };
        in_mode(mode).or_else(|| (mode == Mode::Replay).then(|| in_mode(Mode::Browse))?)
    }
}

/// The bindings of a mode.
fn of(mode: Mode) -> impl Iterator<Item = &'static Binding> {
    BINDINGS.iter().filter(move |binding| binding.mode == mode)
}

/// Keys as the help writes them.
#[must_use]
pub fn label(keys: &[Key]) -> String {
    let labels: Vec<String> = keys.iter().map(|key| key.label()).collect();
    labels.join("  ")
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

    fn letter(letter: char) -> Key {
        Key::Plain(KeyCode::Char(letter))
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
    fn another_key_between_two_breaks_them_up() {
        let mut keys = Keys::default();

        assert_eq!(press(&mut keys, Mode::Browse, letter('g')), None);
        press(&mut keys, Mode::Browse, letter('j'));

        assert_eq!(press(&mut keys, Mode::Browse, letter('g')), None);
    }

    #[test]
    fn letters_are_text_while_typing() {
        let mut keys = Keys::default();

        assert_eq!(
            press(&mut keys, Mode::Typing, letter('q')),
            Some(Action::Type('q'))
        );
    }

    #[test]
    fn an_action_answers_to_its_new_key_only() {
        let mut keys = Keys::default();
        keys.rebind(Mode::Browse, "help", vec![Key::Plain(KeyCode::F(1))])
            .expect("it is an action");

        assert_eq!(keys.check(), Ok(()));
        assert_eq!(press(&mut keys, Mode::Browse, letter('?')), None);
        assert_eq!(
            press(&mut keys, Mode::Replay, Key::Plain(KeyCode::F(1))),
            Some(Action::Help)
        );
        assert_eq!(keys.label(Action::Help).as_deref(), Some("F1"));
    }

    #[test]
    fn what_cannot_be_bound_is_refused_by_name() {
        let mut keys = Keys::default();
        let mut wrong = |mode, name, key| keys.rebind(mode, name, key).expect_err(name);

        let error = wrong(Mode::Replay, "fly", vec![letter('x')]);
        assert!(
            error.starts_with("there is no action `fly` in [keys.replay]; the actions are play,")
        );
        assert_eq!(wrong(Mode::Browse, "quit", vec![]), "`quit` needs a key");
        assert_eq!(
            wrong(Mode::Typing, "accept", vec![letter('x')]),
            "`x` is text while typing; use another key"
        );
    }

    #[test]
    fn a_key_of_two_actions_is_named_with_both() {
        for (new, expected) in [
            (
                letter('q'),
                "the key `q` of `help` is taken by `quit` in [keys]",
            ),
            (
                letter('g'),
                "the key `gg` of `top` is taken by `help` in [keys]",
            ),
        ] {
            let mut keys = Keys::default();
            keys.rebind(Mode::Browse, "help", vec![new])
                .expect("it is an action");
            assert_eq!(keys.check(), Err(expected.to_owned()));
        }
        let mut keys = Keys::default();
        keys.rebind(Mode::Browse, "help", vec![letter('x'), letter('x')])
            .expect("it is an action");
        assert!(keys.check().is_err());
    }
}
