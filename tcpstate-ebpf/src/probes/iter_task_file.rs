//! `iter/task_file`: every descriptor of a socket that a process has open, whatever the
//! socket is. Which of them are asked for is user space's to know: one pass answers for
//! all that are.

use core::{ffi::c_void, mem::MaybeUninit};

use aya_ebpf::helpers::generated::bpf_seq_write;
use tcpstate_common::record::OpenSocketRecord;

use crate::{
    counters::finish, error::Skip, globals::offset, memory::Typed, probes::iter_tcp::IterMeta,
};

/// `S_IFMT` and `S_IFSOCK`.
const FILE_TYPE: u16 = 0o170_000;
const SOCKET: u16 = 0o140_000;

/// `struct bpf_iter__task_file`: kernel ABI.
#[repr(C)]
pub(crate) struct IterContext {
    meta: *const IterMeta,
    task: *mut c_void,
    fd: u32,
    file: *mut c_void,
}

/// aya-ebpf has no macro for iterators.
#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/task_file")]
extern "C" fn iter_task_file(ctx: *mut IterContext) -> i32 {
    // SAFETY: the kernel's own context.
    finish(unsafe { try_iter_task_file(ctx) });
    0
}

/// # Safety
///
/// `ctx` is the iterator's context.
#[inline(always)]
unsafe fn try_iter_task_file(ctx: *mut IterContext) -> Result<(), Skip> {
    // SAFETY: the caller vouches for `ctx`, and the verifier checks it.
    let (task, file) = unsafe { ((*ctx).task, (*ctx).file) };
    // At the end the kernel calls once more, without a file.
    if task.is_null() || file.is_null() {
        return Err(Skip::NotWanted);
    }
    // The verifier knows their types: the helper that reads any address takes longer
    // than all the rest, for each descriptor of the host.
    // SAFETY: both are the iterator's own arguments.
    let (task, file) = unsafe { (Typed::new(task as u64), Typed::new(file as u64)) };
    let inode = file.follow(offset!(file_inode));
    let mode: u16 = inode.load(offset!(inode_mode));
    if mode & FILE_TYPE != SOCKET {
        return Err(Skip::NotWanted);
    }
    let number: u64 = inode.load(offset!(inode_ino));
    let tgid: u32 = task.load(offset!(task_tgid));
    let mut record = MaybeUninit::<OpenSocketRecord>::uninit();
    let to = record.as_mut_ptr();
    // SAFETY: every field of the record is written, then the whole of it is copied to the
    // iterator's own file.
    unsafe {
        (*to).inode = number;
        (*to).tgid = tgid;
        (*to).fd = (*ctx).fd;
        bpf_seq_write(
            (*(*ctx).meta).seq.cast(),
            to.cast_const().cast(),
            size_of::<OpenSocketRecord>() as u32,
        );
    }
    Ok(())
}
