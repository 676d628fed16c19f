//! Completes a failed call with what only user space can see: sockets beyond
//! those that fit into the kernel program's record, the processes that have
//! the holders' descriptors open, and what the caller runs.
//!
//! Done at once, while they are still there.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use super::caller;
use super::exhaustion::LastCount;
use super::kernel::Kernel;
use super::owners::Owners;
use super::source::Source as _;
use crate::clock;
use crate::engine::Engine;
use crate::event::{Body, Call, Errno, Seen, SeenHolder, Sysctls, Unread};
use crate::snapshot::{ipv6, netns, port, proc, rights, sysctl};

/// A port whose sockets were read this shortly ago is not read again for the
/// next failure: servers retry in tight loops.
const FRESH_NS: u64 = 250_000_000;

/// Where a failed call comes out this late and more of them wait, it and those behind it
/// are explained by what is at hand, until none waits: what would be read may have changed
/// since, and the others would wait as long again.
const LATE_NS: u64 = 500_000_000;
/// Settings of its namespace that are at hand then.
const AT_HAND_NS: u64 = 10_000_000_000;

/// Namespaces whose settings are kept for that; more, and all are read anew.
const MAX_SETTINGS: usize = 64;

/// The last reading of a port's sockets.
#[derive(Debug)]
struct PortReading {
    read_ns: u64,
    netns: u32,
    port: u16,
    holders: Vec<SeenHolder>,
}

/// The settings of a namespace, as they were read last.
#[derive(Debug)]
struct Settings {
    read_ns: u64,
    sysctls: Sysctls,
    rtnetlink_inode: Option<u64>,
}

/// What was read for the failed calls before, and may do for the next one.
#[derive(Debug, Default)]
pub(crate) struct Completion {
    reading: Option<PortReading>,
    settings: BTreeMap<u32, Settings>,
    /// Failed calls come out late: they are explained by what is at hand.
    is_late: bool,
    last_count: LastCount,
}

impl Completion {
    /// Completes the body if it is a failed call.
    pub(crate) fn complete(
        &mut self,
        engine: &Engine,
        kernel: &mut Kernel,
        owners: &mut Owners,
        mono_ns: u64,
        body: &mut Body,
    ) {
        let is_bind = matches!(body, Body::Bind(_));
        match body {
            Body::Bind(call) | Body::Listen(call) | Body::Connect(call) if !call.ok => {
                self.is_late = kernel.observer.has_failed_waiting()
                    && (self.is_late || clock::monotonic_ns() > mono_ns.saturating_add(LATE_NS));
                self.read_settings(kernel, call);
                if is_bind && is_low_port_refused(call) {
                    // The kernel program had no reason to walk the bucket.
                    call.seen = Some(Seen::unread());
                }
                self.list_all_holders(kernel, call);
                if self.is_late {
                    if let Some(seen) = &mut call.seen
                        && !port::unnamed(seen).is_empty()
                    {
                        seen.processes_unread = Some(Unread::Late);
                    }
                    return;
                }
                name_namespace(call);
                read_ipv6(kernel, call);
                // Where processes have other numbers, nobody is named rather
                // than the wrong one.
                if proc::has_numbers_of_the_host() {
                    caller::complete(call);
                    complete_rights(call);
                    owners.name(engine, kernel, mono_ns, call);
                }
            }
            _ => {}
        }
        if !self.is_late {
            self.last_count.complete(kernel, owners, body);
        }
    }

    /// The settings that the kernel went by. While more failed calls wait, what was read a
    /// moment ago will do: reading takes a fourth of what explaining does.
    fn read_settings(&mut self, kernel: &mut Kernel, call: &mut Call) {
        let Some(sock) = call.sock else {
            return;
        };
        let now_ns = clock::monotonic_ns();
        let oldest_ns = match (self.is_late, kernel.observer.has_failed_waiting()) {
            (true, _) => AT_HAND_NS,
            (_, true) => FRESH_NS,
            _ => 0,
        };
        let is_at_hand = self
            .settings
            .get(&sock.netns)
            .is_some_and(|known| now_ns < known.read_ns.saturating_add(oldest_ns));
        if !is_at_hand {
            self.settings.remove(&sock.netns);
            let read = || (sysctl::read(), netns::rtnetlink_inode());
            if let Ok((sysctls, rtnetlink_inode)) = kernel.namespaces.inside(sock.netns, read) {
                if self.settings.len() >= MAX_SETTINGS {
                    self.settings.clear();
                }
                let settings = Settings {
                    read_ns: now_ns,
                    sysctls,
                    rtnetlink_inode,
                };
                self.settings.insert(sock.netns, settings);
            }
        }
        if let Some(settings) = self.settings.get(&sock.netns) {
            call.sysctls = Some(Box::new(settings.sysctls.clone()));
            call.rtnetlink_inode = settings.rtnetlink_inode;
        }
    }

    /// Where the record could not take all sockets of the port, reads them from
    /// the kernel's tables.
    fn list_all_holders(&mut self, kernel: &mut Kernel, call: &mut Call) {
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
        if !is_fresh && self.is_late {
            return;
        }
        if !is_fresh {
            let Some(holders) = read_port(kernel, sock.netns, port) else {
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
}

/// All sockets of a port; `None`: they cannot be read with their options.
fn read_port(kernel: &mut Kernel, netns: u32, port: u16) -> Option<Vec<SeenHolder>> {
    let items = kernel.snapshot(netns).ok()?;
    let bound = kernel
        .namespaces
        .inside(netns, || port::bound_sockets(netns, port));
    Some(port::holders(
        port,
        items.into_iter().map(|(_, item)| item),
        bound.unwrap_or_default(),
    ))
}

/// IPv6 in the caller's namespace, where the call found an address of it wanting.
fn read_ipv6(kernel: &mut Kernel, call: &mut Call) {
    let is_wanting = call.error() == Some(Errno::AddrNotAvail);
    if let (Some(IpAddr::V6(requested)), Some(sock), true) =
        (call.requested.addr, call.sock, is_wanting)
    {
        let read = || ipv6::read(requested);
        let read = kernel.namespaces.inside(sock.netns, read);
        call.ipv6 = read.ok().flatten().map(Box::new);
    }
}

/// What `ip netns` calls the caller's namespace, where it is not ours.
pub(crate) fn name_namespace(call: &mut Call) {
    call.netns_name = call
        .sock
        .filter(|sock| netns::current().is_ok_and(|own| own != sock.netns))
        .and_then(|sock| netns::name_of(sock.netns))
        .map(Arc::from);
}

/// `bind` asks for the capability first and does not look at the port then:
/// whether it is taken as well is for us to see.
fn is_low_port_refused(call: &Call) -> bool {
    call.error() == Some(Errno::Acces)
        && call
            .unprivileged_port_start
            .is_none_or(|start| u32::from(call.requested.port) < start)
}

/// What the caller might do, where that may be why it failed.
fn complete_rights(call: &mut Call) {
    let is_refused = call.error().is_some_and(Errno::is_refusal);
    if let Some(sock) = call.sock.filter(|_| is_refused) {
        let read = rights::of(call.process.pid, sock.netns);
        let now = proc::stat(call.process.pid).map(|stat| stat.start_ticks);
        call.rights = read.filter(|_| now.is_some() && now == call.process.start_ticks);
    }
}
