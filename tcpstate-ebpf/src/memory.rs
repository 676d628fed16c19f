//! Reading kernel memory: through the helper that survives a bad address, or
//! directly where the verifier knows the type and makes the load survive one.

use aya_ebpf::helpers::{bpf_probe_read_kernel, generated};

use crate::error::Skip;

/// A kernel address. 0 is "none".
pub(crate) type Addr = u64;

/// Reads a `T` at `addr`.
#[inline(always)]
pub(crate) fn read<T: Copy>(addr: Addr) -> Result<T, Skip> {
    // SAFETY: the helper checks the address and reports what it cannot read.
    unsafe { bpf_probe_read_kernel(addr as *const T) }.map_err(|_| Skip::Read)
}

/// A field of an object whose type the verifier knows.
#[inline(always)]
pub(crate) fn direct<T: Copy>(base: Addr, offset: u32) -> T {
    // SAFETY: the verifier checks type and place of the load.
    unsafe { ((base + u64::from(offset)) as *const T).read_volatile() }
}

/// Reads a pointer at `addr`.
#[inline(always)]
pub(crate) fn read_addr(addr: Addr) -> Result<Addr, Skip> {
    read::<u64>(addr)
}

/// Reads `LEN` bytes at `addr` into `to`.
///
/// # Safety
///
/// `to` is valid for writes of `LEN` bytes.
#[inline(always)]
pub(crate) unsafe fn read_into<const LEN: u32>(to: *mut u8, addr: Addr) -> Result<(), Skip> {
    // SAFETY: the caller vouches for `to`; the helper checks `addr`.
    let result = unsafe { generated::bpf_probe_read_kernel(to.cast(), LEN, addr as *const _) };
    if result == 0 { Ok(()) } else { Err(Skip::Read) }
}

/// The `index`th argument of a BTF tracepoint as a plain number, without the
/// type that the verifier knows for it: which pointers may be NULL differs
/// between kernels, and what is read through `read` needs no type.
#[inline(always)]
pub(crate) fn untyped_arg(ctx: *mut core::ffi::c_void, index: u64) -> Result<u64, Skip> {
    read::<u64>(ctx as u64 + index * 8)
}
