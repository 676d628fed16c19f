//! Whoever holds a port on behalf of another is not the one to stop: a
//! container's proxy, systemd, a process inside a container.
//!
//! A name that a process gave itself proves nothing: only root's processes and
//! root's control groups are taken at their word.

use crate::event::{Applies, Fix, Process};

use super::command::{Command, ContainerName, ContainerTool};
use super::facts::Facts;
use super::fixes::fix;
use super::service::Service;
use super::supervisors::{self, Stop};
use super::text;

/// Digits of a container's id that its tools show.
const SHORT_ID: usize = 12;

/// Whom the port is held for.
#[derive(Debug)]
pub(super) enum Manager {
    /// Somebody has to be found first: the container of a proxy, a socket unit, a pod.
    ToBeFound(Fix),
    /// A container that root made.
    Container(ContainerTool, ContainerName),
}

impl Manager {
    /// The one that all these processes hold it for; `None`: for nobody else.
    pub(super) fn of(facts: &Facts<'_>, processes: &[&Process]) -> Option<Self> {
        let first = processes.first()?;
        if let Some(id) = monitored_by_all(processes) {
            return Some(Self::Container(ContainerTool::Podman, id));
        }
        let agent = processes
            .iter()
            .find_map(|holder| stop_agent(facts, holder, processes));
        if let Some(fix) = agent {
            return Some(Self::ToBeFound(fix));
        }
        // Before whoever starts it again in there, whom nobody outside can talk to.
        let is_one_container = processes.iter().all(|p| is_of_container(p, first))
            && facts.call().process.container != first.container;
        let container = is_one_container.then(|| container_of(facts, first));
        if let Some(container) = container.flatten() {
            return Some(container);
        }
        match supervisors::stop(facts, processes) {
            Some((Stop::Verb { .. }, fix)) => Some(Self::ToBeFound(fix)),
            _ => None,
        }
    }
}

/// The container that these processes of root's keep, and whose published ports they hold for
/// it: `conmon -c ID` of podman.
fn monitored_by_all(processes: &[&Process]) -> Option<ContainerName> {
    let mut ids = processes.iter().map(|process| monitored(process));
    let first = ids.next()??;
    ids.all(|id| id.as_ref() == Some(&first)).then_some(first)
}

/// CRI-O has one for each of its containers too, and holds no port with it.
fn monitored(process: &Process) -> Option<ContainerName> {
    if &*process.comm != "conmon" || process.uid != 0 {
        return None;
    }
    let words = process.argv.as_deref()?;
    let at = words
        .iter()
        .position(|word| word == "-c" || word == "--cid")?;
    let id = words.get(at + 1)?;
    let is_id = id.len() == 64 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    let short = is_id.then(|| id.get(..SHORT_ID)).flatten()?;
    ContainerName::parse(short)
}

/// Of these, whether they are in the container, or hold its ports for it from outside.
pub(super) fn part_in_container(processes: &[&Process]) -> String {
    let names = text::names(processes.iter().copied()).unwrap_or_default();
    let is_one = processes
        .iter()
        .all(|process| Some(process.pid) == processes.first().map(|first| first.pid));
    match (monitored_by_all(processes).is_some(), is_one) {
        (true, _) => format!("{names} publishes the port for"),
        (false, true) => format!("{names} runs in"),
        (false, false) => format!("{names} run in"),
    }
}

/// Stopping the one that the port is held for; `None`: for nobody else.
pub(super) fn stop_manager(facts: &Facts<'_>, processes: &[&Process]) -> Option<Vec<Fix>> {
    Some(match Manager::of(facts, processes)? {
        Manager::ToBeFound(fix) => vec![fix],
        Manager::Container(tool, id) => stop_container(facts, processes, tool, &id),
    })
}

/// Whether it runs in the container of the other one, which root made.
fn is_of_container(process: &Process, other: &Process) -> bool {
    process.container_uid == Some(0)
        && process.container.is_some()
        && process.container == other.container
}

/// For processes of root that hold ports on behalf of others by trade.
fn stop_agent(facts: &Facts<'_>, holder: &Process, all: &[&Process]) -> Option<Fix> {
    let name = text::process(holder);
    let stop = |text: String| fix("stop_holder", Applies::Now, text);
    match &*holder.comm {
        "systemd" if holder.pid == 1 => Some(stop_socket_unit(facts, holder, all)),
        "docker-proxy" if holder.uid == 0 => {
            let target = proxied(holder).map_or(String::new(), |target| {
                format!(" ({})", text::safe(&target))
            });
            Some(
                stop(format!(
                    "Find the container{target} that {name} publishes the port for, and stop \
                     that one"
                ))
                .run(
                    facts,
                    &Command::list_publishing_containers(ContainerTool::Docker, facts.port),
                )
                .because("Docker starts the proxy again as long as the container runs"),
            )
        }
        // Where it is told to do without the proxy, the daemon itself has the port.
        "dockerd" if holder.uid == 0 => Some(
            stop(format!(
                "Find the container that {name} publishes the port for, and stop that one"
            ))
            .run(
                facts,
                &Command::list_publishing_containers(ContainerTool::Docker, facts.port),
            )
            .because(
                "dockerd looks after all containers; if none is listed, the port is one that it is \
                 to be reached on itself",
            ),
        ),
        "rootlessport" | "rootlessport-ch" => {
            let stop = stop(format!(
                "Find the container that {name} publishes the port for, and stop that one"
            ))
            .run(
                facts,
                &Command::list_publishing_containers(ContainerTool::Podman, facts.port),
            );
            Some(if holder.uid == 0 {
                stop
            } else {
                stop.because(format!("as user {}, whose container it is", holder.uid))
            })
        }
        _ => None,
    }
}

