//! What a piece of text means; panels name tones, never colours.

use crate::event::State;

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
