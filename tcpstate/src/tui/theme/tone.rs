//! What a piece of text means; panels name tones, never colours.

use crate::event::State;
use crate::export::describe::Meaning;

/// What a piece of text means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tone {
    /// Plain text.
    Text,
    /// Of little weight: labels, units, lines.
    Dim,
    /// Stands out.
    Strong,
    /// As it should be.
    Good,
    /// Stands in the way.
    Bad,
    /// Deserves attention.
    Warn,
    /// Where the keys go.
    Accent,
    /// The chosen row.
    Selected,
    /// A TCP state.
    State(State),
}

impl From<Meaning> for Tone {
    fn from(meaning: Meaning) -> Self {
        match meaning {
            Meaning::Dim => Self::Dim,
            Meaning::Good => Self::Good,
            Meaning::Bad => Self::Bad,
            Meaning::Warn => Self::Warn,
            Meaning::Remark => Self::Accent,
            Meaning::State(state) => Self::State(state),
        }
    }
}
