//! Calls that went on as they are, until it shows whether they took effect.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use super::Calls;
use super::ask::BindRequest;
use super::event::name;
use crate::clock;
use crate::commands::run::explainer::Job;
use crate::diagnosis::CallKind;
use crate::event::Call;
use crate::snapshot::rights;
use crate::supervise::{caller, proc, socket};

/// A call that goes on has taken effect after so long.
const TAKES_EFFECT_NS: u64 = 10_000_000;
/// The same of a thread that waits for a processor, or has one.
const TAKES_EFFECT_AT_LAST_NS: u64 = 1_000_000_000;
/// A hook that was on has reported a failed call within this time after its return, or does not.
const HOOKS_REPORT_NS: u64 = 100_000_000;
/// Calls that are looked after at one time.
pub(super) const MAX_PASSED: usize = 64;

/// A call that went on.
pub(super) struct Passed {
    /// A duplicate of its socket.
    pub(super) socket: OwnedFd,
    pub(super) tid: u32,
    pub(super) since_ns: u64,
    pub(super) kind: CallKind,
    /// It had listened or been connected before.
    pub(super) was_disconnected: bool,
    pub(super) call: Box<Call>,
}

/// One of them that has failed.
pub(super) struct Unreported {
    since_ns: u64,
    /// It is said from then on whatever is known of it.
    until_ns: u64,
    kind: CallKind,
    call: Box<Call>,
}

/// What the kernel itself has reported of the call. Who made it is better known here.
fn take_over(call: &mut Call, reported: Call) {
    call.errno = reported.errno;
    call.errno_name = reported.errno_name;
    call.reuse = reported.reuse;
    call.seen = reported.seen;
}

impl Passed {
    /// The call has returned, whatever came of it.
    fn is_over(&self, now_ns: u64) -> bool {
        let since = |time_ns: u64| now_ns >= self.since_ns.saturating_add(time_ns);
        let state = proc::stat(self.tid).map(|stat| stat.state);
        // Whose bind has failed often ends at once.
        if self.kind == CallKind::Bind && matches!(state, None | Some('Z')) {
            return true;
        }
        // On a busy machine its thread may not have had a processor yet.
        since(TAKES_EFFECT_NS) && (since(TAKES_EFFECT_AT_LAST_NS) || state != Some('R'))
    }

    fn has_taken_effect(&self) -> bool {
        match self.kind {
            // Whoever ends shuts down what it listens on, perhaps before we look.
            CallKind::Listen => {
                socket::is_listening(&self.socket)
                    || (!self.was_disconnected && socket::was_disconnected(&self.socket))
            }
            _ => socket::local(&self.socket).is_some(),
        }
    }

    /// What returned without an effect has failed. A `listen` on a socket that was disconnected
    /// before leaves no trace once that is shut down as well; and one that is bound to nothing
    /// had its port chosen, or its caller was killed.
    fn has_failed(&self) -> bool {
        self.kind != CallKind::Listen
            || (self.may_hold_port() && !socket::was_disconnected(&self.socket))
    }

    /// Whether its socket would be missed by whoever calls next: a port that its owner has
    /// given up is held by our duplicate.
    fn may_hold_port(&self) -> bool {
        socket::local(&self.socket).is_some()
    }
}

impl Calls {
    /// A bind of a process that may do something else than we may: it goes on, and is looked
    /// after.
    pub(super) fn pass_and_poll(&mut self, request: BindRequest) {
        let mut call = self.call(&request, Ok(()));
        let process = name(request.tid);
        if let Some(sock) = &mut call.sock {
            sock.netns = caller::netns(request.tid).unwrap_or(sock.netns);
            call.rights = rights::of(process.pid, sock.netns);
        }
        call.process = Arc::new(process);
        if let Some(hooks) = &self.hooks {
            hooks.want();
        }
        let since_ns = clock::monotonic_ns();
        let why = "a bind goes on as it is: its process has other rights than `tcpstate run`";
        self.pass(&request.listener, request.id, request.tid, Some(why));
        if self.passed.len() < MAX_PASSED && request.address.endpoint.port != 0 {
            self.passed.push(Passed {
                socket: request.socket,
                tid: request.tid,
                since_ns,
                kind: CallKind::Bind,
                was_disconnected: false,
                call: Box::new(call),
            });
        }
    }

    /// Sees which calls have taken effect. `next`: this thread makes another call, so that
    /// those before it have returned, and sockets that we have may be in its way.
    pub(super) fn poll_passed(&mut self, next: Option<u32>) {
        let now_ns = clock::monotonic_ns();
        let mut at = 0;
        while let Some(passed) = self.passed.get(at) {
            // In this order: what has returned has taken effect.
            let is_over = next == Some(passed.tid) || passed.is_over(now_ns);
            let has_taken_effect = passed.has_taken_effect();
            let is_in_the_way = next.is_some() && passed.may_hold_port();
            if !has_taken_effect && !is_over && !is_in_the_way {
                at += 1;
                continue;
            }
            let has_failed = is_over && passed.has_failed();
            let passed = self.passed.swap_remove(at);
            let Passed {
                since_ns,
                kind,
                call,
                ..
            } = passed;
            if has_taken_effect {
                if self.explainer.is_recording {
                    self.explainer.hand(Job::Call {
                        mono_ns: now_ns,
                        kind,
                        call,
                        answer: None,
                    });
                }
            } else if has_failed {
                self.has_failed(Unreported {
                    since_ns,
                    until_ns: now_ns.saturating_add(HOOKS_REPORT_NS),
                    kind,
                    call,
                });
            }
        }
    }

    /// A call that went on has failed. It is reported once the hooks have reported more; at once where
    /// they were not on when it was made.
    fn has_failed(&mut self, unreported: Unreported) {
        let are_on = self
            .hooks
            .as_ref()
            .is_some_and(|hooks| hooks.saw(unreported.since_ns));
        if are_on && self.unreported.len() < MAX_PASSED {
            self.unreported.push(unreported);
            self.report_failed(clock::monotonic_ns());
        } else {
            self.fail(unreported.kind, *unreported.call, None);
        }
    }

    /// Reports failed calls with what the hooks have reported, or have not reported in time.
    pub(super) fn report_failed(&mut self, now_ns: u64) {
        let mut at = 0;
        while let Some(unreported) = self.unreported.get(at) {
            let reported = self.hooks.as_ref().and_then(|hooks| {
                hooks.take(unreported.kind, &unreported.call, unreported.since_ns)
            });
            if reported.is_none() && now_ns < unreported.until_ns {
                at += 1;
                continue;
            }
            let Unreported { kind, mut call, .. } = self.unreported.swap_remove(at);
            match reported {
                Some(reported) => take_over(&mut call, reported),
                None if self.flood.count_unreported(kind, &call) => {
                    self.failed += 1;
                    continue;
                }
                None => {}
            }
            self.fail(kind, *call, None);
        }
    }
}