/// `172.17.0.2:80`, from the arguments of a container's proxy.
fn proxied(proxy: &Process) -> Option<String> {
    let argv = proxy.argv.as_deref()?;
    let value = |name: &str| {
        let at = argv.iter().position(|word| word == name)?;
        argv.get(at + 1)
    };
    Some(format!(
        "{}:{}",
        value("-container-ip")?,
        value("-container-port")?
    ))
}

/// systemd keeps the sockets of `.socket` units itself while services come
/// and go.
fn stop_socket_unit(facts: &Facts<'_>, manager: &Process, all: &[&Process]) -> Fix {
    // The service that it hands the socket to is named as the unit mostly.
    let caller: &Process = &facts.call().process;
    let service = all
        .iter()
        .copied()
        .chain([caller])
        .find_map(|process| Service::of(&[process]));
    let guess = service.map_or(String::new(), |service| {
        format!(", {}.socket as a rule", service.stem())
    });
    fix(
        "stop_holder",
        Applies::Now,
        format!(
            "Find the socket unit that {} listens for{guess}, and stop it with systemctl stop",
            text::process(manager)
        ),
    )
    .run(facts, &Command::list_socket_units(facts.port))
    .because(
        "systemd opens the sockets of .socket units itself and keeps them while services restart; \
         a service of such a unit has to use the socket that it is handed (LISTEN_FDS) and not bind \
         its own",
    )
}

/// Of a container that root made.
fn container_of(facts: &Facts<'_>, holder: &Process) -> Option<Manager> {
    let id = ContainerName::parse(&text::container_id(holder)?)?;
    let name = text::process(holder);
    let runtime = holder.runtime.as_deref().unwrap_or_default();
    let cgroup = holder.cgroup.as_deref().unwrap_or_default();
    if cgroup.contains("kubepods") || matches!(runtime, "kubernetes" | "cri-o") {
        let text = format!(
            "Find the pod that {name} runs in, and delete or move it, if it should not have the port"
        );
        return Some(Manager::ToBeFound(
            fix("stop_holder", Applies::Now, text)
                .run(facts, &Command::show_pod_of(&id))
                .because("Kubernetes starts the container again as long as its pod is there"),
        ));
    }
    let tool = ContainerTool::of_runtime(runtime)?;
    Some(Manager::Container(tool, id))
}

