//! Loads the kernel program and attaches it hook by hook. Only
//! `inet_sock_set_state` is required; any other hook that the kernel refuses
//! becomes a line in [`Probe`] and a capability that is off.

use std::collections::{BTreeMap, VecDeque};
use std::num::NonZero;
use std::sync::{Mutex, PoisonError};
use std::thread;

use aya::{
    Btf, Ebpf, EbpfLoader,
    programs::{BtfTracePoint, FEntry, FExit, Iter, Program, ProgramError, TracePoint},
};
use tcpstate_common::{
    config::{Config, MAX_PIDS, PortBitmap, flags},
    offsets::Offsets,
};

use super::functions::{self, attach};
use super::hook::{HOOKS, Hook, REQUIRED};
use super::{Decoder, KernelError, Options, offsets, tracefs, types::KernelTypes};
use crate::event::{Capture, Probe, ProbeStatus};

/// The kernel program, as `cargo xtask ebpf build` made it.
pub(super) static OBJECT: &[u8] = aya::include_bytes_aligned!("../../bpf/tcpstate.bpf.o");

/// Programs that the kernel verifies at one time: a few of them take nearly all of it.
const MAX_VERIFYING: usize = 4;

/// A loaded kernel program with its hooks attached.
pub(super) struct Loaded {
    pub(super) ebpf: Ebpf,
    pub(super) probes: Vec<Probe>,
    /// What the hooks that are on amount to.
    pub(super) capture: Capture,
    /// For the records of this kernel.
    pub(super) decoder: Decoder,
}

/// Loads and attaches.
pub(super) fn load(options: &Options) -> Result<Loaded, KernelError> {
    let (prepared, loader) = thread::scope(|scope| {
        // The loader begins with reading all of the kernel's types, which it makes no
        // use of, and there is no way around it.
        let loader = scope.spawn(EbpfLoader::new);
        let types = KernelTypes::read();
        let prepared = types.and_then(|types| {
            let settings = Settings::new(options, &types)?;
            let btf = types.for_loader(&names_of_types())?;
            Ok((types, settings, btf))
        });
        (prepared, loader.join())
    });
    let (types, mut settings, btf) = prepared?;
    let loader = loader.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    let (ebpf, mut probes) = tracefs::with(|| {
        let (mut ebpf, hooked) = attach::open(&mut settings, loader, &btf)?;
        let mut probes = attach_all(&mut ebpf, &btf, &settings, &hooked.replaced)?;
        probes.extend(hooked.probes);
        Ok::<_, KernelError>((ebpf, probes))
    })?;
    let capture = attach::capture(&probes);
    if options.capture == Some(Capture::Functions) && capture != Capture::Functions {
        return Err(KernelError::NoFunctionHooks {
            why: attach::why_none(&probes),
        });
    }
    let knows_ends = attach::knows_ends(&probes);
    probes.push(probe(
        "bind bucket",
        "walk",
        offsets::missing_for_walk(&settings.offsets)
            .map(|what| format!("this kernel has no {what}")),
    ));
    probes.push(probe(
        "caller's program",
        "read",
        offsets::missing_for_program(&settings.offsets)
            .map(|what| format!("this kernel has no {what}")),
    ));
    probes.push(probe(
        "socket cookies",
        "helper",
        (settings.config.flags & flags::HAS_COOKIE_HELPER == 0).then(|| {
            "this kernel gives a hook no cookie of a socket: it is older than Linux 5.12".to_owned()
        }),
    ));
    probes.push(probe(
        "resets without a socket",
        "tp_btf",
        offsets::missing_for_stray_resets(&settings.offsets),
    ));
    Ok(Loaded {
        ebpf,
        probes,
        capture,
        decoder: decoder(&types).knowing_ends(knows_ends),
    })
}

/// What the types are called whose numbers the kernel wants to know of a program that
/// is attached to a hook.
fn names_of_types() -> Vec<String> {
    let hooks = HOOKS.iter().filter_map(|hook| match hook {
        Hook::TpBtf(name) => Some(format!("btf_trace_{name}")),
        Hook::Iter(name) => Some(format!("bpf_iter_{name}")),
        _ => None,
    });
    let functions = functions::names().into_iter().chain([attach::TRIAL]);
    hooks.chain(functions.map(str::to_owned)).collect()
}

/// What the object is told before it is loaded.
#[derive(Clone)]
pub(super) struct Settings {
    pub(super) config: Config,
    ports: PortBitmap,
    offsets: Offsets,
    log_level: u8,
    has_io_uring_bind: bool,
    /// Whether function hooks may be tried.
    pub(super) may_hook_functions: bool,
    /// Functions to hook that this kernel has, with their number of arguments.
    pub(super) functions: BTreeMap<&'static str, usize>,
}

