//! The filter's small language: what is typed after `/`.
//!
//! Words are joined by "and"; `!` before one means "not", commas between values
//! mean "or", quotes keep blanks together.

mod fields;
mod parse;
mod term;

use crate::event::Event;
use crate::model::Socket;
use fields::Fields;
pub use parse::FilterError;
use term::Term;

/// One line per word of the language, for the help.
pub const LANGUAGE: &[(&str, &str)] = &[
    ("port:8080  port:80,8000-8100", "local or peer port"),
    ("state:time_wait", "state, or how its name begins"),
    ("pid:4711  comm:nginx", "process, or who left the socket"),
    ("addr:10.0.0.1", "local or peer address, or how it begins"),
    ("cause:closing", "cause of a failure, or how it begins"),
    ("netns:4026531840", "network namespace, by its inode number"),
    (
        "word  \"two words\"",
        "anywhere in addresses, states and names",
    ),
    ("!word  !port:22", "not this"),
];

/// A parsed filter; the empty one lets everything through.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    text: String,
    terms: Vec<Term>,
}

impl Filter {
    /// Parses what was typed; the error says what is wrong with it, and where.
    pub fn parse(text: &str) -> Result<Self, FilterError> {
        Ok(Self {
            terms: parse::terms(text)?,
            text: text.trim().to_owned(),
        })
    }

    /// What was typed.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether it lets everything through.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.terms.is_empty()
    }

    /// Whether the socket is let through.
    #[must_use]
    pub fn matches_socket(&self, socket: &Socket) -> bool {
        self.is_empty() || self.matches(&Fields::of_socket(socket))
    }

    /// Whether the event is let through.
    #[must_use]
    pub fn matches_event(&self, event: &Event) -> bool {
        self.is_empty() || self.matches(&Fields::of_event(event))
    }

    fn matches(&self, fields: &Fields<'_>) -> bool {
        self.terms.iter().all(|term| term.fits(fields))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Endpoint, Process, State};

    fn fields(process: &Process) -> Fields<'_> {
        Fields {
            endpoints: [
                Some(Endpoint {
                    addr: [10, 0, 0, 1].into(),
                    port: 8080,
                }),
                Some(Endpoint {
                    addr: [10, 0, 0, 2].into(),
                    port: 50_000,
                }),
                None,
            ],
            states: [Some(State::TimeWait), None],
            processes: [Some(process), None],
            netns: Some(4_026_531_840),
            cause: "closing",
            ..Fields::default()
        }
    }

    #[test]
    fn each_word_of_the_language_matches_and_can_be_negated() {
        let process = Process::new(4711, 0, "Nginx", crate::event::KnownBy::Proc);
        for (text, is_match) in [
            ("", true),
            ("port:8080", true),
            ("port:50000", true),
            ("port:8000-8100", true),
            ("port:22", false),
            ("state:time_wait", true),
            ("state:TIME-WAIT", true),
            ("state:time", true),
            ("state:listen", false),
            ("pid:4711", true),
            ("port:22,8080", true),
            ("port:1-9,22", false),
            ("PORT:8080", true),
            ("state:listen,time", true),
            ("pid:1", false),
            ("pid:4000-5000", true),
            ("netns:4026531840", true),
            ("netns:1", false),
            ("cause:clos", true),
            ("cause:unknown", false),
            ("\"nginx\"", true),
            ("comm:\"nginx\"", true),
            ("\"nginx worker\"", false),
            ("comm:nginx", true),
            ("addr:10.0.0.1", true),
            ("addr:10.0.1", false),
            ("nginx", true),
            ("10.0.0.2:5", true),
            ("apache", false),
            ("port:8080 state:time_wait", true),
            ("port:8080 state:listen", false),
        ] {
            let filter = Filter::parse(text).expect(text);
            assert_eq!(filter.matches(&fields(&process)), is_match, "{text}");
            if !text.is_empty() && (!text.contains(' ') || text.contains('"')) {
                let negated = Filter::parse(&format!("!{text}")).expect(text);
                assert_eq!(negated.matches(&fields(&process)), !is_match, "!{text}");
            }
        }
    }
}
