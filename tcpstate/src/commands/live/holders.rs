//! Completes a failed call with what only user space can see: sockets beyond
//! those that fit into the kernel program's record, the processes that have
//! the holders' descriptors open, and the caller's executable.
//!
//! Done at once, while they are still there.

use std::sync::Arc;

use super::Live;
use crate::clock;
use crate::event::{Body, Call, Seen, SeenHolder, SeenSource};
use crate::snapshot::{executable, netns, owners, port, proc, sysctl};

/// Threads that the kernel makes for a process's `io_uring` requests are called
/// like this; the process is the one that asked.
const IO_URING_WORKER: &str = "iou-";
/// A port whose sockets were read this shortly ago is not read again for the
/// next failure: servers retry in tight loops.
const FRESH_NS: u64 = 250_000_000;

/// The last reading of a port's sockets.
#[derive(Debug)]
pub(super) struct PortReading {
    read_ns: u64,
    netns: u32,
    port: u16,
    holders: Vec<SeenHolder>,
}

impl Live {
    /// Completes the body if it is a failed call.
    pub(super) fn complete(&mut self, body: &mut Body) {
        let is_bind = matches!(body, Body::Bind(_));
        match body {
            Body::Bind(call) | Body::Listen(call) | Body::Connect(call) if !call.ok => {
                self.read_settings(call);
                name_namespace(call);
                if is_bind && is_low_port_refused(call) {
                    call.seen = Some(not_walked());
                }
                self.list_all_holders(call);
                // Where processes have other numbers, nobody is named rather
                // than the wrong one.
                if proc::has_numbers_of_the_host() {
                    complete_caller(call);
                    call.seen.iter_mut().for_each(port::name_processes);
                }
            }
            _ => {}
        }
    }

    /// The settings that the kernel went by.
    fn read_settings(&mut self, call: &mut Call) {
        let Some(sock) = call.sock else {
            return;
        };
        if let Ok(sysctls) = self.looks.namespaces.inside(sock.netns, sysctl::read) {
            call.sysctls = Some(Box::new(sysctls));
        }
    }

    /// Where the record could not take all sockets of the port, reads them from
    /// the kernel's tables.
    fn list_all_holders(&mut self, call: &mut Call) {
        let (Some(sock), Some(seen)) = (call.sock, &call.seen) else {
            return;
        };
        // A failed bind has no port, and connect asks for the peer's.
        let port = call
            .local
            .map(|local| local.port)
            .filter(|port| *port != 0)
            .unwrap_or(call.requested.port);
        if seen.is_complete || port == 0 {
            return;
        }
        let now_ns = clock::monotonic_ns();
        let is_fresh = self.reading.as_ref().is_some_and(|reading| {
            reading.netns == sock.netns
                && reading.port == port
                && now_ns < reading.read_ns + FRESH_NS
        });
        if !is_fresh {
            let Some(holders) = self.read_port(sock.netns, port) else {
                return;
            };
            self.reading = Some(PortReading {
                read_ns: now_ns,
                netns: sock.netns,
                port,
                holders,
            });
        }
        let Some(reading) = &self.reading else {
            return;
        };
        call.seen = Some(port::merge(seen, &reading.holders));
    }

    /// All sockets of a port; `None`: they cannot be read with their options.
    fn read_port(&mut self, netns: u32, port: u16) -> Option<Vec<SeenHolder>> {
        let items = self.snapshot(netns).ok()?;
        let bound = self
            .looks
            .namespaces
            .inside(netns, || port::bound_sockets(netns, port));
        Some(port::holders(
            port,
            items.into_iter().map(|(_, item)| item),
            bound.unwrap_or_default(),
        ))
    }
}

/// What `ip netns` calls the caller's namespace, where it is not ours.
fn name_namespace(call: &mut Call) {
    call.netns_name = call
        .sock
        .filter(|sock| netns::current().is_ok_and(|own| own != sock.netns))
        .and_then(|sock| netns::name_of(sock.netns))
        .map(Arc::from);
}

/// `bind` asks for the capability first and does not look at the port then:
/// whether it is taken as well is for us to see.
fn is_low_port_refused(call: &Call) -> bool {
    call.errno_name.as_deref() == Some("EACCES")
        && call
            .unprivileged_port_start
            .is_none_or(|start| u32::from(call.requested.port) < start)
}

/// What is known where the kernel program had no reason to walk the bucket.
fn not_walked() -> Seen {
    Seen {
        source: SeenSource::Snapshot,
        is_complete: false,
        visited: 0,
        holders: Vec::new(),
        sharing: None,
        admits_reuseaddr: false,
    }
}

/// The kernel program captured name, user and arguments; executable and cgroup
/// are read from `/proc` if the process is still the same.
fn complete_caller(call: &mut Call) {
    let Some(now) = owners::process(call.process.pid) else {
        return;
    };
    if now.ppid != call.process.ppid {
        return;
    }
    let process = Arc::make_mut(&mut call.process);
    if process.comm.starts_with(IO_URING_WORKER) {
        process.comm = now.comm;
    }
    process.exe = process.exe.take().or(now.exe);
    process.parent = process.parent.take().or(now.parent);
    process.language = executable::language(process.pid);
    process.argv = process.argv.take().or(now.argv);
    process.cgroup = process.cgroup.take().or(now.cgroup);
    process.container = process.container.take().or(now.container);
    process.runtime = process.runtime.take().or(now.runtime);
}
