//! Completes a failed call with what only user space can see: sockets beyond
//! those that fit into the kernel program's record, the processes that have
//! the holders' descriptors open, and the caller's executable.
//!
//! Done at once, while they are still there.

use std::net::IpAddr;
use std::sync::Arc;

use super::Live;
use crate::clock;
use crate::event::{Body, Call, FileId, Process, Seen, SeenHolder, Sysctls, Unread};
use crate::snapshot::cgroup::{self, Units};
use crate::snapshot::{executable, ipv6, netns, owners, port, proc, rights, sysctl};

/// Threads that the kernel makes for a process's `io_uring` requests are called
/// like this; the process is the one that asked.
const IO_URING_WORKER: &str = "iou-";
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
pub(super) struct PortReading {
    read_ns: u64,
    netns: u32,
    port: u16,
    holders: Vec<SeenHolder>,
}

/// The settings of a namespace, as they were read last.
#[derive(Debug)]
pub(super) struct Settings {
    read_ns: u64,
    sysctls: Sysctls,
    rtnetlink_inode: Option<u64>,
}

impl Live {
    /// Completes the body if it is a failed call.
    pub(super) fn complete(&mut self, mono_ns: u64, body: &mut Body) {
        let is_bind = matches!(body, Body::Bind(_));
        match body {
            Body::Bind(call) | Body::Listen(call) | Body::Connect(call) if !call.ok => {
                self.is_late = self.observer.has_failed_waiting()
                    && (self.is_late || clock::monotonic_ns() > mono_ns.saturating_add(LATE_NS));
                self.read_settings(call);
                if is_bind && is_low_port_refused(call) {
                    // The kernel program had no reason to walk the bucket.
                    call.seen = Some(Seen::unread());
                }
                self.list_all_holders(call);
                if self.is_late {
                    if let Some(seen) = &mut call.seen
                        && !port::unnamed(seen).is_empty()
                    {
                        seen.processes_unread = Some(Unread::Late);
                    }
                    return;
                }
                name_namespace(call);
                self.read_ipv6(call);
                // Where processes have other numbers, nobody is named rather
                // than the wrong one.
                if proc::has_numbers_of_the_host() {
                    complete_caller(call);
                    complete_rights(call);
                    self.name_processes(mono_ns, call);
                }
            }
            _ => {}
        }
        if !self.is_late {
            self.count_ephemeral(body);
        }
    }

    /// IPv6 in the caller's namespace, where the call found an address of it wanting.
    fn read_ipv6(&mut self, call: &mut Call) {
        let is_wanting = call.errno_name.as_deref() == Some("EADDRNOTAVAIL");
        if let (Some(IpAddr::V6(requested)), Some(sock), true) =
            (call.requested.addr, call.sock, is_wanting)
        {
            let read = || ipv6::read(requested);
            let read = self.resync.namespaces.inside(sock.netns, read);
            call.ipv6 = read.ok().flatten().map(Box::new);
        }
    }

