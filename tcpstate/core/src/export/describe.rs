//! How each event reads: as a line of text, and as a row of the dashboard.

mod call;
mod context;
mod diagnosis;
mod outcome;
mod reset;
mod run;
mod socket;
mod time_wait;
mod words;

use crate::event::{Event, State, for_payload};

pub use context::Context;
pub(super) use diagnosis::fix_lines;
pub(super) use words::{connection, name, seconds};

/// Cells that a [`Row::tag`] takes at most.
pub const TAG: usize = 10;

/// What a row means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// Of little weight.
    Dim,
    /// As it should be.
    Good,
    /// Stands in the way.
    Bad,
    /// Deserves a look.
    Warn,
    /// Somebody's remark, not an event.
    Remark,
    /// About a TCP state.
    State(State),
}

/// An event in one line.
#[derive(Debug, PartialEq, Eq)]
pub struct Row {
    /// What kind of thing it is.
    pub tag: &'static str,
    /// What it means.
    pub tone: Tone,
    /// Whether the text, too, is to stand out.
    pub is_loud: bool,
    /// What happened. Names that processes chose are in it as they are: whoever prints it
    /// makes them [printable](crate::printable).
    pub text: String,
}

impl Row {
    fn quiet(tag: &'static str, tone: Tone, text: String) -> Self {
        Self {
            tag,
            tone,
            is_loud: false,
            text,
        }
    }

    fn loud(tag: &'static str, tone: Tone, text: String) -> Self {
        Self {
            tag,
            tone,
            is_loud: true,
            text,
        }
    }

    /// What was said to the person.
    #[must_use]
    pub fn remark(text: &str) -> Self {
        Self::loud("»", Tone::Remark, text.to_owned())
    }

    /// The event. Where room is short (`is_wide` is false), addresses of this side are left
    /// out; a call that failed in another namespace than `own_netns` says in which.
    #[must_use]
    pub fn of(event: &Event, is_wide: bool, own_netns: Option<u32>) -> Self {
        let view = View { is_wide, own_netns };
        for_payload!(&event.body, payload => payload.row(event.body.name(), &view))
    }
}

/// What a row depends on besides the event.
#[derive(Clone, Copy, Debug)]
pub(crate) struct View {
    is_wide: bool,
    own_netns: Option<u32>,
}

/// How what an event holds reads.
pub(crate) trait Describe {
    /// In words: one line, for a diagnosis several; `name` is the event's. `None`: it says
    /// nothing to a person.
    fn text(&self, name: &'static str, context: &Context<'_>) -> Option<String>;

    /// As a row of the dashboard.
    fn row(&self, name: &'static str, view: &View) -> Row;
}

/// What happened, in words; `None` for events that say nothing to a person.
#[must_use]
pub fn text(event: &Event, context: &Context<'_>) -> Option<String> {
    for_payload!(&event.body, payload => payload.text(event.body.name(), context))
}
