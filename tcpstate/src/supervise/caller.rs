//! Who makes a call: the memory that its arguments are in, its descriptor, what it may do.

use std::fs::{self, File};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use rustix::io::Errno;
use rustix::process::{ForeignRawFd, Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};
use rustix::thread::CapabilitySet;

use super::proc;

/// `PIDFD_THREAD` (Linux 6.9).
const THREAD: PidfdFlags = PidfdFlags::from_bits_retain(libc::O_EXCL.unsigned_abs());

/// What decides whether the kernel lets a process have a port. Two that are equal may do the
/// same; Landlock is not among it, as nothing shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    /// `Uid`, `Gid`, `Groups` and `CapEff` of `status`.
    status_lines: Vec<String>,
    /// Its user and network namespaces.
    namespaces: [Option<Box<Path>>; 2],
    /// Label of a security module; absent: none has labels.
    label: Option<Vec<u8>>,
    /// Control groups, whose programs may forbid a bind.
    cgroup: Option<Vec<u8>>,
}

/// Reads the fields of `status`; `None`: it is gone.
fn status(tid: u32) -> Option<String> {
    fs::read_to_string(proc::of(tid).join("status")).ok()
}

impl Credentials {
    /// Those of this thread now.
    #[must_use]
    pub fn own() -> Option<Self> {
        let tid = rustix::thread::gettid().as_raw_nonzero().get();
        Self::of(tid.unsigned_abs())
    }

    /// Those of a thread. `None`: they cannot be read, or it is gone.
    #[must_use]
    pub fn of(tid: u32) -> Option<Self> {
        let folder = proc::of(tid);
        let status = status(tid)?;
        let status_lines: Vec<String> = ["Uid:", "Gid:", "Groups:", "CapEff:"]
            .iter()
            .filter_map(|name| status.lines().find(|line| line.starts_with(name)))
            .map(str::to_owned)
            .collect();
        let namespace = |name: &str| {
            let link = fs::read_link(folder.join("ns").join(name)).ok()?;
            Some(link.into_boxed_path())
        };
        let namespaces = [namespace("user"), namespace("net")];
        // What cannot be read cannot be compared. A kernel without user namespaces has none.
        if status_lines.len() != 4 || namespaces.last()?.is_none() {
            return None;
        }
        Some(Self {
            status_lines,
            namespaces,
            label: fs::read(folder.join("attr/current")).ok(),
            cgroup: fs::read(folder.join("cgroup")).ok(),
        })
    }
}

/// The kernel's own number for a call that begins again after a signal, or ends with EINTR, as
/// the signal's handler has it (`linux/errno.h`).
const ERESTARTSYS: u32 = 512;

/// With which error a call has to be answered so that a signal is acted on which waits for its
/// thread; `None`: none waits. A call that was taken waits through all but fatal signals.
#[must_use]
pub fn interruption(tid: u32) -> Option<u32> {
    let status = status(tid)?;
    let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name));
    let mask = |name: &str| u64::from_str_radix(field(name)?.trim(), 16).ok();
    let open = !mask("SigBlk:")? & !mask("SigIgn:")?;
    if mask("SigPnd:")? & open != 0 {
        return Some(ERESTARTSYS);
    }
    // One of the process: where there are several threads, another one may take it meanwhile,
    // and nothing would begin this call again.
    (mask("ShdPnd:")? & open != 0).then(|| match field("Threads:").map(str::trim) {
        Some("1") => ERESTARTSYS,
        _ => libc::EINTR.unsigned_abs(),
    })
}

/// Inode number of a thread's network namespace; `None`: it is gone, or not to be seen.
#[must_use]
pub fn netns(tid: u32) -> Option<u32> {
    let link = fs::read_link(proc::of(tid).join("ns/net")).ok()?;
    let number = link.to_str()?.strip_prefix("net:[")?.strip_suffix(']')?;
    number.parse().ok()
}

/// The process that a thread belongs to; `None`: it is gone.
#[must_use]
pub fn process_of(tid: u32) -> Option<u32> {
    let status = status(tid)?;
    let line = status.lines().find_map(|line| line.strip_prefix("Tgid:"))?;
    line.trim().parse().ok()
}

/// Our duplicate of a thread's descriptor: the same socket. Needs ptrace rights over it.
pub fn descriptor(tid: u32, fd: i32) -> Result<OwnedFd, Errno> {
    // None is that of no process, and rustix takes none.
    if fd < 0 {
        return Err(Errno::BADF);
    }
    let pid_of = |number: u32| {
        let number = i32::try_from(number).ok();
        number.and_then(Pid::from_raw).ok_or(Errno::SRCH)
    };
    let get = |process: OwnedFd| {
        let fd: ForeignRawFd = fd;
        pidfd_getfd(process, fd, PidfdGetfdFlags::empty())
    };
    match pidfd_open(pid_of(tid)?, THREAD) {
        Ok(thread) => get(thread),
        // An older kernel knows processes only; their threads share descriptors.
        Err(Errno::INVAL) => {
            let process = process_of(tid).ok_or(Errno::SRCH)?;
            get(pidfd_open(pid_of(process)?, PidfdFlags::empty())?)
        }
        Err(errno) => Err(errno),
    }
}

/// A duplicate of a descriptor of our own, had as [`descriptor`] has those of others: the
/// kernel asks for no right then.
pub(super) fn own_descriptor() -> Result<OwnedFd, Errno> {
    let own = pidfd_open(rustix::process::getpid(), PidfdFlags::empty())?;
    let fd: ForeignRawFd = own.as_raw_fd();
    pidfd_getfd(own, fd, PidfdGetfdFlags::empty())
}

/// Whether this thread has `CAP_SYS_PTRACE` in effect.
pub(super) fn has_ptrace() -> bool {
    rustix::thread::capabilities(None)
        .is_ok_and(|sets| sets.effective.contains(CapabilitySet::SYS_PTRACE))
}

/// Longest address that the kernel takes (`struct sockaddr_storage`).
pub const MAX_ADDRESS: usize = 128;

/// The address that a call was given, as it is in the thread's memory now.
#[must_use]
pub fn address(tid: u32, at: u64, len: u32) -> Option<Vec<u8>> {
    let len = usize::try_from(len)
        .ok()
        .filter(|len| *len <= MAX_ADDRESS)?;
    let mut bytes = vec![0; len];
    let memory = File::open(proc::of(tid).join("mem")).ok()?;
    memory.read_exact_at(&mut bytes, at).ok()?;
    Some(bytes)
}

/// Whether a thread's descriptor is closed by an exec; `None`: it has none of this number.
#[must_use]
pub fn is_cloexec(tid: u32, fd: i32) -> Option<bool> {
    let info = fs::read_to_string(proc::of(tid).join("fdinfo").join(fd.to_string())).ok()?;
    let flags = info.lines().find_map(|line| line.strip_prefix("flags:"))?;
    let flags = u32::from_str_radix(flags.trim(), 8).ok()?;
    Some(flags & libc::O_CLOEXEC.unsigned_abs() != 0)
}

/// The socket that a thread's descriptor is, by its inode number.
#[must_use]
pub fn inode(tid: u32, fd: i32) -> Option<u64> {
    let link = fs::read_link(proc::of(tid).join("fd").join(fd.to_string())).ok()?;
    let link = link.to_str()?;
    let number = link.strip_prefix("socket:[")?.strip_suffix(']')?;
    number.parse().ok()
}
