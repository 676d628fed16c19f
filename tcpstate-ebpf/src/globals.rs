//! Read-only globals that user space sets before load. The map behind them is
//! frozen, so the verifier treats every value as a constant: branches that the
//! configuration or the kernel's layout rules out are removed at load.

use tcpstate_common::{
    config::{Config, MAX_PIDS, PORT_WORDS, PortBitmap},
    offsets::Offsets,
};

/// What to report.
#[unsafe(no_mangle)]
pub(crate) static CONFIG: Config = Config {
    flags: 0,
    netns: 0,
    hz: 250,
    pid_count: 0,
    pids: [0; MAX_PIDS],
};

/// Ports for [`tcpstate_common::config::flags::FILTER_PORTS`].
#[unsafe(no_mangle)]
pub(crate) static PORTS: PortBitmap = PortBitmap([0; PORT_WORDS]);

/// Where the kernel keeps its fields.
#[unsafe(no_mangle)]
pub(crate) static OFFSETS: Offsets = Offsets::NONE;

/// A field of [`OFFSETS`].
macro_rules! offset {
    ($($field:tt)+) => {
        $crate::globals::get(&$crate::globals::OFFSETS.$($field)+)
    };
}
pub(crate) use offset;

/// A field of [`CONFIG`].
macro_rules! config {
    ($field:ident) => {
        $crate::globals::get(&$crate::globals::CONFIG.$field)
    };
}
pub(crate) use config;

/// What user space has set a field to.
#[inline(always)]
pub(crate) fn get<T: Copy>(field: &'static T) -> T {
    // SAFETY: a reference is valid for reads; volatile, because user space replaces the
    // initial value that the compiler sees.
    unsafe { ::core::ptr::read_volatile(field) }
}

/// Whether a bit of [`Config::flags`] is set.
#[inline(always)]
pub(crate) fn is_set(flag: u32) -> bool {
    config!(flags) & flag != 0
}
