//! The history of a port: who listens, since when, and what happened in between.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::chart::SAMPLE_NS;
use super::socket::SocketId;
use crate::event::{Endpoint, Fallback, Process, Restart};

/// Ports that are followed; the ones without a listener and without a failure
/// are dropped first.
pub const MAX_PORTS: usize = 4096;
/// Restarts that one port remembers.
pub const MAX_RESTARTS: usize = 64;
/// Fallbacks that one port remembers.
pub(crate) const MAX_FALLBACKS: usize = 16;

/// Listening sockets that one port remembers; with `SO_REUSEPORT` a server has
/// one per worker.
pub const MAX_LISTENERS: usize = 1024;

/// Seconds with failed calls that one port remembers: ten minutes of a server
/// that tries again every second.
pub const MAX_FAILED_SECONDS: usize = 600;

/// A port in a network namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PortKey {
    /// The port.
    pub port: u16,
    /// Inode number of the network namespace.
    pub netns: u32,
}

/// A socket that listens on a port.
#[derive(Clone, Debug, PartialEq)]
pub struct Listener {
    /// Which socket.
    pub id: SocketId,
    /// Its address.
    pub local: Endpoint,
    /// Since when.
    pub since_ns: u64,
    /// The event that showed it.
    pub seq: u64,
    /// Whether `since_ns` is the moment of `listen`, not of our first snapshot.
    pub is_since_known: bool,
    /// Whether `listen` is known to have succeeded. The kernel shows the state
    /// LISTEN before it checks for conflicts, so a failing `listen` shows too.
    pub is_confirmed: bool,
    /// Who has it: the process that listened or, once that has gone, another
    /// one that has the descriptor open.
    pub process: Option<Arc<Process>>,
}

/// Whether somebody listens.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Phase {
    /// Nobody has been seen to listen.
    #[default]
    NeverListened,
    /// Somebody listens.
    Listening {
        /// Since when.
        since_ns: u64,
        /// Whether that is the moment of `listen`, not of our first snapshot.
        is_since_known: bool,
        /// Who.
        process: Option<Arc<Process>>,
    },
    /// Nobody listens any more.
    Down {
        /// Since when.
        since_ns: u64,
        /// The event with which the last listener went.
        closed_seq: u64,
        /// Who listened.
        old_process: Option<Arc<Process>>,
    },
}

/// The history of one port.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PortHistory {
    /// The namespace's cookie, as the last listener's event had it: another one may
    /// get the number of a namespace that has ended.
    pub netns_cookie: Option<u32>,
    /// Sockets that listen on it.
    pub listeners: Vec<Listener>,
    /// Whether somebody listens.
    pub phase: Phase,
    /// Failed `bind` and `listen` calls since it went down.
    pub failed_since_down: u64,
    /// Failed calls in all.
    pub failed_total: u64,
    /// Position and time of the last failed call.
    pub last_failure: Option<(u64, u64)>,
    /// Seconds of the monotonic clock in which calls failed, oldest first, at
    /// most [`MAX_FAILED_SECONDS`].
    pub failed_seconds: VecDeque<u64>,
    /// When it was first listened on, and whether that is the moment of
    /// `listen`, not of our first snapshot.
    pub first_listened: Option<(u64, bool)>,
    /// Position, time and process of the last `bind` that succeeded.
    pub last_bind: Option<(u64, u64, Arc<Process>)>,
    /// Whether that asked for this port; for port 0 the kernel chose it.
    pub was_last_bind_to_this_port: bool,
    /// Restarts, oldest first, with the time of each, at most [`MAX_RESTARTS`].
    pub restarts: VecDeque<(u64, Restart)>,
    /// Processes that wanted this port and took another one, or the other way
    /// round; oldest first, with the time of each, at most `MAX_FALLBACKS`.
    pub fallbacks: VecDeque<(u64, Arc<Fallback>)>,
}

/// All ports that have a history.
#[derive(Clone, Debug, Default)]
pub struct Ports {
    histories: BTreeMap<PortKey, PortHistory>,
    dropped: u64,
}

impl PortHistory {
    /// The same process in an earlier restart, so that it is kept once: one that
    /// listens again and again is decoded anew each time.
    pub(crate) fn shared(&self, process: Option<Arc<Process>>) -> Option<Arc<Process>> {
        self.restarts
            .iter()
            .flat_map(|(_, restart)| [&restart.old_process, &restart.new_process])
            .find(|known| **known == process)
            .cloned()
            .unwrap_or(process)
    }

    /// Notes that a call failed, so many times.
    pub(crate) fn add_failures(&mut self, seq: u64, mono_ns: u64, count: u64) {
        if matches!(self.phase, Phase::Down { .. }) {
            self.failed_since_down = self.failed_since_down.saturating_add(count);
        }
        self.failed_total = self.failed_total.saturating_add(count);
        self.last_failure = Some((seq, mono_ns));
        let second = mono_ns / SAMPLE_NS;
        if self.failed_seconds.back() != Some(&second) {
            if self.failed_seconds.len() == MAX_FAILED_SECONDS {
                self.failed_seconds.pop_front();
            }
            self.failed_seconds.push_back(second);
        }
    }

    /// Notes a listener in the place of what was known of it; the oldest makes
    /// room if there are too many.
    pub(crate) fn add_listener(&mut self, listener: Listener) {
        self.listeners.retain(|known| known.id != listener.id);
        if self.listeners.len() >= MAX_LISTENERS {
            self.listeners.remove(0);
        }
        self.listeners.push(listener);
    }
}

impl Ports {
    /// The port's history.
    #[must_use]
    pub fn get(&self, key: &PortKey) -> Option<&PortHistory> {
        self.histories.get(key)
    }

    /// All histories, by port.
    pub fn iter(&self) -> impl Iterator<Item = (&PortKey, &PortHistory)> {
        self.histories.iter()
    }

    /// Those of a port in each network namespace.
    pub fn of_port(&self, port: u16) -> impl Iterator<Item = &PortHistory> {
        let key = |netns| PortKey { port, netns };
        let histories = self.histories.range(key(0)..=key(u32::MAX));
        histories.map(|(_, history)| history)
    }

    /// Drops the histories of a network namespace that has ended: another one may get its
    /// number.
    pub(crate) fn forget(&mut self, netns: u32) {
        self.histories.retain(|key, _| key.netns != netns);
    }

    /// Histories that were dropped because there were too many.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// The port's history, begun if there is none.
    pub(crate) fn history(&mut self, key: PortKey) -> &mut PortHistory {
        if self.histories.len() >= MAX_PORTS && !self.histories.contains_key(&key) {
            self.drop_one();
        }
        self.histories.entry(key).or_default()
    }

    /// The port's history, if there is one.
    pub(crate) fn history_if_any(&mut self, key: PortKey) -> Option<&mut PortHistory> {
        self.histories.get_mut(&key)
    }

    /// Drops the history that says least: no listener, longest without an event.
    fn drop_one(&mut self) {
        let least = self
            .histories
            .iter()
            .min_by_key(|(_, history)| {
                let last_event_ns = match history.phase {
                    Phase::NeverListened => 0,
                    Phase::Listening { since_ns, .. } | Phase::Down { since_ns, .. } => since_ns,
                };
                (
                    !history.listeners.is_empty(),
                    history.last_failure.map_or(last_event_ns, |(_, at)| at),
                )
            })
            .map(|(key, _)| *key);
        if let Some(key) = least {
            self.histories.remove(&key);
            self.dropped += 1;
        }
    }
}
