//! The advice to stop processes: through the service that is theirs alone, or by their numbers.

use super::super::command::Command;
use super::super::facts::Facts;
use super::super::fixes::fix;
use super::super::roles::{Blocker, HolderRole};
use super::super::service::Service;
use super::super::text;
use crate::event::{Applies, Fix, Process};

/// Processes that advice to end them numbers.
const MAX_KILLED: usize = 8;

/// Of a service that is theirs alone: a stopped one takes all of its processes
/// with it.
pub(super) fn stop_service(
    facts: &Facts<'_>,
    blockers: &[&Blocker<'_>],
    processes: &[&Process],
    service: &Service,
    is_leak: bool,
) -> Vec<Fix> {
    let names = text::processes(processes.iter().copied()).unwrap_or_default();
    let name = service.name.as_str();
    let caller = Service::of(&[&facts.call().process]);
    let stop = |text: String, command: Command| {
        fix("stop_holder", Applies::Now, text).run(facts, &command)
    };
    let stop = if caller.is_some_and(|caller| caller.name == service.name) {
        stop(
            format!("Restart the whole service, {name}, so that {names} ends with it"),
            Command::restart_unit(&service.name),
        )
        .because("it is the same service, with a process left over")
    } else if is_leak {
        stop(
            format!("Restart {name}, the service of {names}, which closes the connections"),
            Command::restart_unit(&service.name),
        )
    } else {
        stop(
            format!(
                "Stop {name}, the service of {names}, {}",
                unless(blockers, processes)
            ),
            Command::stop_unit(&service.name),
        )
    };
    vec![show_unit(facts, processes, name), stop]
}

/// What the service manager says of the process.
fn show_unit(facts: &Facts<'_>, processes: &[&Process], name: &str) -> Fix {
    let pid = pids(processes).first().copied().unwrap_or_default();
    fix(
        "look_at_holder",
        Applies::Now,
        format!("Look first whether process {pid} is of {name} still, and what that is"),
    )
    .run(facts, &Command::show_unit_of(pid))
}

/// Of processes that no manager has for itself: the look alone, and the rest is for
/// whoever has looked.
pub(super) fn stop_processes(
    facts: &Facts<'_>,
    blockers: &[&Blocker<'_>],
    processes: &[&Process],
    shared: Option<&Service>,
    is_leak: bool,
) -> Fix {
    let names = text::processes(processes.iter().copied()).unwrap_or_default();
    let started_by = started_by(processes);
    let text = if is_leak {
        format!("Restart {names}{started_by}, which closes the connections; look first")
    } else {
        format!(
            "Stop {names}{started_by} {}; look first{}",
            unless(blockers, processes),
            then_kill(blockers, processes)
        )
    };
    let stop = fix("stop_holder", Applies::Now, text)
        .run(facts, &Command::show_processes(&pids(processes)));
    match shared {
        Some(service) => stop.because(format!(
            "not the service that it is in: {} also runs {}, which a stop of the service would end too",
            service.name.as_str(),
            service.bystanders(),
        )),
        None => stop,
    }
}

/// `, then kill 10 11`: all that have it open, or nothing. No line that is pasted: the numbers
/// may be others' by then.
fn then_kill(blockers: &[&Blocker<'_>], processes: &[&Process]) -> String {
    let pids = pids(processes);
    let are_all = blockers.iter().all(|b| b.seen.processes_more == 0);
    // Whoever does not run takes no signal, and has advice of his own.
    let is_plain = |process: &&Process| process.pid > 1 && process.halted.is_none();
    if pids.len() > MAX_KILLED || !are_all || !processes.iter().all(is_plain) {
        return String::new();
    }
    let pids: Vec<String> = pids.iter().map(u32::to_string).collect();
    format!(", then kill {}", pids.join(" "))
}

/// When it may be stopped.
fn unless(blockers: &[&Blocker<'_>], processes: &[&Process]) -> &'static str {
    let wants_the_port = blockers
        .iter()
        .any(|b| matches!(b.role, HolderRole::Listener | HolderRole::Bound));
    match (wants_the_port, pids(processes).as_slice()) {
        (true, [_]) => "if it should not have the port",
        (true, _) => "if they should not have the port",
        (false, [_]) => "if it can be spared",
        (false, _) => "if they can be spared",
    }
}

pub(super) fn pids(processes: &[&Process]) -> Vec<u32> {
    let mut pids: Vec<u32> = processes.iter().map(|process| process.pid).collect();
    pids.sort_unstable();
    pids.dedup();
    pids
}

/// ` (started by sh[4711])`, where all were started by one.
fn started_by(processes: &[&Process]) -> String {
    let Some(process) = processes.first() else {
        return String::new();
    };
    if processes.iter().any(|other| other.ppid != process.ppid) {
        return String::new();
    }
    match (process.parent.as_deref(), process.ppid) {
        // Whoever started it has ended.
        (_, None | Some(1)) => String::new(),
        (Some(parent), Some(ppid)) => format!(" (started by {}[{ppid}])", text::safe(parent)),
        (None, Some(ppid)) => format!(" (started by process {ppid})"),
    }
}
