//! What the text of an event depends on besides the event.

use crate::event::{Body, Call, ClockAnchor, Header};
use crate::printable::printable;

/// What the text of an event depends on besides the event.
#[derive(Clone, Copy, Debug, Default)]
pub struct Context<'a> {
    /// Ties times to the calendar.
    pub clock: ClockAnchor,
    /// Network namespace of the observer; others are named.
    pub own_netns: Option<u32>,
    /// The run is about one namespace: only where commands are advised does it
    /// matter that it is another one.
    pub is_one_netns: bool,
    /// Of a diagnosis: the call that failed.
    pub failed: Option<&'a Call>,
}

impl Context<'_> {
    /// That of a run.
    #[must_use]
    pub fn of(header: &Header) -> Self {
        Self {
            clock: header.clock,
            own_netns: header.netns,
            is_one_netns: header.filters.netns.is_some(),
            failed: None,
        }
    }

    /// `netns blue`; `None`: ours, or nothing is to be told apart.
    pub(in crate::export) fn netns(&self, body: &Body) -> Option<String> {
        if self.is_one_netns {
            return None;
        }
        if let Some(call) = body.call() {
            let netns = call.foreign_netns(self.own_netns)?;
            return Some(printable(&netns.to_string()).into_owned());
        }
        // A diagnosis follows its call, which has it.
        let netns = match body {
            Body::Diagnosis(_) => None,
            body => body.netns(),
        };
        let netns = netns.filter(|netns| self.own_netns.is_some_and(|own| own != *netns));
        netns.map(|netns| format!("netns {netns}"))
    }
}
