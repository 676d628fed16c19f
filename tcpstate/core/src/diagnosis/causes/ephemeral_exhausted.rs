//! `ephemeral_exhausted`: no free local port was left to choose.

use crate::event::{Applies, Cause, Endpoint};

use super::address_unusable::is_unusable;
use super::{Answer, Explanation, Rule};
use crate::diagnosis::command::{Command, Setting};
use crate::diagnosis::facts::{Errno, Facts};
use crate::diagnosis::fixes::{self, fix};
use crate::diagnosis::{CallKind, text};

pub(super) const RULE: Rule = Rule {
    cause: Cause::EphemeralExhausted,
    applies,
    explain,
};

fn applies(facts: &Facts<'_>) -> Answer {
    match facts.failure.kind {
        CallKind::Bind | CallKind::Listen => facts.errno == Errno::AddrInUse && facts.port == 0,
        CallKind::Connect => {
            facts.errno == Errno::AddrNotAvail && facts.port == 0 && !is_unusable(facts)
        }
    }
    .into()
}

fn explain(facts: &Facts<'_>) -> Explanation {
    let call = facts.call();
    let is_connect = facts.failure.kind == CallKind::Connect;
    let who = text::process(&call.process);
    let range = match facts.failure.environment.local_port_range {
        Some([first, last]) => format!("the range {first} to {last}"),
        None => "the ephemeral range".to_owned(),
    };
    let mut doubts = facts.doubts.clone();
    doubts.push("the ports of the range were not counted: concluded from the error".to_owned());

    let summary = if is_connect {
        let to = call.requested.addr.map_or(String::new(), |addr| {
            let port = call.requested.port;
            format!(" to {}", Endpoint { addr, port })
        });
        if call.requested.addr.is_some_and(|addr| addr.is_ipv6()) {
            doubts.push(
                "for IPv6 the same error may mean that no source address was found".to_owned(),
            );
        }
        format!(
            "No free local port was left for the connection of {who}{to}: every port of {range} \
             is either used towards that peer already or taken by a bound socket."
        )
    } else {
        let on = match call.requested.addr.filter(|addr| !addr.is_unspecified()) {
            Some(addr) => format!(" on {addr}"),
            None => String::new(),
        };
        format!("No free port was left for {who}{on}: every port of {range} is in use.")
    };

    let widen = wider(facts.failure.environment.local_port_range).map(|range| {
        let widen = fix(
            "widen_range",
            Applies::Now,
            "Widen the range that free ports are chosen from",
        );
        match range {
            Some(range) => widen.run(facts, &Command::set(&Setting::PortRange(range))),
            // Setting it unseen might make it narrower.
            None => widen.run(facts, &Command::show_port_range()),
        }
        .because("reserve the ports of servers within it (net.ipv4.ip_local_reserved_ports)")
    });
    let find = fix("find_user", Applies::Now, "Find out who uses them up")
        .run(facts, &Command::list_all_sockets())
        .because(
            "one leaking client is the usual reason; reuse connections instead of opening new ones",
        );
    let other_address = fix(
        "more_addresses",
        Applies::Now,
        "Use another local address: each has the whole range of its own",
    );
    let reuse = if is_connect {
        fix(
            "tcp_tw_reuse",
            Applies::Now,
            "Let connect take over ports in TIME_WAIT",
        )
        .run(facts, &Command::set(&Setting::TwReuse))
        .because("where TIME_WAIT uses them up: it works between hosts with TCP timestamps, one second after closing")
    } else {
        fixes::reuseaddr_does_not_help("the search for a free port leaves reused ones out")
    };

    Explanation {
        summary,
        fixes: [Some(find), widen, Some(other_address), Some(reuse)]
            .into_iter()
            .flatten()
            .collect(),
        doubts,
    }
}

/// What the range may be widened to; within, absent: the range was not read. Absent:
/// it is that wide.
#[expect(clippy::option_option, reason = "two things may be absent")]
fn wider(range: Option<[u16; 2]>) -> Option<Option<[u16; 2]>> {
    const WIDE: [u16; 2] = [10_240, u16::MAX];
    let Some([first, last]) = range else {
        return Some(None);
    };
    let wide = [first.min(WIDE[0]), last.max(WIDE[1])];
    ([first, last] != wide).then_some(Some(wide))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnosis::test_support::Scene;
    use crate::event::YesNo;

    #[test]
    fn bind_to_any_port_finds_none() {
        let diagnosis = Scene::bind("127.0.0.1", 0).diagnose();

        assert_eq!(diagnosis.cause, Cause::EphemeralExhausted);
        assert_eq!(
            diagnosis.summary,
            "No free port was left for server[900] on 127.0.0.1: every port of the range 32768 to 60999 is in use."
        );
        assert_eq!(diagnosis.would_work.reuseaddr, YesNo::No);
    }

    #[test]
    fn connect_finds_none() {
        let diagnosis = Scene::connect(("0.0.0.0", 0), ("10.0.0.9", 443)).diagnose();

        assert_eq!(diagnosis.cause, Cause::EphemeralExhausted);
        assert_eq!(
            diagnosis.summary,
            "No free local port was left for the connection of server[900] to 10.0.0.9:443: every port of the range 32768 to 60999 is either used towards that peer already or taken by a bound socket."
        );
    }
}
