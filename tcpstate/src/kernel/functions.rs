//! Function hooks (fentry, fexit), in groups: each group does the work of some
//! tracepoints, or of polling, and where the kernel refuses one that the group rests
//! on, those do it.

use std::collections::BTreeMap;

use aya::{
    Btf, Ebpf, EbpfLoader,
    programs::{FEntry, FExit, ProgramError},
};
use tcpstate_common::config::flags;

use super::KernelError;
use super::attach::{probe, reason, try_attach, unused};
use super::hook::{Arguments, Hook, Kind, Need};
use super::settings::Settings;
use super::types::KernelTypes;
use crate::event::{Capture, Probe, ProbeStatus};

/// Function hooks that do one job together.
struct Group {
    hooks: &'static [Hook],
    /// Hooks that are left out while the group is on.
    replaces: &'static [Hook],
}

/// What becomes of a mini-socket: exact instead of polled.
const MINI_SOCKETS: Group = Group {
    hooks: &[
        Hook::InetTwskKill,
        Hook::InetTwskSchedule,
        Hook::InetTwskAlloc,
        Hook::TwTimerHandler,
        Hook::TcpTimewaitStateProcess,
        Hook::TcpTwskUnique,
    ],
    replaces: &[],
};

/// `bind` and `listen`, whoever makes them, and the socket that they conflict with.
const BIND_AND_LISTEN: Group = Group {
    hooks: &[
        Hook::InetBindWaker,
        Hook::InetBindSecond,
        Hook::Inet6BindWaker,
        Hook::Inet6BindSecond,
        Hook::InetListenWaker,
        Hook::InetListenSecond,
        Hook::InetBind,
        Hook::Inet6Bind,
        Hook::InetListen,
        Hook::IoBindEntry,
        Hook::IoBindExit,
        Hook::IoListenEntry,
        Hook::IoListenExit,
        Hook::InetBindSk,
        Hook::Inet6BindSk,
        Hook::InetListenSk,
        Hook::SecuritySocketBind,
        Hook::SecuritySocketListen,
        Hook::InetBindConflict,
        Hook::InetRcvSaddrEqual,
    ],
    replaces: &[
        Hook::SysExitBind,
        Hook::SysEnterBind,
        Hook::SysExitListen,
        Hook::SysEnterListen,
        Hook::IoUringComplete,
    ],
};

/// `connect`.
const CONNECT: Group = Group {
    hooks: &[
        Hook::InetStreamConnectWaker,
        Hook::InetStreamConnectSecond,
        Hook::InetStreamConnect,
        Hook::IoConnectEntry,
        Hook::IoConnectExit,
        Hook::MptcpStreamConnect,
        Hook::SecuritySocketConnect,
    ],
    replaces: &[Hook::SysExitConnect, Hook::SysEnterConnect],
};

/// `accept`.
const ACCEPT: Group = Group {
    hooks: &[Hook::InetCskAccept, Hook::IoAcceptEntry, Hook::IoAcceptExit],
    replaces: &[Hook::SysExitAccept, Hook::SysExitAccept4],
};

/// Every group.
const GROUPS: [&Group; 4] = [&MINI_SOCKETS, &BIND_AND_LISTEN, &CONNECT, &ACCEPT];
/// Those without which nothing is known of a `bind` or `listen`.
const GROUPS_FOR_BINDS: [&Group; 1] = [&BIND_AND_LISTEN];

impl Group {
    /// Whether the kernel program makes no search of its own for a fresh
    /// mini-socket while the group is on.
    fn is_about_minis(&self) -> bool {
        self.hooks.contains(&Hook::InetTwskAlloc)
    }

    /// Whether it hooks this function.
    fn has(&self, name: &str) -> bool {
        self.hooks.iter().any(|hook| hook.name() == name)
    }
}

