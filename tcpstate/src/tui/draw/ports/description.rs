//! A port's scenario as text.

use std::fmt::Write as _;

use crate::engine::Failure;
use crate::event::{Fallback, Process};
use crate::model::{Phase, PortHistory, PortKey};
use crate::tui::draw::phrases::free;
use crate::tui::draw::ports::timeline::{self, Timeline};
use crate::tui::draw::screen::{Screen, Span};
use crate::tui::state::clearance::Clearance;
use crate::tui::state::problems::is_left_over;
use crate::tui::state::view::View;
use crate::tui::theme::Tone;
use crate::units;

/// A port's scenario and what its text is made from.
pub(crate) struct PortDescription<'a> {
    pub(crate) view: &'a View<'a>,
    key: PortKey,
    scenario: &'a PortHistory,
    held: Option<crate::tui::state::rows::PortUsage>,
}

impl<'a> PortDescription<'a> {
    /// `None`: the port has no scenario any more.
    pub(crate) fn of(screen: &Screen<'a>, key: PortKey) -> Option<Self> {
        Some(Self {
            view: screen.view,
            key,
            scenario: screen.view.ports.get(&key)?,
            held: screen.state.sockets.items.usage(key),
        })
    }

    /// The same without what the table knows.
    pub(crate) fn plain(view: &'a View<'a>, key: PortKey, scenario: &'a PortHistory) -> Self {
        Self {
            view,
            key,
            scenario,
            held: None,
        }
    }

    /// The namespace, if it is another one than ours and the run is about all.
    pub(crate) fn elsewhere(&self) -> Option<String> {
        let header = self.view.header()?;
        let own = header.netns.filter(|_| header.filters.netns.is_none())?;
        (self.key.netns != 0 && self.key.netns != own).then(|| format!("netns {}", self.key.netns))
    }

    /// Symbol and name of its state.
    pub(crate) fn state(&self) -> (&'static str, &'static str, Tone) {
        match &self.scenario.phase {
            Phase::Listening { since_ns, .. } if is_left_over(self.view, self.key, *since_ns) => {
                ("●", "LEFT OPEN", Tone::Bad)
            }
            Phase::Listening { .. } => ("●", "LISTENING", Tone::Good),
            Phase::Down { .. } => ("▼", "DOWN", Tone::Bad),
            Phase::NeverListened => ("✖", "NOT LISTENING", Tone::Bad),
        }
    }

    /// Its state in detail, after the name.
    pub(crate) fn now(&self) -> Vec<Span> {
        let now_ns = self.view.now_ns;
        let mut spans = Vec::new();
        match &self.scenario.phase {
            Phase::Listening {
                since_ns,
                is_since_known,
                process,
            } => {
                spans.push((format!("by {}", name(process.as_deref())), Tone::Strong));
                let age = units::age(now_ns.saturating_sub(*since_ns));
                let word = if *is_since_known {
                    "for"
                } else {
                    "for at least"
                };
                spans.push((format!(" {word} {age}"), Tone::Text));
                if let Some((_, at_ns)) = self.scenario.last_failure
                    && at_ns > *since_ns
                {
                    spans.push((
                        format!(", {} by others", failed(self.scenario.failed_total)),
                        Tone::Bad,
                    ));
                }
            }
            Phase::Down { since_ns, .. } => {
                let down = units::exact(now_ns.saturating_sub(*since_ns));
                spans.push((down, Tone::Bad));
                if self.scenario.failed_since_down > 0 {
                    spans.push((
                        format!(", {}", failed(self.scenario.failed_since_down)),
                        Tone::Bad,
                    ));
                }
            }
            Phase::NeverListened => {
                spans.push((failed(self.scenario.failed_total), Tone::Bad));
            }
        }
        if let Some(free) = self.free() {
            spans.push((", ".to_owned(), Tone::Text));
            spans.push(free);
        }
        spans
    }

