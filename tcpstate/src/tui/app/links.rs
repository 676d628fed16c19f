//! What an open detail leads to: events, sockets, failures; and the way back.

use crate::tui::app::{App, Overlay, Subject};

/// Details one behind the other; the oldest is forgotten.
const MAX_TRAIL: usize = 16;

/// The links of what is open, and where we came from.
#[derive(Debug, Default)]
pub(crate) struct Links {
    /// Line and subject of each, from top to bottom.
    all: Vec<(usize, Subject)>,
    chosen: Option<usize>,
    /// What was open before, its scroll and its chosen link.
    trail: Vec<(Overlay, usize, Option<usize>)>,
}

impl Links {
    /// Line of the chosen link.
    pub(crate) fn chosen_line(&self) -> Option<usize> {
        self.all.get(self.chosen?).map(|(line, _)| *line)
    }

    /// Whether there is anything to go to.
    pub(crate) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Whether Esc leads back.
    pub(crate) fn has_trail(&self) -> bool {
        !self.trail.is_empty()
    }

    /// Takes the links of what is drawn.
    pub(crate) fn settle(&mut self, all: Vec<(usize, Subject)>) {
        self.all = all;
        let last = self.all.len().checked_sub(1);
        self.chosen = self.chosen.and_then(|chosen| Some(chosen.min(last?)));
    }
}

impl App {
    /// Chooses the next link, or the one before, and scrolls it into sight.
    pub(crate) fn choose_link(&mut self, by: isize) {
        let links = &mut self.links;
        let Some(last) = links.all.len().checked_sub(1) else {
            return;
        };
        let chosen = match (links.chosen, by > 0) {
            (None, true) => links.first_from(self.scroll),
            (None, false) => last,
            (Some(at), true) => (at + 1) % links.all.len(),
            (Some(at), false) => at.checked_sub(1).unwrap_or(last),
        };
        links.chosen = Some(chosen);
        let line = links.all[chosen].0;
        if line < self.scroll || line > self.scroll + self.page {
            self.scroll = line.saturating_sub(self.page / 2);
        }
    }

    /// Opens what the chosen link leads to.
    pub(crate) fn follow_link(&mut self) {
        let chosen = self.links.chosen.and_then(|at| self.links.all.get(at));
        let Some((_, subject)) = chosen.copied() else {
            return;
        };
        let left = (self.overlay, self.scroll, self.links.chosen);
        let mut trail = std::mem::take(&mut self.links.trail);
        if trail.len() == MAX_TRAIL {
            trail.remove(0);
        }
        trail.push(left);
        self.open(Overlay::Detail(subject));
        self.links.trail = trail;
    }

    /// Goes back to what was open before. `false`: nothing was.
    pub(crate) fn go_back(&mut self) -> bool {
        let Some((overlay, scroll, chosen)) = self.links.trail.pop() else {
            return false;
        };
        self.overlay = overlay;
        self.scroll = scroll;
        self.links.chosen = chosen;
        true
    }
}

impl Links {
    /// The first link from this line on.
    fn first_from(&self, line: usize) -> usize {
        let found = self.all.iter().position(|(at, _)| *at >= line);
        found.unwrap_or(0)
    }
}
