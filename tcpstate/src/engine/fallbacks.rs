//! Fallback ports: a process that fails on one port and takes another one is
//! one story.
//!
//! A server of several ports that fails on one of them goes on with the others
//! too, and comes back to the one that failed (nginx after 500 ms). So nothing
//! is told before the process has left its first wish alone for a while.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Engine;
use crate::diagnosis::CallKind;
use crate::event::{Body, Call, FailedTry, Fallback, Process};
use crate::model::port::MAX_FALLBACKS;
use crate::model::{NS_PER_MS, PortKey, SocketId};

/// Processes with a failed call that are followed; the one that failed longest
/// ago is dropped first.
const MAX_PROCESSES: usize = 256;
/// Ports that one story names.
const MAX_TRIES: usize = 16;
/// A process that fails and takes another port later than this does so for
/// another reason.
const WINDOW_NS: u64 = 30_000 * NS_PER_MS;
/// Quiet time after which it has settled for what it took.
const SETTLES_NS: u64 = 1_000 * NS_PER_MS;

/// Processes that could not have a port, by namespace and process id.
#[derive(Clone, Debug, Default)]
pub(super) struct Fallbacks {
    seekers: BTreeMap<(u32, u32), Seeker>,
    /// Those that have taken another port.
    unsettled: usize,
}

#[derive(Clone, Debug)]
struct Seeker {
    failed: Vec<FailedTry>,
    last_failed_ns: u64,
    /// A port that the kernel chose for it; a client may ask for one as well.
    chosen: Option<(u16, u64)>,
    took: Option<Took>,
    /// It took a port and then tried for the first one again: it wants both.
    comes_back: bool,
}

#[derive(Clone, Debug)]
struct Took {
    port: u16,
    id: SocketId,
    seq: u64,
    since_ns: u64,
    process: Arc<Process>,
}

impl Fallbacks {
    fn fails(&mut self, mono_ns: u64, seq: u64, key: PortKey, pid: u32) {
        let who = (key.netns, pid);
        let is_stale = |seeker: &Seeker| mono_ns > seeker.last_failed_ns.saturating_add(WINDOW_NS);
        if self.seekers.get(&who).is_some_and(is_stale) {
            self.forget(who);
        }
        if self.seekers.len() >= MAX_PROCESSES && !self.seekers.contains_key(&who) {
            let oldest = self
                .seekers
                .iter()
                .min_by_key(|(_, seeker)| seeker.last_failed_ns)
                .map(|(who, _)| *who);
            if let Some(oldest) = oldest {
                self.forget(oldest);
            }
        }
        let seeker = self.seekers.entry(who).or_insert_with(|| Seeker {
            failed: Vec::new(),
            last_failed_ns: mono_ns,
            chosen: None,
            took: None,
            comes_back: false,
        });
        seeker.last_failed_ns = mono_ns;
        // The other address family of the port that it has already.
        if seeker
            .took
            .as_ref()
            .is_some_and(|took| took.port == key.port)
        {
            return;
        }
        let is_new = seeker.failed.iter().all(|tried| tried.port != key.port);
        if seeker.took.take().is_some() {
            self.unsettled -= 1;
            seeker.comes_back |= !is_new;
        }
        if is_new && seeker.failed.len() < MAX_TRIES {
            seeker.failed.push(FailedTry {
                port: key.port,
                seq,
            });
        }
    }

    fn succeeds(
        &mut self,
        mono_ns: u64,
        seq: u64,
        kind: CallKind,
        (key, id): (PortKey, SocketId),
        call: &Call,
    ) {
        let who = (key.netns, call.process.pid);
        let Some(seeker) = self.seekers.get_mut(&who) else {
            return;
        };
        let has_it_after_all = seeker.failed.iter().any(|tried| tried.port == key.port);
        if has_it_after_all || mono_ns > seeker.last_failed_ns.saturating_add(WINDOW_NS) {
            self.forget(who);
            return;
        }
        if seeker.took.is_some() || seeker.comes_back {
            return;
        }
        let seq = match kind {
            CallKind::Bind if call.requested.port == 0 => {
                seeker.chosen = Some((key.port, seq));
                return;
            }
            CallKind::Bind => seq,
            // Only a server listens.
            CallKind::Listen => match seeker.chosen {
                Some((port, seq)) if port == key.port => seq,
                _ => return,
            },
            CallKind::Connect => return,
        };
        seeker.took = Some(Took {
            port: key.port,
            id,
            seq,
            since_ns: mono_ns,
            process: Arc::clone(&call.process),
        });
        self.unsettled += 1;
    }

