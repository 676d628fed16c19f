//! Attaches a program to its hook, and says in one line why it could not.

use aya::{
    Btf, Ebpf,
    programs::{BtfTracePoint, FEntry, FExit, Iter, Program, ProgramError, TracePoint},
};

use super::hook::{Hook, Kind};
use super::requirements;
use super::settings::Settings;
use crate::event::{Probe, ProbeStatus};

pub(super) fn try_attach(
    ebpf: &mut Ebpf,
    btf: &Btf,
    settings: &Settings,
    hook: Hook,
) -> Result<(), String> {
    match requirements::missing_for(hook, &settings.offsets) {
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
    match hook.kind() {
        Kind::TpBtf => {
            <&mut BtfTracePoint>::try_from(program)?.attach()?;
        }
        Kind::Syscall => {
            <&mut TracePoint>::try_from(program)?.attach("syscalls", hook.name())?;
        }
        Kind::Iter => {}
        Kind::Fentry => {
            <&mut FEntry>::try_from(program)?.attach()?;
        }
        Kind::Fexit => {
            <&mut FExit>::try_from(program)?.attach()?;
        }
    }
    Ok(())
}

/// Has the kernel verify a program.
pub(super) fn load_program(
    program: &mut Program,
    btf: &Btf,
    hook: Hook,
) -> Result<(), ProgramError> {
    let name = hook.name();
    let loaded = match hook.kind() {
        Kind::TpBtf => <&mut BtfTracePoint>::try_from(program)?.load(name, btf),
        Kind::Syscall => <&mut TracePoint>::try_from(program)?.load(),
        Kind::Iter => <&mut Iter>::try_from(program)?.load(iterated(hook), btf),
        Kind::Fentry => <&mut FEntry>::try_from(program)?.load(name, btf),
        Kind::Fexit => <&mut FExit>::try_from(program)?.load(name, btf),
    };
    match loaded {
        // Ahead, or for another tracepoint that shares it.
        Err(ProgramError::AlreadyLoaded) => Ok(()),
        loaded => loaded,
    }
}

/// What an iterator goes through: `tcp` of `iter/tcp`.
pub(super) fn iterated(hook: Hook) -> &'static str {
    hook.name().trim_start_matches("iter/")
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
