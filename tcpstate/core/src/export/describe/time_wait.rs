//! TIME_WAIT: entered and left.

use std::fmt::Write as _;

use super::words::{by, connection, name, pair, seconds};
use super::{Context, Describe, Row, Tone, View};
use crate::event::{ExitReason, State, TimeWaitEnter, TimeWaitExit};
use crate::model::NS_PER_MS;
use crate::units;

impl Describe for TimeWaitEnter {
    fn text(&self, _: &'static str, _: &Context<'_>) -> Option<String> {
        let mut text = format!(
            "time_wait    {}  holds the port for {}",
            connection(self.local, self.peer),
            seconds(self.expires_ms)
        );
        let _ = write!(
            text,
            ", left with{} SO_REUSEADDR",
            if self.reuse.reuseaddr { "" } else { "out" }
        );
        if let Some(process) = &self.left_by {
            let _ = write!(text, " by {}", name(process));
        }
        Some(text)
    }

    fn row(&self, _: &'static str, view: &View) -> Row {
        let text = format!(
            "{} for {}{}{}",
            pair(self.local, self.peer, view),
            units::left(self.expires_ms.saturating_mul(NS_PER_MS)),
            by(", left by ", self.left_by.as_deref()),
            if self.reuse.reuseaddr {
                " with SO_REUSEADDR"
            } else {
                " without SO_REUSEADDR"
            }
        );
        Row::quiet("TIME_WAIT", Tone::State(State::TimeWait), text)
    }
}

impl Describe for TimeWaitExit {
    fn text(&self, _: &'static str, _: &Context<'_>) -> Option<String> {
        Some(format!(
            "time_wait    {}  over after {}: {}",
            connection(self.local, self.peer),
            seconds(self.lived_ms),
            match self.reason {
                ExitReason::Expired => "its time ran out",
                ExitReason::Reused => "a new connection took its place",
                ExitReason::Destroyed => "destroyed before its time",
                ExitReason::Unknown => "cannot tell why",
            }
        ))
    }

    fn row(&self, _: &'static str, view: &View) -> Row {
        let text = format!(
            "{} {} after {}",
            pair(self.local, self.peer, view),
            match self.reason {
                ExitReason::Expired => "expired",
                ExitReason::Reused => "taken over by a new connection",
                ExitReason::Destroyed => "destroyed",
                ExitReason::Unknown => "gone",
            },
            units::exact(self.lived_ms.saturating_mul(NS_PER_MS))
        );
        Row::quiet("TIME_WAIT", Tone::Good, text)
    }
}
