//! Advice to have the kernel destroy what holds a port: exactly the listed
//! sockets, and never one more.

use std::collections::BTreeSet;
use std::net::IpAddr;

use crate::event::{Applies, Endpoint, Fix, SeenHolder, State};

use super::command::{Command, Selection, Term};
use super::facts::Facts;
use super::fixes::fix;
use super::roles::{self, Blocker, HolderRole};
use super::text;

/// Connections that are named one by one; more are named by their address.
const MAX_NAMED: usize = 8;
/// Connections that are named one by one where another one has their address.
const MAX_NAMED_OF_NECESSITY: usize = 32;
/// Peers that the advice names.
const MAX_PEERS: usize = 2;

/// What destroying `TIME_WAIT` needs and costs, and live connections, one or several.
const COST_OF_TIME_WAIT: &str = "needs CONFIG_INET_DIAG_DESTROY, and Linux 6.0 for TIME_WAIT; \
     gives up TIME_WAIT's protection against late segments of";
const COST_OF_LIVE: [&str; 2] = [
    "needs CONFIG_INET_DIAG_DESTROY; resets this connection, so that its peer sees an error",
    "needs CONFIG_INET_DIAG_DESTROY; resets these connections, so that their peers see an error",
];

/// `ss -K` for the blockers.
pub(super) fn destroy(facts: &Facts<'_>) -> Fix {
    let blockers: Vec<&Blocker<'_>> = facts.blockers.iter().collect();
    let advice = fix(
        "destroy_sockets",
        Applies::Now,
        format!("Have the kernel destroy {}", what(&blockers)),
    );
    let advice = if facts.is_complete() {
        advice
    } else {
        advice.because("others may hold the port besides, which could not be looked at")
    };
    let is_live = |blocker: &&Blocker<'_>| blocker.role != HolderRole::TimeWait;
    let is_one = roles::count(&blockers) == 1;
    let cost = if !blockers.iter().any(is_live) {
        format!("{COST_OF_TIME_WAIT} {}", those(is_one))
    } else if is_one {
        COST_OF_LIVE[0].to_owned()
    } else {
        COST_OF_LIVE[1].to_owned()
    };
    match command(facts, &blockers) {
        Ok(command) => advice.run(facts, &command).because(cost),
        Err(why) => advice.because(why).because(cost),
    }
}

/// What a sentence calls them that has named them before.
pub(super) fn those(is_one: bool) -> &'static str {
    if is_one {
        "that connection"
    } else {
        "those connections"
    }
}

/// `ss -K` for some of the blockers; else why there is none.
pub(super) fn command(facts: &Facts<'_>, blockers: &[&Blocker<'_>]) -> Result<Command, String> {
    select(facts, blockers).map(|selection| Command::destroy_sockets(&selection))
}

