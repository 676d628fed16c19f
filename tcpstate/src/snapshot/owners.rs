//! Which processes have a socket's descriptor open.

mod identity;
mod index;
mod undisclosed;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::sync::Arc;

pub(crate) use identity::{above, of_caller};
pub use index::Holders;
pub(crate) use index::Index;

use rustix::thread::{CapabilitySet, capabilities};

use super::cgroup::{self, Membership, Units};
use super::{proc, untrusted};
use crate::event::{Halted, KnownBy, Process, Unit};

/// Longest command line that is kept, in bytes.
const MAX_ARGV: usize = 4096;
/// The same of who holds a socket: there may be many, and each is in every event.
const MAX_HOLDERS_ARGV: usize = 512;
/// Processes of one socket that are listed; a server may have 1,800 workers.
const MAX_LISTED: usize = 16;
/// Bytes as JSON that all processes of one failed call may take, so that its line and
/// that of its diagnosis stay far below what a reader takes.
pub const MAX_BYTES: usize = 96 << 10;

/// For each of these socket inodes the processes that have it open: one pass over
/// `/proc/PID/fd`, and one more where somebody is missing, however long it takes.
///
/// Processes that may not be looked into are left out.
#[must_use]
pub fn holders(inodes: &BTreeSet<u64>) -> BTreeMap<u64, Holders> {
    if inodes.is_empty() {
        return BTreeMap::new();
    }
    let Some(index) = Index::read(None, u64::MAX) else {
        return BTreeMap::new();
    };
    let mut found = index.holders(inodes, &BTreeSet::new());
    find_undisclosed(&mut found, inodes, u64::MAX);
    found
}

/// Of the sockets that nobody was found to have open those whose descriptors no list of
/// processes shows. `false`: there was no time to look everywhere.
pub(crate) fn find_undisclosed(
    found: &mut BTreeMap<u64, Holders>,
    inodes: &BTreeSet<u64>,
    until_ns: u64,
) -> bool {
    let unowned: BTreeSet<u64> = inodes
        .iter()
        .copied()
        .filter(|inode| found.get(inode).is_none_or(Holders::is_empty))
        .collect();
    if unowned.is_empty() {
        return true;
    }
    let (is_whole, places) = undisclosed::search(&unowned, until_ns);
    for (inode, pid, held_in) in places {
        let holders = found.entry(inode).or_default();
        if holders.processes.len() == MAX_LISTED {
            holders.more = holders.more.saturating_add(1);
        } else if holders.processes.iter().all(|known| known.pid != pid)
            && let Some(process) = process(pid)
        {
            holders.processes.push(Arc::new(Process {
                held_in: Some(held_in),
                unit: unit(&process, &mut Units::default()),
                ..with_identity(process.with_short_argv(MAX_HOLDERS_ARGV))
            }));
        }
    }
    is_whole
}

/// Of the processes that hold a socket those that are listed, by pid, and how many more
/// there are: whoever opened it and one of each program come first. `left`: bytes that
/// they may take; the first one is listed always, and if need be without its long fields.
#[must_use]
pub fn listed(found: &Holders, opener: Option<u32>, left: &mut usize) -> (Vec<Arc<Process>>, u32) {
    let mut programs = BTreeSet::new();
    let mut ranked: Vec<(u8, &Arc<Process>)> = found
        .processes
        .iter()
        .map(|process| {
            let is_new = programs.insert((&process.comm, &process.exe));
            let rank = match process.pid {
                pid if Some(pid) == opener => 0,
                _ if is_new => 1,
                _ => 2,
            };
            (rank, process)
        })
        .collect();
    ranked.sort_by_key(|(rank, _)| *rank);
    let mut listed: Vec<Arc<Process>> = Vec::new();
    for (_, process) in ranked.into_iter().take(MAX_LISTED) {
        let size = serde_json::to_vec(process).map_or(usize::MAX, |json| json.len());
        if size <= *left {
            *left -= size;
            listed.push(Arc::clone(process));
        } else if listed.is_empty() {
            let Process { pid, uid, comm, .. } = &**process;
            listed.push(Arc::new(Process {
                start_ticks: process.start_ticks,
                ..Process::new(*pid, *uid, Arc::clone(comm), KnownBy::Proc)
            }));
        } else {
            break;
        }
    }
    listed.sort_by_key(|process| process.pid);
    let more = u32::try_from(found.processes.len() - listed.len()).unwrap_or(u32::MAX);
    (listed, more.saturating_add(found.more))
}

