//! What the program has to say about a refused call, from how the stage was
//! set up and from what the kernel answered. None of the program's own rules
//! are asked.

use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;

use super::address;
use super::options::Flags;
use super::stage::{Holder, Side};

/// The call that was refused.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Refused {
    pub(crate) call: &'static str,
    pub(crate) addr: IpAddr,
    pub(crate) flags: Flags,
}

/// What a diagnosis must say.
#[derive(Clone, Debug)]
pub(crate) struct Expected {
    pub(crate) cause: &'static str,
    /// Words that the summary must have.
    pub(crate) words: &'static str,
    /// Nothing has to be assumed.
    pub(crate) is_proven: bool,
    pub(crate) holders: Vec<ExpectedHolder>,
    /// `None`: nothing ends by itself.
    pub(crate) clears_ms: Option<RangeInclusive<u64>>,
    /// For each option whether the kernel let the call through with it;
    /// absent where the call was not repeated.
    pub(crate) would_work: Option<[bool; 3]>,
}

/// A socket that stood in the way.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ExpectedHolder {
    pub(crate) local: SocketAddr,
    pub(crate) peer: Option<SocketAddr>,
    pub(crate) state: &'static str,
    pub(crate) overlap: &'static str,
    /// `SO_REUSEADDR`, `SO_REUSEPORT`, `IPV6_V6ONLY`.
    pub(crate) options: [bool; 3],
}

/// What must be said where `blockers` stood in the way.
pub(crate) fn expect(refused: Refused, blockers: &[Holder]) -> Expected {
    let mut holders: Vec<ExpectedHolder> = blockers
        .iter()
        .map(|holder| ExpectedHolder {
            local: holder.local,
            peer: holder.peer,
            state: holder.state,
            overlap: address::overlap(refused.addr, holder.local.ip()),
            options: [
                holder.flags.reuseaddr,
                holder.flags.reuseport,
                holder.v6only,
            ],
        })
        .collect();
    holders.sort();
    let cause = cause(refused, blockers);
    Expected {
        cause,
        words: words(cause, blockers),
        is_proven: true,
        holders,
        clears_ms: clears_ms(blockers),
        would_work: None,
    }
}

/// How a client came by the port decides what helps.
fn words(cause: &str, blockers: &[Holder]) -> &'static str {
    let of = |side| blockers.iter().all(|holder| holder.side == side);
    match cause {
        "ephemeral_collision" if of(Side::Auto) => "for which connect chose this port",
        "ephemeral_collision" if of(Side::Fixed) => "which was bound to this port before connect",
        _ => "",
    }
}

/// The contract's precedence: a listener before everything else, then what
/// lasts longest without anyone acting.
fn cause(refused: Refused, blockers: &[Holder]) -> &'static str {
    let is = |names: &'static [&'static str]| {
        blockers
            .iter()
            .filter(move |holder| names.contains(&holder.state))
    };
    if let Some(cause) = is(&["listen"])
        .map(|holder| cause_of_listener(refused, holder))
        .min()
    {
        return ["active_listener", "reuseport_mismatch", "dual_stack"][cause];
    }
    if is(&["bound"]).next().is_some() {
        let is_dual = is(&["bound"])
            .all(|holder| address::overlap(refused.addr, holder.local.ip()) == "dual_stack");
        return if is_dual {
            "dual_stack"
        } else {
            "bound_not_listening"
        };
    }
    if is(&["close_wait"]).any(|holder| !holder.side.is_chosen()) {
        return "close_wait_leak";
    }
    if is(&["established"]).any(|holder| holder.side == Side::Accepted) {
        return "established_leftover";
    }
    if is(&["syn_sent", "established", "close_wait"])
        .next()
        .is_some()
    {
        return "ephemeral_collision";
    }
    let leading: &'static [&'static str] = if is(&["time_wait"]).next().is_some() {
        &["time_wait"]
    } else {
        &["fin_wait_1", "fin_wait_2", "closing", "last_ack"]
    };
    if is(leading).all(|holder| holder.side.is_chosen()) {
        return "ephemeral_collision";
    }
    if leading != ["time_wait"] {
        return "closing";
    }
    if blockers.iter().all(|holder| holder.flags.reuseaddr) {
        "time_wait_no_reuse"
    } else {
        "time_wait_left_without_reuse"
    }
}

/// 0: an active listener; 1: one that shares; 2: one that takes the other
/// family as well.
fn cause_of_listener(refused: Refused, holder: &Holder) -> usize {
    let is_dual = address::overlap(refused.addr, holder.local.ip()) == "dual_stack";
    if refused.call == "listen" {
        0
    } else if holder.flags.reuseport && (refused.flags.reuseport || !is_dual) {
        1
    } else if is_dual {
        2
    } else {
        0
    }
}

/// TIME_WAIT lasts 60 s; so does an orphan's FIN_WAIT_2, and TIME_WAIT may
/// follow it. Nothing else ends by itself.
fn clears_ms(blockers: &[Holder]) -> Option<RangeInclusive<u64>> {
    if blockers.is_empty() || !blockers.iter().all(|holder| holder.is_mini) {
        return None;
    }
    if blockers.iter().any(|holder| holder.state == "fin_wait_2") {
        Some(100_000..=122_000)
    } else {
        Some(40_000..=62_000)
    }
}
