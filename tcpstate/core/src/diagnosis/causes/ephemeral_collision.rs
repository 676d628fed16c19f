//! `ephemeral_collision`: an outgoing connection took the port as its local one.

use crate::event::{Applies, Cause, Fix};

use super::{CauseText, Rule, Verdict, reuseaddr_clause};
use crate::diagnosis::command::{Command, PortList, Setting};
use crate::diagnosis::destroy;
use crate::diagnosis::facts::Facts;
use crate::diagnosis::fixes::{self, fix};
use crate::diagnosis::roles::{self, Blocker, HolderRole};
use crate::diagnosis::stop;
use crate::diagnosis::text;

pub(super) const RULE: Rule = Rule {
    cause: Cause::EphemeralCollision,
    applies,
    explain,
};

fn applies(facts: &Facts<'_>) -> Verdict {
    facts.lead().is_some_and(is_outgoing_connection).into()
}

fn is_outgoing_connection(blocker: &Blocker<'_>) -> bool {
    match blocker.role {
        HolderRole::Outgoing => true,
        HolderRole::TimeWait | HolderRole::Closing => blocker.is_outgoing,
        HolderRole::Leftover | HolderRole::CloseWait | HolderRole::Bound | HolderRole::Listener => {
            false
        }
    }
}

fn explain(facts: &Facts<'_>) -> CauseText {
    let leaders = facts.leaders();
    let Some(lead) = facts.lead() else {
        return CauseText {
            summary: String::new(),
            fixes: Vec::new(),
            doubts: Vec::new(),
        };
    };
    let of = roles::names(&leaders).map_or(String::new(), |names| format!(" of {names}"));
    let state = text::state(lead.seen.state);
    let held = match roles::count(&leaders) {
        1 if lead.seen.local == lead.seen.peer => format!(
            "an outgoing connection{of} that is connected to itself ({state}), as nobody listened \
             there"
        ),
        1 => format!("an outgoing connection{of} to {} ({state})", lead.seen.peer),
        n => format!(
            "{n} outgoing connections{of}, one of them to {} ({state})",
            lead.seen.peer
        ),
    };
    let range = facts.failure.environment.local_port_range;
    let is_fixed = leaders.iter().all(|blocker| has_fixed_port(blocker, range));
    let chosen = match range {
        _ if is_fixed => "which was bound to this port before connect".to_owned(),
        _ if leaders
            .iter()
            .all(|b| b.seen.is_connect_bound == Some(false)) =>
        {
            "for which bind to port 0 chose this port".to_owned()
        }
        Some(range @ [first, last]) if leaders.iter().all(|b| is_within(range, b)) => {
            format!("for which connect chose this port from {first} to {last}")
        }
        _ => "for which connect chose this port".to_owned(),
    };
    let until = match (lead.role, facts.clears_ms()) {
        (HolderRole::TimeWait, Some(ms)) => format!("it is free {}", text::in_seconds(ms)),
        (HolderRole::TimeWait, None) => "TIME_WAIT lasts up to 60 s".to_owned(),
        (HolderRole::Closing, _) => "it is still closing".to_owned(),
        _ => "it is free once that connection has ended".to_owned(),
    };

    let mut fixes = Vec::new();
    if !is_fixed {
        fixes.push(reserve_port(facts));
        fixes.push(
            fix(
                "port_outside_range",
                Applies::Now,
                "Give the server a port outside of the range that connect chooses from",
            )
            .run(facts, &Command::show_port_range()),
        );
    }
    fixes.push(fixes::set_reuseaddr(facts));
    if lead.role == HolderRole::Outgoing {
        fixes.extend(stop::stop_holder(facts, &leaders));
        fixes.push(destroy::destroy(facts));
    } else {
        fixes.push(fixes::wait(facts));
        fixes.push(destroy::destroy(facts));
        fixes.extend(fixes::time_wait_myths());
    }

    CauseText {
        summary: format!(
            "Port {} is in use as the local port of {held}, {chosen}; {until}{}.",
            facts.port,
            reuseaddr_clause(facts),
        ),
        fixes,
        doubts: facts.all_doubts(),
    }
}

/// Whether `connect` cannot have chosen the port. The range is the one of now; it is
/// asked only about a mini-socket, which keeps no mark of a `bind`.
fn has_fixed_port(blocker: &Blocker<'_>, range: Option<[u16; 2]>) -> bool {
    match (blocker.seen.is_connect_bound, blocker.seen.is_port_locked) {
        (Some(true), _) => false,
        (_, Some(is_locked)) => is_locked,
        _ => range.is_some_and(|range| !is_within(range, blocker)),
    }
}

fn is_within([first, last]: [u16; 2], blocker: &Blocker<'_>) -> bool {
    (first..=last).contains(&blocker.seen.local.port)
}

