//! Whoever holds a port on behalf of another is not the one to stop: a
//! container's proxy, systemd, a process inside a container.

use crate::event::{Applies, Fix, Process};

use super::facts::Facts;
use super::fixes::fix;
use super::stop::Unit;
use super::text;

/// Stopping the one that the port is held for; `None`: for nobody else.
pub(super) fn stop_principal(facts: &Facts<'_>, people: &[&Process]) -> Option<Fix> {
    let first = people.first()?;
    people
        .iter()
        .find_map(|holder| stop_agent(facts, holder, people))
        .or_else(|| {
            let is_one_container = people.iter().all(|p| p.container == first.container)
                && facts.call().process.container != first.container;
            is_one_container.then(|| stop_container(first)).flatten()
        })
}

/// For processes that hold ports on behalf of others by trade.
fn stop_agent(facts: &Facts<'_>, holder: &Process, all: &[&Process]) -> Option<Fix> {
    let name = text::process(holder);
    match &*holder.comm {
        "systemd" => Some(stop_socket_unit(facts, holder, all)),
        "docker-proxy" => {
            let target = proxied(holder).map_or(String::new(), |target| {
                format!(" ({})", text::safe(&target))
            });
            Some(
                fix(
                    "stop_holder",
                    Applies::Now,
                    format!(
                        "Find the container{target} that {name} publishes the port for, and stop \
                         that one"
                    ),
                )
                .command(format!("docker ps --filter publish={}", facts.port))
                .why("Docker starts the proxy again as long as the container runs"),
            )
        }
        "rootlessport" | "rootlessport-ch" => Some(
            fix(
                "stop_holder",
                Applies::Now,
                format!("Find the container that {name} publishes the port for, and stop that one"),
            )
            .command("podman port --all"),
        ),
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
    let is_user = manager.uid != 0;
    let systemctl = if is_user {
        "systemctl --user"
    } else {
        "systemctl"
    };
    // The service that it hands the socket to is named as the unit mostly.
    let service = all
        .iter()
        .copied()
        .chain([&*facts.call().process])
        .find_map(Unit::of)
        .map_or("NAME".to_owned(), |unit| unit.stem().to_owned());
    fix(
        "stop_holder",
        Applies::Now,
        format!(
            "Find the socket unit that {} listens for, {service}.socket as a rule, and stop it: {systemctl} stop {service}.socket",
            text::process(manager)
        ),
    )
    .command(format!(
        "{systemctl} list-sockets --all | grep -w {}",
        facts.port
    ))
    .why(
        "systemd opens the sockets of .socket units itself and keeps them while services restart; \
         a service of such a unit has to use the socket that it is handed (LISTEN_FDS) and not bind \
         its own",
    )
}

/// With the tool of the container's runtime.
fn stop_container(holder: &Process) -> Option<Fix> {
    let id = text::shell_word(&text::container(holder)?)?;
    let name = text::process(holder);
    let runtime = holder.runtime.as_deref().unwrap_or_default();
    let cgroup = holder.cgroup.as_deref().unwrap_or_default();
    if cgroup.contains("kubepods") || matches!(runtime, "kubernetes" | "cri-o") {
        let text = format!(
            "Find the pod that {name} runs in, and delete or move it, if it should not have the port"
        );
        return Some(
            fix("stop_holder", Applies::Now, text)
                .command(format!("crictl ps --id {id}"))
                .why("Kubernetes starts the container again as long as its pod is there"),
        );
    }
    let stop = match runtime {
        "docker" => "docker stop",
        "podman" => "podman stop",
        "containerd" => "nerdctl stop",
        "lxc" => "lxc-stop -n",
        "systemd-nspawn" => "machinectl stop",
        _ => return None,
    };
    let text = format!("Stop the container that {name} runs in, if it should not have the port");
    Some(fix("stop_holder", Applies::Now, text).command(format!("{stop} {id}")))
}

#[cfg(test)]
mod tests {
    use crate::diagnosis::Origin;
    use crate::diagnosis::test_support::{PLAIN, Scene, holder, owned};
    use crate::event::State;

    #[test]
    fn whoever_holds_a_port_for_another_is_not_to_be_stopped() {
        for (pid, comm, command) in [
            (1, "systemd", "systemctl list-sockets --all | grep -w 8080"),
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
}
