//! Binds that are held back until the kernel allows them.

use rustix::net::sockopt;

use super::ask::BindRequest;
use super::{Calls, EADDRINUSE, HoldBack};
use crate::clock;
use crate::commands::run::explainer::Job;
use crate::commands::run::keep::BoundSocket;
use crate::supervise::caller;
use crate::supervise::socket::{self, Nature};

/// Time between two tries of a bind that is held back.
pub(super) const TRY_EVERY_NS: u64 = 20_000_000;
/// A call that a signal has ended begins anew within this time, or not at all.
const COMES_AGAIN_NS: u64 = 200_000_000;
/// Binds that are held back at one time; one more fails.
const MAX_WAITING: usize = 256;

/// A bind that is held back.
pub(super) struct Pending {
    pub(super) request: BindRequest,
    pid: u32,
    began_ns: u64,
    tried_ns: u64,
    /// A signal has ended the call, which may begin anew.
    ended_ns: Option<u64>,
    /// Its name towards who shows the progress.
    name: u64,
}

impl Calls {
    pub(super) fn waits_for(&self, request: &BindRequest) -> bool {
        !matches!(self.policy.hold_back, HoldBack::Never)
            && self.pending.len() < MAX_WAITING
            && request.address.endpoint.port != 0
    }

    pub(super) fn hold_back(&mut self, request: BindRequest) {
        let now_ns = clock::monotonic_ns();
        let pid = caller::process_of(request.tid).unwrap_or(request.tid);
        // A call that a signal ended begins anew, and has waited already.
        let cookie = sockopt::socket_cookie(&request.socket).unwrap_or(0);
        let before = self.pending.iter().position(|pending| {
            pending.pid == pid
                && sockopt::socket_cookie(&pending.request.socket) == Ok(cookie)
                && !pending.request.listener.is_valid(pending.request.id)
        });
        let (began_ns, name) = if let Some(at) = before {
            let before = self.pending.swap_remove(at);
            (before.began_ns, before.name)
        } else {
            self.waits += 1;
            let longest_ns = self.policy.hold_back.longest_ns();
            self.explainer.hand(Job::WaitBegins {
                id: self.waits,
                call: Box::new(self.call(&request, Err(EADDRINUSE))),
                until_ns: longest_ns.map(|longest_ns| now_ns.saturating_add(longest_ns)),
            });
            (now_ns, self.waits)
        };
        self.pending.push(Pending {
            request,
            pid,
            began_ns,
            tried_ns: now_ns,
            ended_ns: None,
            name,
        });
    }

    /// Tries binds that are held back.
    pub(super) fn try_pending(&mut self, now_ns: u64) {
        let longest_ns = self.policy.hold_back.longest_ns();
        let mut at = 0;
        while let Some(pending) = self.pending.get_mut(at) {
            if now_ns < pending.tried_ns.saturating_add(TRY_EVERY_NS) {
                at += 1;
                continue;
            }
            pending.tried_ns = now_ns;
            let is_over = longest_ns
                .is_some_and(|longest| now_ns >= pending.began_ns.saturating_add(longest));
            let BindRequest {
                listener, id, tid, ..
            } = &pending.request;
            if let Some(errno) = caller::interruption(*tid).filter(|_| listener.is_valid(*id)) {
                // It may begin again once the signal has been acted on.
                let _ = listener.answer(*id, errno);
            }
            let is_valid = pending.request.listener.is_valid(pending.request.id);
            let result = if is_valid {
                socket::bind(&pending.request.socket, &pending.request.address)
            } else {
                Err(libc::EINTR.unsigned_abs())
            };
            if is_valid && result == Err(EADDRINUSE) && !is_over {
                at += 1;
                continue;
            }
            if !is_valid {
                let ended_ns = *pending.ended_ns.get_or_insert(now_ns);
                if now_ns < ended_ns.saturating_add(COMES_AGAIN_NS) {
                    at += 1;
                    continue;
                }
            }
            let Pending { request, name, .. } = self.pending.swap_remove(at);
            self.explainer.hand(Job::WaitEnds {
                id: name,
                is_bound: result.is_ok(),
            });
            match result {
                _ if !is_valid => {}
                Ok(()) => {
                    let cookie = sockopt::socket_cookie(&request.socket).unwrap_or(0);
                    if self.kept_sockets.is_for(request.address.endpoint.port) {
                        let bound = BoundSocket {
                            address: request.address.clone(),
                            nature: Nature::of(&request.socket),
                        };
                        self.kept_sockets.note_bound(cookie, bound);
                    }
                    self.done(request, cookie);
                }
                Err(errno) => self.refuse(request, errno),
            }
        }
    }
}
