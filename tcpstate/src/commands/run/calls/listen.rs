//! A `listen` is its caller's own: it goes on, and shows afterwards whether it took effect. One
//! that the kernel may refuse is made here.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use super::Calls;
use super::event::name;
use super::passed::{MAX_PASSED, Passed};
use crate::clock;
use crate::commands::run::explainer::{Job, PendingAnswer};
use crate::diagnosis::CallKind;
use crate::diagnosis::conflict::{self, Binder, BoundSocket, Verdict};
use crate::event::{Call, Endpoint, State};
use crate::kernel::errno_name;
use crate::snapshot::sock_diag::SockDiag;
use crate::supervise::notification::SeccompListener;
use crate::supervise::{caller, socket};

impl Calls {
    /// Who calls it is whose socket it is, for everybody who watches.
    pub(super) fn listen(
        &mut self,
        listener: &Arc<SeccompListener>,
        id: u64,
        tid: u32,
        fd: i32,
        backlog: i32,
    ) {
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
        if let Some(local) = local.filter(|local| self.kept_sockets.is_for(local.port)) {
            let kept = is_own
                && socket
                    .try_clone()
                    .is_ok_and(|socket| self.kept_sockets.listens(socket, now_ns));
            if !kept {
                self.explainer.hand(Job::Print(format!(
                    "the socket of {local} is not kept: its process has other rights than \
                     `tcpstate run`, or it was bound by another one"
                )));
            }
        }
        if self.passed.len() >= MAX_PASSED {
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
        // In a group of SO_REUSEPORT others are no obstacle.
        if is_own && !call.reuse.reuseport && self.may_be_refused(&socket, &call) {
            let answer = PendingAnswer {
                listener: Arc::clone(listener),
                id,
                errno: socket::listen(&socket, backlog).err().unwrap_or(0),
            };
            drop(socket);
            self.answer_listen(call, answer);
            return;
        }
        if self.explainer.is_recording || !is_own {
            call.process = Arc::new(name(tid));
        }
        if let (Some(sock), false) = (&mut call.sock, is_own) {
            sock.netns = caller::netns(tid).unwrap_or(sock.netns);
        }
        let was_disconnected = socket::was_disconnected(&socket);
        listener.let_pass(id);
        self.passed.push(Passed {
            was_disconnected,
            socket,
            tid,
            since_ns: now_ns,
            kind: CallKind::Listen,
            call: Box::new(call),
        });
    }

    /// It was made here, with this outcome.
    fn answer_listen(&mut self, mut call: Call, answer: PendingAnswer) {
        if answer.errno != 0 {
            call.ok = false;
            call.errno = Some(answer.errno);
            call.errno_name = Some(errno_name(answer.errno));
            self.fail(CallKind::Listen, call, Some(answer));
            return;
        }
        if self.explainer.is_recording {
            let tid = call.process.tid.unwrap_or(0);
            call.process = Arc::new(name(tid));
            drop(answer);
            self.explainer.hand(Job::Call {
                mono_ns: clock::monotonic_ns(),
                kind: CallKind::Listen,
                call: Box::new(call),
                answer: None,
            });
        }
    }

    /// The kernel may refuse it: then whose call it was makes no difference, and its answer is
    /// had by making it here.
    fn may_be_refused(&self, socket: &OwnedFd, call: &Call) -> bool {
        // EINVAL.
        if !matches!(socket::state(socket), Some(State::Closed | State::Listen)) {
            return true;
        }
        let (Some(local), Some(sock)) = (call.local, call.sock) else {
            return false;
        };
        let new = Binder {
            family: sock.family,
            addr: local.addr,
            reuse: call.reuse,
            uid: call.uid,
            device: call.bound_dev_if,
        };
        let listeners =
            SockDiag::open(self.netns).and_then(|mut diag| diag.dump_listeners(local.port));
        listeners.into_iter().flatten().any(|other| {
            let holder = BoundSocket::from(&other.to_holder(None));
            other.sock.cookie != sock.cookie && conflict::verdict(&new, &holder) != Verdict::Free
        })
    }
}
