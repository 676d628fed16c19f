//! The cases: old state × flags × addresses × families × user × device × call.

use super::address::{Addr, Via};
use super::ask::{Ask, Call};
use super::life::State;
use super::options::{Device, Flags, User};
use super::run::Case;
use super::stage::{Part, Side};

const PLAIN: Flags = Flags::new(false, false);
const REUSE: Flags = Flags::new(true, false);
const SHARE: Flags = Flags::new(false, true);
const BOTH: Flags = Flags::new(true, true);

/// All of them; with `has_other_device` also those that need a second
/// interface.
pub(crate) fn cases(has_other_device: bool) -> Vec<Case> {
    let mut cases = Vec::new();
    nothing(&mut cases);
    states_and_flags(&mut cases);
    addresses(&mut cases);
    connections_by_address(&mut cases);
    users(&mut cases);
    options_changed_after_bind(&mut cases);
    devices(&mut cases, has_other_device);
    listen(&mut cases);
    several(&mut cases);
    cases
}

fn push(cases: &mut Vec<Case>, parts: &[Part], ask: Ask) {
    cases.push(Case {
        parts: parts.to_vec(),
        ask,
    });
}

/// Every state that a socket on the port can be in, and how it came there.
fn every_life() -> Vec<(State, Side)> {
    let mut lives = vec![
        (State::Bound, Side::Unconnected),
        (State::Listen, Side::Unconnected),
    ];
    for side in [Side::Accepted, Side::Auto, Side::BoundToAny, Side::Fixed] {
        for state in State::CONNECTED {
            // What is accepted has its SYN behind it.
            if (state, side) != (State::SynSent, Side::Accepted) {
                lives.push((state, side));
            }
        }
    }
    lives
}

fn nothing(cases: &mut Vec<Case>) {
    for addr in Addr::ALL {
        for flags in Flags::ALL {
            push(cases, &[], Ask::bind(addr, flags));
        }
    }
}

fn states_and_flags(cases: &mut Vec<Case>) {
    for (state, side) in every_life() {
        for old in Flags::ALL {
            for new in Flags::ALL {
                let part = Part::new(state, side, Addr::Lo1).with(old);
                push(cases, &[part], Ask::bind(Addr::Lo1, new));
                if old.reuseport == new.reuseport {
                    push(cases, &[part], Ask::bind(Addr::Any, new));
                }
            }
        }
        let part = Part::new(state, side, Addr::Lo1).with(REUSE);
        push(cases, &[part], Ask::bind(Addr::Lo2, PLAIN));
        push(cases, &[part], Ask::bind(Addr::Dual, PLAIN));
        push(cases, &[part], Ask::bind(Addr::V6Any, PLAIN));
    }
}

/// Sockets without a connection: every address against every other.
fn addresses(cases: &mut Vec<Case>) {
    for old in Addr::ALL {
        for new in Addr::ALL {
            for (state, old_flags, new_flags) in [
                (State::Bound, PLAIN, PLAIN),
                (State::Bound, REUSE, REUSE),
                (State::Listen, PLAIN, PLAIN),
                (State::Listen, REUSE, REUSE),
                (State::Listen, SHARE, PLAIN),
                (State::Listen, SHARE, SHARE),
            ] {
                let part = Part::new(state, Side::Unconnected, old).with(old_flags);
                push(cases, &[part], Ask::bind(new, new_flags));
            }
        }
    }
}

/// Connections: the address that was listened on and the family of the peer,
/// against every address.
fn connections_by_address(cases: &mut Vec<Case>) {
    let ways = [
        (Addr::Any, Via::V4),
        (Addr::Lo1, Via::V4),
        (Addr::Lo2, Via::V4),
        (Addr::Dual, Via::V4),
        (Addr::Dual, Via::V6),
        (Addr::V6Any, Via::V6),
        (Addr::V6Lo, Via::V6),
        (Addr::MappedLo1, Via::V4),
        (Addr::MappedAny, Via::V4),
    ];
    for (addr, via) in ways {
        for new in Addr::ALL {
            for (state, side, old_flags, new_flags) in [
                (State::TimeWait, Side::Accepted, PLAIN, PLAIN),
                (State::TimeWait, Side::Accepted, PLAIN, REUSE),
                (State::TimeWait, Side::Accepted, REUSE, PLAIN),
                (State::TimeWait, Side::Accepted, REUSE, REUSE),
                (State::FinWait2Orphan, Side::Accepted, REUSE, PLAIN),
                (State::Established, Side::Accepted, PLAIN, REUSE),
                (State::CloseWait, Side::Accepted, REUSE, PLAIN),
                (State::Established, Side::Fixed, PLAIN, PLAIN),
            ] {
                let part = Part {
                    via,
                    ..Part::new(state, side, addr).with(old_flags)
                };
                push(cases, &[part], Ask::bind(new, new_flags));
            }
        }
    }
    for addr in [Addr::V6Lo, Addr::MappedLo1] {
        let via = if addr == Addr::V6Lo { Via::V6 } else { Via::V4 };
        for state in [State::SynSent, State::Established, State::TimeWait] {
            for new in Addr::ALL {
                let part = Part {
                    via,
                    ..Part::new(state, Side::Auto, addr).with(PLAIN)
                };
                push(cases, &[part], Ask::bind(new, PLAIN));
            }
        }
    }
}

