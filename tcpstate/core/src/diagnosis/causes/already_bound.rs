//! `already_bound`: EINVAL from `bind`, because the socket has a port already.

use std::net::IpAddr;

use crate::event::{Applies, Cause, Endpoint, Errno};

use super::{CauseText, Rule, Verdict};
use crate::diagnosis::CallKind;
use crate::diagnosis::facts::Facts;
use crate::diagnosis::fixes::fix;

pub(super) const RULE: Rule = Rule {
    cause: Cause::AlreadyBound,
    applies,
    explain,
};

fn applies(facts: &Facts<'_>) -> Verdict {
    if facts.failure.kind != CallKind::Bind || facts.errno != Errno::Inval {
        return Verdict::No;
    }
    if facts.call().local.is_some_and(Endpoint::has_port) {
        return Verdict::Yes;
    }
    if bad_address(facts).is_some() {
        return Verdict::CannotJudge(
            "whether the socket was bound before as well was not read".to_owned(),
        );
    }
    if facts.call().requested.addr.is_none() {
        return Verdict::CannotJudge(
            "the requested address could not be read, so it may be malformed".to_owned(),
        );
    }
    // Nothing else is left: the address could be read and is in order.
    Verdict::Yes
}

/// What else the kernel answers EINVAL to.
pub(super) fn bad_address(facts: &Facts<'_>) -> Option<&'static str> {
    let Some(IpAddr::V6(addr)) = facts.call().requested.addr else {
        return None;
    };
    if addr.to_ipv4_mapped().is_some() && facts.call().reuse.v6only {
        Some("an IPv4 address (::ffff:…) was asked for on a socket that IPV6_V6ONLY keeps to IPv6")
    } else if addr.is_multicast() {
        Some("a multicast address was asked for, which no TCP socket may have")
    } else if addr.is_unicast_link_local() {
        Some("a link-local address (fe80::…) was asked for without its interface, such as %eth0")
    } else {
        None
    }
}

fn explain(facts: &Facts<'_>) -> CauseText {
    let local = facts.call().local.filter(|local| local.has_port());
    let mut doubts = facts.doubts.clone();
    if local.is_none() {
        doubts.push(
            "the socket's own address was not read: concluded from EINVAL, because the \
             requested address is in order"
                .to_owned(),
        );
    }
    let to = local.map_or(String::new(), |local| format!("to {local} "));
    CauseText {
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
            .because("a socket keeps its port until it is closed; listen and connect bind it too"),
            fix("bind_once", Applies::Now, "Or leave the second bind out"),
        ],
        doubts,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnosis::test_support::{Fixture, endpoint};
    use crate::event::Certainty;

    #[test]
    fn a_second_bind_names_the_first() {
        let mut fixture = Fixture::bind("0.0.0.0", 8081).fails(22, "EINVAL");
        fixture.call.local = Some(endpoint("0.0.0.0", 8080));

        let diagnosis = fixture.diagnose();

        assert_eq!(diagnosis.cause, Cause::AlreadyBound);
        assert_eq!(
            diagnosis.summary,
            "The socket is bound to 0.0.0.0:8080 already, and a socket can be bound only once; port 8081 was not looked at."
        );
        assert_eq!(diagnosis.certainty, Certainty::Proven);
    }

    #[test]
    fn an_address_that_is_out_of_order_is_another_matter() {
        for (addr, v6only, expected) in [
            ("0.0.0.0", false, Cause::AlreadyBound),
            ("fe80::1", false, Cause::Unknown),
            ("ff02::1", false, Cause::Unknown),
            ("::ffff:127.0.0.1", true, Cause::Unknown),
            ("::ffff:127.0.0.1", false, Cause::AlreadyBound),
        ] {
            let mut fixture = Fixture::bind(addr, 8080).fails(22, "EINVAL");
            fixture.call.reuse.v6only = v6only;
            let diagnosis = fixture.diagnose();

            assert_eq!(diagnosis.cause, expected, "{addr}");
            assert_ne!(diagnosis.certainty, Certainty::Proven);
            assert!(!diagnosis.missing.is_empty());
        }
    }
}
