//! What the kernel program is given before it is loaded: what to report, and where the
//! running kernel keeps its fields.

use std::collections::BTreeMap;

use aya::{Ebpf, EbpfLoader};
use tcpstate_common::{
    config::{Config, MAX_PIDS, PortBitmap, flags},
    offsets::Offsets,
};

use super::hook::Hook;
use super::object::Object;
use super::types::KernelTypes;
use super::{KernelError, Options, offsets, requirements};
use crate::memory;

/// What the object is given before it is loaded.
#[derive(Clone)]
pub(super) struct Settings {
    pub(super) config: Config,
    ports: PortBitmap,
    pub(super) offsets: Offsets,
    log_level: u8,
    pub(super) has_io_uring_bind: bool,
    /// Nothing but `bind` and `listen` is hooked.
    pub(super) binds_only: bool,
    /// Whether function hooks may be tried.
    pub(super) may_hook_functions: bool,
    /// Functions to hook that this kernel has, with their number of arguments.
    pub(super) functions: BTreeMap<&'static str, usize>,
}

impl Settings {
    /// `functions`: those to hook that this kernel has, with their number of arguments;
    /// `None`: function hooks may not be tried.
    pub(super) fn new(
        options: &Options,
        types: &KernelTypes,
        functions: Option<BTreeMap<&'static str, usize>>,
    ) -> Result<Self, KernelError> {
        let mut offsets = offsets::resolve(types);
        if let Some(functions) = &functions {
            offsets::resolve_functions(types, functions, &mut offsets);
        }
        if let Some(what) = requirements::missing_for(Hook::InetSockSetState, &offsets) {
            return Err(KernelError::Layout { what });
        }
        let mut config = config(options, types)?;
        if config.flags & flags::HAS_TYPED_TASK != 0
            && types.has_function("bpf_task_pt_regs")
            && requirements::missing_for_arguments(&offsets).is_none()
        {
            config.flags |= flags::HAS_TASK_REGISTERS;
        }
        Ok(Self {
            config,
            ports: ports(options),
            offsets,
            log_level: log_level(options),
            has_io_uring_bind: offsets::has_io_uring_bind(types),
            binds_only: options.binds_only,
            may_hook_functions: functions.is_some(),
            functions: functions.unwrap_or_default(),
        })
    }

    /// Opens the object. No program is loaded or attached yet.
    pub(super) fn open<'a>(&'a self, loader: &mut EbpfLoader<'a>) -> Result<Ebpf, KernelError> {
        memory::lift_locked_limit();
        let object = Object::unpack().map_err(KernelError::Unpack)?;
        loader
            .override_global("CONFIG", &self.config, true)
            .override_global("PORTS", &self.ports, true)
            .override_global("OFFSETS", &self.offsets, true)
            .override_global(aya_log::LEVEL, &self.log_level, true)
            .load(object.bytes())
            .map_err(|error| KernelError::Load(Box::new(error)))
    }
}

fn config(options: &Options, types: &KernelTypes) -> Result<Config, KernelError> {
    let mut config = Config {
        hz: hz(),
        ..Config::default()
    };
    if !options.ports.is_empty() {
        config.flags |= flags::FILTER_PORTS;
    }
    if let Some(netns) = options.netns {
        config.flags |= flags::FILTER_NETNS;
        config.netns = netns;
    }
    if !options.pids.is_empty() {
        if options.pids.len() > MAX_PIDS {
            return Err(KernelError::TooManyProcesses {
                max: MAX_PIDS,
                asked: options.pids.len(),
            });
        }
        config.flags |= flags::FILTER_PIDS;
        config.pid_count = u32::try_from(options.pids.len()).unwrap_or(0);
        for (slot, pid) in config.pids.iter_mut().zip(&options.pids) {
            *slot = *pid;
        }
    }
    if options.report_connects {
        config.flags |= flags::REPORT_CONNECTS;
    }
    // The kernel's own functions behind the helpers: distributions backport,
    // so the version number says nothing.
    if types.has_function("bpf_get_socket_ptr_cookie") {
        config.flags |= flags::HAS_COOKIE_HELPER;
    }
    if types.has_function("bpf_sk_storage_get_tracing") {
        config.flags |= flags::HAS_SK_STORAGE;
    }
    if types.has_function("bpf_get_current_task_btf") {
        config.flags |= flags::HAS_TYPED_TASK;
    }
    Ok(config)
}

/// Frozen before load: at 0 the verifier removes all that would be said.
fn log_level(options: &Options) -> u8 {
    if options.verbose { u8::MAX } else { 0 }
}

fn ports(options: &Options) -> PortBitmap {
    let mut bitmap = PortBitmap::default();
    for range in &options.ports {
        for port in range.clone() {
            bitmap.insert(port);
        }
    }
    bitmap
}

/// The kernel's `CONFIG_HZ`: the resolution of its coarse clock.
fn hz() -> u32 {
    let resolution = rustix::time::clock_getres(rustix::time::ClockId::MonotonicCoarse);
    let nanos = u64::try_from(resolution.tv_nsec).unwrap_or(0);
    match 1_000_000_000_u64.checked_div(nanos) {
        Some(hz) => u32::try_from(hz).unwrap_or(250),
        None => 250,
    }
}