/// Hooks without which nobody knows why a mini-socket ended.
const REASONS: [Hook; 3] = [
    Hook::TwTimerHandler,
    Hook::TcpTimewaitStateProcess,
    Hook::TcpTwskUnique,
];

/// The function that is hooked to see whether that is allowed.
const TRIAL: &str = "tcp_set_state";
/// What a probe is called that stands for all function hooks.
const FUNCTION_HOOKS: &str = "function hooks";

/// All functions that are hooked, each once.
fn names() -> Vec<&'static str> {
    let mut names: Vec<_> = GROUPS
        .into_iter()
        .flat_map(|group| group.hooks)
        .map(|hook| hook.name())
        .collect();
    names.dedup();
    names
}

/// The functions that are hooked, that for a trial among them.
pub(super) fn names_with_trial() -> impl Iterator<Item = &'static str> {
    names().into_iter().chain([TRIAL])
}

/// Those that this kernel has, with their number of arguments.
pub(super) fn present(types: &KernelTypes) -> BTreeMap<&'static str, usize> {
    let names = names();
    let counts = types.function_parameters(&names);
    names
        .into_iter()
        .zip(counts)
        .filter_map(|(name, count)| Some((name, count?)))
        .collect()
}

/// Opens the object and attaches its function hooks. Which of them there are has to
/// be known before the object is opened: the verifier then passes over what they
/// replace.
pub(super) fn open(
    settings: &mut Settings,
    loader: EbpfLoader<'_>,
    btf: &Btf,
) -> Result<(Ebpf, Functions), KernelError> {
    let all: &[&Group] = if settings.binds_only {
        &GROUPS_FOR_BINDS
    } else {
        &GROUPS
    };
    let others: Vec<&Group> = all
        .iter()
        .copied()
        .filter(|group| !group.is_about_minis())
        .collect();
    let without = settings.clone();
    let with_all = settings.with_hooks_of(all);
    let with_others = settings.with_hooks_of(&others);
    // Making one takes long; it can open the object again and again.
    let mut loader = loader;

    let mut ebpf = without.open(&mut loader)?;
    let mut hooked = Functions::default();
    if !settings.may_hook_functions {
        return Ok((ebpf, hooked));
    }
    if let Err(why) = try_function_hook(&mut ebpf, btf) {
        // One hook stands for all: the others are not even tried.
        hooked.probes.push(unused(FUNCTION_HOOKS, "fentry", why));
        return Ok((ebpf, hooked));
    }
    drop(ebpf);
    ebpf = with_all.open(&mut loader)?;
    hooked = hook(&mut ebpf, &with_all, btf, all);
    *settings = with_all.clone();
    if !hooked.has_minis && others.len() < all.len() {
        let mut refused = hooked.probes;
        refused.retain(|probe| MINI_SOCKETS.has(&probe.name));
        drop(ebpf);
        ebpf = with_others.open(&mut loader)?;
        hooked = hook(&mut ebpf, &with_others, btf, &others);
        hooked.probes.extend(refused);
        *settings = with_others.clone();
    }
    Ok((ebpf, hooked))
}

/// What became of the function hooks.
#[derive(Default)]
pub(super) struct Functions {
    pub(super) probes: Vec<Probe>,
    /// The hooks that they replace.
    pub(super) replaced: Vec<Hook>,
    has_minis: bool,
}

impl Settings {
    /// The same for an object whose hooks on functions are these.
    fn with_hooks_of(&self, groups: &[&Group]) -> Self {
        let mut settings = self.clone();
        settings.config.flags |= flags::HAS_FUNCTION_HOOKS;
        if groups.iter().any(|group| group.is_about_minis()) {
            settings.config.flags |= flags::HAS_HOOKED_MINIS;
        }
        settings
    }
}

/// Attaches these groups.
fn hook(ebpf: &mut Ebpf, settings: &Settings, btf: &Btf, groups: &[&Group]) -> Functions {
    let mut functions = Functions::default();
    for group in groups {
        if attach_group(ebpf, btf, settings, group, &mut functions.probes) {
            functions.replaced.extend(group.replaces);
            functions.has_minis |= group.is_about_minis();
        }
    }
    functions
}

