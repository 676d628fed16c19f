//! Advice to stop whoever holds a port: with the tool that manages it, and
//! only after a look.

use crate::event::{Applies, Fix, Process};

use super::facts::Facts;
use super::fixes::{fix, in_netns};
use super::roles::{Blocker, Role};
use super::{principals, text};

/// Stopping whoever has the blockers open.
pub(super) fn stop_holder(facts: &Facts<'_>, blockers: &[&Blocker<'_>]) -> Fix {
    let people: Vec<&Process> = blockers.iter().flat_map(|b| b.people()).collect();
    let stop = |text: String| fix("stop_holder", Applies::Now, text);
    let Some(first) = people.first() else {
        return stop(format!(
            "Find out which process holds port {} and stop it",
            facts.port
        ))
        .command(in_netns(facts, format!("ss -tanp sport = :{}", facts.port)))
        .why("its process could not be seen: it may be in another container or belong to another user");
    };
    if people.iter().any(|process| process.is_kernel()) {
        return fix(
            "stop_holder",
            Applies::Now,
            "Find out what made the kernel open the port, and take it back there",
        )
        .command(in_netns(facts, "ip mptcp endpoint show".to_owned()))
        .why("the socket is the kernel's own: an MPTCP endpoint with a port, an NFS server or client, another kernel service; no process can be stopped");
    }
    let caller = &facts.call().process;
    let names = text::processes(people.iter().copied()).unwrap_or_default();
    if people.iter().all(|process| process.pid == caller.pid) {
        return stop(format!(
            "Close the other socket in {names} before the {}",
            facts.verb()
        ));
    }
    if let Some(fix) = principals::stop_principal(facts, &people) {
        return fix;
    }
    let is_leak = blockers.iter().all(|b| b.role == Role::CloseWait);
    let unless = unless(blockers, &people);
    let unit = Unit::of(first).filter(|_| people.iter().all(|p| Unit::of(p) == Unit::of(first)));
    match unit {
        // A stopped unit takes all of its processes with it.
        Some(unit) if Unit::of(caller).as_ref() == Some(&unit) => stop(format!(
            "Restart the whole service, so that {names} ends with it"
        ))
        .command(unit.systemctl("restart"))
        .why("it is the same service, with a process left over"),
        Some(unit) if is_leak => stop(format!("Restart {names}, which closes the connections"))
            .command(unit.systemctl("restart")),
        Some(unit) => stop(format!("Stop {names} {unless}")).command(unit.systemctl("stop")),
        None if is_leak => stop(format!(
            "Restart {names}{}, which closes the connections",
            started_by(&people)
        ))
        .command(look(&people)),
        None => stop(format!(
            "Stop {names}{} {unless}; look first",
            started_by(&people)
        ))
        .command(look(&people)),
    }
}

/// When it may be stopped.
fn unless(blockers: &[&Blocker<'_>], people: &[&Process]) -> &'static str {
    let wants_the_port = blockers
        .iter()
        .any(|b| matches!(b.role, Role::Listener | Role::Bound));
    match (wants_the_port, pids(people).as_slice()) {
        (true, [_]) => "if it should not have the port",
        (true, _) => "if they should not have the port",
        (false, [_]) => "if it can be spared",
        (false, _) => "if they can be spared",
    }
}

/// Shows what the processes are.
fn look(people: &[&Process]) -> String {
    let pids: Vec<String> = pids(people).iter().map(u32::to_string).collect();
    format!("ps -o pid,ppid,lstart,args -p {}", pids.join(","))
}

fn pids(people: &[&Process]) -> Vec<u32> {
    let mut pids: Vec<u32> = people.iter().map(|process| process.pid).collect();
    pids.sort_unstable();
    pids.dedup();
    pids
}

/// ` (started by sh[4711])`, where all were started by one.
fn started_by(people: &[&Process]) -> String {
    let Some(process) = people.first() else {
        return String::new();
    };
    if people.iter().any(|other| other.ppid != process.ppid) {
        return String::new();
    }
    match (process.parent.as_deref(), process.ppid) {
        // Whoever started it has ended.
        (_, None | Some(1)) => String::new(),
        (Some(parent), Some(ppid)) => format!(" (started by {}[{ppid}])", text::safe(parent)),
        (None, Some(ppid)) => format!(" (started by process {ppid})"),
    }
}

/// A systemd service.
#[derive(PartialEq, Eq)]
pub(super) struct Unit {
    word: String,
    is_user: bool,
}

impl Unit {
    pub(super) fn of(process: &Process) -> Option<Self> {
        let cgroup = process.cgroup.as_deref()?;
        let name = cgroup.rsplit('/').find(|part| part.ends_with(".service"))?;
        // `user@1000.service` is the user's manager, not a service of his.
        if name.starts_with("user@") {
            return None;
        }
        Some(Self {
            word: text::shell_word(name)?,
            is_user: cgroup.contains("/user@"),
        })
    }

    /// The name without `.service`.
    pub(super) fn stem(&self) -> &str {
        self.word.trim_end_matches(".service")
    }

    pub(super) fn systemctl(&self, verb: &str) -> String {
        let user = if self.is_user { " --user" } else { "" };
        format!("systemctl{user} {verb} {}", self.word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnosis::Origin;
    use crate::diagnosis::test_support::{PLAIN, Scene, holder, owned, process};
    use crate::event::State;

    #[test]
    fn a_unit_is_read_from_the_cgroup_and_quoted() {
        let command = |cgroup: &str| {
            let mut process = process(1, "x");
            process.cgroup = Some(cgroup.into());
            Unit::of(&process).map(|unit| unit.systemctl("stop"))
        };

        assert_eq!(
            command("/system.slice/nginx.service").as_deref(),
            Some("systemctl stop nginx.service")
        );
        assert_eq!(
            command("/user.slice/user-1000.slice/user@1000.service/app.slice/web.service")
                .as_deref(),
            Some("systemctl --user stop web.service")
        );
        assert_eq!(
            command("/system.slice/a\\x2db.service").as_deref(),
            Some("systemctl stop 'a\\x2db.service'")
        );
        assert_eq!(command("/user.slice/user@1000.service/init.scope"), None);
        assert_eq!(command("/user.slice/session-3.scope"), None);
        assert_eq!(command("/system.slice/a\nb.service"), None);
    }

    #[test]
    fn a_process_left_over_from_the_same_service_ends_with_it() {
        let unit = |pid, comm| {
            let mut process = process(pid, comm);
            process.cgroup = Some("/system.slice/web.service".into());
            process
        };
        let mut old = owned(10, "web", Origin::Listener);
        old.owner = Some(unit(10, "web").into());
        let mut scene =
            Scene::bind("0.0.0.0", 8080).with(holder(State::Listen, "0.0.0.0", 8080, PLAIN), old);

        let stop = scene.diagnose().fixes[0].command.clone();
        scene.call.process = unit(11, "web").into();
        let restart = scene.diagnose().fixes[0].command.clone();

        assert_eq!(stop.as_deref(), Some("systemctl stop web.service"));
        assert_eq!(restart.as_deref(), Some("systemctl restart web.service"));
    }
}
