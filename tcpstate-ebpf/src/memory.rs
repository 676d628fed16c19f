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

/// A pointer to an object whose type the verifier knows. Its fields are loaded without
/// a helper: the verifier checks each load, and makes it survive a bad address.
#[derive(Clone, Copy)]
pub(crate) struct Typed(Addr);

impl Typed {
    /// # Safety
    ///
    /// The verifier knows the type of what is at `addr`: a hook's own argument, the
    /// running task, or a pointer that was loaded from such an object.
    #[inline(always)]
    pub(crate) unsafe fn new(addr: Addr) -> Self {
        Self(addr)
    }

    #[inline(always)]
    pub(crate) fn addr(self) -> Addr {
        self.0
    }

    #[inline(always)]
    pub(crate) fn is_null(self) -> bool {
        self.0 == 0
    }

    /// The field at `offset`.
    #[inline(always)]
    pub(crate) fn load<T: Copy>(self, offset: u32) -> T {
        // SAFETY: the verifier checks type and place of the load; see `new`.
        unsafe { ((self.0 + u64::from(offset)) as *const T).read_volatile() }
    }

    /// What the pointer at `offset` points to.
    #[inline(always)]
    pub(crate) fn follow(self, offset: u32) -> Self {
        Self(self.load(offset))
    }
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