/// Attaches the hooks of a group; `false`: one that it rests on is refused, and
/// the group is off.
fn attach_group(
    ebpf: &mut Ebpf,
    btf: &Btf,
    settings: &Settings,
    group: &Group,
    probes: &mut Vec<Probe>,
) -> bool {
    let first = probes.len();
    for hook in group.hooks {
        let there = settings.functions.get(hook.name()).copied();
        let is_required = hook.need() == Need::Group;
        if there.is_none() && !is_required {
            let why = "this kernel does it without this function".to_owned();
            probes.push(unused(hook.label(), hook.kind().name(), why));
            continue;
        }
        let outcome = match (there, hook.arguments()) {
            (None, _) => Err("this kernel has no such function".to_owned()),
            (Some(there), Arguments::Known(known)) if there != known => Err(format!(
                "it has {there} arguments here, and is known with {known}"
            )),
            _ => try_attach(ebpf, btf, settings, *hook),
        };
        let is_off = outcome.is_err() && is_required;
        probes.push(probe(hook.label(), hook.kind().name(), outcome.err()));
        if is_off {
            for hook in group.hooks {
                detach(ebpf, *hook);
            }
            let why = format!("{} is not to be had", hook.name());
            for probe in &mut probes[first..] {
                if probe.status == ProbeStatus::Attached {
                    probe.status = ProbeStatus::Unused;
                    probe.why = Some(why.clone());
                }
            }
            return false;
        }
    }
    true
}

fn detach(ebpf: &mut Ebpf, hook: Hook) {
    if let Some(program) = ebpf.program_mut(hook.program()) {
        // What was never loaded has nothing to unload.
        let _ = match hook.kind() {
            Kind::Fentry => <&mut FEntry>::try_from(program).and_then(FEntry::unload),
            _ => <&mut FExit>::try_from(program).and_then(FExit::unload),
        };
    }
}

/// Loads and attaches a function hook that does nothing, and removes it.
fn try_function_hook(ebpf: &mut Ebpf, btf: &Btf) -> Result<(), String> {
    attach_for_a_moment(ebpf, btf, TRIAL).map_err(|error| reason(&error))
}

fn attach_for_a_moment(ebpf: &mut Ebpf, btf: &Btf, function: &str) -> Result<(), ProgramError> {
    let program: &mut FEntry = ebpf
        .program_mut("trial_fentry")
        .ok_or(ProgramError::NotLoaded)?
        .try_into()?;
    program.load(function, btf)?;
    let link = program.attach()?;
    program.detach(link)?;
    program.unload()
}

/// What the hooks that are on amount to.
pub(super) fn capture(probes: &[Probe]) -> Capture {
    let names = names();
    let is_on = |probe: &Probe| {
        probe.status == ProbeStatus::Attached && names.contains(&probe.name.as_str())
    };
    if probes.iter().any(is_on) {
        Capture::Functions
    } else {
        Capture::Tracepoints
    }
}

/// Whether every function is hooked without which nobody knows why a mini-socket
/// ended.
pub(super) fn knows_ends(probes: &[Probe]) -> bool {
    let is_attached = |hook: &Hook| {
        probes
            .iter()
            .any(|probe| probe.name == hook.name() && probe.status == ProbeStatus::Attached)
    };
    REASONS.iter().all(is_attached)
}

/// Why function hooks are not on.
pub(super) fn why_none(probes: &[Probe]) -> String {
    let names = names();
    probes
        .iter()
        .filter(|probe| probe.name == FUNCTION_HOOKS || names.contains(&probe.name.as_str()))
        .find_map(|probe| probe.why.clone())
        .unwrap_or_else(|| "none of the functions is there".to_owned())
}
