//! A bind that is made in its caller's place, with the outcome that the kernel gives it.

use std::sync::Arc;

use rustix::net::sockopt;

use super::ask::BindRequest;
use super::event::name;
use super::{Calls, EADDRINUSE};
use crate::clock;
use crate::commands::run::explainer::{Job, PendingAnswer};
use crate::commands::run::flood::Decision;
use crate::commands::run::keep::{BoundSocket, Match};
use crate::diagnosis::CallKind;
use crate::event::Call;
use crate::supervise::caller;
use crate::supervise::socket::{self, Address, Nature};

/// A call that was answered begins anew within this time, or its caller has received the answer. A
/// handler of signals that come all the time may take as long on a slow machine.
const COMES_AGAIN_NS: u64 = 2_000_000_000;
/// Binds that were made and whose callers a signal took away before they received the answer.
const MAX_UNACKNOWLEDGED: usize = 64;

/// A bind that was made, and that begins anew if a signal took its caller away before it
/// received the answer.
pub(super) struct Unacknowledged {
    /// Of the socket.
    cookie: u64,
    tid: u32,
    address: Address,
    /// It is not the same call any more from then on.
    until_ns: u64,
}

impl Calls {
    pub(super) fn bind(&mut self, request: BindRequest) {
        let port = request.address.endpoint.port;
        let cookie = sockopt::socket_cookie(&request.socket).unwrap_or(0);
        let now_ns = clock::monotonic_ns();
        // Who asks for something else has received the answer.
        self.unacknowledged.retain(|unacknowledged| {
            let is_other = unacknowledged.tid == request.tid && unacknowledged.cookie != cookie;
            now_ns < unacknowledged.until_ns && !is_other
        });
        if let Some(at) = self.unacknowledged.iter().position(|unacknowledged| {
            unacknowledged.cookie == cookie
                && unacknowledged.tid == request.tid
                && unacknowledged.address.is_like(&request.address)
        }) {
            // The same call once more: a signal had ended it after the bind was made.
            self.unacknowledged.remove(at);
            self.done(request, cookie);
            return;
        }
        let wanted = self.kept_sockets.is_for(port).then(|| BoundSocket {
            address: request.address.clone(),
            nature: Nature::of(&request.socket),
        });
        let request = match &wanted {
            Some(wanted) => match self.install_kept(request, wanted) {
                Some(request) => request,
                None => return,
            },
            None => request,
        };
        let mut result = socket::bind(&request.socket, &request.address);
        if result == Err(EADDRINUSE) && wanted.is_some() && self.clear_port(&request) {
            result = socket::bind(&request.socket, &request.address);
        }
        match result {
            Ok(()) => {
                if let Some(wanted) = wanted {
                    self.kept_sockets.note_bound(cookie, wanted);
                }
                self.done(request, cookie);
            }
            Err(EADDRINUSE) if self.waits_for(&request) => self.hold_back(request),
            Err(errno) => self.refuse(request, errno),
        }
    }

    /// The bind was made: its caller gets the answer.
    pub(super) fn done(&mut self, request: BindRequest, cookie: u64) {
        let job = self.explainer.is_recording.then(|| {
            let local = socket::local(&request.socket);
            let mut call = self.call(&request, Ok(()));
            call.local = local;
            call.process = Arc::new(name(request.tid));
            Job::Call {
                mono_ns: clock::monotonic_ns(),
                kind: CallKind::Bind,
                call: Box::new(call),
                answer: None,
            }
        });
        let BindRequest {
            listener,
            id,
            tid,
            address,
            socket,
            ..
        } = request;
        drop(socket);
        let is_answered = listener.answer(id, 0);
        // Before Linux 5.19 a signal may end the call although the kernel has taken the answer.
        if !is_answered || !listener.installed.waits_killable {
            if self.unacknowledged.len() >= MAX_UNACKNOWLEDGED {
                self.unacknowledged.pop_front();
            }
            self.unacknowledged.push_back(Unacknowledged {
                cookie,
                tid,
                address,
                until_ns: clock::monotonic_ns().saturating_add(COMES_AGAIN_NS),
            });
        }
        if let Some(job) = job {
            self.explainer.hand(job);
        }
    }

    /// The kept socket becomes the caller's, if there is one. Else the bind is to be made.
    fn install_kept(&mut self, request: BindRequest, wanted: &BoundSocket) -> Option<BindRequest> {
        let Match::Same(position) = self.kept_sockets.find(wanted) else {
            return Some(request);
        };
        let kept = self.kept_sockets.at(position)?;
        let is_like_it = socket::take_over(&kept.socket, &request.socket);
        // Between this and the next line another thread of the caller could put something
        // else into its place; it would do so to itself.
        let is_there =
            caller::inode(request.tid, request.fd) == socket::file(&request.socket).map(|it| it.0);
        let cloexec =
            caller::is_cloexec(request.tid, request.fd).filter(|_| is_there && is_like_it);
        let placed = cloexec.is_some_and(|cloexec| {
            let placed =
                request
                    .listener
                    .put_in_place(request.id, &kept.socket, request.fd, cloexec);
            placed.is_ok()
        });
        let cookie = kept.cookie;
        if placed {
            self.kept_sockets.take(position);
            self.done(request, cookie);
            return None;
        }
        if request.listener.is_valid(request.id) {
            self.kept_sockets.forget(position);
            self.explainer.hand(Job::Print(format!(
                "the kept socket of {} could not be given to the program, which gets its own; \
                 connections that waited are reset",
                request.address.endpoint
            )));
        }
        Some(request)
    }

    /// Closes kept sockets that stand in the way of one that asks for something else.
    fn clear_port(&mut self, request: &BindRequest) -> bool {
        let closed = self.kept_sockets.clear_port(request.address.endpoint.port);
        if closed > 0 {
            self.explainer.hand(Job::Print(format!(
                "the program asks for {} with other options or another address than the kept \
                 socket has: it gets its own, and connections that waited for the kept one are reset",
                request.address.endpoint
            )));
        }
        closed > 0
    }

    /// The bind has failed: it is explained first.
    pub(super) fn refuse(&mut self, request: BindRequest, errno: u32) {
        let call = self.call(&request, Err(errno));
        let BindRequest {
            listener,
            id,
            socket,
            ..
        } = request;
        drop(socket);
        let answer = PendingAnswer {
            listener,
            id,
            errno,
        };
        self.fail(CallKind::Bind, call, Some(answer));
    }

    /// A call has failed. It is counted, or explained before it is answered.
    pub(super) fn fail(&mut self, kind: CallKind, mut call: Call, answer: Option<PendingAnswer>) {
        self.failed += 1;
        call.ok = false;
        let now_ns = clock::monotonic_ns();
        match self.flood.decide(kind, &call, now_ns) {
            Decision::Count => drop(answer),
            Decision::Explain { repeated } => {
                call.repeated = repeated;
                let job = Job::Call {
                    mono_ns: now_ns,
                    kind,
                    call: Box::new(call.clone()),
                    answer,
                };
                if !self.explainer.hand(job) {
                    self.flood.count_unexplained(kind, &call);
                }
            }
        }
    }
}
