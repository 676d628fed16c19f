//! The help: printed from the key table, so that it cannot be wrong.

use super::banner::state_name;
use super::overlay::Text;
use crate::event::State;
use crate::tui::filter::LANGUAGE;
use crate::tui::keys::{BINDINGS, Mode};
use crate::tui::theme::Role;
use crate::tui::words::{WORDS, meaning};

/// Width of the keys.
const KEYS: usize = 14;

pub(super) fn text(width: usize) -> Text {
    let mut text = Text::new("help", width);
    for binding in BINDINGS
        .iter()
        .filter(|binding| binding.mode == Mode::Browse)
    {
        text.pair(KEYS, binding.label, binding.help, Role::Accent);
    }
    text.heading("filter: words joined by \"and\"");
    for (word, meaning) in LANGUAGE {
        text.pair(KEYS * 2, word, meaning, Role::Accent);
    }
    text.heading("while typing a filter");
    for binding in BINDINGS
        .iter()
        .filter(|binding| binding.mode == Mode::Typing)
    {
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
