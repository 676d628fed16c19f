//! What is open over the dashboard: a text, a list to pick from, or a detail with
//! the way that led to it.

use std::mem::{self, discriminant};

use super::panel::Subject;
use crate::tui::theme::Theme;

/// Details that Esc leads back through; the oldest is forgotten.
const MAX_TRAIL: usize = 16;

/// What is open, and how far it is scrolled.
#[derive(Clone, Debug)]
pub(crate) struct Overlay {
    pub(crate) content: Content,
    pub(crate) scroll: Scroll,
}

/// What is open.
#[derive(Clone, Debug)]
pub(crate) enum Content {
    /// The help.
    Help,
    /// All messages.
    Messages,
    /// The columns of the socket table, and the chosen line.
    Columns { chosen: usize },
    /// The themes, the chosen line, and the theme to go back to.
    Themes { chosen: usize, before: Theme },
    /// A port that is freed.
    Release,
    /// The detail of something.
    Detail(Detail),
}

/// A detail, and those that it was reached from.
#[derive(Clone, Debug)]
pub(crate) struct Detail {
    pub(crate) subject: Subject,
    pub(crate) links: Links,
    trail: Vec<Visited>,
}

/// A detail that Esc leads back to, as it was left.
#[derive(Clone, Debug)]
struct Visited {
    subject: Subject,
    links: Links,
    offset: usize,
}

/// What a detail leads to.
#[derive(Clone, Debug, Default)]
pub(crate) struct Links {
    /// Line and subject of each, from top to bottom.
    all: Vec<(usize, Subject)>,
    chosen: Option<usize>,
}

/// Which lines of a text are in sight.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scroll {
    /// The first one.
    pub(crate) offset: usize,
    /// Lines that a page key moves by.
    page: usize,
}

impl Overlay {
    pub(crate) fn help() -> Self {
        Self::new(Content::Help)
    }

    /// The messages are read from their end.
    pub(crate) fn messages() -> Self {
        let mut overlay = Self::new(Content::Messages);
        overlay.scroll.offset = usize::MAX;
        overlay
    }

    pub(crate) fn columns() -> Self {
        Self::new(Content::Columns { chosen: 0 })
    }

    pub(crate) fn themes(current: Theme) -> Self {
        let at = Theme::ALL.iter().position(|theme| *theme == current);
        Self::new(Content::Themes {
            chosen: at.unwrap_or(0),
            before: current,
        })
    }

    pub(crate) fn release() -> Self {
        Self::new(Content::Release)
    }

    pub(crate) fn detail(subject: Subject) -> Self {
        Self::new(Content::Detail(Detail {
            subject,
            links: Links::default(),
            trail: Vec::new(),
        }))
    }

    fn new(content: Content) -> Self {
        Self {
            content,
            scroll: Scroll { offset: 0, page: 1 },
        }
    }

    /// Whether both show the same kind of thing.
    pub(crate) fn is_same_kind(&self, other: &Self) -> bool {
        discriminant(&self.content) == discriminant(&other.content)
    }

    /// What the detail is about, if it is one.
    pub(crate) fn subject(&self) -> Option<Subject> {
        match &self.content {
            Content::Detail(detail) => Some(detail.subject),
            _ => None,
        }
    }

    /// The failed call that the detail is about, if it is about one.
    pub(crate) fn failure(&self) -> Option<u64> {
        match self.subject() {
            Some(Subject::Failure(seq)) => Some(seq),
            _ => None,
        }
    }

    /// Chooses the next link of a detail, or the one before, and scrolls it into
    /// sight.
    pub(crate) fn choose_link(&mut self, by: isize) {
        let scroll = &mut self.scroll;
        if let Content::Detail(detail) = &mut self.content
            && let Some(line) = detail.links.choose(by, scroll.offset)
            && (line < scroll.offset || line > scroll.offset.saturating_add(scroll.page))
        {
            scroll.offset = line.saturating_sub(scroll.page / 2);
        }
    }

    /// Opens what the chosen link of a detail leads to.
    pub(crate) fn follow_link(&mut self) {
        if let Content::Detail(detail) = &mut self.content
            && let Some(subject) = detail.links.chosen_subject()
        {
            if detail.trail.len() == MAX_TRAIL {
                detail.trail.remove(0);
            }
            detail.trail.push(Visited {
                subject: mem::replace(&mut detail.subject, subject),
                links: mem::take(&mut detail.links),
                offset: mem::take(&mut self.scroll.offset),
            });
        }
    }

    /// Goes back to the detail that this one was reached from. `false`: there is
    /// none.
    pub(crate) fn go_back(&mut self) -> bool {
        let Content::Detail(detail) = &mut self.content else {
            return false;
        };
        let Some(visited) = detail.trail.pop() else {
            return false;
        };
        detail.subject = visited.subject;
        detail.links = visited.links;
        self.scroll.offset = visited.offset;
        true
    }

    /// Takes in what is drawn: so many lines, of which so many are in sight, and the
    /// links among them.
    pub(crate) fn sync(&mut self, lines: usize, height: usize, links: &[(usize, Subject)]) {
        self.scroll.sync(lines, height);
        if let Content::Detail(detail) = &mut self.content {
            detail.links.sync(links.to_vec());
        }
    }
}

impl Detail {
    /// Whether Esc leads back to another detail.
    pub(crate) fn has_trail(&self) -> bool {
        !self.trail.is_empty()
    }
}

impl Links {
    /// Line of the chosen link.
    pub(crate) fn chosen_line(&self) -> Option<usize> {
        self.all.get(self.chosen?).map(|(line, _)| *line)
    }

    /// Whether there is nothing to go to.
    pub(crate) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    fn chosen_subject(&self) -> Option<Subject> {
        self.all.get(self.chosen?).map(|(_, subject)| *subject)
    }

    /// Chooses the next link, or the one before; the first one from `offset` on.
    /// Returns its line.
    fn choose(&mut self, by: isize, offset: usize) -> Option<usize> {
        let last = self.all.len().checked_sub(1)?;
        let chosen = match (self.chosen, by > 0) {
            (None, true) => self.first_from(offset),
            (None, false) => last,
            (Some(at), true) => (at + 1) % self.all.len(),
            (Some(at), false) => at.checked_sub(1).unwrap_or(last),
        };
        self.chosen = Some(chosen);
        self.chosen_line()
    }

    /// The first link from this line on.
    fn first_from(&self, line: usize) -> usize {
        let found = self.all.iter().position(|(at, _)| *at >= line);
        found.unwrap_or(0)
    }

    fn sync(&mut self, all: Vec<(usize, Subject)>) {
        self.all = all;
        let last = self.all.len().checked_sub(1);
        self.chosen = self.chosen.and_then(|chosen| Some(chosen.min(last?)));
    }
}

impl Scroll {
    /// Lines that a page key moves by: one stays in sight.
    pub(crate) fn page(self) -> isize {
        isize::try_from(self.page).unwrap_or(isize::MAX)
    }

    /// Moves by lines; the next frame keeps it within the text.
    pub(crate) fn step(&mut self, by: isize) {
        self.offset = self.offset.saturating_add_signed(by);
    }

    fn sync(&mut self, lines: usize, height: usize) {
        self.page = height.saturating_sub(1).max(1);
        self.offset = self.offset.min(lines.saturating_sub(height));
    }
}
