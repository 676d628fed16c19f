//! A call as an event.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use super::Calls;
use super::ask::BindRequest;
use crate::commands::run::explainer;
use crate::event::{Call, Endpoint, Family, KnownBy, Process, Requested};
use crate::kernel::errno_name;
use crate::supervise::{caller, socket};

impl Calls {
    pub(super) fn call(&self, request: &BindRequest, outcome: Result<(), u32>) -> Call {
        self.plain_call(
            request.tid,
            &request.socket,
            request.family,
            request.address.endpoint,
            outcome,
        )
    }

    pub(super) fn plain_call(
        &self,
        tid: u32,
        socket: &OwnedFd,
        family: Family,
        request: Endpoint,
        outcome: Result<(), u32>,
    ) -> Call {
        let errno = outcome.err();
        let pid = caller::process_of(tid).unwrap_or(tid);
        let mut process = Process::new(pid, 0, "?", KnownBy::Syscall);
        process.tid = Some(tid);
        Call {
            ok: errno.is_none(),
            errno,
            errno_name: errno.map(errno_name),
            sock: Some(socket::identity(socket, family, self.netns)),
            reuse: socket::reuse(socket, family),
            bound_dev_if: socket::device(socket),
            uid: socket::file(socket).map(|(_, uid)| uid),
            ..Call::new(
                Requested {
                    addr: Some(request.addr),
                    port: request.port,
                },
                Arc::new(process),
            )
        }
    }
}

/// Who it is, where it is asked at once.
pub(super) fn name(tid: u32) -> Process {
    let pid = caller::process_of(tid).unwrap_or(tid);
    explainer::process(pid, tid)
}
