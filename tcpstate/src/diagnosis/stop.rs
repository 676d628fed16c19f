//! Advice to stop whoever holds a port: with the tool that manages it, and
//! only after a look.

use crate::event::{Applies, Fix, Process};

use super::facts::Facts;
use super::fixes::{fix, in_netns};
use super::roles::Blocker;
use super::text;

/// Stopping whoever has the blockers open.
pub(super) fn stop_holder(facts: &Facts<'_>, blockers: &[&Blocker<'_>]) -> Fix {
    let people: Vec<&Process> = blockers.iter().flat_map(|b| b.people()).collect();
    let Some(first) = people.first() else {
        return fix(
            "stop_holder",
            Applies::Now,
            format!("Find out which process holds port {} and stop it", facts.port),
        )
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
        return fix(
            "stop_holder",
            Applies::Now,
            format!(
                "Close the other socket in {names} before the {}",
                facts.verb()
            ),
        );
    }
    if let Some(fix) = stop_principal(facts, first) {
        return fix;
    }
    let own_unit = Unit::of(caller);
    match Unit::of(first).filter(|_| people.iter().all(|p| Unit::of(p) == Unit::of(first))) {
        // A stopped unit takes all of its processes with it.
        Some(unit) if own_unit.as_ref() == Some(&unit) => fix(
            "stop_holder",
            Applies::Now,
            format!("Restart the whole service, so that {names} ends with it"),
        )
        .command(unit.systemctl("restart"))
        .why("it is the same service, with a process left over"),
        Some(unit) => fix(
            "stop_holder",
            Applies::Now,
            format!("Stop {names} if it should not have the port"),
        )
        .command(unit.systemctl("stop")),
        None => {
            let mut pids: Vec<u32> = people.iter().map(|process| process.pid).collect();
            pids.sort_unstable();
            pids.dedup();
            let pids: Vec<String> = pids.iter().map(u32::to_string).collect();
            let container = first.container.as_deref().map(text::safe);
            let runtime = first
                .runtime
                .as_deref()
                .map_or(String::new(), |runtime| format!("{} ", text::safe(runtime)));
            let place =
                container.map_or(String::new(), |id| format!(" (in {runtime}container {id})"));
            let stop = if pids.len() == 1 {
                "if it should not have the port, stop it the way it was started"
            } else {
                "if they should not have the port, stop them the way they were started"
            };
            fix(
                "stop_holder",
                Applies::Now,
                format!("Look at {names}{place} and, {stop}"),
            )
            .command(format!("ps -o pid,ppid,lstart,args -p {}", pids.join(",")))
        }
    }
}

/// For processes that hold a port on behalf of another.
fn stop_principal(facts: &Facts<'_>, holder: &Process) -> Option<Fix> {
    let name = text::process(holder);
    match &*holder.comm {
        "systemd" => Some(
            fix(
                "stop_holder",
                Applies::Now,
                format!("Find the socket unit that {name} listens for, and stop that one"),
            )
            .command("systemctl list-sockets --all")
            .why("systemd opens the sockets of .socket units itself and keeps them while services restart"),
        ),
        "docker-proxy" => Some(
            fix(
                "stop_holder",
                Applies::Now,
                format!("Find the container that {name} publishes the port for, and stop that one"),
            )
            .command(format!("docker ps --filter publish={}", facts.port)),
        ),
        _ => None,
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
    fn whoever_holds_a_port_for_another_is_not_to_be_stopped() {
        for (pid, comm, command) in [
            (1, "systemd", "systemctl list-sockets --all"),
            (77, "docker-proxy", "docker ps --filter publish=8080"),
        ] {
            let diagnosis = Scene::bind("0.0.0.0", 8080)
                .with(
                    holder(State::Listen, "0.0.0.0", 8080, PLAIN),
                    owned(pid, comm, Origin::Listener),
                )
                .diagnose();

            assert_eq!(diagnosis.fixes[0].command.as_deref(), Some(command));
        }
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
