//! The help: printed from the key table, so that it cannot be wrong.

use super::banner::state_name;
use super::overlay::Text;
use crate::event::State;
use crate::tui::filter::LANGUAGE;
use crate::tui::keys::{BINDINGS, Binding, Mode};
use crate::tui::theme::Role;
use crate::tui::words::{WORDS, meaning};

fn of(mode: Mode) -> impl Iterator<Item = &'static Binding> {
    BINDINGS.iter().filter(move |binding| binding.mode == mode)
}

/// Whether a replay has the key for something else.
fn is_taken(binding: &Binding) -> bool {
    of(Mode::Replay).any(|own| own.keys.iter().any(|key| binding.keys.contains(key)))
}

/// Width of the keys.
const KEYS: usize = 14;

pub(super) fn text(width: usize, is_replay: bool) -> Text {
    let mut text = Text::new("help", width);
    if is_replay {
        text.heading("in the recording");
        for binding in of(Mode::Replay) {
            text.pair(KEYS, binding.label, binding.help, Role::Accent);
        }
        text.heading("on the screen");
    }
    for binding in of(Mode::Browse).filter(|binding| !is_replay || !is_taken(binding)) {
        text.pair(KEYS, binding.label, binding.help, Role::Accent);
    }
    text.heading("filter: words joined by \"and\"");
    for (word, meaning) in LANGUAGE {
        text.pair(KEYS * 2, word, meaning, Role::Accent);
    }
    text.heading("while typing");
    for binding in of(Mode::Typing) {
        text.pair(KEYS, binding.label, binding.help, Role::Accent);
    }
    text.heading("reading the table");
    for (word, meaning) in [
        (
            "left by nginx[1]",
            "TIME_WAIT has no owner; this process closed first",
        ),
        ("once nginx[1]", "owner before the peer closed first"),
        (
            "nginx[1] /proc",
            "it has the descriptor open; not seen making the call",
        ),
        ("≥3m12s", "it was in this state before tcpstate began"),
    ] {
        text.pair(KEYS + 4, word, meaning, Role::Strong);
    }
    text.heading("states of a socket");
    for state in State::ALL {
        text.pair(KEYS + 4, &state_name(state), meaning(state), Role::Strong);
    }
    text.heading("other words");
    for (word, meaning) in WORDS {
        text.pair(KEYS + 4, word, meaning, Role::Strong);
    }
    text
}