    /// The settings that the kernel went by. While more failed calls wait, what was read a
    /// moment ago will do: reading takes a fourth of what explaining does.
    fn read_settings(&mut self, call: &mut Call) {
        let Some(sock) = call.sock else {
            return;
        };
        let now_ns = clock::monotonic_ns();
        let oldest_ns = match (self.is_late, self.observer.has_failed_waiting()) {
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
            if let Ok((sysctls, rtnetlink_inode)) = self.resync.namespaces.inside(sock.netns, read)
            {
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
        if !is_fresh && self.is_late {
            return;
        }
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
            .resync
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
pub(super) fn name_namespace(call: &mut Call) {
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

/// What the caller might do, where that may be why it failed.
fn complete_rights(call: &mut Call) {
    let is_refused = matches!(call.errno_name.as_deref(), Some("EACCES" | "EPERM"));
    if let Some(sock) = call.sock.filter(|_| is_refused) {
        let read = rights::of(call.process.pid, sock.netns);
        let now = proc::stat(call.process.pid).map(|stat| stat.start_ticks);
        call.rights = read.filter(|_| now.is_some() && now == call.process.start_ticks);
    }
}

/// The kernel program captured name, user and arguments; the rest is read from `/proc`
/// as far as it is still true.
fn complete_caller(call: &mut Call) {
    let process = Arc::make_mut(&mut call.process);
    let pid = process.pid;
    if process.container.is_some() {
        process.container_uid = process.cgroup.as_deref().and_then(cgroup::container_uid);
    }
    // Asked before and after: what is read in between is one process's and one program's.
    let is_running =
        |program: Option<FileId>| program.map(|file| executable::is_program(pid, file));
    let before = is_running(process.program);
    let now = owners::process_in_time(pid, process.argv.is_some());
    let language = executable::language(pid);
    let exe = now.as_ref().and_then(|now| now.exe.as_deref());
    let is_here = exe.is_some_and(|path| executable::is_at(pid, path));
    let after = is_running(process.program);
    let still = proc::stat(pid).map(|stat| stat.start_ticks);

    let now = now.filter(|now| now.start_ticks == still && is_same_process(process, now));
    let is_there = now.is_some();
    if let Some(now) = now {
        take_over(process, now, language, both(before, after), is_here);
    }
    process.identity = owners::of_caller(process).map(Arc::new);
    // Where another hierarchy may name a container, it takes the process to know.
    if is_there || cgroup::is_alone() {
        process.unit = owners::unit(process, &mut Units::default());
    }
}

/// Whether `/proc` shows the process that made the call, and not another one that has its
/// number now.
///
/// For a program in a time namespace `/proc` counts from another moment than the kernel:
/// there nothing is taken over.
fn is_same_process(then: &Process, now: &Process) -> bool {
    let is_other = matches!(
        (then.start_ticks, now.start_ticks),
        (Some(then), Some(now)) if then != now
    );
    !is_other && then.ppid == now.ppid
}

fn both(before: Option<bool>, after: Option<bool>) -> Option<bool> {
    Some(before? && after?)
}

/// Completes the process that made the call. `is_program`: whether it still runs the
/// program that it ran then; `None`: the kernel did not tell. `is_here`: whether that is
/// what we see at its path.
fn take_over(
    process: &mut Process,
    now: Process,
    language: Option<Arc<str>>,
    is_program: Option<bool>,
    is_here: bool,
) {
    process.parent = process.parent.take().or(now.parent);
    if process.container.is_none() {
        process.container = now.container;
        process.runtime = process.runtime.take().or(now.runtime);
        process.container_uid = now.container_uid;
    }
    process.cgroup = process.cgroup.take().or(now.cgroup);
    if is_program == Some(false) {
        return;
    }
    if process.comm.starts_with(IO_URING_WORKER) {
        process.comm = now.comm;
    }
    process.exe = process.exe.take().or(now.exe);
    process.is_exe_here = is_program == Some(true) && is_here;
    process.language = language;
    process.argv = process.argv.take().or(now.argv);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::KnownBy;

    fn caller() -> Process {
        Process {
            ppid: Some(7),
            start_ticks: Some(500),
            ..Process::new(10, 0, "server", KnownBy::Syscall)
        }
    }

    fn shown() -> Process {
        Process {
            ppid: Some(7),
            parent: Some("sh".into()),
            start_ticks: Some(500),
            exe: Some("/usr/bin/server".into()),
            argv: Some(vec!["server".to_owned()].into()),
            cgroup: Some("/x".into()),
            ..Process::new(10, 0, "server", KnownBy::Proc)
        }
    }

    fn completed(is_program: Option<bool>, is_here: bool) -> Process {
        let mut process = caller();
        take_over(
            &mut process,
            shown(),
            Some("go".into()),
            is_program,
            is_here,
        );
        process
    }

    #[test]
    fn another_process_with_the_callers_number_is_told_by_its_start_or_its_parent() {
        let with = |start_ticks, ppid| Process {
            ppid,
            start_ticks,
            ..shown()
        };

        assert!(is_same_process(&caller(), &with(Some(500), Some(7))));
        assert!(!is_same_process(&caller(), &with(Some(501), Some(7))));
        assert!(!is_same_process(&caller(), &with(Some(500), Some(1))));
        // A kernel that does not tell.
        let mut unknown = caller();
        unknown.start_ticks = None;
        assert!(is_same_process(&unknown, &with(Some(501), Some(7))));
    }

    #[test]
    fn the_callers_program_is_completed() {
        let process = completed(Some(true), true);

        assert_eq!(process.exe.as_deref(), Some("/usr/bin/server"));
        assert_eq!(process.language.as_deref(), Some("go"));
        assert!(process.argv.is_some() && process.is_exe_here);
        assert!(!completed(Some(true), false).is_exe_here);
    }

    #[test]
    fn of_a_process_that_runs_another_program_now_only_its_place_is_taken() {
        let process = completed(Some(false), true);

        assert_eq!(
            (process.exe, process.argv, process.language),
            (None, None, None)
        );
        assert!(!process.is_exe_here);
        assert_eq!(process.parent.as_deref(), Some("sh"));
        assert_eq!(process.cgroup.as_deref(), Some("/x"));
    }

    #[test]
    fn without_the_kernels_word_the_program_is_taken_but_not_vouched_for() {
        let process = completed(None, true);

        assert_eq!(process.exe.as_deref(), Some("/usr/bin/server"));
        assert!(!process.is_exe_here);
    }

    #[test]
    fn a_container_that_the_kernel_named_keeps_its_maker() {
        let mut process = caller();
        process.container = Some("inner".into());
        process.container_uid = Some(1000);
        let now = Process {
            container: Some("outer".into()),
            container_uid: Some(0),
            ..shown()
        };

        take_over(&mut process, now, None, Some(true), false);

        assert_eq!(process.container.as_deref(), Some("inner"));
        assert_eq!(process.container_uid, Some(1000));
    }
}
