//! An event or a message in one line.

use crate::event::{
    Body, Call, CallName, Direction, Endpoint, Event, ExitReason, LossStage, Process, State,
};
use crate::tui::theme::Tone;
use crate::tui::units::{self, NS_PER_MS};

/// Room for the tag.
pub(crate) const TAG: usize = 10;

/// An event in one line.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct EventText {
    /// What kind of thing it is.
    pub(crate) tag: &'static str,
    /// What it means.
    pub(crate) tone: Tone,
    /// Whether the text, too, is to stand out.
    pub(crate) is_loud: bool,
    /// What happened.
    pub(crate) text: String,
}

/// Describes the event. Where room is short, addresses of this side are left out;
/// a call that failed in another namespace than `own_netns` says in which.
pub(crate) fn describe(event: &Event, is_wide: bool, own_netns: Option<u32>) -> EventText {
    let line = |tag, tone, text| EventText {
        tag,
        tone,
        is_loud: false,
        text,
    };
    let loud = |tag, tone, text| EventText {
        tag,
        tone,
        is_loud: true,
        text,
    };
    let pair = |local: Endpoint, peer: Endpoint| pair_text(local, peer, is_wide);
    match &event.body {
        Body::Header(header) => line("begin", Tone::Dim, format!("tcpstate {}", header.tcpstate)),
        Body::Socket(seen) => line(
            "found",
            Tone::State(seen.state),
            format!(
                "{} {}{}",
                state(seen.state),
                pair(seen.local, seen.peer),
                by(", ", seen.process.as_deref())
            ),
        ),
        Body::State(change) => {
            let error = change
                .error
                .as_deref()
                .map_or_else(String::new, |error| format!(", {error}"));
            line(
                "state",
                Tone::State(change.new),
                format!(
                    "{} {} → {}{error}{}",
                    pair(change.local, change.peer),
                    state(change.old),
                    match change.mini {
                        Some(mini) => format!("{}, no owner any more", state(mini.state)),
                        None => state(change.new),
                    },
                    by(", ", change.process.as_deref())
                ),
            )
        }
        Body::TimeWaitEnter(entered) => line(
            "TIME_WAIT",
            Tone::State(State::TimeWait),
            format!(
                "{} for {}{}{}",
                pair(entered.local, entered.peer),
                units::left(entered.expires_ms.saturating_mul(NS_PER_MS)),
                by(", left by ", entered.left_by.as_deref()),
                if entered.reuse.reuseaddr {
                    " with SO_REUSEADDR"
                } else {
                    " without SO_REUSEADDR"
                }
            ),
        ),
        Body::TimeWaitExit(exited) => line(
            "TIME_WAIT",
            Tone::Good,
            format!(
                "{} {} after {}",
                pair(exited.local, exited.peer),
                match exited.reason {
                    ExitReason::Expired => "expired",
                    ExitReason::Reused => "taken over by a new connection",
                    ExitReason::Destroyed => "destroyed",
                    ExitReason::Unknown => "gone",
                },
                units::exact(exited.lived_ms.saturating_mul(NS_PER_MS))
            ),
        ),
        Body::Reset(reset) => line(
            "reset",
            Tone::Warn,
            format!(
                "RST {} {}{}{}",
                match reset.direction {
                    Direction::Sent => "sent",
                    Direction::Received => "received",
                },
                pair(reset.local, reset.peer),
                reset
                    .reason
                    .as_deref()
                    .map_or_else(String::new, |reason| format!(", {reason}")),
                by(", ", reset.process.as_deref())
            ),
        ),
        Body::Bind(call) => describe_call("bind", call, own_netns),
        Body::Listen(call) => describe_call("listen", call, own_netns),
        Body::Connect(call) => describe_call("connect", call, own_netns),
        Body::Accept(call) => describe_call("accept", call, own_netns),
        Body::Diagnosis(diagnosis) => {
            let text = if diagnosis.summary.is_empty() {
                diagnosis.cause.name().to_owned()
            } else {
                format!("{}: {}", diagnosis.cause.name(), diagnosis.summary)
            };
            loud("why", Tone::Bad, text)
        }
        Body::Restart(restart) => {
            let failed = match restart.failed_binds {
                0 => String::new(),
                count => format!(", bind failed {count}×"),
            };
            loud(
                "restart",
                Tone::Good,
                format!(
                    ":{} back after {}{failed}{}{}",
                    restart.port,
                    units::exact(restart.downtime_ms.saturating_mul(NS_PER_MS)),
                    by(", ", restart.old_process.as_deref()),
                    by(" → ", restart.new_process.as_deref())
                ),
            )
        }
        Body::Fallback(fallback) => loud(
            "fallback",
            Tone::Warn,
            format!(
                "{} failed, {} took :{} instead",
                fallback.failed_ports(),
                fallback.process,
                fallback.took
            ),
        ),
        Body::Flood(flood) => loud(
            "FLOOD",
            Tone::Bad,
            format!(
                "{} more {} of uid {} counted, the last by {}[{}]",
                flood.count,
                match flood.call {
                    CallName::Bind => "failed binds",
                    CallName::Listen => "failed listens",
                    CallName::Connect => "failed connects",
                },
                flood.uid,
                flood.comm,
                flood.pid
            ),
        ),
        // After a loss, the table was read from the kernel again.
        Body::Loss(loss) if loss.count == 0 && loss.resynced => loud(
            "resync",
            Tone::Good,
            "the table was read anew after the loss".to_owned(),
        ),
        Body::Loss(loss) => loud(
            "LOST",
            Tone::Bad,
            format!(
                "{} {}{}",
                units::counted(loss.count, "event", "events"),
                match loss.stage {
                    LossStage::Kernel => "in the kernel",
                    LossStage::User => "on the way to us",
                    LossStage::Snapshot => "in a snapshot",
                },
                if loss.resynced {
                    ", table read anew"
                } else {
                    ", table incomplete"
                }
            ),
        ),
        Body::Tick(_) => line("time", Tone::Dim, String::new()),
        Body::Footer(footer) => line("end", Tone::Warn, footer.ended.clone()),
    }
}

