//! Advice to stop whoever holds a port: with the tool that manages it, and
//! only after a look.

use crate::event::{Applies, Fix, Halted, Process, RelationName};

use super::command::Command;
use super::facts::Facts;
use super::fixes::fix;
use super::relation::{self, Relation};
use super::roles::{self, Blocker, HolderRole};
use super::service::Service;
use super::supervisors::{self, Stop};
use super::{managers, ssh, text};

/// Processes that advice to end them numbers.
const MAX_KILLED: usize = 8;

/// Stopping whoever has the blockers open: a look first, and then, where a service
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
        if let Some(look) = look_at_opener(facts, blockers) {
            return vec![look];
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
        Some(service) if service.is_theirs => {
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

/// Why nobody was found to have them open, as far as the user tells whose they are.
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
fn look_at_opener(facts: &Facts<'_>, blockers: &[&Blocker<'_>]) -> Option<Fix> {
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
        .run(facts, &Command::look_at_processes(&pids(&owners)))
        .because(
            "no descriptor of it was found: it was closed in that moment, or a thread is still \
             inside accept with it, which one more connection ends",
        ),
    )
}

fn use_own_socket(caller: &Process, descriptor: Option<u32>) -> Fix {
    let place = descriptor.map_or_else(String::new, |fd| format!(" as descriptor {fd}"));
    fix(
        "use_own_socket",
        Applies::Now,
        format!(
            "Have {} accept on the socket that it has already{place} instead of binding another one",
            text::process(caller)
        ),
    )
    .because(
        "it was handed over or opened before its program was executed: with socket activation \
         LISTEN_FDS says how many there are, from descriptor 3 on",
    )
}

