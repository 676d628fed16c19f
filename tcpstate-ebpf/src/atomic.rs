//! Atomic additions to what lies in a map. The sum is not returned: before Linux 5.12
//! the kernel does not give it. Core has no atomic addition for this target, since the
//! target has no compare-and-exchange.

/// Adds `value`, modulo 2^64, whatever others do meanwhile.
///
/// # Safety
///
/// `to` lies in a value of a map, at a multiple of eight bytes.
#[cfg(target_arch = "bpf")]
#[inline(always)]
pub(crate) unsafe fn add(to: *mut u64, value: u64) {
    // SAFETY: the caller vouches for `to`.
    unsafe {
        core::arch::asm!(
            "lock *(u64 *)({to} + 0) += {value}",
            to = in(reg) to,
            value = in(reg) value,
            options(nostack),
        );
    }
}

/// On the host this crate is only checked.
///
/// # Safety
///
/// `to` lies in a value of a map, at a multiple of eight bytes.
#[cfg(not(target_arch = "bpf"))]
pub(crate) unsafe fn add(to: *mut u64, value: u64) {
    // SAFETY: the caller vouches for `to`.
    unsafe { *to = (*to).wrapping_add(value) };
}

/// Adds one.
///
/// # Safety
///
/// As for [`add`].
#[inline(always)]
pub(crate) unsafe fn add_one(to: *mut u64) {
    // SAFETY: the caller vouches for `to`.
    unsafe { add(to, 1) };
}