impl Settings {
    pub(super) fn new(options: &Options, types: &KernelTypes) -> Result<Self, KernelError> {
        let may_hook_functions = options.capture != Some(Capture::Tracepoints);
        let mut offsets = offsets::resolve(types);
        let mut functions = BTreeMap::new();
        if may_hook_functions {
            let names = functions::names();
            let counts = types.function_parameters(&names);
            functions.extend(
                names
                    .into_iter()
                    .zip(counts)
                    .filter_map(|(name, count)| Some((name, count?))),
            );
            offsets::resolve_functions(types, &functions, &mut offsets);
        }
        if let Some(what) = REQUIRED.missing(&offsets) {
            return Err(KernelError::Layout { what });
        }
        let mut config = config(options, types)?;
        if config.flags & flags::HAS_TYPED_TASK != 0
            && types.has_function("bpf_task_pt_regs")
            && offsets::missing_for_arguments(&offsets).is_none()
        {
            config.flags |= flags::HAS_TASK_REGISTERS;
        }
        Ok(Self {
            config,
            ports: ports(options),
            offsets,
            log_level: log_level(options),
            has_io_uring_bind: offsets::has_io_uring_bind(types),
            may_hook_functions,
            functions,
        })
    }

    /// Opens the object. No program is loaded or attached yet.
    pub(super) fn open<'a>(&'a self, loader: &mut EbpfLoader<'a>) -> Result<Ebpf, KernelError> {
        lift_memlock_limit();
        loader
            .override_global("CONFIG", &self.config, true)
            .override_global("PORTS", &self.ports, true)
            .override_global("OFFSETS", &self.offsets, true)
            .override_global(aya_log::LEVEL, &self.log_level, true)
            .load(OBJECT)
            .map_err(|error| KernelError::Load(Box::new(error)))
    }
}

/// What decoding has to know about this kernel.
pub(super) fn decoder(types: &KernelTypes) -> Decoder {
    Decoder::new(
        &types.enumerators("sk_rst_reason"),
        // `SOCK_CONNECT_BIND` is a macro; the mini-socket's bit came with it.
        types
            .member("inet_timewait_sock", &["tw_connect_bind"])
            .is_some(),
    )
    // `sk_ino` came with the change that has the kernel compare `sk_uid`.
    .keeping_orphans_user(types.member("sock", &["sk_ino"]).is_some())
    .with_cookies_of_namespaces(offsets::has_cookies_of_namespaces(types))
}

fn attach_all(
    ebpf: &mut Ebpf,
    btf: &Btf,
    settings: &Settings,
    replaced: &[&str],
) -> Result<Vec<Probe>, KernelError> {
    let why_unused = |hook: Hook| {
        if replaced.contains(&hook.name()) {
            Some("a function hook does its work")
        } else if hook.is_io_uring() && !settings.has_io_uring_bind {
            Some("this kernel does not bind through io_uring")
        } else if hook.is_entry() && settings.config.flags & flags::HAS_TASK_REGISTERS != 0 {
            Some("the call's return still knows its arguments")
        } else {
            None
        }
    };
    let used =
        |hook: &Hook| why_unused(*hook).is_none() && hook.missing(&settings.offsets).is_none();
    load_ahead(ebpf, btf, HOOKS.into_iter().filter(used));
    let mut probes = Vec::with_capacity(HOOKS.len() + 1);
    for hook in HOOKS {
        if let Some(why) = why_unused(hook) {
            probes.push(unused(hook.name(), hook.kind(), why.to_owned()));
            continue;
        }
        let outcome = try_attach(ebpf, btf, settings, hook);
        if let (true, Err(why)) = (hook == REQUIRED, &outcome) {
            return Err(KernelError::Required {
                name: hook.name(),
                kind: hook.kind(),
                why: why.clone(),
            });
        }
        probes.push(probe(hook.name(), hook.kind(), outcome.err()));
    }
    Ok(probes)
}

/// Has the kernel verify the programs of these hooks, as many at one time as help:
/// verifying is most of the start, and a program is verified by one processor. What
/// is refused is tried again when it is attached, which tells why.
fn load_ahead(ebpf: &mut Ebpf, btf: &Btf, hooks: impl Iterator<Item = Hook>) {
    let mut programs: BTreeMap<&str, &mut Program> = ebpf.programs_mut().collect();
    let waiting: VecDeque<(Hook, &mut Program)> = hooks
        .filter_map(|hook| Some((hook, programs.remove(hook.program())?)))
        .collect();
    let waiting = Mutex::new(waiting);
    let next = || {
        let mut waiting = waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.pop_front()
    };
    let work = || {
        while let Some((hook, program)) = next() {
            let _ = load_program(program, btf, hook);
        }
    };
    let processors = thread::available_parallelism().map_or(1, NonZero::get);
    thread::scope(|scope| {
        for _ in 1..processors.min(MAX_VERIFYING) {
            scope.spawn(work);
        }
        work();
    });
}

