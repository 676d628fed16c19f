//! What is read of a failed call while it waits: its process, its namespace, the port that it
//! asked for, and what the kernel's rule says where the call has not taken effect.

use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};

use super::process;
use super::worker::Worker;
use crate::commands::explain::{Extent, PortHolders, RequestedSocket, name_processes};
use crate::diagnosis::{CallKind, Environment, Question, explain};
use crate::event::{Call, Errno, Explanation, Seen, Sock, State, YesNo};
use crate::kernel::{capabilities, errno_name};
use crate::snapshot::cgroup::Units;
use crate::snapshot::netns;
use crate::snapshot::{ephemeral, executable, ipv6, owners, port, rights, sysctl};

impl Worker {
    /// What only the tables and `/proc` show, while the call waits.
    pub(super) fn complete(&mut self, kind: CallKind, call: &mut Call) {
        let (pid, tid) = (call.process.pid, call.process.tid.unwrap_or(0));
        let mut caller = process(pid, tid);
        if &*caller.comm == "?" {
            // It has gone; what was read before is what is known.
            caller = (*call.process).clone();
        }
        caller.language = executable::language(pid);
        caller.unit = owners::unit(&caller, &mut Units::default());
        caller.identity = owners::of_caller(&caller).map(Arc::new);
        call.process = Arc::new(caller);
        let Some(Sock { netns, .. }) = call.sock else {
            return;
        };
        let read = || (sysctl::read(), netns::rtnetlink_inode());
        // A namespace that cannot be entered is not looked into.
        let Ok((sysctls, rtnetlink_inode)) = self.namespaces.inside(netns, read) else {
            return;
        };
        let start = sysctls.ip_unprivileged_port_start;
        call.unprivileged_port_start = start.and_then(|start| start.try_into().ok());
        call.sysctls = Some(Box::new(sysctls));
        call.rtnetlink_inode = rtnetlink_inode;
        if Some(netns) != self.header.netns {
            call.netns_name = netns::name_of(netns).map(Into::into);
        }
        if call.errno.is_none() {
            self.infer(kind, call);
        }
        let error = call.error();
        let is_refused = error.is_some_and(Errno::is_refusal);
        if is_refused && call.rights.is_none() {
            call.rights = rights::of(pid, netns);
        }
        if let (Some(IpAddr::V6(addr)), Some(Errno::AddrNotAvail)) = (call.requested.addr, error) {
            let ipv6 = self.namespaces.inside(netns, || ipv6::read(addr));
            call.ipv6 = ipv6.ok().flatten().map(Box::new);
        }
        let wants_any = call.requested.port == 0 && error == Some(Errno::AddrInUse);
        if let (Some(addr), Some(sysctls), true) =
            (call.requested.addr, call.sysctls.as_deref(), wants_any)
        {
            let purpose = ephemeral::Purpose::Bind(addr);
            let count = || ephemeral::read(netns, sysctls, purpose);
            let counted = self.namespaces.inside(netns, count).ok().flatten();
            call.ephemeral = counted.map(|(counted, _)| Box::new(counted));
        }
        let is_about_port = error == Some(Errno::AddrInUse) || is_refused;
        if is_about_port && call.requested.port != 0 {
            let walked = call.seen.take();
            let seen = match walked {
                Some(walked) if walked.is_complete => Some(walked),
                Some(walked) => match self.read(netns, call.requested.port) {
                    Some((read, _)) => Some(port::merge(&walked, &read.holders)),
                    None => Some(walked),
                },
                None => self.read(netns, call.requested.port).map(|(seen, _)| seen),
            };
            call.seen = seen.map(|mut seen| {
                let _ = name_processes(&mut seen);
                seen
            });
        }
    }

    /// The error of a call that has not taken effect, as the kernel's rule gives it; none, where
    /// it does not.
    fn infer(&mut self, kind: CallKind, call: &mut Call) {
        let errno = match kind {
            CallKind::Listen => {
                let own = call.sock.map_or(0, |sock| sock.cookie);
                let netns = call.sock.map_or(0, |sock| sock.netns);
                let seen = self.read(netns, call.requested.port);
                let mut others = seen.iter().flat_map(|(seen, _)| &seen.holders);
                others
                    .any(|it| it.state == State::Listen && it.sock.cookie != own)
                    .then_some(libc::EADDRINUSE)
            }
            _ => self.rule(call),
        };
        if let Some(errno) = errno.map(i32::unsigned_abs) {
            call.errno = Some(errno);
            call.errno_name = Some(errno_name(errno));
            call.errno_inferred = true;
        }
    }

    /// What the rule says to a bind like this one, in the order in which the kernel asks.
    fn rule(&mut self, call: &Call) -> Option<i32> {
        let Sock { netns, family, .. } = call.sock?;
        let requested = RequestedSocket {
            addr: call.requested.addr?,
            scope: call.bound_dev_if.unwrap_or(0),
            family,
            reuse: call.reuse,
            device: None,
        };
        let address = self
            .namespaces
            .inside(netns, || requested.try_address())
            .ok()?;
        if let Err(errno) = address {
            return Some(errno.raw_os_error());
        }
        let may_have_low_ports = call
            .rights
            .is_some_and(|rights| rights.net_bind_service && rights.owns_netns != Some(false));
        let is_low = call
            .unprivileged_port_start
            .is_some_and(|start| u32::from(call.requested.port) < start);
        if is_low && !may_have_low_ports {
            return Some(libc::EACCES);
        }
        let explanation = self.ask(call)?;
        (explanation.would_bind == YesNo::No).then_some(libc::EADDRINUSE)
    }

    /// The sockets on a port, and what could not be seen of them.
    fn read(&mut self, netns: u32, port: u16) -> Option<(Seen, Vec<String>)> {
        if self
            .holders
            .as_ref()
            .is_none_or(|(of, _)| *of != (netns, port))
        {
            let make = || {
                socket_with(
                    AddressFamily::INET,
                    SocketType::STREAM,
                    SocketFlags::CLOEXEC,
                    None,
                )
            };
            let guide: OwnedFd = self.namespaces.inside(netns, make).ok()?.ok()?;
            self.holders = Some(((netns, port), PortHolders::new(netns, port, guide)));
        }
        let (_, holders) = self.holders.as_mut()?;
        let (seen, missing) = holders.read(&mut self.namespaces, Extent::Alike).ok()?;
        Some((seen.unwrap_or_else(Seen::unread), missing))
    }

    /// What a bind like this one would meet now.
    pub(super) fn ask(&mut self, call: &Call) -> Option<Explanation> {
        let Sock { netns, family, .. } = call.sock?;
        let (mut seen, mut missing) = self.read(netns, call.requested.port)?;
        missing.extend(name_processes(&mut seen));
        let sysctls = self.namespaces.inside(netns, sysctl::read).ok()?;
        Some(explain(&Question {
            addr: call.requested.addr?,
            port: call.requested.port,
            family,
            reuse: call.reuse,
            device: call.bound_dev_if,
            uid: call.uid.unwrap_or(0),
            netns,
            has_net_bind_service: call
                .rights
                .map_or_else(capabilities::has_net_bind_service, |it| it.net_bind_service),
            ipv6: None,
            address_error: None,
            seen: Some(&seen),
            environment: &Environment {
                own_netns: netns::current().ok(),
                ..Environment::from(&sysctls)
            },
            tried: None,
            missing: &missing,
            ancestors: &[],
        }))
    }
}