/// Whose sockets they are: it matters to `SO_REUSEPORT` only.
fn users(cases: &mut Vec<Case>) {
    let lives = [
        (State::Bound, Side::Unconnected),
        (State::Listen, Side::Unconnected),
        (State::Established, Side::Accepted),
        (State::Established, Side::Fixed),
        (State::FinWait1Orphan, Side::Accepted),
        (State::FinWait2Orphan, Side::Accepted),
        (State::TimeWait, Side::Accepted),
    ];
    let people = [
        (User::Root, User::Root),
        (User::Other, User::Other),
        (User::Other, User::Root),
        (User::Root, User::Other),
    ];
    for (state, side) in lives {
        for user in [User::Root, User::Other] {
            for (old, new) in [(SHARE, SHARE), (BOTH, BOTH), (SHARE, PLAIN), (BOTH, REUSE)] {
                for (maker, caller) in people {
                    let part = Part {
                        user,
                        ..Part::new(state, side, Addr::Lo1).with(old)
                    };
                    let ask = Ask {
                        maker,
                        caller,
                        ..Ask::bind(Addr::Lo1, new)
                    };
                    push(cases, &[part], ask);
                }
            }
        }
    }
}

/// Options count as they are now.
fn options_changed_after_bind(cases: &mut Vec<Case>) {
    let lives = [
        (State::Bound, Side::Unconnected),
        (State::Listen, Side::Unconnected),
        (State::Established, Side::Accepted),
        (State::TimeWait, Side::Accepted),
        (State::TimeWait, Side::Fixed),
    ];
    for (state, side) in lives {
        for before in Flags::ALL {
            for after in Flags::ALL.into_iter().filter(|after| *after != before) {
                for new in Flags::ALL {
                    let part = Part::new(state, side, Addr::Lo1)
                        .with(before)
                        .changed_to(after);
                    push(cases, &[part], Ask::bind(Addr::Lo1, new));
                }
            }
        }
    }
}

/// Sockets that are bound to an interface.
fn devices(cases: &mut Vec<Case>, has_other_device: bool) {
    let mut all = vec![Device::None, Device::Lo];
    if has_other_device {
        all.push(Device::Other);
    }
    let lives = [
        (State::Bound, Side::Unconnected),
        (State::Listen, Side::Unconnected),
        (State::Established, Side::Accepted),
        (State::TimeWait, Side::Accepted),
    ];
    for (state, side) in lives {
        for old in &all {
            // Nobody can reach the other interface's socket from here.
            if side == Side::Accepted && *old == Device::Other {
                continue;
            }
            for new in &all {
                for addr in [Addr::Lo1, Addr::Any, Addr::Dual] {
                    for (old_flags, new_flags) in [(PLAIN, PLAIN), (SHARE, PLAIN)] {
                        let part = Part {
                            device: *old,
                            ..Part::new(state, side, Addr::Any).with(old_flags)
                        };
                        let ask = Ask {
                            device: *new,
                            ..Ask::bind(addr, new_flags)
                        };
                        push(cases, &[part], ask);
                    }
                }
            }
        }
    }
    if has_other_device {
        for old in [Addr::Other, Addr::Any, Addr::Lo1] {
            for new in [Addr::Other, Addr::Any, Addr::Dual] {
                let part = Part::new(State::Listen, Side::Unconnected, old);
                push(cases, &[part], Ask::bind(new, PLAIN));
            }
        }
    }
}

/// Calls to `listen` that are refused after a `bind` that was not.
fn listen(cases: &mut Vec<Case>) {
    let pairs = [
        (Addr::Lo1, Addr::Lo1),
        (Addr::Any, Addr::Lo1),
        (Addr::Lo1, Addr::Any),
        (Addr::Dual, Addr::Any),
        (Addr::Any, Addr::Dual),
        (Addr::Dual, Addr::Dual),
        (Addr::Dual, Addr::V6Lo),
        (Addr::MappedLo1, Addr::Lo1),
        (Addr::Lo2, Addr::Lo1),
    ];
    for (old, new) in pairs {
        for (old_flags, new_flags) in [(REUSE, REUSE), (BOTH, REUSE), (REUSE, BOTH), (BOTH, BOTH)] {
            let part = Part::new(State::ListenLater, Side::Unconnected, old).with(old_flags);
            let ask = Ask {
                call: Call::Listen,
                ..Ask::bind(new, new_flags)
            };
            push(cases, &[part], ask);
        }
    }
    let left = [
        (State::TimeWait, Side::Accepted),
        (State::Established, Side::Accepted),
        (State::CloseWait, Side::Accepted),
        (State::FinWait2Orphan, Side::Accepted),
        (State::Bound, Side::Unconnected),
        (State::ListenLater, Side::Unconnected),
    ];
    for (state, side) in left {
        for new in [Addr::Lo1, Addr::Any, Addr::Dual] {
            for (old_flags, new_flags) in [(REUSE, REUSE), (BOTH, REUSE), (BOTH, BOTH)] {
                let part = Part::new(state, side, Addr::Lo1).with(old_flags);
                let ask = Ask {
                    call: Call::ClearedListen,
                    ..Ask::bind(new, new_flags)
                };
                push(cases, &[part], ask);
            }
        }
    }
}