/// Describes a message.
pub(crate) fn message(text: &str) -> EventText {
    EventText {
        tag: "»",
        tone: Tone::Accent,
        is_loud: true,
        text: text.to_owned(),
    }
}

fn describe_call(tag: &'static str, call: &Call, own_netns: Option<u32>) -> EventText {
    let requested = match call.requested.addr {
        Some(addr) => std::net::SocketAddr::new(addr, call.requested.port).to_string(),
        None => format!(":{}", call.requested.port),
    };
    let place = match (tag, call.local, call.peer) {
        ("accept", _, Some(peer)) => peer.to_string(),
        // Where the kernel chose the port, the choice is the news.
        ("bind", Some(local), _) if call.ok => local.to_string(),
        _ => requested,
    };
    if call.ok {
        return EventText {
            tag,
            tone: Tone::Good,
            is_loud: false,
            text: format!("{place}, {}", call.process),
        };
    }
    let errno = match (&call.errno_name, call.errno) {
        (Some(name), _) => name.to_string(),
        (None, Some(errno)) => format!("errno {errno}"),
        (None, None) => "error not known".to_owned(),
    };
    let times = match call.failures() {
        1 => String::new(),
        count => format!(" {count}×"),
    };
    EventText {
        tag,
        tone: Tone::Bad,
        is_loud: true,
        text: match call.foreign_netns(own_netns) {
            Some(netns) => format!(
                "{place} failed{times}: {errno}, {}, in {netns}",
                call.process
            ),
            None => format!("{place} failed{times}: {errno}, {}", call.process),
        },
    }
}

fn pair_text(local: Endpoint, peer: Endpoint, is_wide: bool) -> String {
    let local = if is_wide {
        local.to_string()
    } else {
        format!(":{}", local.port)
    };
    if peer.port == 0 {
        local
    } else {
        format!("{local} ↔ {peer}")
    }
}

fn state(state: State) -> String {
    state.name().to_uppercase()
}

fn by(word: &str, process: Option<&Process>) -> String {
    process.map_or_else(String::new, |process| format!("{word}{process}"))
}