/// The service that a process runs in; one in a container is no part of the host's.
#[must_use]
pub fn unit(process: &Process, units: &mut Units) -> Option<Arc<Unit>> {
    match (&process.cgroup, &process.container) {
        (Some(path), None) => units.of(process.pid, path),
        _ => None,
    }
}

/// What `/proc` knows about a process; `None`: it is gone.
#[must_use]
pub fn process(pid: u32) -> Option<Process> {
    Some(Process {
        argv: argv(pid),
        ..process_without_argv(pid)?
    })
}

/// The same for a thread that nobody may keep waiting: the kernel takes the command line from
/// the process's memory, which may be a file of a file system that does not answer.
#[must_use]
pub fn process_in_time(pid: u32, is_argv_known: bool) -> Option<Process> {
    let argv = if is_argv_known {
        None
    } else {
        untrusted::in_time(move || argv(pid)).flatten()
    };
    Some(Process {
        argv,
        ..process_without_argv(pid)?
    })
}

fn process_without_argv(pid: u32) -> Option<Process> {
    let stat = proc::stat(pid)?;
    let uid = uid(pid)?;
    let ppid = (stat.ppid != 0).then_some(stat.ppid);
    let groups = fs::read(proc::of(pid).join("cgroup")).unwrap_or_default();
    let member = Membership::parse(&String::from_utf8_lossy(&groups));
    let container_uid = member.container_uid();
    let Membership {
        path, container, ..
    } = member;
    Some(Process {
        ppid,
        parent: ppid.and_then(comm),
        exe: exe(pid),
        cgroup: path.clone(),
        runtime: container
            .as_ref()
            .and_then(|container| container.runtime)
            .map(Arc::from),
        container: container.map(|container| container.id),
        container_uid,
        start_ticks: Some(stat.start_ticks),
        halted: halted(&stat, path.as_deref()),
        ..Process::new(pid, uid, stat.comm, KnownBy::Proc)
    })
}

/// The effective user of a process, as for a failing call.
fn uid(pid: u32) -> Option<u32> {
    let status = fs::read(proc::of(pid).join("status")).ok()?;
    let status = String::from_utf8_lossy(&status);
    status
        .lines()
        .find_map(|line| line.strip_prefix("Uid:"))?
        .split_whitespace()
        .nth(1)?
        .parse()
        .ok()
}

fn halted(stat: &proc::Stat, cgroup: Option<&str>) -> Option<Halted> {
    match stat.state {
        'T' => Some(Halted::Stopped),
        't' => Some(Halted::Traced),
        'Z' => Some(Halted::Defunct),
        _ if cgroup.is_some_and(cgroup::is_frozen) => Some(Halted::Frozen),
        _ => None,
    }
}

/// The same process with what distinguishes it from others of its name.
fn with_identity(process: Process) -> Process {
    let identity = proc::stat(process.pid)
        .filter(|stat| Some(stat.start_ticks) == process.start_ticks)
        .map(|stat| Arc::new(identity::of(process.pid, process.uid, &stat)));
    Process {
        identity,
        ..process
    }
}

/// The name that a process gave itself.
fn comm(pid: u32) -> Option<Arc<str>> {
    let name = fs::read(proc::of(pid).join("comm")).ok()?;
    Some(String::from_utf8_lossy(name.strip_suffix(b"\n").unwrap_or(&name)).into())
}

