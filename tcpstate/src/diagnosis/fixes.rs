//! Things to do that more than one cause advises.

use std::fmt::Write as _;

use crate::event::{Applies, Family, Fix, Reuse, State, YesNo};

use super::CallKind;
use super::facts::Facts;
use super::language::{Language, SocketOption};
use super::roles::{Role, TIME_WAIT_MS};
use super::{text, would_work};

pub(super) fn fix(id: &str, applies: Applies, text: impl Into<String>) -> Fix {
    Fix {
        id: id.into(),
        text: text.into(),
        command: None,
        language: None,
        effect: None,
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

    /// The line of code that sets the option.
    pub(super) fn line(self, language: Language, option: SocketOption) -> Self {
        Self {
            command: Some(language.line(option).to_owned()),
            language: Some(language.name().into()),
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
    let option = SocketOption::ReuseAddr;
    let set = "set SO_REUSEADDR on the server's socket before bind";
    match would_work::evaluate(facts).reuseaddr {
        YesNo::Yes => fix("set_reuseaddr", Applies::Now, text::capitalized(set))
            .line(language, option)
            .why(language.sets_reuseaddr_by_itself()),
        YesNo::No if facts.lead().is_some_and(|lead| lead.role == Role::Listener) => {
            reuseaddr_does_not_help(
                "it never lets two sockets share a port while one of them listens",
            )
        }
        YesNo::No if facts.leaders().iter().any(|lead| lead.is_outgoing) => {
            reuseaddr_does_not_help("both need it, and the outgoing connection does not have it")
        }
        YesNo::No if facts.call().reuse.reuseaddr => fix(
            "set_reuseaddr",
            Applies::NextTime,
            "Keep SO_REUSEADDR set in every server on this port, from its start",
        )
        .why("this socket sets it, but what holds the port was left without it, and both need it"),
        YesNo::No => fix("set_reuseaddr", Applies::NextTime, text::capitalized(set))
            .line(language, option)
            .why("what holds the port was left without it, and both need it; accepted connections take it over from the server's socket"),
        YesNo::Unknown => fix("set_reuseaddr", Applies::NextTime, text::capitalized(set))
            .line(language, option)
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
        Some(ms) if has_orphans => format!("Wait up to {} s", ms.div_ceil(1000)),
        Some(ms) => format!("Wait {} s", ms.div_ceil(1000).max(1)),
        None => "Wait until nothing holds the port any more".to_owned(),
    };
    let why = if has_orphans {
        "a FIN of the peer starts another 60 s of TIME_WAIT, and the kernel's timer may be up to about 2 s late"
    } else {
        "the kernel's timer may be up to about 2 s late, and starts again if the peer repeats its last segments"
    };
    let wait = fix("wait", Applies::Now, text).why(why);
    match wait_command(facts) {
        Some(command) => wait.command(command),
        None => wait,
    }
}

/// `tcpstate wait` for a socket like the one that failed.
fn wait_command(facts: &Facts<'_>) -> Option<String> {
    // An interface is known by its number only, and has to be named.
    let binder = facts.binder.as_ref().filter(|b| b.device.is_none())?;
    let mut command = format!("tcpstate wait {}", facts.port);
    if facts.failure.environment.enter.is_some() {
        command = in_netns(facts, command);
    } else if let Some(theirs) = other_netns(facts) {
        let _ = write!(command, " --netns {theirs}");
    }
    if !binder.addr.is_unspecified() {
        let _ = write!(command, " --addr {}", binder.addr);
    }
    let Reuse {
        reuseaddr,
        reuseport,
        v6only,
    } = binder.reuse;
    let is_ipv6 = binder.family == Family::Ipv6;
    for (is_set, option) in [
        (is_ipv6, "--ipv6"),
        (is_ipv6 && v6only, "--v6only"),
        (reuseaddr, "--reuseaddr"),
        (reuseport, "--reuseport"),
    ] {
        if is_set {
            let _ = write!(command, " {option}");
        }
    }
    if reuseport && let Some(uid) = binder.uid {
        let _ = write!(command, " --uid {uid}");
    }
    if let Some(ms) = facts.clears_ms() {
        let _ = write!(command, " --timeout {}s", ms.div_ceil(1000) + LATE_S);
    }
    Some(command)
}

/// What the kernel may be late by, and as much again.
const LATE_S: u64 = 5;

/// `ss -K` for the states that the blockers are in.
pub(super) fn destroy(facts: &Facts<'_>, why: &str) -> Fix {
    let mut states: Vec<State> = facts.blockers.iter().map(|b| b.seen.state).collect();
    states.sort_unstable();
    states.dedup();
    let states: Vec<String> = states
        .into_iter()
        .map(|state| format!("state {}", ss_name(state)))
        .collect();
    let mut command = format!("ss -Kt {} sport = :{}", states.join(" "), facts.port);
    let text = if facts.failure.kind == CallKind::Connect {
        let _ = write!(command, " dport = :{}", facts.call().requested.port);
        "Have the kernel destroy that connection (as root)".to_owned()
    } else {
        format!(
            "Have the kernel destroy the sockets that hold port {} (as root)",
            facts.port
        )
    };
    fix("destroy_sockets", Applies::Now, text)
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

pub(super) fn other_port() -> Fix {
    fix(
        "other_port",
        Applies::Now,
        "Give one of the two another port",
    )
}

/// `command` for the namespace of the failed call, where that is not ours.
pub(super) fn in_netns(facts: &Facts<'_>, command: String) -> String {
    if let Some(enter) = &facts.failure.environment.enter {
        return format!("{enter} {command}");
    }
    match other_netns(facts) {
        Some(_) => format!("nsenter -t {} -n {command}", facts.call().process.pid),
        None => command,
    }
}

/// The namespace of the failed call, where that is not ours.
fn other_netns(facts: &Facts<'_>) -> Option<u32> {
    let theirs = facts.call().sock?.netns;
    let ours = facts.failure.environment.own_netns?;
    (theirs != ours && theirs != 0 && ours != 0).then_some(theirs)
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
