//! What comes before stopping: leaving the holder alone, stopping its supervisor, waking it.

use super::super::command::Command;
use super::super::facts::Facts;
use super::super::fixes::fix;
use super::super::relation::{self, Relation};
use super::super::roles::{Blocker, HolderRole};
use super::super::supervisors::{self, Stop};
use super::super::{managers, text};
use crate::event::{Applies, Fix, Halted, Process, RelationName};

/// What comes before stopping, where stopping is not the way or not enough.
pub(super) fn before_stopping(
    facts: &Facts<'_>,
    blockers: &[&Blocker<'_>],
    processes: &[&Process],
    fixes: Vec<Fix>,
) -> Vec<Fix> {
    let Some((first, others)) = processes.split_first() else {
        return fixes;
    };
    let is_one = others.iter().all(|other| other.pid == first.pid);
    let mut before = Vec::new();
    let mut caveat = None;
    let is_left = leave_to_ancestor(facts, processes).map(|(fix, why)| {
        before.push(fix);
        caveat = Some(why);
    });
    // Somebody has stopped it already, and it is back.
    let respawned = match blockers {
        [blocker] => stop_respawner(facts, blocker, first),
        _ => None,
    };
    let is_back = respawned.is_some();
    before.extend(respawned);
    // What holds a port for a container or a unit is no instance of anybody's program.
    let is_for_another =
        supervisors::of(processes).is_none() && managers::Manager::of(facts, processes).is_some();
    if is_left.is_none()
        && !is_for_another
        && blockers.iter().all(|b| b.role == HolderRole::Listener)
    {
        before.extend(leave_running(facts, processes));
    }
    if let Some((Stop::Parent | Stop::Both, fix)) =
        supervisors::stop(facts, processes).filter(|_| !is_back)
    {
        before.push(fix);
    }
    if is_one {
        before.extend(resume(facts, first));
    }
    let fixes = fixes.into_iter().map(|fix| match &caveat {
        Some(caveat) => fix.because(caveat.clone()),
        None => fix,
    });
    before.into_iter().chain(fixes).collect()
}

/// Where the end of a holder would be the end of the process that asked, with what to say of
/// stopping it.
fn leave_to_ancestor(facts: &Facts<'_>, processes: &[&Process]) -> Option<(Fix, String)> {
    let caller = &facts.call().process;
    let (holder, relation) = processes
        .iter()
        .map(|process| (process, Relation::of(process, caller)))
        .find(|(_, relation)| relation.is_above())?;
    let leave = |text: String| fix("leave_to_parent", Applies::Now, text);
    if !caller.has_pid() {
        let holder = text::process(holder);
        return Some((
            leave(format!(
                "Leave the port to {holder}, which this very program was started from, or choose \
                 another one"
            )),
            format!("what {holder} has started, this very program too, may end with it"),
        ));
    }
    let asked = text::process(caller);
    let (parent_phrase, started) = if relation.name == Some(RelationName::Parent) {
        (format!("the parent of {asked}, which has it"), "started")
    } else {
        (
            format!("{}, an ancestor of {asked}", text::process(holder)),
            "led to the start of",
        )
    };
    Some((
        leave(format!(
            "Leave the port to {parent_phrase}, or give {asked} another one"
        )),
        format!("what {started} {asked} would end, and {asked} may end with it"),
    ))
}

/// Where the port is in the hands of a healthy instance of the same program. What its wrapper
/// has left behind is none.
fn leave_running(facts: &Facts<'_>, processes: &[&Process]) -> Option<Fix> {
    let caller = &facts.call().process;
    let is_healthy = |process: &&Process| process.halted.is_none() && !relation::is_orphan(process);
    let is_like = |process: &&Process| relation::is_same_program(process, caller);
    if !processes
        .iter()
        .all(|process| is_healthy(process) && is_like(process))
    {
        return None;
    }
    let (holder, relation) = processes
        .iter()
        .map(|process| (process, Relation::of(process, caller)))
        .min_by_key(|(_, relation)| relation.name.map_or(u8::MAX, |name| name as u8))?;
    let (who, asked) = (text::process(holder), text::process(caller));
    let leave = |id: &str, text: String| fix(id, Applies::Now, text);
    Some(match relation.name? {
        RelationName::ConfigTested => leave(
            "already_running",
            format!("Leave it at that: {asked} only tests the configuration, and {who} serves"),
        )
        .because("a test of the configuration opens the ports as well, and finds those of the running server taken"),
        RelationName::SameCommand => leave(
            "already_running",
            format!("Leave it at that, if one is enough: {who} runs the same command already"),
        )
        .because("a second start finds the port of the first one taken"),
        RelationName::SameProgram => leave(
            "already_running",
            format!(
                "Leave it at that, if one is enough: {who} runs the same program already, with \
                 other arguments; have it read a changed configuration anew instead of starting \
                 it again"
            ),
        )
        .because("a second start finds the port of the first one taken"),
        RelationName::SameOption => {
            let option = text::safe(relation.shared_option()?);
            leave(
                "leave_out_option",
                format!(
                    "Start {asked} without the option {option}, which makes it listen: {who}, \
                     the server, has it already"
                ),
            )
            .because(
                "what only stops or asks a server is often started with the server's own options: \
                 give those to the server alone (CATALINA_OPTS, not JAVA_OPTS; not NODE_OPTIONS or \
                 JAVA_TOOL_OPTIONS for all)",
            )
        }
        _ => return None,
    })
}

/// Where the parent was seen to start the holder again.
fn stop_respawner(facts: &Facts<'_>, blocker: &Blocker<'_>, holder: &Process) -> Option<Fix> {
    let (predecessor, parent) = (blocker.predecessor()?, holder.ppid?);
    let name = holder.parent.as_deref().map_or_else(
        || format!("process {parent}"),
        |name| format!("{}[{parent}]", text::safe(name)),
    );
    Some(
        fix(
            "stop_parent",
            Applies::Now,
            format!(
                "Have {name} stop it: it started {} again after {} had ended",
                text::process(holder),
                text::process(predecessor)
            ),
        )
        .run(facts, &Command::show_processes(&[parent, holder.pid]))
        .because("what is stopped below it comes back"),
    )
}

/// Where the one holder does not run, and takes no signal before it does.
fn resume(facts: &Facts<'_>, holder: &Process) -> Option<Fix> {
    let (who, pid) = (text::process(holder), holder.pid);
    let (id, text, why) = match holder.halted? {
        Halted::Stopped => (
            "continue_holder",
            format!(
                "Let {who} go on with fg in its terminal, or end it: kill {pid}, then kill -CONT {pid}"
            ),
            "a stopped process takes no signal but SIGKILL until it is continued",
        ),
        Halted::Frozen => (
            "thaw_holder",
            format!(
                "Let {who} go on: thaw its control group with what froze it (docker unpause, systemctl thaw, or 0 into its cgroup.freeze)"
            ),
            "a frozen process takes no signal but SIGKILL until it is thawed",
        ),
        Halted::Traced | Halted::Defunct => return None,
    };
    Some(
        fix(id, Applies::Now, text)
            .run(facts, &Command::show_processes(&[pid]))
            .because(why),
    )
}
