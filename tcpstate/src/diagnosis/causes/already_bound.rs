//! `already_bound`: EINVAL from `bind`, because the socket has a port already.

use std::net::IpAddr;

use crate::event::{Applies, Cause};

use super::super::CallKind;
use super::super::facts::{Errno, Facts};
use super::super::fixes::fix;
use super::{Answer, Explanation, Rule};

pub(super) const RULE: Rule = Rule {
    cause: Cause::AlreadyBound,
    applies,
    explain,
};

fn applies(facts: &Facts<'_>) -> Answer {
    if facts.failure.kind != CallKind::Bind || facts.errno != Errno::Inval {
        return Answer::No;
    }
    if facts.call().local.is_some_and(|local| local.port != 0) {
        return Answer::Yes;
    }
    if let Some(reason) = bad_address(facts) {
        return Answer::CannotJudge(reason.to_owned());
    }
    if facts.call().requested.addr.is_none() {
        return Answer::CannotJudge(
            "the requested address could not be read, so it may be malformed".to_owned(),
        );
    }
    // Nothing else is left: the address could be read and is in order.
    Answer::Yes
}

/// What else the kernel answers EINVAL to.
fn bad_address(facts: &Facts<'_>) -> Option<&'static str> {
    let Some(IpAddr::V6(addr)) = facts.call().requested.addr else {
        return None;
    };
    if addr.to_ipv4_mapped().is_some() && facts.call().reuse.v6only {
        Some(
            "an IPv4-mapped address was asked for on a socket with IPV6_V6ONLY, which bind refuses with EINVAL",
        )
    } else if addr.is_multicast() {
        Some("a multicast address was asked for, which bind refuses with EINVAL")
    } else if addr.is_unicast_link_local() {
        Some(
            "a link-local address was asked for, which bind refuses with EINVAL where no interface is named (%eth0)",
        )
    } else {
        None
    }
}

fn explain(facts: &Facts<'_>) -> Explanation {
    let local = facts.call().local.filter(|local| local.port != 0);
    let mut doubts = facts.doubts.clone();
    let to = match local {
        Some(local) => format!("to {local} "),
        None => {
            doubts.push(
                "the socket's own address was not read: concluded from EINVAL, because the \
                 requested address is in order"
                    .to_owned(),
            );
            String::new()
        }
    };
    Explanation {
        summary: format!(
            "The socket is bound {to}already, and a socket can be bound only once; port {} was \
             not looked at.",
            facts.port
        ),
        fixes: vec![
            fix(
                "new_socket",
                Applies::Now,
                "Open a new socket for every bind, also when trying again",
            )
            .why("a socket keeps its port until it is closed; listen and connect bind it too"),
            fix("bind_once", Applies::Now, "Or leave the second bind out"),
        ],
        doubts,
    }
}