/// `the 3 connections that python3[4711] closed first, with 10.0.0.7:40001 and 2
/// more (TIME_WAIT; as root)`.
pub(super) fn what(blockers: &[&Blocker<'_>]) -> String {
    let count = roles::count(blockers);
    let mut states: Vec<State> = blockers.iter().map(|blocker| blocker.seen.state).collect();
    states.sort_unstable();
    states.dedup();
    let the = if count == 1 {
        "the connection".to_owned()
    } else {
        format!("the {count} connections")
    };
    // Who closes second has LAST_ACK, and at once with the peer CLOSING.
    let has_closed_first =
        |state: &State| matches!(state, State::TimeWait | State::FinWait1 | State::FinWait2);
    let owners = match roles::names(blockers) {
        Some(names) if states.iter().all(has_closed_first) => {
            format!(" that {names} closed first,")
        }
        Some(names) => format!(" of {names}"),
        None => String::new(),
    };
    let mut peers: Vec<String> = blockers
        .iter()
        .take(MAX_PEERS)
        .map(|blocker| blocker.seen.peer.to_string())
        .collect();
    if count > peers.len() {
        peers.push(format!("{} more", count - peers.len()));
    }
    let peers = text::join(peers).unwrap_or_default();
    let states: Vec<String> = states.into_iter().map(text::state).collect();
    let states = text::join(states).unwrap_or_default();
    format!("{the}{owners} with {peers} ({states}; as root)")
}

/// These blockers and nothing else; else why that cannot be said in a command.
fn select(facts: &Facts<'_>, blockers: &[&Blocker<'_>]) -> Result<Selection, String> {
    let mut states: BTreeSet<State> = blockers.iter().map(|b| b.seen.state).collect();
    // Where an orphan goes by itself while somebody reads this.
    let may_end_in_time_wait =
        |b: &&Blocker<'_>| b.role == HolderRole::Closing && b.seen.state != State::LastAck;
    if blockers.iter().any(may_end_in_time_wait) {
        states.insert(State::TimeWait);
    }
    let named = || -> Vec<Term> {
        let mut terms: Vec<Term> = blockers.iter().map(|b| connection(b.seen)).collect();
        terms.sort_unstable();
        terms.dedup();
        terms
    };
    let are_all_listed = blockers.iter().all(|blocker| blocker.seen.alike == 0);
    let terms = if are_all_listed && blockers.len() <= MAX_NAMED {
        named()
    } else if let Some(terms) = by_address(facts, blockers, &states) {
        terms
    } else if are_all_listed && blockers.len() <= MAX_NAMED_OF_NECESSITY {
        named()
    } else {
        return Err(
            "no command is given, because no short one would fit these connections alone: \
             others have the same address and state, or not all could be looked at"
                .to_owned(),
        );
    };
    Ok(Selection {
        states: states.into_iter().collect(),
        terms,
    })
}

