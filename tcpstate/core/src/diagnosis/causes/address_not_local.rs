//! `address_not_local`: EADDRNOTAVAIL from `bind`.

use std::net::IpAddr;

use crate::event::{Applies, Cause, Errno, Family};

use super::address_unusable::is_unusable;
use super::{CauseText, Rule, Verdict};
use crate::diagnosis::command::{Command, Setting};
use crate::diagnosis::facts::Facts;
use crate::diagnosis::fixes::fix;
use crate::diagnosis::{CallKind, text};

pub(super) const RULE: Rule = Rule {
    cause: Cause::AddressNotLocal,
    applies,
    explain,
};

fn applies(facts: &Facts<'_>) -> Verdict {
    let is_refused = facts.failure.kind == CallKind::Bind && facts.errno == Errno::AddrNotAvail;
    (is_refused && !is_unusable(facts)).into()
}

fn explain(facts: &Facts<'_>) -> CauseText {
    let addr = facts.call().requested.addr;
    let is_ipv6 = matches!(addr, Some(IpAddr::V6(v6)) if v6.to_ipv4_mapped().is_none());
    let name = addr.map_or("The requested address".to_owned(), |addr| addr.to_string());
    let family = if is_ipv6 { Family::Ipv6 } else { Family::Ipv4 };
    let tentative = if is_ipv6 {
        ", or it is still being checked for duplicates (tentative)"
    } else {
        ""
    };
    let mut doubts = facts.doubts.clone();
    if addr.is_none() {
        doubts.push("the requested address could not be read".to_owned());
    }
    let mut fixes = vec![
        fix(
            "check_address",
            Applies::Now,
            "Correct the address, or add it to an interface; it may come up later than the server, or belong to another container",
        )
        .run(facts, &Command::list_addresses()),
        fix(
            "bind_wildcard",
            Applies::Now,
            format!(
                "Or bind every address ({}) and let a firewall choose",
                if is_ipv6 { "::" } else { "0.0.0.0" }
            ),
        ),
    ];
    if facts.failure.environment.ip_nonlocal_bind != Some(true) || is_ipv6 {
        fixes.push(
            fix(
                "nonlocal_bind",
                Applies::Now,
                "Or allow binding addresses that are not there (yet)",
            )
            .run(facts, &Command::set(&Setting::NonlocalBind(family)))
            .because("for addresses that move between machines; the IP_FREEBIND socket option does it for one socket"),
        );
    }
    if facts.call().process.cgroup.is_some() {
        fixes.push(fix(
            "wait_online",
            Applies::NextTime,
            "Start the service after the network is up: After=network-online.target and Wants=network-online.target",
        ));
    }

    CauseText {
        summary: format!(
            "{name} is not an address of this machine or container: no interface in the network \
             namespace of {} has it{tentative}; the port plays no part in this.",
            text::process(&facts.call().process),
        ),
        fixes,
        doubts,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnosis::test_support::{Fixture, here};
    use crate::event::Certainty;

    #[test]
    fn an_address_at_the_beginning_is_written_as_it_is() {
        let diagnosis = Fixture::bind("fe80::1", 8080)
            .fails(99, "EADDRNOTAVAIL")
            .diagnose();

        assert!(
            diagnosis.summary.starts_with("fe80::1 is"),
            "{}",
            diagnosis.summary
        );
    }

    #[test]
    fn the_address_is_named() {
        let diagnosis = Fixture::bind("192.0.2.1", 8080)
            .fails(99, "EADDRNOTAVAIL")
            .diagnose();

        assert_eq!(diagnosis.cause, Cause::AddressNotLocal);
        assert_eq!(
            diagnosis.summary,
            "192.0.2.1 is not an address of this machine or container: no interface in the network namespace of server[900] has it; the port plays no part in this."
        );
        assert_eq!(diagnosis.certainty, Certainty::Proven);
        assert_eq!(
            diagnosis.fixes[2].command.as_deref(),
            Some(&*here("sysctl -w net.ipv4.ip_nonlocal_bind=1"))
        );
    }
}
