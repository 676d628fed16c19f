//! Opens the object with the function hooks that the kernel allows.

use aya::{
    Btf, Ebpf, EbpfLoader,
    programs::{FEntry, FExit, ProgramError},
};
use tcpstate_common::config::flags;

use super::{Function, GROUPS, Group, MINI_SOCKETS, REASONS, names};
use crate::event::{Capture, Probe, ProbeStatus};
use crate::kernel::KernelError;
use crate::kernel::hook::Hook;
use crate::kernel::load::{Settings, probe, reason, try_attach, unused};

/// The function that is hooked to see whether that is allowed.
pub(in crate::kernel) const TRIAL: &str = "tcp_set_state";
/// What a probe is called that stands for all function hooks.
const FUNCTION_HOOKS: &str = "function hooks";

/// Opens the object and attaches its function hooks. Which of them there are has to
/// be known before the object is opened: the verifier then passes over what they
/// replace.
pub(in crate::kernel) fn open(
    settings: &mut Settings,
    loader: EbpfLoader<'_>,
    btf: &Btf,
) -> Result<(Ebpf, Functions), KernelError> {
    let others: Vec<&Group> = GROUPS
        .into_iter()
        .filter(|group| !group.is_about_minis())
        .collect();
    let without = settings.clone();
    let with_all = settings.with_hooks_of(&GROUPS);
    let with_others = settings.with_hooks_of(&others);
    // Making one takes long; it can open the object again and again.
    let mut loader = loader;

    let mut ebpf = without.open(&mut loader)?;
    let mut hooked = Functions::default();
    if !settings.may_hook_functions {
        return Ok((ebpf, hooked));
    }
    if let Err(why) = try_function_hook(&mut ebpf, btf) {
        // One hook tells for all: the others are not even tried.
        hooked.probes.push(unused(FUNCTION_HOOKS, "fentry", why));
        return Ok((ebpf, hooked));
    }
    drop(ebpf);
    ebpf = with_all.open(&mut loader)?;
    hooked = hook(&mut ebpf, &with_all, btf, &GROUPS);
    *settings = with_all.clone();
    if !hooked.has_minis {
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
pub(in crate::kernel) struct Functions {
    pub(in crate::kernel) probes: Vec<Probe>,
    /// Names of the hooks that they replace.
    pub(in crate::kernel) replaced: Vec<&'static str>,
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
    for Function {
        hook,
        is_required,
        args,
    } in group.functions
    {
        let there = settings.functions.get(hook.name()).copied();
        if there.is_none() && !is_required {
            let why = "this kernel does it without this function".to_owned();
            probes.push(unused(hook.label(), hook.kind(), why));
            continue;
        }
        let outcome = match (there, *args) {
            (None, _) => Err("this kernel has no such function".to_owned()),
            (Some(there), Some(known)) if there != known => Err(format!(
                "it has {there} arguments here, and is known with {known}"
            )),
            _ => try_attach(ebpf, btf, settings, *hook),
        };
        let is_off = outcome.is_err() && *is_required;
        probes.push(probe(hook.label(), hook.kind(), outcome.err()));
        if is_off {
            for function in group.functions {
                detach(ebpf, function.hook);
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
            "fentry" => <&mut FEntry>::try_from(program).and_then(FEntry::unload),
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
pub(in crate::kernel) fn capture(probes: &[Probe]) -> Capture {
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
pub(in crate::kernel) fn knows_ends(probes: &[Probe]) -> bool {
    let is_attached = |name: &&str| {
        probes
            .iter()
            .any(|probe| probe.name == **name && probe.status == ProbeStatus::Attached)
    };
    REASONS.iter().all(is_attached)
}

/// Why function hooks are not on.
pub(in crate::kernel) fn why_none(probes: &[Probe]) -> String {
    let names = names();
    probes
        .iter()
        .filter(|probe| probe.name == FUNCTION_HOOKS || names.contains(&probe.name.as_str()))
        .find_map(|probe| probe.why.clone())
        .unwrap_or_else(|| "none of the functions is there".to_owned())
}