/// Path of a process's executable.
#[must_use]
pub fn exe(pid: u32) -> Option<Arc<str>> {
    Some(
        fs::read_link(proc::of(pid).join("exe"))
            .ok()?
            .to_string_lossy()
            .into(),
    )
}

fn argv(pid: u32) -> Option<Arc<[String]>> {
    let mut bytes = fs::read(proc::of(pid).join("cmdline")).ok()?;
    bytes.truncate(MAX_ARGV);
    arguments(&bytes)
}

/// `/proc/PID/cmdline` as a list; the last one may be cut. `None`: there is none.
#[must_use]
pub(crate) fn arguments(bytes: &[u8]) -> Option<Arc<[String]>> {
    let bytes = bytes.strip_suffix(b"\0").unwrap_or(bytes);
    if bytes.is_empty() {
        return None;
    }
    Some(
        bytes
            .split(|byte| *byte == 0)
            .map(|word| String::from_utf8_lossy(word).into_owned())
            .collect(),
    )
}

/// Inodes of the sockets that a process has open, once per descriptor.
pub fn open_sockets(pid: u32) -> impl Iterator<Item = u64> {
    open_descriptors(pid).map(|(_, inode)| inode)
}

/// Descriptors of sockets that a process has open, with the sockets' inodes.
fn open_descriptors(pid: u32) -> impl Iterator<Item = (u32, u64)> {
    fs::read_dir(proc::of(pid).join("fd"))
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let link = fs::read_link(entry.path()).ok()?;
            let inode = socket_inode(link.as_os_str().as_bytes())?;
            Some((entry.file_name().to_str()?.parse().ok()?, inode))
        })
}

/// Whether there are processes whose descriptors may not be looked at for want of rights
/// (`proc_fd_permission`, and `ptrace_may_access` for what they lead to): that none of the
/// others has a socket open says nothing then.
#[must_use]
pub(crate) fn are_some_denied() -> bool {
    if may_look_at_all() {
        return false;
    }
    let is_denied = |error: &io::Error| error.kind() == io::ErrorKind::PermissionDenied;
    pids().into_iter().any(|pid| {
        let process = proc::of(pid);
        // The link of a namespace is shown to whom those of descriptors are.
        fs::read_dir(process.join("fd")).is_err_and(|error| is_denied(&error))
            || fs::read_link(process.join("ns/net")).is_err_and(|error| is_denied(&error))
    })
}

fn may_look_at_all() -> bool {
    let needed = CapabilitySet::SYS_PTRACE | CapabilitySet::DAC_READ_SEARCH;
    let has_rights = capabilities(None).is_ok_and(|sets| sets.effective.contains(needed));
    // The identity map, which only the initial user namespace has.
    let map = fs::read_to_string(proc::root().join("self/uid_map")).unwrap_or_default();
    has_rights && map.split_whitespace().eq(["0", "0", "4294967295"])
}

/// All processes, by pid.
pub(super) fn pids() -> Vec<u32> {
    let mut pids: Vec<u32> = fs::read_dir(proc::root())
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect();
    pids.sort_unstable();
    pids
}

/// `socket:[123]` -> 123.
fn socket_inode(target: &[u8]) -> Option<u64> {
    let digits = target.strip_prefix(b"socket:[")?.strip_suffix(b"]")?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd as _;

    use super::*;

    #[test]
    fn ones_own_socket_is_found_with_oneself_as_holder() {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let link = fs::read_link(format!("/proc/self/fd/{}", socket.as_raw_fd())).unwrap();
        let inode = socket_inode(link.as_os_str().as_bytes()).unwrap();

        let found = holders(&BTreeSet::from([inode]));

        let own = &found[&inode].processes[0];
        assert_eq!((own.pid, own.via), (std::process::id(), KnownBy::Proc));
        assert!(own.argv.is_some() && own.exe.is_some() && own.start_ticks.is_some());
        let index = Index::read(None, u64::MAX).unwrap();
        let first = index.first_holders(&BTreeSet::from([inode]), u64::MAX);
        assert_eq!(first[&inode].pid, std::process::id());
    }
}