/// With the tool of the container's runtime.
fn stop_container(
    facts: &Facts<'_>,
    processes: &[&Process],
    tool: ContainerTool,
    id: &ContainerName,
) -> Vec<Fix> {
    let names = text::names(processes.iter().copied()).unwrap_or_default();
    let are_its = match (monitored_by_all(processes).is_some(), processes.len()) {
        (true, _) => format!("{names} is the parent of the process that this prints"),
        (false, 1) => format!("{names} is the process that this prints, or descends from it"),
        (false, _) => format!("{names} are the process that this prints, or descend from it"),
    };
    let part = part_in_container(processes);
    let check = fix(
        "look_at_holder",
        Applies::Now,
        format!("Look first which container that is: it is the right one if {are_its}"),
    )
    .run(facts, &Command::show_container(tool, id));
    let stop = fix(
        "stop_holder",
        Applies::Now,
        format!(
            "Stop the container {} that {part}, if it should not have the port",
            id.as_str()
        ),
    )
    .run(facts, &Command::stop_container(tool, id));
    vec![check, stop]
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use crate::diagnosis::KnownHolder;
    use crate::diagnosis::test_support::{Fixture, PLAIN, holder, process};
    use crate::event::{Diagnosis, Effect, Process, State};

    fn held_by(holding: Process) -> Diagnosis {
        let mut listener = holder(State::Listen, "0.0.0.0", 8080, PLAIN);
        listener.processes = Some(vec![Arc::new(holding)]);
        Fixture::bind("0.0.0.0", 8080)
            .with(listener, KnownHolder::default())
            .diagnose()
    }

    fn in_container(runtime: &str, id: &str, made_by: Option<u32>) -> Process {
        Process {
            container: Some(id.into()),
            runtime: Some(runtime.into()),
            container_uid: made_by,
            ..process(4711, "python3")
        }
    }

    #[test]
    fn whoever_holds_a_port_for_another_is_not_to_be_stopped() {
        for (pid, comm, command) in [
            (1, "systemd", "systemctl list-sockets --all | grep -w 8080"),
            (77, "docker-proxy", "docker ps --filter publish=8080"),
            (78, "dockerd", "docker ps --filter publish=8080"),
        ] {
            let diagnosis = held_by(process(pid, comm));

            assert_eq!(diagnosis.fixes[0].command.as_deref(), Some(command));
        }
    }

    #[test]
    fn a_name_that_a_user_gave_himself_is_not_believed() {
        for (pid, comm) in [
            (900_001, "systemd"),
            (77, "docker-proxy"),
            (78, "dockerd"),
            (79, "conmon"),
        ] {
            let mut forged = conmon(pid, &"4f".repeat(32));
            (forged.uid, forged.comm) = (1000, comm.into());

            let diagnosis = held_by(forged);

            let command = diagnosis.fixes[0].command.as_deref().unwrap();
            assert!(command.starts_with("ps -o"), "{command}");
        }
    }

    fn conmon(pid: u32, id: &str) -> Process {
        let words = ["/usr/bin/conmon", "--api-version", "1", "-c", id];
        Process {
            argv: Some(words.map(str::to_owned).to_vec().into()),
            ..process(pid, "conmon")
        }
    }

    #[test]
    fn a_port_that_conmon_holds_is_its_containers() {
        let diagnosis = held_by(conmon(79, &"4f".repeat(32)));

        let commands: Vec<_> = diagnosis.fixes[..2]
            .iter()
            .map(|fix| (fix.text.clone(), fix.command.clone().unwrap()))
            .collect();
        assert!(
            commands[0].0.contains("conmon[79] is the parent of"),
            "{commands:?}"
        );
        assert!(
            commands[1]
                .0
                .contains("that conmon[79] publishes the port for")
        );
        assert_eq!(commands[1].1, "podman stop 4f4f4f4f4f4f");
        for id in ["--all", "4f", ""] {
            let odd = held_by(conmon(79, id));
            let command = odd.fixes[0].command.as_deref().unwrap();
            assert!(command.starts_with("ps -o"), "{command}");
        }
    }

    #[test]
    fn a_container_comes_before_who_starts_it_again_in_there() {
        use crate::event::{Ancestor, Identity, Supervisor};
        let id = "4f".repeat(32);
        let pm2 = Ancestor {
            pid: 70,
            comm: "node".into(),
            supervisor: Some(Supervisor::Pm2),
        };
        let identity = Identity {
            ancestors: vec![pm2],
            ..Identity::default()
        };
        let of = |made_by| Process {
            identity: Some(identity.clone().into()),
            ..in_container("docker", &id, made_by)
        };

        let text = |made_by| held_by(of(made_by)).fixes[0].text.clone();

        assert!(
            text(Some(0)).contains("which container"),
            "{}",
            text(Some(0))
        );
        assert!(text(None).contains("pm2 stop"), "{}", text(None));
    }

    #[test]
    fn a_container_that_root_made_is_looked_at_and_then_stopped() {
        let id = "4f".repeat(32);

        let diagnosis = held_by(in_container("docker", &id, Some(0)));

        assert_eq!(
            diagnosis.fixes[0].command.as_deref(),
            Some("docker inspect --format '{{.Name}} {{.State.Pid}}' 4f4f4f4f4f4f")
        );
        assert_eq!(
            diagnosis.fixes[1].command.as_deref(),
            Some("docker stop 4f4f4f4f4f4f")
        );
        assert_eq!(diagnosis.fixes[1].effect, Some(Effect::Destroys));
    }

    #[test]
    fn a_container_that_a_user_made_up_is_only_what_its_process_calls_itself() {
        let id = "4f".repeat(32);
        for made_by in [Some(1000), None] {
            let diagnosis = held_by(in_container("docker", &id, made_by));

            let commands: Vec<&str> = diagnosis
                .fixes
                .iter()
                .filter_map(|fix| fix.command.as_deref())
                .collect();
            assert!(
                !commands.iter().any(|line| line.contains("docker")),
                "{commands:?}"
            );
        }
        let forged = held_by(in_container("docker", &id, Some(1000)));
        assert!(
            forged
                .summary
                .contains("python3[4711] (calls itself container 4f4f4f4f4f4f)"),
            "{}",
            forged.summary
        );
        let hostile = held_by(in_container("systemd-nspawn", "--all", Some(0)));
        assert!(
            hostile.fixes[0]
                .command
                .as_deref()
                .unwrap()
                .starts_with("ps -o")
        );
    }
}
