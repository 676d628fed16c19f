//! The help: printed from the key table, so that it cannot be wrong.

use crate::event::State;
use crate::tui::draw::glossary::{WORDS, meaning};
use crate::tui::draw::page::Page;
use crate::tui::draw::phrases::state_name;
use crate::tui::draw::ports::lane;
use crate::tui::input::keys::{Binding, Key, Keys, Mode, label};
use crate::tui::state::filter::LANGUAGE;
use crate::tui::theme::Tone;

/// Width of the keys.
const KEYS: usize = 18;
/// Width of the filter's terms.
const WORDS_OF_FILTER: usize = 30;

pub(crate) fn text(width: usize, keys: &Keys, is_replay: bool) -> Page {
    let mut text = Page::new("help", width);
    let add_binding = |text: &mut Page, (binding, keys): (&Binding, &[Key])| {
        if !keys.is_empty() {
            text.pair(KEYS, &label(keys), binding.help, Tone::Accent);
        }
    };
    // A replay may have the key for something else.
    let is_taken = |key: &Key| keys.of(Mode::Replay).any(|(_, own)| own.contains(key));
    if is_replay {
        text.heading("in the recording");
        for bound in keys.of(Mode::Replay) {
            add_binding(&mut text, bound);
        }
        text.heading("on the screen");
    }
    for (binding, keys) in keys.of(Mode::Browse) {
        let left: Vec<Key> = keys
            .iter()
            .filter(|key| !is_replay || !is_taken(key))
            .copied()
            .collect();
        add_binding(&mut text, (binding, &left));
    }
    text.heading("filter: words joined by \"and\"");
    for (word, meaning) in LANGUAGE {
        text.pair(WORDS_OF_FILTER, word, meaning, Tone::Accent);
    }
    text.heading("while typing");
    for bound in keys.of(Mode::Typing) {
        add_binding(&mut text, bound);
    }
    text.heading("a port's last minutes");
    for (sign, meaning) in lane::legend() {
        text.pair(KEYS, sign, meaning, Tone::Strong);
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
        text.pair(KEYS, word, meaning, Tone::Strong);
    }
    text.heading("states of a socket");
    for state in State::ALL {
        text.pair(KEYS, &state_name(state), meaning(state), Tone::Strong);
    }
    text.heading("other words");
    for (word, meaning) in WORDS {
        text.pair(KEYS, word, meaning, Tone::Strong);
    }
    text
}
