//! The current task, its descriptors and its arguments.

use aya_ebpf::helpers::{
    bpf_get_current_pid_tgid, bpf_get_current_uid_gid,
    generated::{
        bpf_get_current_cgroup_id, bpf_get_current_comm, bpf_get_current_task,
        bpf_get_current_task_btf, bpf_probe_read_user, bpf_task_pt_regs,
    },
};
use tcpstate_common::{
    config::flags,
    offsets::MISSING,
    record::{ARGV_LEN, COMM_LEN, ProgramWire, TaskWire},
};

use crate::{
    error::Skip,
    globals::{is_set, offset},
    memory::{Addr, Typed, read, read_addr, read_into},
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

/// A field of the current task. Where the verifier knows the task's type, no
/// helper is called for it.
#[inline(always)]
fn field<T: Copy>(offset: u32) -> Result<T, Skip> {
    if is_set(flags::HAS_TYPED_TASK) {
        // SAFETY: takes nothing, returns the running task with its type.
        let task = unsafe { Typed::new(bpf_get_current_task_btf() as Addr) };
        return Ok(task.load(offset));
    }
    read(current() + u64::from(offset))
}

/// A field of what a pointer from [`field`] points to.
///
/// # Safety
///
/// `pointer` was read by [`field`] or by this function, so that the verifier knows its
/// type where it knows the task's.
#[inline(always)]
unsafe fn deref<T: Copy>(pointer: Addr, offset: u32) -> Result<T, Skip> {
    if is_set(flags::HAS_TYPED_TASK) {
        // The verifier wants to see this where RCU protects what it points to.
        if pointer == 0 {
            return Err(Skip::Read);
        }
        // SAFETY: the caller vouches for `pointer`.
        return Ok(unsafe { Typed::new(pointer) }.load(offset));
    }
    read(pointer + u64::from(offset))
}

/// The registers with which the current task has entered the kernel; only where
/// `HAS_TASK_REGISTERS` is set.
#[inline(always)]
pub(crate) fn registers() -> Addr {
    // SAFETY: the running task, which is there; the address is only ever read
    // through `read`.
    unsafe { bpf_task_pt_regs(bpf_get_current_task_btf()) as Addr }
}

/// No task: `pid` 0.
///
/// # Safety
///
/// `to` is valid for writes.
#[inline(always)]
pub(crate) unsafe fn write_no_task(to: *mut TaskWire) {
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
        && field::<u32>(offset!(task_flags)).is_ok_and(|flags| flags & PF_KTHREAD != 0);
    if is_kernel_thread {
        // SAFETY: the caller vouches for `to`.
        unsafe { write_no_task(to) };
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
        write_comm(&raw mut (*to).comm);
        if (*to).pid != (*to).tid {
            write_process_name((&raw mut (*to).comm).cast());
        }
    }
}

/// The name of the thread.
///
/// # Safety
///
/// `to` is valid for writes and lies at a multiple of eight bytes.
#[inline(always)]
pub(crate) unsafe fn write_comm(to: *mut [u8; COMM_LEN]) {
    if is_set(flags::HAS_TYPED_TASK)
        && offset!(task_comm) != MISSING
        && let Ok(first) = field(offset!(task_comm))
        && let Ok(second) = field(offset!(task_comm) + 8)
    {
        // SAFETY: the caller vouches for `to`.
        unsafe { to.cast::<[u64; 2]>().write([first, second]) };
        return;
    }
    // SAFETY: the caller vouches for `to`; the helper writes `COMM_LEN` bytes.
    unsafe { bpf_get_current_comm(to.cast(), COMM_LEN as u32) };
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
    let Ok(leader) = field::<u64>(offset!(task_group_leader)) else {
        return;
    };
    let name = leader + u64::from(offset!(task_comm));
    // SAFETY: the caller vouches for `to`; the leader of a running task is there.
    let _ = unsafe { read_into::<{ COMM_LEN as u32 }>(to, name) };
}

/// The effective user, by which the kernel judges; the helper knows the real
/// one only.
#[inline(always)]
pub(crate) fn effective_user() -> u32 {
    if offset!(task_cred) != MISSING
        && offset!(cred_euid) != MISSING
        && let Ok(cred) = field(offset!(task_cred))
        // SAFETY: a pointer in the task.
        && let Ok(euid) = unsafe { deref(cred, offset!(cred_euid)) }
    {
        return euid;
    }
    bpf_get_current_uid_gid() as u32
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
fn parent() -> Result<u32, Skip> {
    if offset!(task_real_parent) == MISSING || offset!(task_tgid) == MISSING {
        return Ok(0);
    }
    // SAFETY: a pointer in the task.
    unsafe { deref(field(offset!(task_real_parent))?, offset!(task_tgid)) }
}

/// When the current process started and which file its program is, each 0 where it
/// cannot be read: by them user space knows whether what it finds under the process's
/// number is still the caller.
///
/// # Safety
///
/// `to` is valid for writes.
#[inline(always)]
pub(crate) unsafe fn write_program(to: *mut ProgramWire) {
    // SAFETY: the caller vouches for `to`; three words of eight bytes each.
    unsafe {
        to.cast::<[u64; 3]>().write([0; 3]);
        if let Ok(start) = start() {
            (*to).start_boottime = start;
        }
        if let Ok((dev, inode)) = program() {
            (*to).dev = dev;
            (*to).inode = inode;
        }
    }
}

#[inline(always)]
fn start() -> Result<u64, Skip> {
    if offset!(task_group_leader) == MISSING || offset!(task_start_boottime) == MISSING {
        return Ok(0);
    }
    let leader = read_addr(current() + u64::from(offset!(task_group_leader)))?;
    read(leader + u64::from(offset!(task_start_boottime)))
}

#[inline(always)]
fn program() -> Result<(u32, u64), Skip> {
    if offset!(task_mm) == MISSING
        || offset!(mm_exe_file) == MISSING
        || offset!(file_inode) == MISSING
        || offset!(inode_ino) == MISSING
        || offset!(inode_sb) == MISSING
        || offset!(sb_dev) == MISSING
    {
        return Ok((0, 0));
    }
    // A kernel thread has no memory of its own, so that the read below fails.
    let mm = read_addr(current() + u64::from(offset!(task_mm)))?;
    let file = read_addr(mm + u64::from(offset!(mm_exe_file)))?;
    let inode = read_addr(file + u64::from(offset!(file_inode)))?;
    let block = read_addr(inode + u64::from(offset!(inode_sb)))?;
    let dev = read(block + u64::from(offset!(sb_dev)))?;
    Ok((dev, read(inode + u64::from(offset!(inode_ino)))?))
}

/// Copies the task's arguments to `to`, and how many bytes to `written`.
///
/// # Safety
///
/// `to` is valid for writes of [`ARGV_LEN`] bytes, `written` for writes.
#[inline(always)]
pub(crate) unsafe fn write_argv(to: *mut u8, written: *mut u16) -> Result<(), Skip> {
    // SAFETY: the caller vouches for it.
    unsafe { written.write(0) };
    if offset!(task_mm) == MISSING
        || offset!(mm_arg_start) == MISSING
        || offset!(mm_arg_end) == MISSING
    {
        return Ok(());
    }
    let mm = field(offset!(task_mm))?;
    // SAFETY: a pointer in the task.
    let (start, end): (u64, u64) = unsafe {
        (
            deref(mm, offset!(mm_arg_start))?,
            deref(mm, offset!(mm_arg_end))?,
        )
    };
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

/// The socket of a descriptor of the current task: its `struct sock`.
#[inline(always)]
pub(crate) fn sock_of(fd: u32) -> Result<Addr, Skip> {
    sock_of_file(file_of(fd)?)
}

/// The open file of a descriptor of the current task; 0: there is none.
#[inline(always)]
pub(crate) fn file_of(fd: u32) -> Result<Addr, Skip> {
    // SAFETY: a pointer in the task, and one in what that points to.
    let (table, size): (Addr, u32) = unsafe {
        let table = deref(field(offset!(task_files))?, offset!(files_fdt))?;
        (table, deref(table, offset!(fdt_max_fds))?)
    };
    if fd >= size {
        return Err(Skip::NotWanted);
    }
    // SAFETY: as above.
    let slots: Addr = unsafe { deref(table, offset!(fdt_fd))? };
    read_addr(slots + u64::from(fd) * 8)
}

/// The socket of an open file: its `struct sock`.
#[inline(always)]
pub(crate) fn sock_of_file(file: Addr) -> Result<Addr, Skip> {
    if file == 0 {
        return Err(Skip::NotWanted);
    }
    let inode = read_addr(file + u64::from(offset!(file_inode)))?;
    let mode: u16 = read(inode + u64::from(offset!(inode_mode)))?;
    if mode & MODE_TYPE != MODE_SOCKET {
        return Err(Skip::NotWanted);
    }
    match presumed_sock_of_file(file)? {
        0 => Err(Skip::NotWanted),
        sk => Ok(sk),
    }
}

/// The same, if the file is a socket; else any number.
#[inline(always)]
pub(crate) fn presumed_sock_of_file(file: Addr) -> Result<Addr, Skip> {
    let socket = read_addr(file + u64::from(offset!(file_private_data)))?;
    read_addr(socket + u64::from(offset!(socket_sk)))
}
