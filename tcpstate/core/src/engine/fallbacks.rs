//! Fallback ports: a process that fails on one port and takes another one is
//! one history.
//!
//! A server of several ports that fails on one of them goes on with the others
//! too, and comes back to the one that failed (nginx after 500 ms). So nothing
//! is concluded before the process has left its first port alone for a while.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Engine;
use crate::diagnosis::CallKind;
use crate::event::{Body, Call, Errno, FailedTry, Fallback, Process};
use crate::model::port::MAX_FALLBACKS;
use crate::model::{NS_PER_MS, PortKey, SocketId};

/// Processes with a failed call that are followed; the one that failed longest
/// ago is dropped first.
const MAX_PROCESSES: usize = 256;
/// Ports that one history names.
const MAX_TRIES: usize = 16;
/// A process that fails and takes another port later than this does so for
/// another reason.
const WINDOW_NS: u64 = 30_000 * NS_PER_MS;
/// Quiet time after which it has settled for what it took.
const CONCLUDED_AFTER_NS: u64 = 1_000 * NS_PER_MS;

/// Processes that could not have a port, by namespace and process id.
#[derive(Clone, Debug, Default)]
pub(super) struct Fallbacks {
    failed_binders: BTreeMap<(u32, u32), FailedBinder>,
    /// Those that have taken another port.
    unsettled: usize,
}

#[derive(Clone, Debug)]
struct FailedBinder {
    failed: Vec<FailedTry>,
    last_failed_ns: u64,
    /// A port that the kernel chose for it; a client may ask for one as well.
    chosen: Option<(u16, u64)>,
    took: Option<BoundInstead>,
    /// It took a port and then tried for the first one again: it wants both.
    comes_back: bool,
}

#[derive(Clone, Debug)]
struct BoundInstead {
    port: u16,
    id: SocketId,
    seq: u64,
    since_ns: u64,
    process: Arc<Process>,
}

impl Fallbacks {
    fn fails(&mut self, mono_ns: u64, seq: u64, key: PortKey, pid: u32) {
        let who = (key.netns, pid);
        let is_stale = |failed_binder: &FailedBinder| {
            mono_ns > failed_binder.last_failed_ns.saturating_add(WINDOW_NS)
        };
        if self.failed_binders.get(&who).is_some_and(is_stale) {
            self.forget(who);
        }
        if self.failed_binders.len() >= MAX_PROCESSES && !self.failed_binders.contains_key(&who) {
            let oldest = self
                .failed_binders
                .iter()
                .min_by_key(|(_, failed_binder)| failed_binder.last_failed_ns)
                .map(|(who, _)| *who);
            if let Some(oldest) = oldest {
                self.forget(oldest);
            }
        }
        let failed_binder = self
            .failed_binders
            .entry(who)
            .or_insert_with(|| FailedBinder {
                failed: Vec::new(),
                last_failed_ns: mono_ns,
                chosen: None,
                took: None,
                comes_back: false,
            });
        failed_binder.last_failed_ns = mono_ns;
        // The other address family of the port that it has already.
        if failed_binder
            .took
            .as_ref()
            .is_some_and(|took| took.port == key.port)
        {
            return;
        }
        let is_new = failed_binder
            .failed
            .iter()
            .all(|tried| tried.port != key.port);
        if failed_binder.took.take().is_some() {
            self.unsettled -= 1;
            failed_binder.comes_back |= !is_new;
        }
        if is_new && failed_binder.failed.len() < MAX_TRIES {
            failed_binder.failed.push(FailedTry {
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
        let Some(failed_binder) = self.failed_binders.get_mut(&who) else {
            return;
        };
        let has_it_after_all = failed_binder
            .failed
            .iter()
            .any(|tried| tried.port == key.port);
        if has_it_after_all || mono_ns > failed_binder.last_failed_ns.saturating_add(WINDOW_NS) {
            self.forget(who);
            return;
        }
        if failed_binder.took.is_some() || failed_binder.comes_back {
            return;
        }
        let seq = match kind {
            CallKind::Bind if call.requested.port == 0 => {
                failed_binder.chosen = Some((key.port, seq));
                return;
            }
            CallKind::Bind => seq,
            // Only a server listens.
            CallKind::Listen => match failed_binder.chosen {
                Some((port, seq)) if port == key.port => seq,
                _ => return,
            },
            CallKind::Connect => return,
        };
        failed_binder.took = Some(BoundInstead {
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
        let ended = self.failed_binders.iter().find(|(who, failed_binder)| {
            who.0 == key.netns
                && failed_binder
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
            .failed_binders
            .values_mut()
            .filter_map(|failed_binder| failed_binder.took.as_mut())
        {
            if took.id == from {
                took.id = to;
            }
        }
    }

    /// Takes out those that have settled by now, the first first.
    fn take_concluded(&mut self, mono_ns: u64) -> Vec<Fallback> {
        if self.unsettled == 0 {
            return Vec::new();
        }
        let mut due: Vec<(u64, (u32, u32))> = self
            .failed_binders
            .iter()
            .filter_map(|(who, failed_binder)| Some((failed_binder.took.as_ref()?.since_ns, *who)))
            .filter(|(since_ns, _)| since_ns.saturating_add(CONCLUDED_AFTER_NS) <= mono_ns)
            .collect();
        due.sort_unstable();
        due.into_iter()
            .filter_map(|(_, who)| {
                let failed_binder = self.forget(who)?;
                let took = failed_binder.took?;
                Some(Fallback {
                    netns: who.0,
                    failed: failed_binder.failed,
                    took: took.port,
                    took_seq: took.seq,
                    process: took.process,
                })
            })
            .collect()
    }

    fn forget(&mut self, who: (u32, u32)) -> Option<FailedBinder> {
        let failed_binder = self.failed_binders.remove(&who)?;
        if failed_binder.took.is_some() {
            self.unsettled -= 1;
        }
        Some(failed_binder)
    }
}

impl Engine {
    /// Notes a `bind` or `listen` that failed.
    pub(super) fn note_failed_port(&mut self, mono_ns: u64, seq: u64, key: PortKey, call: &Call) {
        // Other errors are about the socket or the address, not the port.
        let is_about_port = call
            .error()
            .is_some_and(|error| error == Errno::AddrInUse || error.is_refusal());
        if is_about_port {
            self.fallbacks.fails(mono_ns, seq, key, call.process.pid);
        }
    }

    /// Notes one that succeeded.
    pub(super) fn note_port_instead(
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
    pub(super) fn note_lost_port(&mut self, key: PortKey, id: SocketId) {
        self.fallbacks.ends(key, id);
    }

    /// Concludes the fallbacks that are certain by now.
    pub(super) fn conclude_fallbacks(&mut self, mono_ns: u64) {
        for fallback in self.fallbacks.take_concluded(mono_ns) {
            let shared = Arc::new(fallback.clone());
            let ports = shared.failed.iter().map(|tried| tried.port);
            for port in ports.chain([shared.took]) {
                let history = self.ports.history(PortKey {
                    port,
                    netns: shared.netns,
                });
                if history.fallbacks.len() == MAX_FALLBACKS {
                    history.fallbacks.pop_front();
                }
                history.fallbacks.push_back((mono_ns, Arc::clone(&shared)));
            }
            self.push(mono_ns, Body::Fallback(Box::new(fallback)));
        }
    }
}