/// Keeps `connect` from choosing the port; the list that is there must stay.
fn reserve_port(facts: &Facts<'_>) -> Fix {
    let reserved = facts.failure.environment.local_reserved_ports.as_deref();
    let list = reserved.map(str::trim).and_then(|before| {
        // It is the kernel's text, but it may have come through a recording.
        PortList::parse(&match before {
            "" => facts.port.to_string(),
            before => format!("{before},{}", facts.port),
        })
    });
    let reserve = fix(
        "reserve_port",
        Applies::NextTime,
        format!(
            "Reserve port {}, so that connect never chooses it",
            facts.port
        ),
    );
    match list {
        Some(list) => reserve
            .run(facts, &Command::set(&Setting::ReservedPorts(list)))
            .because("connect leaves reserved ports alone, bind may still use them; it does not end the connection that has the port now"),
        None => reserve
            .run(facts, &Command::show_reserved_ports())
            .because("connect leaves reserved ports alone, bind may still use them; setting the list (net.ipv4.ip_local_reserved_ports) replaces what is in it, which was not read: add the port to what this shows"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnosis::test_support::{
        Fixture, PLAIN, command, here, holder, left_by, mini, owned,
    };
    use crate::diagnosis::{KnownHolder, Origin};
    use crate::event::{Certainty, State, YesNo};

    #[test]
    fn an_outgoing_connection_chose_the_port() {
        let diagnosis = Fixture::bind("0.0.0.0", 40000)
            .with(
                holder(State::Established, "10.0.0.1", 40000, PLAIN),
                owned(7, "curl", Origin::Outgoing),
            )
            .diagnose();

        assert_eq!(diagnosis.cause, Cause::EphemeralCollision);
        assert_eq!(
            diagnosis.summary,
            "Port 40000 is in use as the local port of an outgoing connection of curl[7] to 10.0.0.9:443 (ESTABLISHED), for which connect chose this port from 32768 to 60999; it is free once that connection has ended, and SO_REUSEADDR on the new socket cannot help, because what holds the port does not have it."
        );
        assert_eq!(diagnosis.would_work.reuseaddr, YesNo::No);
        assert_eq!(
            command(&diagnosis, "reserve_port"),
            Some("sysctl net.ipv4.ip_local_reserved_ports"),
            "what is reserved was not read, and setting it would replace that"
        );
    }

    #[test]
    fn reserved_ports_that_are_set_stay_set() {
        let mut fixture = Fixture::bind("0.0.0.0", 40000).with(
            holder(State::SynSent, "10.0.0.1", 40000, PLAIN),
            KnownHolder::default(),
        );
        fixture.environment.local_reserved_ports = Some("35000-35010\n".to_owned());

        let diagnosis = fixture.diagnose();

        assert_eq!(diagnosis.cause, Cause::EphemeralCollision);
        assert_eq!(diagnosis.certainty, Certainty::Proven);
        assert_eq!(
            command(&diagnosis, "reserve_port"),
            Some(&*here(
                "sysctl -w net.ipv4.ip_local_reserved_ports=35000-35010,40000"
            ))
        );
    }

    #[test]
    fn its_time_wait_goes_by_itself() {
        let diagnosis = Fixture::bind("0.0.0.0", 40000)
            .with(
                mini(State::TimeWait, 40000, PLAIN, 30_000),
                left_by(7, "curl", Origin::Outgoing),
            )
            .diagnose();

        assert_eq!(diagnosis.cause, Cause::EphemeralCollision);
        assert_eq!(diagnosis.clears_ms, Some(30_000));
        assert!(
            diagnosis.summary.contains("it is free in 30 s"),
            "{}",
            diagnosis.summary
        );
    }

    #[test]
    fn a_port_that_was_bound_first_is_not_called_chosen() {
        let mut fixed = holder(State::Established, "10.0.0.1", 700, PLAIN);
        fixed.is_port_locked = Some(true);
        let diagnosis = Fixture::bind("0.0.0.0", 700)
            .with(fixed, KnownHolder::default())
            .diagnose();

        assert_eq!(diagnosis.cause, Cause::EphemeralCollision);
        assert!(
            diagnosis
                .summary
                .contains("which was bound to this port before connect")
        );
        assert!(diagnosis.fixes.iter().all(|fix| &*fix.id != "reserve_port"));
    }

    #[test]
    fn a_range_that_was_changed_since_says_nothing_about_a_socket_with_a_mark() {
        let mut chosen = holder(State::Established, "10.0.0.1", 700, PLAIN);
        chosen.is_port_locked = Some(false);
        let diagnosis = Fixture::bind("0.0.0.0", 700)
            .with(chosen, owned(7, "curl", Origin::Outgoing))
            .diagnose();

        let words = "outgoing connection of curl[7] to 10.0.0.9:443 (ESTABLISHED), for which \
                     connect chose this port; it is free";
        assert!(diagnosis.summary.contains(words), "{}", diagnosis.summary);
        assert!(diagnosis.fixes.iter().any(|fix| &*fix.id == "reserve_port"));
    }

    #[test]
    fn the_kernels_own_mark_decides() {
        // Without it there is `bind` to port 0, which takes ports of the range.
        for (is_connect_bound, port, expected) in [
            (true, 40000, (Cause::EphemeralCollision, Certainty::Proven)),
            (
                false,
                40000,
                (Cause::EstablishedLeftover, Certainty::Likely),
            ),
            (false, 8080, (Cause::EstablishedLeftover, Certainty::Proven)),
        ] {
            let mut open = holder(State::Established, "10.0.0.1", port, PLAIN);
            open.is_connect_bound = Some(is_connect_bound);
            let diagnosis = Fixture::bind("0.0.0.0", port)
                .with(open, KnownHolder::default())
                .diagnose();

            assert_eq!((diagnosis.cause, diagnosis.certainty), expected);
        }
    }

    #[test]
    fn a_connection_to_itself_is_outgoing_whatever_its_path_looked_like() {
        let mut own = holder(State::Established, "127.0.0.1", 40000, PLAIN);
        own.peer = own.local;
        let diagnosis = Fixture::bind("0.0.0.0", 40000)
            .with(own, owned(7, "client", Origin::Accepted))
            .diagnose();

        assert_eq!(diagnosis.cause, Cause::EphemeralCollision);
        assert!(
            diagnosis.summary.contains("connected to itself"),
            "{}",
            diagnosis.summary
        );
    }
}
