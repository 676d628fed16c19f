//! One word of a filter, and whether it fits a socket or an event.

use std::fmt::Write as _;
use std::ops::RangeInclusive;

use super::fields::Fields;
use crate::event::Process;

/// One word: any of its tests fits, or none of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Term {
    pub(crate) is_negated: bool,
    pub(crate) tests: Vec<Test>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Test {
    Port(RangeInclusive<u16>),
    State(String),
    Pid(RangeInclusive<u32>),
    Netns(RangeInclusive<u32>),
    Comm(String),
    Addr(String),
    Cause(String),
    Text(String),
}

impl Term {
    pub(crate) fn fits(&self, fields: &Fields<'_>) -> bool {
        let fits = self.tests.iter().any(|test| test.matches(fields));
        fits != self.is_negated
    }
}

impl Test {
    fn matches(&self, fields: &Fields<'_>) -> bool {
        let mut endpoints = fields.endpoints.iter().flatten();
        let mut states = fields.states.iter().flatten();
        let mut processes = fields.processes.iter().flatten();
        match self {
            Self::Port(ports) => endpoints.any(|endpoint| ports.contains(&endpoint.port)),
            Self::State(prefix) => states.any(|state| state.name().starts_with(prefix)),
            Self::Pid(pids) => processes.any(|process| pids.contains(&process.pid)),
            Self::Netns(inodes) => fields.netns.is_some_and(|netns| inodes.contains(&netns)),
            Self::Comm(comm) => processes.any(|process| contains(&process.comm, comm)),
            Self::Addr(addr) => {
                let mut text = String::new();
                endpoints.any(|endpoint| {
                    text.clear();
                    // Writing to a String cannot fail.
                    let _ = write!(text, "{}", endpoint.addr);
                    text.starts_with(addr)
                })
            }
            Self::Cause(cause) => fields.cause.starts_with(cause),
            Self::Text(needle) => {
                let mut text = String::new();
                states.any(|state| state.name().contains(needle))
                    || fields.texts.iter().any(|text| contains(text, needle))
                    || fields.cause.contains(needle)
                    || processes.any(|process| process_contains(process, needle))
                    || endpoints.any(|endpoint| {
                        text.clear();
                        let _ = write!(text, "{endpoint}");
                        text.contains(needle)
                    })
            }
        }
    }
}

fn process_contains(process: &Process, needle: &str) -> bool {
    contains(&process.comm, needle)
        || process
            .exe
            .as_deref()
            .is_some_and(|exe| contains(exe, needle))
        || process
            .argv
            .iter()
            .flat_map(|argv| argv.iter())
            .any(|argument| contains(argument, needle))
}

fn contains(text: &str, needle: &str) -> bool {
    text.contains(needle) || text.to_lowercase().contains(needle)
}
