//! Keys that move: through rows, between panels and problems, into details.

use crate::engine::Engine;
use crate::event::Body;
use crate::model::PortKey;
use crate::tui::app::{App, Overlay, Panel, Subject};
use crate::tui::state::columns::Column;
use crate::tui::state::view::View;

impl App {
    pub(crate) fn page_size(&self) -> isize {
        if self.overlay != Overlay::None {
            return isize::try_from(self.page).unwrap_or(isize::MAX);
        }
        match self.focus {
            Panel::Ports => self.port.page(),
            Panel::Banner => 1,
            Panel::Sockets => self.socket.page(),
            Panel::Stream => self.event.page(),
        }
    }

    pub(crate) fn step(&mut self, by: isize, engine: &Engine) {
        match self.overlay {
            Overlay::None => {}
            Overlay::Columns | Overlay::Themes => return self.step_pick(by),
            _ => {
                self.scroll = self.scroll.saturating_add_signed(by);
                return;
            }
        }
        match self.focus {
            Panel::Ports => {
                let ports = &self.ports;
                self.port.step(by, ports.len(), |at| ports[at]);
            }
            Panel::Banner => self.sideways(by > 0, engine),
            Panel::Sockets => {
                let ids = self.rows.ids();
                self.socket.step(by, ids.len(), |at| ids[at]);
            }
            Panel::Stream => {
                let lines = self.stream.lines();
                self.event.step(by, lines.len(), |at| lines[at]);
            }
        }
    }

    pub(crate) fn sideways(&mut self, is_right: bool, engine: &Engine) {
        if self.overlay == Overlay::None && self.focus == Panel::Sockets {
            return self.sort_sideways(is_right);
        }
        if matches!(self.overlay, Overlay::Columns | Overlay::Themes) {
            return self.move_pick(is_right);
        }
        let view = View::of(self.frozen.as_deref(), engine, self.now_ns);
        let banner = self.banner(&view);
        let Some(last) = banner.problems.len().checked_sub(1) else {
            return;
        };
        let at = if is_right {
            (banner.chosen + 1).min(last)
        } else {
            banner.chosen.saturating_sub(1)
        };
        let problem = banner.problems[at];
        self.problem = Some(problem.port);
        if let Overlay::Detail(Subject::Failure(_)) = self.overlay {
            self.open(Overlay::Detail(Subject::Failure(problem.latest.seq)));
        }
    }

    /// By the next column that is shown.
    pub(crate) fn sort_sideways(&mut self, is_right: bool) {
        let count = self.columns.len();
        let at = self.columns.iter().position(|of| *of == self.sort.column);
        let next = match at {
            Some(at) if is_right => (at + 1) % count,
            Some(at) => (at + count - 1) % count,
            None => 0,
        };
        self.sort.column = self.columns[next];
    }

    /// By this column; if that is so already, the other way round.
    pub(crate) fn sort_by(&mut self, column: Column) {
        if self.sort.column == column {
            self.sort.is_reversed = !self.sort.is_reversed;
        } else {
            self.sort.column = column;
        }
    }

    pub(crate) fn focus_on(&mut self, by: isize, engine: &Engine) {
        if self.overlay != Overlay::None {
            self.choose_link(by);
            return;
        }
        let view = View::of(self.frozen.as_deref(), engine, self.now_ns);
        let panels: &[Panel] = if self.banner(&view).is_empty() {
            &[Panel::Ports, Panel::Sockets, Panel::Stream]
        } else {
            &[Panel::Ports, Panel::Banner, Panel::Sockets, Panel::Stream]
        };
        let at = panels
            .iter()
            .position(|panel| *panel == self.focus)
            .unwrap_or(0);
        let next = if by > 0 {
            at + 1
        } else {
            at + panels.len() - 1
        };
        self.focus = panels[next % panels.len()];
    }

    pub(crate) fn open_chosen(&mut self, engine: &Engine) {
        match self.overlay {
            Overlay::None => {}
            Overlay::Columns | Overlay::Themes => return self.take_pick(),
            _ => return self.follow_link(),
        }
        let view = View::of(self.frozen.as_deref(), engine, self.now_ns);
        let subject = match self.chosen(&view) {
            Some(Subject::Event(seq)) => Some(subject_of_event(&view, seq)),
            other => other,
        };
        if subject.is_none() && self.focus == Panel::Stream && !self.stream.lines().is_empty() {
            self.open(Overlay::Notes);
        }
        if let Some(subject) = subject {
            self.open(Overlay::Detail(subject));
        }
    }
}

/// A failed call and its diagnosis open the same detail.
fn subject_of_event(view: &View<'_>, seq: u64) -> Subject {
    let failed = match view.event(seq).map(|event| &event.body) {
        Some(Body::Diagnosis(diagnosis)) => diagnosis.of,
        _ => seq,
    };
    match view.failure(failed) {
        Some(failure) => Subject::Failure(failure.seq),
        None => match view.event(seq).map(|event| &event.body) {
            Some(Body::Restart(restart)) => Subject::Port(PortKey {
                port: restart.port,
                netns: restart.netns,
            }),
            Some(Body::Fallback(fallback)) => Subject::Port(PortKey {
                port: fallback
                    .failed
                    .first()
                    .map_or(fallback.took, |tried| tried.port),
                netns: fallback.netns,
            }),
            _ => Subject::Event(seq),
        },
    }
}
