//! `iter/task_file`: every descriptor of a socket that a process has open, whatever the
//! socket is. Which of them are asked for is user space's to know: one pass answers for
//! all that are.

use core::{ffi::c_void, mem::MaybeUninit};

use aya_ebpf::helpers::generated::bpf_seq_write;
use tcpstate_common::record::OpenSocketRecord;

use crate::{
    error::{Stop, finish},
    globals::offset,
    memory::{Addr, direct},
    probes::iter_tcp::IterMeta,
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
    finish(try_iter_task_file(ctx));
    0
}

#[inline(always)]
fn try_iter_task_file(ctx: *mut IterContext) -> Result<(), Stop> {
    // SAFETY: the iterator's context, checked by the verifier.
    let (task, file) = unsafe { ((*ctx).task, (*ctx).file) };
    // At the end the kernel calls once more, without a file.
    if task.is_null() || file.is_null() {
        return Err(Stop::NotWanted);
    }
    // The verifier knows their types: the helper that reads any address takes longer
    // than all the rest, for each descriptor of the host.
    let inode: Addr = direct(file as Addr, offset!(file_inode));
    let mode: u16 = direct(inode, offset!(inode_mode));
    if mode & FILE_TYPE != SOCKET {
        return Err(Stop::NotWanted);
    }
    let number: u64 = direct(inode, offset!(inode_ino));
    let tgid: u32 = direct(task as Addr, offset!(task_tgid));
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
