//! The ports' stories, the failing first. One port is the hero and has two
//! lines; several have one each.

use std::fmt::Write as _;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::{Screen, Span, mark_row};
use crate::event::{Fallback, Process};
use crate::model::{Phase, PortKey, PortStory};
use crate::tui::app::Panel;
use crate::tui::theme::Role;
use crate::tui::units;

pub(super) fn draw(buf: &mut Buffer, area: Rect, screen: &Screen<'_>) {
    let ports = &screen.app.ports;
    let (first, rows) = match ports.len() {
        0 => return draw_none(buf, area, screen),
        1 => (0, 1),
        _ => (screen.app.port.offset(), usize::from(area.height)),
    };
    let label = ports
        .iter()
        .map(|key| digits(key.port))
        .max()
        .unwrap_or_default();
    for (row, (index, key)) in (0..).zip(ports.iter().enumerate().skip(first).take(rows)) {
        let Some(story) = screen.view.ports.get(key) else {
            continue;
        };
        let story = Told { screen, key, story };
        let mut pen = screen.pen(buf, area, row);
        let (symbol, role) = story.symbol();
        pen.skip(1)
            .put(symbol, role)
            .put(" :", Role::Strong)
            .column(label + 1, &key.port.to_string(), Role::Strong);
        for (text, role) in story.now() {
            pen.put(&text, role);
        }
        if ports.len() == 1 {
            let mut pen = screen.pen(buf, area, row + 1);
            pen.skip(label + 5);
            for (at, text) in story.before().iter().enumerate() {
                if at > 0 {
                    pen.put(" · ", Role::Dim);
                }
                pen.put(text, Role::Dim);
            }
        } else if let Some(past) = story.before().first() {
            pen.put(" · ", Role::Dim).put(past, Role::Dim);
        }
        if screen.is_focused(Panel::Ports) && index == screen.app.port.index() {
            mark_row(buf, area, row, screen.theme);
        }
    }
    let hidden = ports.len().saturating_sub(first + rows);
    if hidden > 0 && area.height > 0 {
        let text = format!(" {hidden} more ↓ ");
        screen
            .pen(buf, area, area.height - 1)
            .at_right(&text, Role::Dim);
    }
}

fn draw_none(buf: &mut Buffer, area: Rect, screen: &Screen<'_>) {
    let watched = screen
        .view
        .header
        .map_or(&[][..], |header| header.filters.ports.as_slice());
    let text = match watched {
        [[first, last]] if first == last => {
            format!("○ :{first}  nobody listens, no bind was tried since tcpstate began")
        }
        _ => "○ nobody listens, no bind was tried since tcpstate began".to_owned(),
    };
    screen.pen(buf, area, 0).skip(1).put(&text, Role::Dim);
}

/// A port's story and what it is told with.
pub(super) struct Told<'a> {
    pub(super) screen: &'a Screen<'a>,
    pub(super) key: &'a PortKey,
    pub(super) story: &'a PortStory,
}

