//! Loads the kernel program and attaches it hook by hook. Only
//! `inet_sock_set_state` is required; any other hook that the kernel refuses
//! becomes a line in [`Probe`] and a capability that is off.

use std::collections::{BTreeMap, VecDeque};
use std::num::NonZero;
use std::sync::{Mutex, PoisonError};
use std::thread;

use aya::{Btf, Ebpf, EbpfLoader, programs::Program};
use tcpstate_common::config::flags;

use super::attach::{iterated, load_program, probe, try_attach, unused};
use super::feature::Feature;
use super::hook::{self, Hook, Kind, Need};
use super::settings::Settings;
use super::types::KernelTypes;
use super::{Decoder, KernelError, Options, functions, offsets, requirements, tracefs};
use crate::event::{Capture, Probe};

/// Programs that the kernel verifies at one time: a few of them take nearly all of it.
const MAX_VERIFYING: usize = 4;

/// What is not a failed call is then a bind or listen that has succeeded, and rare.
const EVENTS_BYTES_FOR_BINDS: u32 = 1 << 18;

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
            let may_hook = options.capture != Some(Capture::Tracepoints);
            let functions = may_hook.then(|| functions::present(&types));
            let settings = Settings::new(options, &types, functions)?;
            let btf = types.for_loader(&names_of_types())?;
            Ok((types, settings, btf))
        });
        (prepared, loader.join())
    });
    let (types, mut settings, btf) = prepared?;
    let mut loader = loader.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    if options.binds_only {
        loader.map_max_entries("EVENTS", EVENTS_BYTES_FOR_BINDS);
    }
    let (ebpf, mut probes) = tracefs::with(|| {
        let (mut ebpf, hooked) = functions::open(&mut settings, loader, &btf)?;
        let mut probes = attach_all(&mut ebpf, &btf, &settings, &hooked.replaced)?;
        probes.extend(hooked.probes);
        Ok::<_, KernelError>((ebpf, probes))
    })?;
    let capture = functions::capture(&probes);
    if options.capture == Some(Capture::Functions) && capture != Capture::Functions {
        return Err(KernelError::NoFunctionHooks {
            why: functions::why_none(&probes),
        });
    }
    let knows_ends = functions::knows_ends(&probes);
    probes.extend(Feature::ALL.map(|feature| {
        probe(
            feature.name(),
            feature.kind(),
            feature.why_missing(&settings),
        )
    }));
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
    let hooks = hook::tracepoints().filter_map(|hook| match hook.kind() {
        Kind::TpBtf => Some(format!("btf_trace_{}", hook.name())),
        Kind::Iter => Some(format!("bpf_iter_{}", iterated(hook))),
        _ => None,
    });
    let functions = functions::names_with_trial();
    hooks.chain(functions.map(str::to_owned)).collect()
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
    replaced: &[Hook],
) -> Result<Vec<Probe>, KernelError> {
    let why_unused = |hook: Hook| {
        if settings.binds_only && !hook.is_about_binds() {
            Some("only binds and listens are asked for")
        } else if replaced.contains(&hook) {
            Some("a function hook does its work")
        } else if hook == Hook::IoUringComplete && !settings.has_io_uring_bind {
            Some("this kernel does not bind through io_uring")
        } else if hook.is_entry() && settings.config.flags & flags::HAS_TASK_REGISTERS != 0 {
            Some("the call's return still knows its arguments")
        } else {
            None
        }
    };
    let used = |hook: &Hook| {
        why_unused(*hook).is_none() && requirements::missing_for(*hook, &settings.offsets).is_none()
    };
    preload(ebpf, btf, hook::tracepoints().filter(used));
    let mut probes = Vec::new();
    for hook in hook::tracepoints() {
        if let Some(why) = why_unused(hook) {
            probes.push(unused(hook.name(), hook.kind().name(), why.to_owned()));
            continue;
        }
        let outcome = try_attach(ebpf, btf, settings, hook);
        if let (true, Err(why)) = (hook.need() == Need::Always, &outcome) {
            return Err(KernelError::Required {
                name: hook.name(),
                kind: hook.kind().name(),
                why: why.clone(),
            });
        }
        probes.push(probe(hook.name(), hook.kind().name(), outcome.err()));
    }
    Ok(probes)
}

/// Has the kernel verify the programs of these hooks, as many at one time as help:
/// verifying is most of the start, and a program is verified by one processor. What
/// is refused is tried again when it is attached, which gives the reason.
fn preload(ebpf: &mut Ebpf, btf: &Btf, hooks: impl Iterator<Item = Hook>) {
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