/// Several sockets on the port: which of them stand in the way, and which one
/// decides.
fn several(cases: &mut Vec<Case>) {
    for parts in crowds() {
        for addr in [Addr::Lo1, Addr::Lo2, Addr::Any, Addr::Dual, Addr::V6Any] {
            for flags in [PLAIN, REUSE, BOTH] {
                push(cases, &parts, Ask::bind(addr, flags));
            }
        }
    }
}

fn crowds() -> Vec<Vec<Part>> {
    use State::{
        Bound, CloseWait, Established, FinWait2, FinWait2Orphan, LastAckOrphan, Listen, TimeWait,
    };

    let listen = |addr| Part::new(Listen, Side::Unconnected, addr).with(REUSE);
    let bound = |addr| Part::new(Bound, Side::Unconnected, addr).with(REUSE);
    let accepted = |state, addr| Part::new(state, Side::Accepted, addr).with(REUSE);
    let without = |state, addr| accepted(state, addr).changed_to(PLAIN);
    let share = |state, addr| Part::new(state, Side::Unconnected, addr).with(SHARE);
    let via_v6 = |part| Part {
        via: Via::V6,
        ..part
    };
    let auto = |state, addr| Part::new(state, Side::Auto, addr);
    vec![
        vec![listen(Addr::Lo1), accepted(TimeWait, Addr::Lo1)],
        vec![
            listen(Addr::Any),
            accepted(TimeWait, Addr::Any),
            without(TimeWait, Addr::Any),
        ],
        vec![listen(Addr::Lo1), accepted(Established, Addr::Lo1)],
        vec![listen(Addr::Lo2), accepted(TimeWait, Addr::Lo1)],
        vec![listen(Addr::Lo2), without(TimeWait, Addr::Lo1)],
        vec![share(Listen, Addr::Lo1), share(Listen, Addr::Lo1)],
        vec![share(Listen, Addr::Any), share(Listen, Addr::Lo1)],
        vec![share(Listen, Addr::Any), share(Bound, Addr::Lo1)],
        vec![listen(Addr::Any), listen(Addr::V6Any)],
        vec![listen(Addr::Lo1), listen(Addr::Lo2)],
        vec![listen(Addr::V6Any), bound(Addr::Lo1)],
        vec![bound(Addr::Lo1), bound(Addr::Lo1)],
        vec![bound(Addr::Any), bound(Addr::Dual)],
        vec![bound(Addr::Lo2), accepted(CloseWait, Addr::Lo1)],
        vec![
            accepted(TimeWait, Addr::Dual),
            via_v6(accepted(TimeWait, Addr::Dual)),
        ],
        vec![
            accepted(TimeWait, Addr::Dual),
            via_v6(without(TimeWait, Addr::Dual)),
        ],
        vec![
            without(TimeWait, Addr::Dual),
            via_v6(accepted(Established, Addr::Dual)),
        ],
        vec![accepted(TimeWait, Addr::Lo1), without(TimeWait, Addr::Lo1)],
        vec![
            accepted(TimeWait, Addr::Lo1),
            without(Established, Addr::Lo1),
        ],
        vec![without(TimeWait, Addr::Lo1), accepted(CloseWait, Addr::Lo1)],
        vec![
            accepted(FinWait2Orphan, Addr::Lo1),
            accepted(TimeWait, Addr::Lo1),
        ],
        vec![
            without(FinWait2Orphan, Addr::Lo1),
            accepted(TimeWait, Addr::Lo1),
        ],
        vec![
            accepted(FinWait2, Addr::Lo1),
            accepted(LastAckOrphan, Addr::Lo1),
        ],
        vec![
            accepted(CloseWait, Addr::Lo1),
            accepted(Established, Addr::Lo1),
            accepted(TimeWait, Addr::Lo1),
        ],
        vec![
            accepted(Established, Addr::Lo1),
            accepted(TimeWait, Addr::Lo2),
        ],
        vec![
            auto(Established, Addr::Lo1),
            via_v6(auto(Established, Addr::V6Lo)),
        ],
        vec![
            auto(TimeWait, Addr::Lo1),
            via_v6(auto(Established, Addr::V6Lo)),
        ],
    ]
}
