//! A `listen` is its caller's own: it goes on, and shows afterwards whether it took effect.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use super::event::name;
use super::{Calls, EADDRINUSE};
use crate::clock;
use crate::commands::run::explainer::Job;
use crate::commands::run::flood::Fate;
use crate::diagnosis::CallKind;
use crate::event::{Call, Endpoint};
use crate::kernel::errno_name;
use crate::supervise::notification::Listener;
use crate::supervise::{caller, proc, socket};

/// A call that goes on has taken effect after so long.
const TAKES_EFFECT_NS: u64 = 10_000_000;
/// The same of a thread that waits for a processor, or has one.
const TAKES_EFFECT_AT_LAST_NS: u64 = 1_000_000_000;
/// Calls of `listen` that are looked after at one time.
const MAX_LISTENING: usize = 64;

/// A `listen` that went on, until it shows whether it took effect.
pub(super) struct Listening {
    socket: OwnedFd,
    tid: u32,
    since_ns: u64,
    call: Box<Call>,
}

impl Listening {
    /// The call has returned, whatever came of it.
    fn is_over(&self, now_ns: u64) -> bool {
        let since = |time_ns: u64| now_ns >= self.since_ns.saturating_add(time_ns);
        // On a busy machine its thread may not have had a processor yet.
        let is_runnable = || proc::stat(self.tid).is_some_and(|stat| stat.state == 'R');
        since(TAKES_EFFECT_NS) && (since(TAKES_EFFECT_AT_LAST_NS) || !is_runnable())
    }
}

impl Calls {
    /// A `listen` is the caller's own: who calls it is whose socket it is. It goes on, and
    /// then shows on the socket whether it has taken effect.
    pub(super) fn listen(&mut self, listener: &Arc<Listener>, id: u64, tid: u32, fd: i32) {
        let Some((socket, family)) = caller::descriptor(tid, fd)
            .ok()
            .and_then(|socket| socket::tcp_family(&socket).map(|family| (socket, family)))
        else {
            listener.let_pass(id);
            return;
        };
        let now_ns = clock::monotonic_ns();
        let local = socket::local(&socket);
        let is_own = self.may_act_for(tid);
        if !listener.is_valid(id) {
            // Its thread was killed, or what was looked at is another one's.
            return;
        }
        if let Some(local) = local.filter(|local| self.keeps.is_for(local.port)) {
            let kept = is_own
                && socket
                    .try_clone()
                    .is_ok_and(|socket| self.keeps.listens(socket, now_ns));
            if !kept {
                self.explainer.hand(Job::Say(format!(
                    "the socket of {local} is not kept: its process has other rights than \
                     `tcpstate run`, or it was bound by another one"
                )));
            }
        }
        if !is_own || self.listening.len() >= MAX_LISTENING {
            drop(socket);
            listener.let_pass(id);
            return;
        }
        let requested = local.unwrap_or(Endpoint {
            addr: family.address([0; 16]),
            port: 0,
        });
        let mut call = self.plain_call(tid, &socket, family, requested, Ok(()));
        call.local = local;
        if self.explainer.is_recording {
            call.process = Arc::new(name(tid));
        }
        listener.let_pass(id);
        self.listening.push(Listening {
            socket,
            tid,
            since_ns: now_ns,
            call: Box::new(call),
        });
    }

    /// Sees which calls of `listen` have taken effect. `at_once`: their sockets are needed.
    pub(super) fn look_after_listening(&mut self, at_once: bool) {
        let now_ns = clock::monotonic_ns();
        let mut at = 0;
        while let Some(listening) = self.listening.get(at) {
            // In this order: what has returned has taken effect.
            let is_over = listening.is_over(now_ns);
            let is_listening = socket::is_listening(&listening.socket);
            if !is_listening && !is_over && !at_once {
                at += 1;
                continue;
            }
            let is_bound = socket::local(&listening.socket).is_some();
            let Listening { mut call, .. } = self.listening.swap_remove(at);
            if is_listening {
                if self.explainer.is_recording {
                    self.explainer.hand(Job::Call {
                        mono_ns: now_ns,
                        kind: CallKind::Listen,
                        call,
                        answer: None,
                    });
                }
            } else if is_over && is_bound {
                self.failed += 1;
                call.ok = false;
                call.errno = Some(EADDRINUSE);
                call.errno_name = Some(errno_name(EADDRINUSE));
                if let Fate::Explain { repeated } = self.flood.fate(CallKind::Listen, &call, now_ns)
                {
                    call.repeated = repeated;
                    self.explainer.hand(Job::Call {
                        mono_ns: now_ns,
                        kind: CallKind::Listen,
                        call,
                        answer: None,
                    });
                }
            }
        }
    }
}
