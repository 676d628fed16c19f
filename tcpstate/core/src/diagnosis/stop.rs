//! Advice to stop whoever holds a port: with the tool that manages it, and
//! only after a check.

mod before;
mod processes;
#[cfg(test)]
mod tests;

use crate::event::{Applies, Fix, Process};

use super::command::Command;
use super::facts::Facts;
use super::fixes::fix;
use super::roles::{self, Blocker, HolderRole};
use super::service::Service;
use super::{managers, relation, ssh, text};
use before::before_stopping;
use processes::{pids, stop_processes, stop_service};

/// Stopping whoever has the blockers open: a check first, and then, where a service
/// or a container is theirs alone, the command that stops it.
///
/// Only who was seen to have a descriptor is named to be stopped: he lives, and his
/// number is his. Who opened a socket may have ended since, and his number be
/// another's.
pub(super) fn stop_holder(facts: &Facts<'_>, blockers: &[&Blocker<'_>]) -> Vec<Fix> {
    let stop = |text: String| fix("stop_holder", Applies::Now, text);
    let known: Vec<&Process> = blockers.iter().flat_map(|b| b.processes()).collect();
    let caller = &facts.call().process;
    if known.iter().any(|process| process.is_kernel()) {
        return vec![
            stop("Find out what made the kernel open the port, and take it back there".to_owned())
                .run(facts, &Command::list_mptcp_endpoints())
                .because("the socket is the kernel's own: an MPTCP endpoint with a port, an NFS server or client, another kernel service; no process can be stopped"),
        ];
    }
    let own = known.iter().find(|process| process.pid == caller.pid);
    let descriptor = own.and_then(|process| process.descriptor);
    if own.is_some()
        && blockers
            .iter()
            .any(|blocker| is_handed_over(blocker, caller))
    {
        return vec![use_own_socket(caller, descriptor)];
    }
    if !known.is_empty() && known.iter().all(|process| process.pid == caller.pid) {
        let names = text::processes(known.iter().copied()).unwrap_or_default();
        let which = descriptor.map_or_else(String::new, |fd| format!(", descriptor {fd},"));
        let close = stop(format!(
            "Close the other socket in {names}{which} before the {}, or use that one",
            facts.verb()
        ));
        return vec![close];
    }
    let mut processes: Vec<&Process> = blockers.iter().flat_map(|b| b.open_in()).collect();
    // Whoever wants the port is not advised to stop itself.
    processes.retain(|process| process.pid != caller.pid);
    if processes.is_empty() {
        if let Some(check) = find_opener(facts, blockers) {
            return vec![check];
        }
        return vec![
            stop(format!(
                "Find out which process holds port {} and stop it",
                facts.port
            ))
            .run(facts, &Command::list_sockets(facts.port))
            .because(why_unseen(facts, blockers)),
        ];
    }
    if let Some(fixes) = managers::stop_manager(facts, &processes) {
        return before_stopping(facts, blockers, &processes, fixes);
    }
    let is_leak = blockers.iter().all(|b| b.role == HolderRole::CloseWait);
    let service = Service::of(&processes);
    let mut fixes = match service {
        Some(service) if service.is_exclusive => {
            stop_service(facts, blockers, &processes, &service, is_leak)
        }
        shared => vec![stop_processes(
            facts,
            blockers,
            &processes,
            shared.as_ref(),
            is_leak,
        )],
    };
    // The end of a process closes its connections, and who closes first has TIME_WAIT.
    let closes_first =
        |b: &&Blocker<'_>| matches!(b.role, HolderRole::Leftover | HolderRole::Outgoing);
    if blockers.iter().any(closes_first)
        && let Some(stop) = fixes.pop()
    {
        fixes.push(stop.because(
            "a connection that it closes first stays on the port for another 60 s, in TIME_WAIT",
        ));
    }
    if let Some(cost) = ssh::cost_of_remote_forward(&processes)
        && let Some(stop) = fixes.pop()
    {
        fixes.push(stop.because(cost));
    }
    if let Some(leave) = ssh::leave_master(&processes) {
        fixes.insert(0, leave);
    }
    before_stopping(facts, blockers, &processes, fixes)
}

/// Why nobody was found to have them open, as far as their user shows it.
fn why_unseen(facts: &Facts<'_>, blockers: &[&Blocker<'_>]) -> String {
    let why = match roles::owner(blockers) {
        None => "it may be in another container or belong to another user".to_owned(),
        Some(0) if facts.call().process.uid == 0 => "it may be in another container".to_owned(),
        Some(uid) if uid == facts.call().process.uid => format!(
            "the socket belongs to {} like the one that asks, so it is in another container, or in \
             a process that shows its descriptors to root alone, as sshd's do",
            text::user(uid)
        ),
        Some(uid) => format!(
            "the socket belongs to {}, whose descriptors root sees, or it is in another container",
            text::user(uid)
        ),
    };
    format!("none was seen to have it open: {why}")
}

/// Whether the caller has the socket from somebody else, or opened it before it executed the
/// program that runs now.
fn is_handed_over(blocker: &Blocker<'_>, caller: &Process) -> bool {
    let owner = blocker.known.and_then(|known| known.owner.as_deref());
    blocker.role == HolderRole::Listener
        && owner
            .is_some_and(|owner| owner.pid != caller.pid || !relation::is_fork_of(caller, owner))
}

/// Of sockets that nobody was found to have open, though the one that opened them lives.
fn find_opener(facts: &Facts<'_>, blockers: &[&Blocker<'_>]) -> Option<Fix> {
    let is_without = |blocker: &&Blocker<'_>| {
        let seen = blocker.seen;
        seen.processes.as_deref().is_some_and(<[_]>::is_empty) && !seen.is_opener_gone
    };
    if !blockers.iter().all(is_without) {
        return None;
    }
    let caller = facts.call().process.pid;
    let owners: Option<Vec<&Process>> = blockers
        .iter()
        .map(|blocker| blocker.known?.owner.as_deref())
        .collect();
    let owners = owners?;
    if owners.iter().any(|owner| owner.pid == caller) {
        return None;
    }
    let names = text::processes(owners.iter().copied())?;
    Some(
        fix(
            "stop_holder",
            Applies::Now,
            format!("Find out whether {names} has it still, and stop it if so"),
        )
        .run(facts, &Command::show_processes(&pids(&owners)))
        .because(
            "no descriptor of it was found: it was closed in that moment, or a thread is still \
             inside accept with it, which one more connection ends",
        ),
    )
}

fn use_own_socket(caller: &Process, descriptor: Option<u32>) -> Fix {
    let as_descriptor = descriptor.map_or_else(String::new, |fd| format!(" as descriptor {fd}"));
    fix(
        "use_own_socket",
        Applies::Now,
        format!(
            "Have {} accept on the socket that it has already{as_descriptor} instead of binding another one",
            text::process(caller)
        ),
    )
    .because(
        "it was handed over or opened before its program was executed: with socket activation \
         LISTEN_FDS says how many there are, from descriptor 3 on",
    )
}
