//! Things to do that more than one cause advises.

use crate::event::{Applies, Fix, Process, State, YesNo};

use super::facts::Facts;
use super::language::{Language, SocketOption};
use super::roles::{Blocker, Role, TIME_WAIT_MS};
use super::{text, would_work};

pub(super) fn fix(id: &str, applies: Applies, text: impl Into<String>) -> Fix {
    Fix {
        id: id.into(),
        text: text.into(),
        command: None,
        applies,
        why: None,
    }
}

/// What a [`Fix`] may have besides.
impl Fix {
    pub(super) fn command(self, command: impl Into<String>) -> Self {
        Self {
            command: Some(command.into()),
            ..self
        }
    }

    pub(super) fn why(self, why: impl Into<String>) -> Self {
        Self {
            why: Some(why.into()),
            ..self
        }
    }
}

/// `SO_REUSEADDR`, with what it would have done this time.
pub(super) fn set_reuseaddr(facts: &Facts<'_>) -> Fix {
    let language = Language::of(&facts.call().process);
    let line = language.line(SocketOption::ReuseAddr);
    let set = "set SO_REUSEADDR on the server's socket before bind";
    match would_work::evaluate(facts).reuseaddr {
        YesNo::Yes => fix("set_reuseaddr", Applies::Now, text::capitalized(set))
            .command(line)
            .why(language.sets_reuseaddr_by_itself()),
        YesNo::No if facts.lead().is_some_and(|lead| lead.role == Role::Listener) => {
            reuseaddr_does_not_help(
                "it never lets two sockets share a port while one of them listens",
            )
        }
        YesNo::No if facts.call().reuse.reuseaddr => fix(
            "set_reuseaddr",
            Applies::NextTime,
            "Keep SO_REUSEADDR set in every server on this port, from its start",
        )
        .why("this socket sets it, but what holds the port was left without it, and both need it"),
        YesNo::No => fix("set_reuseaddr", Applies::NextTime, text::capitalized(set))
            .command(line)
            .why("what holds the port was left without it, and both need it; accepted connections take it over from the server's socket"),
        YesNo::Unknown => fix("set_reuseaddr", Applies::NextTime, text::capitalized(set))
            .command(line)
            .why("whether it would have helped this time could not be shown"),
    }
}

pub(super) fn reuseaddr_does_not_help(why: &str) -> Fix {
    fix("set_reuseaddr", Applies::No, "Set SO_REUSEADDR").why(why)
}

/// Waiting, for what goes by itself.
pub(super) fn wait(facts: &Facts<'_>) -> Fix {
    let has_orphans = facts.blockers.iter().any(|b| b.role == Role::Closing);
    let text = match facts.clears_ms() {
        Some(ms) => format!(
            "Wait: the last of them is gone {} at the latest",
            text::in_seconds(ms)
        ),
        None => "Wait until they are gone".to_owned(),
    };
    let why = if has_orphans {
        "a FIN of the peer starts another 60 s of TIME_WAIT, and the kernel's timer may be up to about 2 s late"
    } else {
        "the kernel's timer may be up to about 2 s late, and starts again if the peer repeats its last segments"
    };
    fix("wait", Applies::Now, text)
        .command(format!("tcpstate wait {}", facts.port))
        .why(why)
}

/// `ss -K` for the states that the blockers are in.
pub(super) fn destroy(facts: &Facts<'_>, why: &str) -> Fix {
    let mut states: Vec<State> = facts.blockers.iter().map(|b| b.seen.state).collect();
    states.sort_unstable();
    states.dedup();
    let states: Vec<String> = states
        .into_iter()
        .map(|state| format!("state {}", ss_name(state)))
        .collect();
    let command = format!("ss -K {} sport = :{}", states.join(" "), facts.port);
    fix(
        "destroy_sockets",
        Applies::Now,
        format!(
            "Have the kernel destroy the sockets that hold port {} (as root)",
            facts.port
        ),
    )
    .command(in_netns(facts, command))
    .why(why)
}

/// What destroying `TIME_WAIT` needs and costs.
pub(super) const DESTROY_TIME_WAIT: &str = "needs CONFIG_INET_DIAG_DESTROY, and Linux 6.0 for \
     TIME_WAIT; gives up TIME_WAIT's protection against late segments of those connections";
/// What destroying live connections costs.
pub(super) const DESTROY_LIVE: &str =
    "needs CONFIG_INET_DIAG_DESTROY; resets these connections, so their peers see an error";

/// Common advice about `TIME_WAIT` that does nothing for `bind`.
pub(super) fn time_wait_myths() -> [Fix; 3] {
    [
        fix("tcp_tw_reuse", Applies::No, "Set net.ipv4.tcp_tw_reuse")
            .why("it concerns outgoing connections only; bind never looks at it"),
        fix(
            "tcp_fin_timeout",
            Applies::No,
            "Lower net.ipv4.tcp_fin_timeout",
        )
        .why("it limits FIN_WAIT_2 of closed sockets; TIME_WAIT always lasts 60 s on Linux"),
        fix("tcp_tw_recycle", Applies::No, "Set net.ipv4.tcp_tw_recycle")
            .why("it never concerned bind, and Linux 4.12 removed it"),
    ]
}

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
            let place = container.map_or(String::new(), |id| format!(" (in container {id})"));
            fix(
                "stop_holder",
                Applies::Now,
                format!(
                    "Look at {names}{place} and, if it should not have the port, stop it the way it was started"
                ),
            )
            .command(format!("ps -o pid,ppid,lstart,args -p {}", pids.join(",")))
        }
    }
}

pub(super) fn other_port() -> Fix {
    fix(
        "other_port",
        Applies::Now,
        "Give one of the two another port",
    )
}

/// `command` for the namespace of the failed call, where that is not ours.
pub(super) fn in_netns(facts: &Facts<'_>, command: String) -> String {
    let theirs = facts.call().sock.map(|sock| sock.netns);
    match (theirs, facts.failure.environment.own_netns) {
        (Some(theirs), Some(ours)) if theirs != ours && theirs != 0 && ours != 0 => {
            format!("nsenter -t {} -n {command}", facts.call().process.pid)
        }
        _ => command,
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

/// Longest that an orphan's `FIN_WAIT_2` is followed by, in seconds.
pub(super) const TIME_WAIT_S: u64 = TIME_WAIT_MS / 1000;

fn ss_name(state: State) -> &'static str {
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

#[cfg(test)]
mod tests {
    use super::super::test_support::process;
    use super::*;

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
}
