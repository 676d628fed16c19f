//! Resets.

use std::fmt::Write as _;

use super::words::{by, connection, pair, push_process};
use super::{Context, Describe, Row, Tone, View};
use crate::event::{Direction, Reset};
use crate::printable::printable;

impl Describe for Reset {
    fn text(&self, _: &'static str, _: &Context<'_>) -> Option<String> {
        let mut text = format!(
            "rst {:8} {}",
            match self.direction {
                Direction::Sent => "sent",
                Direction::Received => "received",
            },
            connection(self.local, self.peer)
        );
        match (self.state, &self.sock) {
            (Some(state), _) => {
                let _ = write!(text, "  in {state}");
            }
            (None, None) => text.push_str("  no socket there"),
            (None, Some(_)) => {}
        }
        if let Some(reason) = &self.reason {
            let _ = write!(text, "  reason {}", printable(reason));
        }
        push_process(&mut text, self.process.as_ref());
        Some(text)
    }

    fn row(&self, _: &'static str, view: &View) -> Row {
        let text = format!(
            "RST {} {}{}{}",
            match self.direction {
                Direction::Sent => "sent",
                Direction::Received => "received",
            },
            pair(self.local, self.peer, view),
            self.reason
                .as_deref()
                .map_or_else(String::new, |reason| format!(", {reason}")),
            by(", ", self.process.as_deref())
        );
        Row::quiet("reset", Tone::Warn, text)
    }
}
