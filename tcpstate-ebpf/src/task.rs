//! The current task, its descriptors and its arguments.

use aya_ebpf::helpers::{
    bpf_get_current_pid_tgid, bpf_get_current_uid_gid,
    generated::{
        bpf_get_current_cgroup_id, bpf_get_current_comm, bpf_get_current_task, bpf_probe_read_user,
    },
};
use tcpstate_common::{
    offsets::MISSING,
    record::{ARGV_LEN, COMM_LEN, TaskWire},
};

use crate::{
    error::Stop,
    globals::offset,
    memory::{Addr, read, read_addr, read_into},
};

/// `PF_KTHREAD`: the kernel acts on its own account (a deferred `fput`, a
/// worker), so there is no process to name.
const PF_KTHREAD: u32 = 0x0020_0000;
/// `S_IFMT` and `S_IFSOCK`.
const MODE_TYPE: u16 = 0o170_000;
const MODE_SOCKET: u16 = 0o140_000;

/// The process id of the current task.
#[inline(always)]
pub(crate) fn tgid() -> u32 {
    (bpf_get_current_pid_tgid() >> 32) as u32
}

#[inline(always)]
fn current() -> Addr {
    // SAFETY: takes nothing, returns an address that is only ever read
    // through `read`.
    unsafe { bpf_get_current_task() }
}

/// No task: `pid` 0.
///
/// # Safety
///
/// `to` is valid for writes.
#[inline(always)]
pub(crate) unsafe fn write_nobody(to: *mut TaskWire) {
    // SAFETY: the caller vouches for `to`; five words of eight bytes each.
    unsafe { to.cast::<[u64; 5]>().write([0; 5]) };
}

/// The current task, unless it is a kernel thread. Parent and cgroup are left
/// at 0: they cost more, and only a failed call needs them.
///
/// # Safety
///
/// `to` is valid for writes.
#[inline(always)]
pub(crate) unsafe fn write_current(to: *mut TaskWire) {
    let is_kernel_thread = offset!(task_flags) != MISSING
        && read::<u32>(current() + u64::from(offset!(task_flags)))
            .is_ok_and(|flags| flags & PF_KTHREAD != 0);
    if is_kernel_thread {
        // SAFETY: the caller vouches for `to`.
        unsafe { write_nobody(to) };
        return;
    }
    let pid_tgid = bpf_get_current_pid_tgid();
    // SAFETY: the caller vouches for `to`; the helper writes `COMM_LEN` bytes.
    unsafe {
        (*to).pid = (pid_tgid >> 32) as u32;
        (*to).tid = pid_tgid as u32;
        (*to).ppid = 0;
        (*to).uid = effective_user();
        (*to).cgroup = 0;
        bpf_get_current_comm((&raw mut (*to).comm).cast(), COMM_LEN as u32);
        if (*to).pid != (*to).tid {
            write_process_name((&raw mut (*to).comm).cast());
        }
    }
}

/// The name of the process over that of the thread, which threads may choose.
///
/// # Safety
///
/// `to` is valid for writes of [`COMM_LEN`] bytes.
#[inline(always)]
unsafe fn write_process_name(to: *mut u8) {
    if offset!(task_group_leader) == MISSING || offset!(task_comm) == MISSING {
        return;
    }
    let Ok(leader) = read_addr(current() + u64::from(offset!(task_group_leader))) else {
        return;
    };
    let name = leader + u64::from(offset!(task_comm));
    // SAFETY: the caller vouches for `to`; the leader of a running task is there.
    let _ = unsafe { read_into::<{ COMM_LEN as u32 }>(to, name) };
}

/// The effective user, by which the kernel judges; the helper knows the real
/// one only.
#[inline(always)]
fn effective_user() -> u32 {
    let real = bpf_get_current_uid_gid() as u32;
    if offset!(task_cred) == MISSING || offset!(cred_euid) == MISSING {
        return real;
    }
    read_addr(current() + u64::from(offset!(task_cred)))
        .and_then(|cred| read(cred + u64::from(offset!(cred_euid))))
        .unwrap_or(real)
}

/// Adds the parent and the cgroup, for a process that may be gone before user
/// space can look.
///
/// # Safety
///
/// `to` is valid for writes.
#[inline(always)]
pub(crate) unsafe fn write_lineage(to: *mut TaskWire) {
    let ppid = parent().unwrap_or(0);
    // SAFETY: the caller vouches for `to`.
    unsafe {
        (*to).ppid = ppid;
        (*to).cgroup = bpf_get_current_cgroup_id();
    }
}

#[inline(always)]
fn parent() -> Result<u32, Stop> {
    if offset!(task_real_parent) == MISSING || offset!(task_tgid) == MISSING {
        return Ok(0);
    }
    let parent = read_addr(current() + u64::from(offset!(task_real_parent)))?;
    read(parent + u64::from(offset!(task_tgid)))
}

/// Copies the task's arguments to `to`, and how many bytes to `written`.
///
/// # Safety
///
/// `to` is valid for writes of [`ARGV_LEN`] bytes, `written` for writes.
#[inline(always)]
pub(crate) unsafe fn write_argv(to: *mut u8, written: *mut u16) -> Result<(), Stop> {
    // SAFETY: the caller vouches for it.
    unsafe { written.write(0) };
    if offset!(task_mm) == MISSING
        || offset!(mm_arg_start) == MISSING
        || offset!(mm_arg_end) == MISSING
    {
        return Ok(());
    }
    let mm = read_addr(current() + u64::from(offset!(task_mm)))?;
    let start: u64 = read(mm + u64::from(offset!(mm_arg_start)))?;
    let end: u64 = read(mm + u64::from(offset!(mm_arg_end)))?;
    let mut len = end.wrapping_sub(start);
    if len > ARGV_LEN as u64 {
        len = ARGV_LEN as u64;
    }
    // The length is not needed after the call: kept on the stack, it would lose
    // its bound on Linux 5.10.
    // SAFETY: the caller vouches for `written` and for `ARGV_LEN` bytes at `to`,
    // and `len` is no more; the helper checks the address in the task.
    unsafe {
        written.write_volatile(len as u16);
        if bpf_probe_read_user(to.cast(), len as u32, start as *const _) != 0 {
            written.write(0);
        }
    }
    Ok(())
}

/// The socket behind a descriptor of the current task: its `struct sock`.
#[inline(always)]
pub(crate) fn sock_of(fd: u32) -> Result<Addr, Stop> {
    let files = read_addr(current() + u64::from(offset!(task_files)))?;
    let table = read_addr(files + u64::from(offset!(files_fdt)))?;
    let size: u32 = read(table + u64::from(offset!(fdt_max_fds)))?;
    if fd >= size {
        return Err(Stop::NotWanted);
    }
    let slots = read_addr(table + u64::from(offset!(fdt_fd)))?;
    sock_of_file(read_addr(slots + u64::from(fd) * 8)?)
}

/// The socket behind an open file: its `struct sock`.
#[inline(always)]
pub(crate) fn sock_of_file(file: Addr) -> Result<Addr, Stop> {
    if file == 0 {
        return Err(Stop::NotWanted);
    }
    let inode = read_addr(file + u64::from(offset!(file_inode)))?;
    let mode: u16 = read(inode + u64::from(offset!(inode_mode)))?;
    if mode & MODE_TYPE != MODE_SOCKET {
        return Err(Stop::NotWanted);
    }
    let socket = read_addr(file + u64::from(offset!(file_private_data)))?;
    match read_addr(socket + u64::from(offset!(socket_sk)))? {
        0 => Err(Stop::NotWanted),
        sk => Ok(sk),
    }
}
