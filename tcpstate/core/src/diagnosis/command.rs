//! Every command that advice prints, from typed arguments.
//!
//! Nothing else makes one: which program, which options, how a word is quoted,
//! which are refused, and where the line has to run stand here alone. No shell is
//! used where one program serves.

mod netns;
mod word;

use super::facts::Facts;
use crate::event::{Effect, Endpoint, Family, Reuse, State};

pub(super) use netns::CommandNetns;
pub(super) use word::{AbsolutePath, ContainerName, PortList, UnitName};

/// A program with its arguments, and what running it does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Command {
    /// Quoted, with blanks between.
    words: String,
    /// As a program takes them; none where the line needs a shell.
    arguments: Vec<String>,
    effect: Effect,
    is_of_netns: bool,
}

/// A setting of a network namespace, with the value that it is to have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Setting {
    /// `net.ipv4.ip_local_reserved_ports`.
    ReservedPorts(PortList),
    /// `net.ipv4.ip_local_port_range`, first and last.
    PortRange([u16; 2]),
    /// `net.ipv4.ip_unprivileged_port_start`.
    UnprivilegedPortStart(u16),
    /// `net.*.ip_nonlocal_bind`, on.
    NonlocalBind(Family),
    /// `net.ipv6.bindv6only`, on.
    BindV6Only,
    /// `net.ipv4.tcp_tw_reuse`, on.
    TwReuse,
    /// `net.ipv6.conf.all.disable_ipv6`, off.
    EnableIpv6,
}

/// Sockets that are to be destroyed: those in one of the states for which one of
/// the terms holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Selection {
    pub(super) states: Vec<State>,
    pub(super) terms: Vec<Term>,
}

/// One connection, or all of one local address and port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Term {
    pub(super) local: Endpoint,
    /// Absent: every peer.
    pub(super) peer: Option<Endpoint>,
    /// Interface index of `SO_BINDTODEVICE`; 0: no device.
    pub(super) device: u32,
}

/// A socket that `tcpstate wait` is to wait for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wait {
    pub(super) port: u16,
    /// Absent: every address.
    pub(super) addr: Option<std::net::IpAddr>,
    pub(super) is_ipv6: bool,
    pub(super) reuse: Reuse,
    pub(super) uid: Option<u32>,
    pub(super) timeout_s: Option<u64>,
}

/// A manager of containers that can be asked about one and told to stop it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ContainerTool {
    Docker,
    Podman,
    Nerdctl,
    Lxc,
    Machinectl,
}

