//! Things to do that more than one cause advises.

use crate::event::{Applies, Family, Fix, State, YesNo};

use super::command::{Command, Wait};
use super::facts::Facts;
use super::language::{Language, SocketOption};
use super::roles::HolderRole;
use super::{text, would_work};
use crate::model::TIME_WAIT_MS;

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
    /// With the command that does it; without one, and why, where nobody knows
    /// in which network namespace it would have to run.
    pub(super) fn run(self, facts: &Facts<'_>, command: &Command) -> Self {
        match command.line(facts) {
            Some(line) => Self {
                command: Some(line),
                effect: Some(command.effect()),
                ..self
            },
            None => self.because(
                "no command is given, because nothing was read that tells the network namespace of the call from a later one with its number",
            ),
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

    /// With one more reason.
    pub(super) fn because(self, why: impl Into<String>) -> Self {
        let why = why.into();
        Self {
            why: Some(match self.why {
                Some(before) => format!("{before}; {why}"),
                None => why,
            }),
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
            .because(language.sets_reuseaddr_by_itself()),
        YesNo::No if facts.lead().is_some_and(|lead| lead.role == HolderRole::Listener) => {
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
        .because("this socket sets it, but what holds the port was left without it, and both need it"),
        YesNo::No => fix("set_reuseaddr", Applies::NextTime, text::capitalized(set))
            .line(language, option)
            .because("what holds the port was left without it, and both need it; accepted connections take it over from the server's socket"),
        YesNo::Unknown => fix("set_reuseaddr", Applies::NextTime, text::capitalized(set))
            .line(language, option)
            .because("whether it would have helped this time could not be shown"),
    }
}

pub(super) fn reuseaddr_does_not_help(why: &str) -> Fix {
    fix("set_reuseaddr", Applies::No, "Set SO_REUSEADDR").because(why)
}

/// Waiting, for what goes by itself.
pub(super) fn wait(facts: &Facts<'_>) -> Fix {
    let has_orphans = facts.blockers.iter().any(|b| b.role == HolderRole::Closing);
    let text = match facts.clears_ms() {
        Some(ms) if has_orphans => format!("Wait up to {} s", ms.div_ceil(1000)),
        Some(ms) => format!("Wait {} s", ms.div_ceil(1000).max(1)),
        None => "Wait until nothing holds the port any more".to_owned(),
    };
    // Who closes last has no TIME_WAIT.
    let are_last = facts
        .blockers
        .iter()
        .filter(|blocker| blocker.role == HolderRole::Closing)
        .all(|blocker| blocker.seen.state == State::LastAck);
    let why = if has_orphans && are_last {
        "the peer's acknowledgement of our end is all that is wanting"
    } else if has_orphans {
        "a FIN of the peer starts another 60 s of TIME_WAIT, and the kernel's timer may be up to about 2 s late"
    } else {
        "the kernel's timer may be up to about 2 s late, and starts again if the peer repeats its last segments"
    };
    let wait = fix("wait", Applies::Now, text).because(why);
    match wait_command(facts) {
        Some(command) => wait.run(facts, &command),
        None => wait,
    }
}

/// `tcpstate wait` for a socket like the one that failed.
fn wait_command(facts: &Facts<'_>) -> Option<Command> {
    // An interface is known by its number only, and has to be named.
    let binder = facts.binder.as_ref().filter(|b| b.device.is_none())?;
    let wait = Wait {
        port: facts.port,
        addr: (!binder.addr.is_unspecified()).then_some(binder.addr),
        is_ipv6: binder.family == Family::Ipv6,
        reuse: binder.reuse,
        uid: binder.uid.filter(|_| binder.reuse.reuseport),
        timeout_s: facts.clears_ms().map(|ms| ms.div_ceil(1000) + LATE_S),
    };
    Some(Command::wait(&wait, facts))
}

/// What the kernel may be late by, and as much again.
const LATE_S: u64 = 5;

/// Common advice about `TIME_WAIT` that does nothing for `bind`.
pub(super) fn time_wait_myths() -> [Fix; 3] {
    [
        fix("tcp_tw_reuse", Applies::No, "Set net.ipv4.tcp_tw_reuse")
            .because("it concerns outgoing connections only; bind never looks at it"),
        fix(
            "tcp_fin_timeout",
            Applies::No,
            "Lower net.ipv4.tcp_fin_timeout",
        )
        .because("it limits FIN_WAIT_2 of closed sockets; TIME_WAIT always lasts 60 s on Linux"),
        fix("tcp_tw_recycle", Applies::No, "Set net.ipv4.tcp_tw_recycle")
            .because("it never concerned bind, and Linux 4.12 removed it"),
    ]
}

pub(super) fn other_port() -> Fix {
    fix(
        "other_port",
        Applies::Now,
        "Give one of the two another port",
    )
}

/// Longest that an orphan's `FIN_WAIT_2` is followed by, in seconds.
pub(super) const TIME_WAIT_S: u64 = TIME_WAIT_MS / 1000;
