//! Where the screen takes its view from: the engine as it is, or a frozen copy.

use std::mem;

use super::event_list::MAX_ENTRIES;
use super::rows::MAX_ROWS;
use super::view::View;
use crate::engine::Engine;
use crate::model::SocketId;

/// The source of the view, and the time of the last frame.
#[derive(Debug, Default)]
pub(crate) struct Feed {
    now_ns: u64,
    source: Source,
}

#[derive(Debug, Default)]
enum Source {
    #[default]
    Live,
    Frozen(Box<View<'static>>),
}

/// How far a frozen screen is behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Behind {
    /// Events that came since.
    pub(crate) events: u64,
    /// Time that went by.
    pub(crate) ns: u64,
}

impl Feed {
    /// Sets the time before each frame.
    pub(crate) fn begin_frame(&mut self, now_ns: u64) {
        self.now_ns = now_ns;
    }

    /// What the panels read.
    pub(crate) fn view<'a>(&'a self, engine: &'a Engine) -> View<'a> {
        match &self.source {
            Source::Live => View::live(engine, self.now_ns),
            Source::Frozen(view) => view.borrowed(),
        }
    }

    pub(crate) fn is_frozen(&self) -> bool {
        matches!(self.source, Source::Frozen(_))
    }

    /// Freezes the screen, which shows these rows, or follows the engine again.
    pub(crate) fn toggle_frozen(&mut self, engine: &Engine, rows: &[SocketId]) {
        self.source = match mem::take(&mut self.source) {
            Source::Live => {
                let view = View::live(engine, self.now_ns);
                Source::Frozen(Box::new(view.frozen(rows, MAX_ROWS, MAX_ENTRIES)))
            }
            Source::Frozen(_) => Source::Live,
        };
    }

    /// What came since the screen was frozen; `None`: it is live.
    pub(crate) fn behind(&self, engine: &Engine) -> Option<Behind> {
        match &self.source {
            Source::Live => None,
            Source::Frozen(view) => Some(Behind {
                events: engine.next_seq().saturating_sub(view.next_seq),
                ns: self.now_ns.saturating_sub(view.now_ns),
            }),
        }
    }

    /// A feed that is frozen at this view.
    #[cfg(test)]
    pub(crate) fn frozen_at(view: View<'static>) -> Self {
        Self {
            now_ns: view.now_ns,
            source: Source::Frozen(Box::new(view)),
        }
    }
}