impl Command {
    fn new<'w>(effect: Effect, words: impl IntoIterator<Item = &'w str>) -> Self {
        let arguments: Vec<String> = words.into_iter().map(str::to_owned).collect();
        let words: Vec<String> = arguments.iter().map(|word| word::quote(word)).collect();
        Self {
            words: words.join(" "),
            arguments,
            effect,
            is_of_netns: false,
        }
    }

    /// Acts on the network namespace that it runs in.
    fn of_netns(self) -> Self {
        Self {
            is_of_netns: true,
            ..self
        }
    }

    /// What running it does.
    pub(super) fn effect(&self) -> Effect {
        self.effect
    }

    /// The program and its arguments, to be run without a shell, where the network
    /// namespace does not matter.
    pub(super) fn into_arguments(self) -> Vec<String> {
        self.arguments
    }

    /// The line to paste; `None`: the network namespace that it belongs into is
    /// not known.
    pub(super) fn line(&self, facts: &Facts<'_>) -> Option<String> {
        if self.is_of_netns {
            CommandNetns::of(facts).line(&self.words, self.effect)
        } else {
            Some(self.words.clone())
        }
    }

    /// All sockets of a port, with their processes.
    pub(super) fn list_sockets(port: u16) -> Self {
        let port = format!(":{port}");
        Self::new(Effect::Reads, ["ss", "-Htanp", "sport", "=", &port]).of_netns()
    }

    /// All sockets.
    pub(super) fn list_all_sockets() -> Self {
        Self::new(Effect::Reads, ["ss", "-tan"]).of_netns()
    }

    /// `SOCK_DESTROY` for the selection.
    pub(super) fn destroy_sockets(selection: &Selection) -> Self {
        let mut words = vec!["ss".to_owned(), "-Kt".to_owned()];
        for state in &selection.states {
            words.push("state".to_owned());
            words.push(ss_state(*state).to_owned());
        }
        match selection.terms.as_slice() {
            [only] => words.extend(only.words()),
            // One word: a parenthesis is the shell's.
            all => {
                let all: Vec<String> = all
                    .iter()
                    .map(|term| format!("( {} )", term.words().join(" ")))
                    .collect();
                words.push(all.join(" or "));
            }
        }
        Self::new(Effect::Destroys, words.iter().map(String::as_str)).of_netns()
    }

    /// Waits until a socket could be bound and listen.
    pub(super) fn wait(wait: &Wait, facts: &Facts<'_>) -> Self {
        let mut words = vec![
            "tcpstate".to_owned(),
            "wait".to_owned(),
            wait.port.to_string(),
        ];
        let mut option = |name: &str, value: Option<String>| {
            if let Some(value) = value {
                words.push(name.to_owned());
                words.push(value);
            }
        };
        option("--netns", CommandNetns::of(facts).argument());
        option("--addr", wait.addr.map(|addr| addr.to_string()));
        let Reuse {
            reuseaddr,
            reuseport,
            v6only,
        } = wait.reuse;
        for (is_set, name) in [
            (wait.is_ipv6, "--ipv6"),
            (wait.is_ipv6 && v6only, "--v6only"),
            (reuseaddr, "--reuseaddr"),
            (reuseport, "--reuseport"),
        ] {
            if is_set {
                words.push(name.to_owned());
            }
        }
        for (name, value) in [
            ("--uid", wait.uid.map(|uid| uid.to_string())),
            ("--timeout", wait.timeout_s.map(|s| format!("{s}s"))),
        ] {
            if let Some(value) = value {
                words.push(name.to_owned());
                words.push(value);
            }
        }
        Self::new(Effect::Reads, words.iter().map(String::as_str))
    }

    /// Changes a setting of the namespace.
    pub(super) fn set(setting: &Setting) -> Self {
        let value = match setting {
            Setting::ReservedPorts(list) => list.as_str().to_owned(),
            Setting::PortRange([first, last]) => format!("{first} {last}"),
            Setting::UnprivilegedPortStart(port) => port.to_string(),
            Setting::NonlocalBind(_) | Setting::BindV6Only | Setting::TwReuse => "1".to_owned(),
            Setting::EnableIpv6 => "0".to_owned(),
        };
        let assignment = format!("{}={value}", setting.key());
        Self::new(Effect::Changes, ["sysctl", "-w", &assignment]).of_netns()
    }

    /// Shows a setting of the namespace.
    pub(super) fn show_port_range() -> Self {
        Self::new(Effect::Reads, ["sysctl", "net.ipv4.ip_local_port_range"]).of_netns()
    }

    /// Shows the ports that are reserved.
    pub(super) fn show_reserved_ports() -> Self {
        Self::new(
            Effect::Reads,
            ["sysctl", "net.ipv4.ip_local_reserved_ports"],
        )
        .of_netns()
    }

    /// The addresses of the namespace.
    pub(super) fn list_addresses() -> Self {
        Self::new(Effect::Reads, ["ip", "-brief", "address"]).of_netns()
    }

    /// The IPv6 addresses of the namespace, with the flags that keep them from being used.
    pub(super) fn list_ipv6_addresses() -> Self {
        Self::new(Effect::Reads, ["ip", "-6", "address", "show"]).of_netns()
    }

    /// The MPTCP endpoints of the namespace.
    pub(super) fn list_mptcp_endpoints() -> Self {
        Self::new(Effect::Reads, ["ip", "mptcp", "endpoint", "show"]).of_netns()
    }

    /// The firewall's rules of the namespace.
    pub(super) fn list_firewall_rules() -> Self {
        Self::new(Effect::Reads, ["nft", "list", "ruleset"]).of_netns()
    }

    /// What security modules have refused.
    pub(super) fn search_audit_log() -> Self {
        Self::new(
            Effect::Reads,
            ["ausearch", "-m", "avc,apparmor", "-ts", "recent"],
        )
    }

    /// The BPF programs of all control groups.
    pub(super) fn list_cgroup_programs() -> Self {
        Self::new(Effect::Reads, ["bpftool", "cgroup", "tree"])
    }

    /// The manual of a system call.
    pub(super) fn manual(call: &'static str) -> Self {
        Self::new(Effect::Reads, ["man", "2", call])
    }

    /// Who these processes are, and since when.
    pub(super) fn show_processes(pids: &[u32]) -> Self {
        let pids: Vec<String> = pids.iter().map(u32::to_string).collect();
        let list = pids.join(",");
        Self::new(
            Effect::Reads,
            ["ps", "-o", "pid,ppid,stat,lstart,args", "-p", &list],
        )
    }

    /// The unit that a process is in, as the service manager has it.
    pub(super) fn show_unit_of(pid: u32) -> Self {
        Self::new(Effect::Reads, ["systemctl", "status", &pid.to_string()])
    }

    /// Stops a service with all of its processes.
    pub(super) fn stop_unit(unit: &UnitName) -> Self {
        Self::new(Effect::Destroys, ["systemctl", "stop", unit.as_str()])
    }

    /// Stops a service with all of its processes, and starts it.
    pub(super) fn restart_unit(unit: &UnitName) -> Self {
        Self::new(Effect::Destroys, ["systemctl", "restart", unit.as_str()])
    }

    /// Opens the settings of a service in an editor.
    pub(super) fn edit_unit(unit: &UnitName) -> Self {
        Self::new(Effect::Changes, ["systemctl", "edit", unit.as_str()])
    }

    /// The socket units that listen on a port.
    pub(super) fn list_socket_units(port: u16) -> Self {
        Self {
            words: format!("systemctl list-sockets --all | grep -w {port}"),
            arguments: Vec::new(),
            effect: Effect::Reads,
            is_of_netns: false,
        }
    }

    /// The containers that publish a port.
    pub(super) fn list_publishing_containers(tool: ContainerTool, port: u16) -> Self {
        let filter = format!("publish={port}");
        match tool {
            ContainerTool::Podman => Self::new(Effect::Reads, ["podman", "port", "--all"]),
            _ => Self::new(Effect::Reads, ["docker", "ps", "--filter", &filter]),
        }
    }

    /// The pod and the state of a container of Kubernetes.
    pub(super) fn show_pod_of(container: &ContainerName) -> Self {
        Self::new(Effect::Reads, ["crictl", "ps", "--id", container.as_str()])
    }

    /// A container's name and the process that it began with.
    pub(super) fn show_container(tool: ContainerTool, name: &ContainerName) -> Self {
        let format = "{{.Name}} {{.State.Pid}}";
        let name = name.as_str();
        match tool {
            ContainerTool::Docker => Self::new(
                Effect::Reads,
                ["docker", "inspect", "--format", format, name],
            ),
            ContainerTool::Podman => Self::new(
                Effect::Reads,
                ["podman", "inspect", "--format", format, name],
            ),
            ContainerTool::Nerdctl => Self::new(
                Effect::Reads,
                ["nerdctl", "inspect", "--format", format, name],
            ),
            ContainerTool::Lxc => Self::new(Effect::Reads, ["lxc-info", "-p", "-n", name]),
            ContainerTool::Machinectl => Self::new(Effect::Reads, ["machinectl", "status", name]),
        }
    }

    /// Stops a container.
    pub(super) fn stop_container(tool: ContainerTool, name: &ContainerName) -> Self {
        let name = name.as_str();
        match tool {
            ContainerTool::Docker => Self::new(Effect::Destroys, ["docker", "stop", name]),
            ContainerTool::Podman => Self::new(Effect::Destroys, ["podman", "stop", name]),
            ContainerTool::Nerdctl => Self::new(Effect::Destroys, ["nerdctl", "stop", name]),
            ContainerTool::Lxc => Self::new(Effect::Destroys, ["lxc-stop", "-n", name]),
            ContainerTool::Machinectl => Self::new(Effect::Destroys, ["machinectl", "stop", name]),
        }
    }

    /// Grants a program `CAP_NET_BIND_SERVICE`.
    pub(super) fn grant_low_ports(program: &AbsolutePath) -> Self {
        let capability = "cap_net_bind_service=+ep";
        Self::new(Effect::Changes, ["setcap", capability, program.as_str()])
    }
}

