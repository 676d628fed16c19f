//! Would the same call have worked with one more option? Asked of the
//! conflict rule again, over every socket that was seen on the port.

use crate::event::{Errno, Family, WouldWork, YesNo};

use super::conflict::{self, Binder, BoundSocket};
use super::facts::Facts;

const NO: WouldWork = all(YesNo::No);
const UNKNOWN: WouldWork = all(YesNo::Unknown);

pub(super) fn evaluate(facts: &Facts<'_>) -> WouldWork {
    let Some(binder) = &facts.binder else {
        return for_connect(facts.errno);
    };
    match facts.errno {
        // Neither a capability nor a policy nor an address that is missing or
        // does not fit cares, nor a socket that is bound already.
        Errno::Perm | Errno::Acces | Errno::AddrNotAvail | Errno::Inval => NO,
        Errno::Other => UNKNOWN,
        Errno::AddrInUse if facts.port == 0 => for_any_port(binder),
        Errno::AddrInUse if facts.blockers.is_empty() => UNKNOWN,
        Errno::AddrInUse => for_port(facts, binder),
    }
}

/// For a question: where it succeeds already, and where it does not.
pub(super) fn for_question(facts: &Facts<'_>, would_serve: YesNo) -> WouldWork {
    match &facts.binder {
        Some(binder) if would_serve == YesNo::Yes => for_port(facts, binder),
        _ => evaluate(facts),
    }
}

fn for_port(facts: &Facts<'_>, binder: &Binder) -> WouldWork {
    let sockets: Vec<BoundSocket> = facts.candidates.iter().map(|c| c.bound).collect();
    let is_complete = facts.is_complete();
    let memory = facts.memory();
    let with = |set: fn(&mut Binder)| {
        let mut changed = *binder;
        set(&mut changed);
        conflict::forecast(&changed, &sockets, memory, is_complete).listen
    };
    WouldWork {
        reuseaddr: with(|binder| binder.reuse.reuseaddr = true),
        reuseport: with(|binder| binder.reuse.reuseport = true),
        v6only: match binder.family {
            Family::Ipv6 => with(|binder| binder.reuse.v6only = true),
            // There is no such option for it.
            Family::Ipv4 => YesNo::No,
        },
    }
}

/// The search for a free port ignores both reuse options; IPv6 alone has more
/// ports to choose from where IPv4 has used them up.
fn for_any_port(binder: &Binder) -> WouldWork {
    let is_dual = binder.family == Family::Ipv6 && !binder.reuse.v6only;
    WouldWork {
        v6only: if is_dual && binder.addr.is_unspecified() {
            YesNo::Unknown
        } else {
            YesNo::No
        },
        ..NO
    }
}

fn for_connect(errno: Errno) -> WouldWork {
    match errno {
        Errno::Other | Errno::Inval => UNKNOWN,
        Errno::Perm | Errno::Acces | Errno::AddrInUse | Errno::AddrNotAvail => NO,
    }
}

const fn all(answer: YesNo) -> WouldWork {
    WouldWork {
        reuseaddr: answer,
        reuseport: answer,
        v6only: answer,
    }
}
