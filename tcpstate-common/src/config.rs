//! What user space hands to the kernel program: read-only data set before load,
//! and the key of a map that both sides write.

/// Bits of [`Config::flags`].
pub mod flags {
    /// Only sockets with one of the ports of the port bitmap.
    pub const FILTER_PORTS: u32 = 1 << 0;
    /// Only sockets of [`super::Config::netns`].
    pub const FILTER_NETNS: u32 = 1 << 1;
    /// Only sockets of the processes in [`super::Config::pids`].
    pub const FILTER_PIDS: u32 = 1 << 2;
    /// `bpf_get_socket_cookie` exists for tracing programs (Linux 5.12).
    pub const HAS_COOKIE_HELPER: u32 = 1 << 3;
    /// `bpf_sk_storage_get` exists for tracing programs (Linux 5.11).
    pub const HAS_SK_STORAGE: u32 = 1 << 4;
    /// Report connects that succeeded, too.
    pub const REPORT_CONNECTS: u32 = 1 << 5;
    /// Functions of the kernel are hooked, too.
    pub const HAS_FUNCTION_HOOKS: u32 = 1 << 6;
    /// Among them those that make, re-arm and end mini-sockets.
    pub const HAS_HOOKED_MINIS: u32 = 1 << 7;
    /// `bpf_get_current_task_btf` exists (Linux 5.11).
    pub const HAS_TYPED_TASK: u32 = 1 << 8;
    /// `bpf_task_pt_regs` exists (Linux 5.15), and [`crate::offsets`] says where
    /// the registers hold a call's arguments: its return is hook enough.
    pub const HAS_TASK_REGISTERS: u32 = 1 << 9;
}

/// Processes that one run can be narrowed to.
pub const MAX_PIDS: usize = 16;
/// 64-bit words of the port bitmap.
pub const PORT_WORDS: usize = 1024;

/// A read-only global of the kernel program.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Config {
    /// [`flags`].
    pub flags: u32,
    /// Network namespace inode for [`flags::FILTER_NETNS`].
    pub netns: u32,
    /// Kernel's `CONFIG_HZ`.
    pub hz: u32,
    /// Number of `pids` in use.
    pub pid_count: u32,
    /// Process ids for [`flags::FILTER_PIDS`].
    pub pids: [u32; MAX_PIDS],
}

/// One bit per port; a read-only global of the kernel program.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct PortBitmap(pub [u64; PORT_WORDS]);

impl Default for PortBitmap {
    fn default() -> Self {
        Self([0; PORT_WORDS])
    }
}

impl PortBitmap {
    /// Adds a port.
    pub fn insert(&mut self, port: u16) {
        self.0[usize::from(port >> 6)] |= 1 << (port & 63);
    }

    /// Whether the port was added.
    #[must_use]
    pub fn contains(&self, port: u16) -> bool {
        self.0[usize::from(port >> 6)] & (1 << (port & 63)) != 0
    }
}

/// Key of the map of listeners: accepts by this process on this port are no
/// news.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct ListenerKey {
    /// Process, in the initial pid namespace.
    pub tgid: u32,
    /// Network namespace inode.
    pub netns: u32,
    /// Local port.
    pub port: u32,
}

#[cfg(feature = "user")]
mod pod {
    use super::{Config, ListenerKey, PortBitmap};
    use crate::offsets::Offsets;
    use crate::record::{RepeatKey, RepeatWire, UserKey, UserWire};

    // SAFETY: `repr(C)`, `Copy`, integers only, no padding: any bytes of it can
    // be copied into the kernel program's read-only data.
    #[expect(unsafe_code, reason = "aya takes globals as plain old data")]
    unsafe impl aya::Pod for Config {}
    // SAFETY: as above.
    #[expect(unsafe_code, reason = "aya takes globals as plain old data")]
    unsafe impl aya::Pod for PortBitmap {}
    // SAFETY: as above, into a map.
    #[expect(unsafe_code, reason = "aya takes keys as plain old data")]
    unsafe impl aya::Pod for ListenerKey {}
    // SAFETY: as above.
    #[expect(unsafe_code, reason = "aya takes keys as plain old data")]
    unsafe impl aya::Pod for RepeatKey {}
    // SAFETY: as above.
    #[expect(unsafe_code, reason = "aya takes values as plain old data")]
    unsafe impl aya::Pod for RepeatWire {}
    // SAFETY: as above.
    #[expect(unsafe_code, reason = "aya takes keys as plain old data")]
    unsafe impl aya::Pod for UserKey {}
    // SAFETY: as above.
    #[expect(unsafe_code, reason = "aya takes values as plain old data")]
    unsafe impl aya::Pod for UserWire {}
    // SAFETY: as above; `BitField` ends in an explicit reserved field.
    #[expect(unsafe_code, reason = "aya takes globals as plain old data")]
    unsafe impl aya::Pod for Offsets {}
}