pub(super) fn try_attach(
    ebpf: &mut Ebpf,
    btf: &Btf,
    settings: &Settings,
    hook: Hook,
) -> Result<(), String> {
    match hook.missing(&settings.offsets) {
        Some(what) => Err(format!("this kernel has no {what}")),
        None => attach(ebpf, btf, hook).map_err(|error| reason(&error)),
    }
}

pub(super) fn unused(name: &str, kind: &str, why: String) -> Probe {
    Probe {
        status: ProbeStatus::Unused,
        ..probe(name, kind, Some(why))
    }
}

pub(super) fn probe(name: &str, kind: &str, why: Option<String>) -> Probe {
    Probe {
        name: name.to_owned(),
        kind: kind.to_owned(),
        status: if why.is_none() {
            ProbeStatus::Attached
        } else {
            ProbeStatus::Unavailable
        },
        why,
    }
}

fn attach(ebpf: &mut Ebpf, btf: &Btf, hook: Hook) -> Result<(), ProgramError> {
    let program = ebpf
        .program_mut(hook.program())
        .ok_or(ProgramError::NotLoaded)?;
    load_program(program, btf, hook)?;
    match hook {
        Hook::TpBtf(_) => {
            <&mut BtfTracePoint>::try_from(program)?.attach()?;
        }
        Hook::Syscall { name, .. } => {
            <&mut TracePoint>::try_from(program)?.attach("syscalls", name)?;
        }
        Hook::Iter(_) => {}
        Hook::Fentry(_)
        | Hook::Around {
            is_return: false, ..
        } => {
            <&mut FEntry>::try_from(program)?.attach()?;
        }
        Hook::Fexit(_) | Hook::Around { .. } => {
            <&mut FExit>::try_from(program)?.attach()?;
        }
    }
    Ok(())
}

fn load_program(program: &mut Program, btf: &Btf, hook: Hook) -> Result<(), ProgramError> {
    let loaded = match hook {
        Hook::TpBtf(name) => <&mut BtfTracePoint>::try_from(program)?.load(name, btf),
        Hook::Syscall { .. } => <&mut TracePoint>::try_from(program)?.load(),
        Hook::Iter(name) => <&mut Iter>::try_from(program)?.load(name, btf),
        Hook::Fentry(name)
        | Hook::Around {
            function: name,
            is_return: false,
            ..
        } => <&mut FEntry>::try_from(program)?.load(name, btf),
        Hook::Fexit(name) | Hook::Around { function: name, .. } => {
            <&mut FExit>::try_from(program)?.load(name, btf)
        }
    };
    match loaded {
        // Ahead, or for another tracepoint that shares it.
        Err(ProgramError::AlreadyLoaded) => Ok(()),
        loaded => loaded,
    }
}

/// What the kernel said, in one line.
pub(super) fn reason(error: &ProgramError) -> String {
    use std::error::Error as _;

    // The verifier's log is pages long; its last line is the reason.
    if let ProgramError::LoadError {
        io_error,
        verifier_log,
    } = error
    {
        let log = verifier_log.to_string();
        let last = log
            .lines()
            .rev()
            .find(|line| !line.trim().is_empty() && !is_statistic(line));
        return match last {
            Some(line) => format!("the kernel refused the program: {io_error} ({line})"),
            None => format!("the kernel refused the program: {io_error}"),
        };
    }
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        let inner_text = inner.to_string();
        if !text.contains(&inner_text) {
            text = format!("{text}: {inner_text}");
        }
        source = inner.source();
    }
    text
}

/// What the verifier adds to its reason.
fn is_statistic(line: &str) -> bool {
    ["processed ", "stack depth ", "verification time "]
        .iter()
        .any(|head| line.starts_with(head))
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

/// Up to Linux 5.10 maps are charged to the locked memory of the process.
fn lift_memlock_limit() {
    use rustix::process::{Resource, Rlimit, setrlimit};

    let unlimited = Rlimit {
        current: None,
        maximum: None,
    };
    // Later kernels do not need it; where it fails, creating the map says so.
    let _ = setrlimit(Resource::Memlock, unlimited);
}