impl Told<'_> {
    fn symbol(&self) -> (&'static str, Role) {
        match &self.story.phase {
            Phase::Listening { .. } => ("●", Role::Good),
            Phase::Down { .. } => ("▼", Role::Bad),
            Phase::NeverListened => ("✖", Role::Bad),
        }
    }

    /// How it stands now.
    pub(super) fn now(&self) -> Vec<Span> {
        let now_ns = self.screen.view.now_ns;
        let mut spans = Vec::new();
        match &self.story.phase {
            Phase::Listening {
                since_ns,
                is_since_known,
                process,
            } => {
                spans.push(("LISTENING".to_owned(), Role::Good));
                spans.push((format!(" by {}", name(process.as_deref())), Role::Text));
                let age = units::age(now_ns.saturating_sub(*since_ns));
                spans.push(if *is_since_known {
                    (format!(" for {age}{}", self.since(*since_ns)), Role::Text)
                } else {
                    (format!(" for at least {age}"), Role::Text)
                });
                if let Some((_, at_ns)) = self.story.last_failure
                    && at_ns > *since_ns
                {
                    spans.push((
                        format!(", {} by others", failed(self.story.failed_total)),
                        Role::Bad,
                    ));
                }
            }
            Phase::Down { since_ns, .. } => {
                let down = units::exact(now_ns.saturating_sub(*since_ns));
                spans.push((format!("DOWN {down}"), Role::Bad));
                spans.push((self.since(*since_ns), Role::Text));
                if self.story.failed_since_down > 0 {
                    spans.push((
                        format!(", {}", failed(self.story.failed_since_down)),
                        Role::Bad,
                    ));
                }
            }
            Phase::NeverListened => {
                spans.push(("NOT LISTENING".to_owned(), Role::Bad));
                spans.push((format!(", {}", failed(self.story.failed_total)), Role::Bad));
            }
        }
        if let Some(free) = self.free() {
            spans.push((", ".to_owned(), Role::Text));
            spans.push(free);
        }
        spans
    }

    /// ` since 11:06:40`; empty where the time of day is not known.
    fn since(&self, at_ns: u64) -> String {
        match self.screen.view.anchor() {
            Some(anchor) => format!(" since {}", units::to_the_second(anchor, at_ns)),
            None => String::new(),
        }
    }

    /// What was before, the most telling first.
    fn before(&self) -> Vec<String> {
        let mut texts = Vec::new();
        if let Phase::Down { old_process, .. } = &self.story.phase
            && old_process.is_some()
        {
            texts.push(format!("was {}", name(old_process.as_deref())));
        }
        if let Some((_, fallback)) = self.story.fallbacks.back() {
            texts.push(told_fallback(fallback, self.key.port));
        }
        if let Some((_, last)) = self.story.restarts.back() {
            let count = self.story.restarts.len();
            let downtime = units::exact(last.downtime_ms.saturating_mul(units::NS_PER_MS));
            let mut text = format!("last restart: down {downtime}");
            if last.failed_binds > 0 {
                let _ = write!(text, ", {}", failed(last.failed_binds));
            }
            if count > 1 {
                let _ = write!(text, " ({count} restarts)");
            }
            texts.push(text);
        }
        if let [listener] = self.story.listeners.as_slice() {
            texts.push(format!("on {}", listener.local));
        } else if self.story.listeners.len() > 1 {
            texts.push(format!("{} sockets listen", self.story.listeners.len()));
        }
        if let Some(held) = self.screen.app.rows.held(*self.key) {
            texts.push(units::counted(
                held.count.into(),
                "closed socket lingers",
                "closed sockets linger",
            ));
        }
        if texts.is_empty() {
            texts.push("not restarted since tcpstate began".to_owned());
        }
        texts
    }

    /// When the port is free, unless somebody listens on it.
    fn free(&self) -> Option<Span> {
        let now_ns = self.screen.view.now_ns;
        let down_since_ns = match &self.story.phase {
            Phase::Listening { .. } => return None,
            Phase::Down { since_ns, .. } => *since_ns,
            Phase::NeverListened => 0,
        };
        let failure = self
            .story
            .last_failure
            .filter(|(_, at_ns)| *at_ns >= down_since_ns)
            .and_then(|(seq, _)| self.screen.view.failure(seq));
        if let Some(free) =
            failure.and_then(|failure| super::banner::free(self.screen.view, failure))
        {
            return Some(free);
        }
        let held = self.screen.app.rows.held(*self.key)?;
        let left = units::left(held.until_ns.saturating_sub(now_ns));
        Some((format!("last timer ends in {left}"), Role::Warn))
    }
}

/// The other half of the story, as told on the line of `port`.
pub(super) fn told_fallback(fallback: &Fallback, port: u16) -> String {
    if fallback.took == port {
        format!("{} wanted {}", fallback.process, fallback.failed_ports())
    } else {
        format!("{} took :{} instead", fallback.process, fallback.took)
    }
}

fn failed(count: u64) -> String {
    format!("bind failed {}×", units::count(count))
}

fn name(process: Option<&Process>) -> String {
    process.map_or_else(|| "an unknown process".to_owned(), ToString::to_string)
}

fn digits(port: u16) -> usize {
    port.to_string().len()
}