    /// The listener is gone: it was not what its process settled for.
    fn ends(&mut self, key: PortKey, id: SocketId) {
        if self.unsettled == 0 {
            return;
        }
        let ended = self.seekers.iter().find(|(who, seeker)| {
            who.0 == key.netns
                && seeker
                    .took
                    .as_ref()
                    .is_some_and(|took| took.port == key.port && took.id == id)
        });
        if let Some(who) = ended.map(|(who, _)| *who) {
            self.forget(who);
        }
    }

    /// What one of them took is known by another name from now on.
    pub(super) fn rename(&mut self, from: SocketId, to: SocketId) {
        if self.unsettled == 0 {
            return;
        }
        for took in self
            .seekers
            .values_mut()
            .filter_map(|seeker| seeker.took.as_mut())
        {
            if took.id == from {
                took.id = to;
            }
        }
    }

    /// Takes out those that have settled by now, the first first.
    fn take_settled(&mut self, mono_ns: u64) -> Vec<Fallback> {
        if self.unsettled == 0 {
            return Vec::new();
        }
        let mut due: Vec<(u64, (u32, u32))> = self
            .seekers
            .iter()
            .filter_map(|(who, seeker)| Some((seeker.took.as_ref()?.since_ns, *who)))
            .filter(|(since_ns, _)| since_ns.saturating_add(SETTLES_NS) <= mono_ns)
            .collect();
        due.sort_unstable();
        due.into_iter()
            .filter_map(|(_, who)| {
                let seeker = self.forget(who)?;
                let took = seeker.took?;
                Some(Fallback {
                    netns: who.0,
                    failed: seeker.failed,
                    took: took.port,
                    took_seq: took.seq,
                    process: took.process,
                })
            })
            .collect()
    }

    fn forget(&mut self, who: (u32, u32)) -> Option<Seeker> {
        let seeker = self.seekers.remove(&who)?;
        if seeker.took.is_some() {
            self.unsettled -= 1;
        }
        Some(seeker)
    }
}

impl Engine {
    /// Notes a `bind` or `listen` that failed.
    pub(super) fn seek_elsewhere(&mut self, mono_ns: u64, seq: u64, key: PortKey, call: &Call) {
        // Other errors are about the socket or the address, not the port.
        let is_refused = matches!(
            call.errno_name.as_deref(),
            Some("EADDRINUSE" | "EACCES" | "EPERM")
        );
        if is_refused {
            self.fallbacks.fails(mono_ns, seq, key, call.process.pid);
        }
    }

    /// Notes one that succeeded.
    pub(super) fn find_elsewhere(
        &mut self,
        mono_ns: u64,
        seq: u64,
        kind: CallKind,
        socket: (PortKey, SocketId),
        call: &Call,
    ) {
        self.fallbacks.succeeds(mono_ns, seq, kind, socket, call);
    }

    /// Notes that a listener ended.
    pub(super) fn lose_elsewhere(&mut self, key: PortKey, id: SocketId) {
        self.fallbacks.ends(key, id);
    }

    /// Tells the fallbacks that are settled by now.
    pub(super) fn settle_fallbacks(&mut self, mono_ns: u64) {
        for fallback in self.fallbacks.take_settled(mono_ns) {
            let told = Arc::new(fallback.clone());
            let ports = told.failed.iter().map(|tried| tried.port);
            for port in ports.chain([told.took]) {
                let story = self.ports.story(PortKey {
                    port,
                    netns: told.netns,
                });
                if story.fallbacks.len() == MAX_FALLBACKS {
                    story.fallbacks.pop_front();
                }
                story.fallbacks.push_back((mono_ns, Arc::clone(&told)));
            }
            self.push(mono_ns, Body::Fallback(Box::new(fallback)));
        }
    }
}