    /// What was before, the most important first.
    pub(crate) fn before(&self) -> Vec<String> {
        let mut texts = Vec::new();
        if let Phase::Down { old_process, .. } = &self.scenario.phase
            && old_process.is_some()
        {
            texts.push(format!("was {}", name(old_process.as_deref())));
        }
        if let Some((_, fallback)) = self.scenario.fallbacks.back() {
            texts.push(describe_fallback(fallback, self.key.port));
        }
        if let Some((_, last)) = self.scenario.restarts.back() {
            let count = self.scenario.restarts.len();
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
        if let [listener] = self.scenario.listeners.as_slice() {
            texts.push(format!("on {}", listener.local));
        } else if self.scenario.listeners.len() > 1 {
            texts.push(format!("{} sockets listen", self.scenario.listeners.len()));
        }
        if let Some(held) = self.held.filter(|held| held.timers > 0) {
            texts.push(units::counted(
                held.timers.into(),
                "closed socket lingers",
                "closed sockets linger",
            ));
        }
        texts
    }

    /// The last minutes and what is to come, in so many cells.
    pub(crate) fn timeline(&self, width: usize) -> Timeline {
        Timeline::of(&self.timed(self.free_ns()), width)
    }

    /// The same from a time on and without what is to come.
    pub(crate) fn past(&self, from_ns: u64, width: usize) -> Timeline {
        Timeline::from(&self.timed(None), from_ns, width)
    }

    /// From when on the scenario is shown.
    pub(crate) fn wanted_from_ns(&self) -> u64 {
        self.timed(None).wanted_from_ns()
    }

    fn timed(&self, free_ns: Option<u64>) -> timeline::History<'a> {
        let now_ns = self.view.now_ns;
        let header = self.view.header();
        timeline::History {
            scenario: self.scenario,
            seen_from_ns: header.map_or(now_ns, |header| header.clock.mono_ns),
            now_ns,
            free_ns,
        }
    }

    /// `since 11:06:40`; `None` where the time of day is not known.
    pub(crate) fn since(&self) -> Option<String> {
        let (word, at_ns) = match self.scenario.phase {
            Phase::Listening {
                since_ns,
                is_since_known,
                ..
            } => (
                if is_since_known {
                    "since"
                } else {
                    "seen since"
                },
                since_ns,
            ),
            Phase::Down { since_ns, .. } => ("since", since_ns),
            Phase::NeverListened => return None,
        };
        let anchor = self.view.anchor()?;
        Some(format!("{word} {}", units::to_the_second(anchor, at_ns)))
    }

    /// The latest failure since it went down, unless somebody listens on it.
    fn failure(&self) -> Option<&'a Failure> {
        let down_since_ns = match &self.scenario.phase {
            Phase::Listening { .. } => return None,
            Phase::Down { since_ns, .. } => *since_ns,
            Phase::NeverListened => 0,
        };
        self.scenario
            .last_failure
            .filter(|(_, at_ns)| *at_ns >= down_since_ns)
            .and_then(|(seq, _)| self.view.failure(seq))
    }

    /// When the port is free, unless somebody listens on it.
    fn free(&self) -> Option<Span> {
        if let Some(free) = self.failure().and_then(|failure| free(self.view, failure)) {
            return Some(free);
        }
        let left_ns = self.last_timer_ns()?.saturating_sub(self.view.now_ns);
        let left = units::left(left_ns);
        Some((format!("last timer ends in {left}"), Tone::Warn))
    }

    /// The same as a time, if it is to come.
    fn free_ns(&self) -> Option<u64> {
        let now_ns = self.view.now_ns;
        let free_ns = match self.failure() {
            Some(failure) => match Clearance::of(self.view, failure) {
                Clearance::Clears { left_ns } => now_ns.saturating_add(left_ns),
                Clearance::Gone | Clearance::Stays | Clearance::Unknown => return None,
            },
            None => self.last_timer_ns()?,
        };
        (free_ns > now_ns).then_some(free_ns)
    }

    /// When the last timer on a port ends that nobody listens on.
    fn last_timer_ns(&self) -> Option<u64> {
        match self.scenario.phase {
            Phase::Listening { .. } => None,
            _ => self
                .held
                .filter(|held| held.timers > 0)
                .map(|held| held.until_ns),
        }
    }
}

/// A fallback as the line of `port` has it.
fn describe_fallback(fallback: &Fallback, port: u16) -> String {
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
