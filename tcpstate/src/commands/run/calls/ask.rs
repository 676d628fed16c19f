//! What a call asks for, as far as it may be acted on: our own copies, and who makes it.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use super::Calls;
use crate::event::Family;
use crate::supervise::caller::{self, Credentials};
use crate::supervise::notification::SeccompListener;
use crate::supervise::socket::{self, Address};

/// A call of the program as far as it is known.
pub(super) struct BindRequest {
    pub(super) listener: Arc<SeccompListener>,
    pub(super) id: u64,
    pub(super) tid: u32,
    pub(super) fd: i32,
    pub(super) address: Address,
    pub(super) socket: OwnedFd,
    pub(super) family: Family,
    /// Its process may do what we may.
    pub(super) is_own: bool,
}

impl Calls {
    /// What a bind asks for. An error: it goes on as it is; with the reason, where it is one.
    pub(super) fn ask(
        &self,
        listener: &Arc<SeccompListener>,
        id: u64,
        tid: u32,
        fd: i32,
        addr: u64,
        len: u32,
    ) -> Result<BindRequest, Option<&'static str>> {
        let address = caller::address(tid, addr, len).ok_or(Some(
            "a bind goes on as it is: the memory of its process cannot be read",
        ))?;
        let address = Address::parse(address).ok_or(None)?;
        let socket = caller::descriptor(tid, fd).map_err(|errno| {
            // The kernel says so itself.
            let is_bad = errno == rustix::io::Errno::BADF;
            (!is_bad)
                .then_some("a bind goes on as it is: the socket of its process is not to be had")
        })?;
        let family = socket::tcp_family(&socket).ok_or(None)?;
        // Until here it was its thread that was looked at.
        if !listener.is_valid(id) {
            return Err(None);
        }
        if address.endpoint.port != 0 {
            // Whoever the socket belongs to: the options need no right.
            let _ = socket::set_reuse(&socket, self.policy.reuseaddr, self.policy.reuseport);
        }
        let is_own = self.may_act_for(tid);
        if !listener.is_valid(id) {
            return Err(None);
        }
        Ok(BindRequest {
            listener: Arc::clone(listener),
            id,
            tid,
            fd,
            address,
            socket,
            family,
            is_own,
        })
    }

    pub(super) fn may_act_for(&self, tid: u32) -> bool {
        !self.is_confined && Credentials::of(tid).is_some_and(|rights| rights == self.own)
    }
}