/// Terms without a peer; `None`: another socket of the port fits one of them,
/// or may.
fn by_address(
    facts: &Facts<'_>,
    blockers: &[&Blocker<'_>],
    states: &BTreeSet<State>,
) -> Option<Vec<Term>> {
    if !facts.is_complete() {
        return None;
    }
    let mut terms: Vec<Term> = blockers.iter().map(|b| of_address(b.seen)).collect();
    terms.sort_unstable();
    terms.dedup();
    let chosen: BTreeSet<*const SeenHolder> = blockers
        .iter()
        .map(|blocker| &raw const *blocker.seen)
        .collect();
    let is_exact = facts
        .candidates
        .iter()
        .filter(|candidate| !chosen.contains(&(&raw const *candidate.seen)))
        .all(|other| {
            !states.contains(&other.seen.state) || !terms.contains(&of_address(other.seen))
        });
    is_exact.then_some(terms)
}

fn connection(seen: &SeenHolder) -> Term {
    Term {
        peer: Some(canonical(seen.peer)),
        ..of_address(seen)
    }
}

fn of_address(seen: &SeenHolder) -> Term {
    Term {
        local: canonical(seen.local),
        peer: None,
        device: seen.bound_dev_if.unwrap_or(0),
    }
}

fn canonical(endpoint: Endpoint) -> Endpoint {
    let addr: IpAddr = endpoint.addr.to_canonical();
    Endpoint { addr, ..endpoint }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnosis::Origin;
    use crate::diagnosis::test_support::{
        Fixture, PLAIN, REUSE, command, endpoint, holder, left_by, mini, owned,
    };
    use crate::event::{Diagnosis, Effect};

    /// The words behind the check of the namespace.
    fn destroyed(diagnosis: &Diagnosis) -> Option<&str> {
        let line = command(diagnosis, "destroy_sockets")?;
        Some(line.split_once(" ss -Kt ").expect("it is ss").1)
    }

    fn time_wait(local: &str, peer: u16) -> SeenHolder {
        SeenHolder {
            peer: endpoint("10.0.0.9", peer),
            sock: holder(State::TimeWait, local, 8080, PLAIN).sock,
            local: endpoint(local, 8080),
            ..mini(State::TimeWait, 8080, PLAIN, 57_000)
        }
    }

    #[test]
    fn the_holder_is_destroyed_and_not_its_neighbour_on_another_address() {
        let diagnosis = Fixture::bind("127.0.0.1", 8080)
            .with(
                time_wait("127.0.0.1", 1),
                left_by(5, "old", Origin::Accepted),
            )
            .with(
                time_wait("127.0.0.2", 2),
                left_by(6, "other", Origin::Accepted),
            )
            .diagnose();

        assert_eq!(
            destroyed(&diagnosis),
            Some("state time-wait src 127.0.0.1:8080 dst 10.0.0.9:1 dev = 0")
        );
        let fix = diagnosis
            .fixes
            .iter()
            .find(|fix| &*fix.id == "destroy_sockets")
            .unwrap();
        assert_eq!(fix.effect, Some(Effect::Destroys));
        assert_eq!(
            fix.text,
            "Have the kernel destroy the connection that old[5] closed first, with 10.0.0.9:1 (TIME_WAIT; as root)"
        );
    }

    #[test]
    fn several_are_one_command_with_each_named() {
        let mut device = time_wait("127.0.0.1", 2);
        device.bound_dev_if = Some(7);
        let diagnosis = Fixture::bind("0.0.0.0", 8080)
            .with(
                time_wait("127.0.0.1", 1),
                left_by(5, "old", Origin::Accepted),
            )
            .with(device, left_by(5, "old", Origin::Accepted))
            .diagnose();

        assert_eq!(
            destroyed(&diagnosis),
            Some(
                "state time-wait '( src 127.0.0.1:8080 dst 10.0.0.9:1 dev = 0 ) or ( src 127.0.0.1:8080 dst 10.0.0.9:2 dev = 7 )'"
            )
        );
    }

    #[test]
    fn many_are_named_by_their_address_if_no_other_has_it() {
        let mut many = time_wait("127.0.0.1", 1);
        many.alike = 999;
        let fixture =
            Fixture::bind("127.0.0.1", 8080).with(many, left_by(5, "old", Origin::Accepted));
        let with_other_state = fixture.clone().reuse(REUSE).with(
            holder(State::Established, "127.0.0.1", 8080, REUSE),
            owned(6, "other", Origin::Accepted),
        );

        let all = fixture.diagnose();

        assert_eq!(
            destroyed(&all),
            Some("state time-wait src 127.0.0.1:8080 dev = 0")
        );
        // It sets SO_REUSEADDR, as the new socket does, and is not in the way.
        assert_eq!(
            destroyed(&with_other_state.diagnose()),
            Some("state time-wait src 127.0.0.1:8080 dev = 0")
        );
        let mut innocent = time_wait("127.0.0.1", 77);
        innocent.reuse = Some(REUSE);
        let with_innocent = fixture
            .reuse(REUSE)
            .with(innocent, left_by(6, "other", Origin::Accepted))
            .diagnose();
        assert_eq!(destroyed(&with_innocent), None, "{with_innocent:?}");
        let fix = with_innocent
            .fixes
            .iter()
            .find(|fix| &*fix.id == "destroy_sockets")
            .unwrap();
        assert!(
            fix.why
                .as_deref()
                .unwrap()
                .starts_with("no command is given")
        );
        assert_eq!(fix.effect, None);
    }

    #[test]
    fn what_was_not_all_looked_at_is_not_named_by_its_address() {
        let mut many = time_wait("127.0.0.1", 1);
        many.alike = 999;
        let fixture = Fixture::bind("127.0.0.1", 8080)
            .with(many, left_by(5, "old", Origin::Accepted))
            .incomplete();

        assert_eq!(destroyed(&fixture.diagnose()), None);
    }

    #[test]
    fn ipv6_addresses_are_quoted_and_mapped_ones_written_as_ipv4() {
        let mut v6 = time_wait("::1", 1);
        v6.peer = endpoint("::1", 1);
        let mut mapped = time_wait("::ffff:127.0.0.1", 1);
        mapped.peer = endpoint("::ffff:127.0.0.1", 1);

        let v6 = Fixture::bind("::1", 8080)
            .with(v6, left_by(5, "old", Origin::Accepted))
            .diagnose();
        let mapped = Fixture::bind("::", 8080)
            .with(mapped, left_by(5, "old", Origin::Accepted))
            .diagnose();

        assert_eq!(
            destroyed(&v6),
            Some("state time-wait src '[::1]:8080' dst '[::1]:1' dev = 0")
        );
        assert_eq!(
            destroyed(&mapped),
            Some("state time-wait src 127.0.0.1:8080 dst 127.0.0.1:1 dev = 0")
        );
    }
}
