//! Sockets: found, and from one state to another.

use std::fmt::Write as _;

use super::words::{by, capitals, connection, pair, push_process, seconds};
use super::{Context, Describe, Row, Tone, View};
use crate::event::{SocketSeen, Source, State, StateChange};
use crate::printable::printable;

impl Describe for SocketSeen {
    fn text(&self, _: &'static str, _: &Context<'_>) -> Option<String> {
        let mut text = if self.state == State::Closed {
            format!("gone         {}", connection(self.local, self.peer))
        } else {
            format!(
                "{:12} {}  {}",
                if self.source == Source::Kernel {
                    "anew"
                } else {
                    "found"
                },
                connection(self.local, self.peer),
                self.state
            )
        };
        if let Some(ms) = self.expires_ms {
            let _ = write!(text, ", {} left", seconds(ms));
        }
        push_process(&mut text, self.process.as_ref());
        Some(text)
    }

    fn row(&self, _: &'static str, view: &View) -> Row {
        let text = format!(
            "{} {}{}",
            capitals(self.state),
            pair(self.local, self.peer, view),
            by(", ", self.process.as_deref())
        );
        Row::quiet("found", Tone::State(self.state), text)
    }
}

impl Describe for StateChange {
    fn text(&self, _: &'static str, _: &Context<'_>) -> Option<String> {
        let (old, new) = (self.old.name(), self.new.name());
        let mut text = format!(
            "{old:>12} -> {new:<12} {}",
            connection(self.local, self.peer)
        );
        if let Some(error) = &self.error {
            let _ = write!(text, "  {}", printable(error));
        }
        if let Some(mini) = &self.mini {
            let _ = write!(text, "  port goes on in {}", mini.state);
        }
        push_process(&mut text, self.process.as_ref());
        Some(text)
    }

    fn row(&self, _: &'static str, view: &View) -> Row {
        let error = self
            .error
            .as_deref()
            .map_or_else(String::new, |error| format!(", {error}"));
        let text = format!(
            "{} {} → {}{error}{}",
            pair(self.local, self.peer, view),
            capitals(self.old),
            match self.mini {
                Some(mini) => format!("{}, no owner any more", capitals(mini.state)),
                None => capitals(self.new),
            },
            by(", ", self.process.as_deref())
        );
        Row::quiet("state", Tone::State(self.new), text)
    }
}