impl ContainerTool {
    /// For what a process's control group says of its runtime.
    pub(super) fn of_runtime(runtime: &str) -> Option<Self> {
        Some(match runtime {
            "docker" => Self::Docker,
            "podman" => Self::Podman,
            "containerd" => Self::Nerdctl,
            "lxc" => Self::Lxc,
            "systemd-nspawn" => Self::Machinectl,
            _ => return None,
        })
    }
}

impl Setting {
    fn key(&self) -> &'static str {
        match self {
            Self::ReservedPorts(_) => "net.ipv4.ip_local_reserved_ports",
            Self::PortRange(_) => "net.ipv4.ip_local_port_range",
            Self::UnprivilegedPortStart(_) => "net.ipv4.ip_unprivileged_port_start",
            Self::NonlocalBind(Family::Ipv4) => "net.ipv4.ip_nonlocal_bind",
            Self::NonlocalBind(Family::Ipv6) => "net.ipv6.ip_nonlocal_bind",
            Self::EnableIpv6 => "net.ipv6.conf.all.disable_ipv6",
            Self::BindV6Only => "net.ipv6.bindv6only",
            Self::TwReuse => "net.ipv4.tcp_tw_reuse",
        }
    }
}

impl Term {
    /// In the language of `ss`. An IPv6 socket that carries IPv4 fits its IPv4
    /// address there (`INET_DIAG_BC_S_COND`).
    fn words(&self) -> Vec<String> {
        let endpoint = |endpoint: Endpoint| {
            let addr = endpoint.addr.to_canonical();
            Endpoint { addr, ..endpoint }.to_string()
        };
        let mut words = vec!["src".to_owned(), endpoint(self.local)];
        if let Some(peer) = self.peer {
            words.extend(["dst".to_owned(), endpoint(peer)]);
        }
        words.extend(["dev".to_owned(), "=".to_owned(), self.device.to_string()]);
        words
    }
}

fn ss_state(state: State) -> &'static str {
    match state {
        State::Established => "established",
        State::SynSent => "syn-sent",
        State::SynReceived => "syn-recv",
        State::FinWait1 => "fin-wait-1",
        State::FinWait2 => "fin-wait-2",
        State::TimeWait => "time-wait",
        State::Closed => "closed",
        State::CloseWait => "close-wait",
        State::LastAck => "last-ack",
        State::Listen => "listening",
        State::Closing => "closing",
        State::Bound => "bound-inactive",
    }
}