/// What comes before stopping, where stopping is not the way or not enough.
fn before_stopping(
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
        before.extend(wake(facts, first));
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
    if caller.pid == 0 {
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
    let (whose, started) = if relation.name == Some(RelationName::Parent) {
        (format!("the parent of {asked}, which has it"), "started")
    } else {
        (
            format!("{}, an ancestor of {asked}", text::process(holder)),
            "led to the start of",
        )
    };
    Some((
        leave(format!(
            "Leave the port to {whose}, or give {asked} another one"
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
    let (gone, parent) = (blocker.predecessor()?, holder.ppid?);
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
                text::process(gone)
            ),
        )
        .run(facts, &Command::look_at_processes(&[parent, holder.pid]))
        .because("what is stopped below it comes back"),
    )
}

/// Where the one holder does not run, and takes no signal before it does.
fn wake(facts: &Facts<'_>, holder: &Process) -> Option<Fix> {
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
            .run(facts, &Command::look_at_processes(&[pid]))
            .because(why),
    )
}

/// Of a service that is theirs alone: a stopped one takes all of its processes
/// with it.
fn stop_service(
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
    vec![look_at_service(facts, processes, name), stop]
}

/// What the service manager says of the process.
fn look_at_service(facts: &Facts<'_>, processes: &[&Process], name: &str) -> Fix {
    let pid = pids(processes).first().copied().unwrap_or_default();
    fix(
        "look_at_holder",
        Applies::Now,
        format!("Look first whether process {pid} is of {name} still, and what that is"),
    )
    .run(facts, &Command::look_at_unit_of(pid))
}

/// Of processes that no manager has for itself: the look alone, and the rest is for
/// whoever has looked.
fn stop_processes(
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
        .run(facts, &Command::look_at_processes(&pids(processes)));
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

fn pids(processes: &[&Process]) -> Vec<u32> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnosis::Origin;
    use crate::diagnosis::test_support::{PLAIN, Scene, holder, in_unit, owned, process};
    use crate::event::{Ancestor, Effect, Identity, KnownBy, State, Supervisor};

    fn stopped(scene: &Scene) -> Vec<(String, Option<String>)> {
        let fixes = scene.diagnose().fixes;
        fixes
            .into_iter()
            .filter(|fix| matches!(&*fix.id, "look_at_holder" | "stop_holder"))
            .map(|fix| (fix.id.to_string(), fix.command))
            .collect()
    }

    fn scene_of(held_by: Vec<Process>) -> Scene {
        let mut listener = holder(State::Listen, "0.0.0.0", 8080, PLAIN);
        listener.processes = Some(held_by.into_iter().map(std::sync::Arc::new).collect());
        Scene::bind("0.0.0.0", 8080).with(listener, owned(10, "web", Origin::Listener))
    }

    #[test]
    fn a_service_is_looked_at_before_it_is_stopped() {
        let mut scene = scene_of(vec![in_unit(process(10, "web"), "web.service", &[])]);

        let stop = stopped(&scene);
        let mut same = in_unit(process(11, "web"), "web.service", &[]);
        same.via = KnownBy::Syscall;
        scene.call.process = same.into();
        let restart = stopped(&scene);

        let look = (
            "look_at_holder".to_owned(),
            Some("systemctl status 10".to_owned()),
        );
        let command = |verb: &str| {
            let line = format!("systemctl {verb} web.service");
            ("stop_holder".to_owned(), Some(line))
        };
        assert_eq!(stop, [look.clone(), command("stop")]);
        assert_eq!(restart, [look, command("restart")]);
    }

    #[test]
    fn a_service_that_runs_more_is_left_alone() {
        let scene = scene_of(vec![in_unit(process(10, "job"), "cron.service", &[9])]);

        let diagnosis = scene.diagnose();

        assert_eq!(
            stopped(&scene),
            [(
                "stop_holder".to_owned(),
                Some("ps -o pid,ppid,stat,lstart,args -p 10".to_owned())
            )]
        );
        assert_eq!(
            diagnosis.fixes[0].why.as_deref(),
            Some(
                "not the service that it is in: cron.service also runs other[9], which a stop of the service would end too"
            )
        );
    }

    #[test]
    fn a_name_in_a_control_group_is_no_service() {
        let mut forged = process(10, "x");
        forged.cgroup = Some("/user.slice/user-1000.slice/user@1000.service/sshd.service".into());

        assert_eq!(
            stopped(&scene_of(vec![forged])),
            [(
                "stop_holder".to_owned(),
                Some("ps -o pid,ppid,stat,lstart,args -p 10".to_owned())
            )]
        );
    }

    #[test]
    fn who_was_not_seen_to_have_it_open_is_not_named_to_be_stopped() {
        let mut scene = scene_of(Vec::new());
        scene.known[0].owner = None;
        let fixes = scene.diagnose().fixes;

        assert_eq!(
            fixes[0].text,
            "Find out which process holds port 8080 and stop it"
        );
        assert_eq!(fixes[0].command.as_deref(), Some("ss -Htanp sport = :8080"));
        assert_eq!(fixes[0].effect, Some(Effect::Reads));
    }

    fn first(scene: &Scene) -> String {
        scene.diagnose().fixes[0].id.to_string()
    }

    fn running(pid: u32, ppid: u32, argv: &[&str]) -> Process {
        Process {
            ppid: Some(ppid),
            exe: Some("/usr/sbin/web".into()),
            argv: Some(argv.iter().map(|&word| word.to_owned()).collect()),
            ..process(pid, "web")
        }
    }

    fn asked_by(caller: Process, held_by: Vec<Process>) -> Scene {
        let mut scene = scene_of(held_by);
        scene.call.process = caller.into();
        scene
    }

    #[test]
    fn stopping_is_not_first_where_the_holder_is_the_parent_or_another_start() {
        let parent = running(20, 1, &["web", "--master"]);
        let child = running(21, 20, &["web", "--worker"]);
        let other = running(30, 5, &["web", "--master"]);

        let of_parent = asked_by(child.clone(), vec![parent.clone()]);
        let of_child = asked_by(parent.clone(), vec![child]);
        let second_start = asked_by(other.clone(), vec![parent.clone()]);
        let of_init = asked_by(running(40, 1, &["x"]), vec![process(1, "init")]);

        assert_eq!(first(&of_parent), "leave_to_parent");
        assert!(
            of_parent
                .diagnose()
                .summary
                .contains("web[20], the parent of web[21], listens"),
            "{}",
            of_parent.diagnose().summary
        );
        assert_eq!(first(&of_child), "stop_holder");
        assert!(
            of_child
                .diagnose()
                .summary
                .contains("web[21], a child of web[20], listens")
        );
        assert_eq!(first(&second_start), "already_running");
        assert!(!of_init.diagnose().summary.contains("parent"));
    }

    fn stranger() -> Process {
        Process {
            exe: Some("/usr/bin/other".into()),
            ..running(50, 5, &["x"])
        }
    }

    fn below(process: Process, above: &[(u32, &str, Option<Supervisor>)]) -> Process {
        let ancestors = above.iter().map(|&(pid, comm, supervisor)| Ancestor {
            pid,
            comm: comm.into(),
            supervisor,
        });
        let identity = Identity {
            ancestors: ancestors.collect(),
            ..Identity::default()
        };
        Process {
            identity: Some(identity.into()),
            ..process
        }
    }

    #[test]
    fn an_ancestor_is_left_alone_and_whoever_asks_beforehand_is_told_so() {
        let top = running(20, 1, &["ide"]);
        let caller = below(
            running(22, 21, &["web"]),
            &[(21, "sh", None), (20, "ide", None)],
        );

        let diagnosis = asked_by(caller, vec![top.clone()]).diagnose();
        let scene = asked_by(process(0, "a new server"), vec![top]);
        let mut asked = scene.clone();
        asked.call.process = below(process(0, "a new server"), &[(20, "ide", None)]).into();

        assert_eq!(&*diagnosis.fixes[0].id, "leave_to_parent");
        assert_eq!(diagnosis.holders[0].relation, Some(RelationName::Ancestor));
        assert!(
            diagnosis
                .summary
                .contains("web[20], an ancestor of web[22], listens"),
            "{}",
            diagnosis.summary
        );
        assert_eq!(first(&scene), "stop_holder");
        assert_eq!(first(&asked), "leave_to_parent");
        assert!(
            asked
                .diagnose()
                .summary
                .contains("which this very program was started from")
        );
    }

    #[test]
    fn a_healthy_instance_stays_and_what_a_wrapper_left_behind_does_not() {
        let server = running(20, 1, &["web", "--port=1"]);
        let mut orphan = below(server.clone(), &[]);
        std::sync::Arc::make_mut(orphan.identity.as_mut().unwrap()).is_orphan = true;
        let mut stopped = server.clone();
        stopped.halted = Some(Halted::Stopped);
        let caller = running(30, 5, &["web", "--port=2"]);
        let by = |holder: Process| first(&asked_by(caller.clone(), vec![holder]));

        assert_eq!(by(server), "already_running");
        assert_eq!(by(orphan), "stop_holder");
        assert_eq!(by(stopped), "continue_holder");
    }

    #[test]
    fn a_test_of_the_configuration_wants_nothing_stopped() {
        let nginx = |pid, argv: &[&str]| Process {
            exe: Some("/usr/sbin/nginx".into()),
            ..running(pid, 1, argv)
        };
        let scene = asked_by(
            nginx(30, &["nginx", "-t"]),
            vec![
                nginx(20, &["nginx: master process nginx"]),
                Process {
                    ppid: Some(20),
                    ..nginx(21, &["nginx: worker process"])
                },
            ],
        );

        let diagnosis = scene.diagnose();

        assert_eq!(&*diagnosis.fixes[0].id, "already_running");
        assert!(
            diagnosis.fixes[0]
                .text
                .contains("only tests the configuration")
        );
        assert!(
            diagnosis
                .summary
                .contains("web[20] and web[21], whose configuration web[30] tests,"),
            "{}",
            diagnosis.summary
        );
    }

    #[test]
    fn a_stop_command_with_the_servers_options_is_to_go_without_them() {
        let java = |pid, last| {
            let argv = [
                "java",
                "-Dcom.sun.management.jmxremote.port=8080",
                "Main",
                last,
            ];
            Process {
                exe: Some("/usr/bin/java".into()),
                ..running(pid, 1, &argv)
            }
        };

        let diagnosis = asked_by(java(30, "stop"), vec![java(20, "start")]).diagnose();

        assert_eq!(&*diagnosis.fixes[0].id, "leave_out_option");
        assert!(diagnosis.fixes[0].text.contains("jmxremote.port=8080"));
        assert_eq!(
            diagnosis.holders[0].relation,
            Some(RelationName::SameOption)
        );
    }

    #[test]
    fn what_a_supervisor_runs_is_stopped_through_it() {
        let caller = stranger();
        for (supervisor, text) in [
            (Supervisor::Gunicorn, "kill 20; look first"),
            (Supervisor::Uvicorn, "kill 20; look first"),
            (Supervisor::Nodemon, "kill 20; look first"),
            (Supervisor::Flask, "kill 20 22; look first"),
            (Supervisor::Pm2, "pm2 stop ID"),
            (Supervisor::Supervisord, "supervisorctl stop NAME"),
            (Supervisor::Runit, "sv down SERVICE"),
            (Supervisor::S6, "s6-svc -d SERVICE"),
        ] {
            let above = [(21, "sh", None), (20, "x$(y)", Some(supervisor))];
            let worker = below(running(22, 21, &["web"]), &above);

            let diagnosis = asked_by(caller.clone(), vec![worker]).diagnose();

            let fix = &diagnosis.fixes[0];
            assert_eq!(&*fix.id, "stop_parent");
            assert!(fix.text.contains(text), "{}", fix.text);
            // Nothing that a process chose.
            assert_eq!(
                fix.command.as_deref(),
                Some("ps -o pid,ppid,stat,lstart,args -p 20,22")
            );
        }
    }

    #[test]
    fn whoever_is_not_below_the_supervisor_is_not_stopped_through_it() {
        let worker = below(
            running(22, 20, &["web"]),
            &[(20, "gunicorn", Some(Supervisor::Gunicorn))],
        );
        let scene = asked_by(stranger(), vec![worker, running(40, 1, &["other"])]);

        assert_eq!(first(&scene), "stop_holder");
    }

    #[test]
    fn all_that_hold_it_are_in_the_kill_beside_the_look_and_never_the_first_process() {
        let text = |held_by: Vec<Process>| {
            let fixes = asked_by(stranger(), held_by).diagnose().fixes;
            fixes[0].text.clone()
        };

        let both = text(vec![running(22, 1, &["a"]), running(23, 1, &["a"])]);
        assert!(both.ends_with("look first, then kill 22 23"), "{both}");
        let init = text(vec![running(1, 0, &["a"])]);
        assert!(init.ends_with("look first"), "{init}");
        let many = text((100..120).map(|pid| running(pid, 1, &["a"])).collect());
        assert!(many.ends_with("look first"), "{many}");
    }

    #[test]
    fn a_caller_that_was_handed_the_listener_is_not_stopped() {
        let caller = running(21, 20, &["web"]);
        let scene = asked_by(
            caller.clone(),
            vec![running(20, 1, &["web"]), caller.clone()],
        );
        let own = {
            let mut scene = asked_by(running(10, 9, &["web"]), vec![running(10, 9, &["web"])]);
            scene.known[0].owner = Some(running(10, 9, &["web"]).into());
            scene
        };

        let diagnosis = scene.diagnose();

        assert_eq!(&*diagnosis.fixes[0].id, "use_own_socket");
        assert!(diagnosis.fixes.iter().all(|fix| &*fix.id != "stop_holder"));
        assert_eq!(first(&own), "stop_holder");
    }

    #[test]
    fn what_the_parent_starts_again_is_stopped_there() {
        let mut scene = asked_by(running(50, 5, &["x"]), vec![running(22, 20, &["web"])]);
        scene.known[0].predecessor = Some(running(21, 20, &["web"]).into());

        let diagnosis = scene.diagnose();

        assert_eq!(&*diagnosis.fixes[0].id, "stop_parent");
        assert!(
            diagnosis.summary.contains("started it again"),
            "{}",
            diagnosis.summary
        );
    }

    #[test]
    fn a_stopped_holder_is_continued_or_killed() {
        let mut holder = running(22, 20, &["web"]);
        holder.halted = Some(Halted::Stopped);
        let scene = asked_by(running(50, 5, &["x"]), vec![holder]);

        let diagnosis = scene.diagnose();

        assert_eq!(&*diagnosis.fixes[0].id, "continue_holder");
        assert_eq!(
            diagnosis.fixes[0].command.as_deref(),
            Some("ps -o pid,ppid,stat,lstart,args -p 22")
        );
        assert!(
            diagnosis.summary.contains("which is stopped"),
            "{}",
            diagnosis.summary
        );
    }

    #[test]
    fn nobody_is_to_be_stopped_where_no_process_has_the_listener() {
        let mut scene = asked_by(running(50, 5, &["x"]), vec![]);
        let alive = scene.diagnose();
        scene.seen().holders[0].is_opener_gone = true;

        let diagnosis = scene.diagnose();

        // It may have been closed since, or be in a thread of its opener.
        assert_eq!(alive.certainty, crate::event::Certainty::Proven);
        assert_eq!(diagnosis.certainty, crate::event::Certainty::Likely);
        assert!(
            diagnosis
                .missing
                .iter()
                .any(|missing| missing.contains("SCM_RIGHTS"))
        );
        assert!(
            diagnosis
                .fixes
                .iter()
                .all(|fix| fix.command.as_deref().is_none_or(|c| !c.contains("-p 10")))
        );
    }
}
