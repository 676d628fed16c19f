//! `address_unusable`: EADDRNOTAVAIL although nothing is wrong with the address as such: it
//! is there and is still checked, or another host has it, or it is on another interface than
//! the call named, or IPv6 is off, or has no address to connect from.

use std::net::{IpAddr, Ipv6Addr};

use crate::event::{Applies, Cause, Errno, Fix, Ipv6State, OnInterface};

use super::{CauseText, Rule, Verdict};
use crate::diagnosis::command::{Command, Setting};
use crate::diagnosis::facts::Facts;
use crate::diagnosis::fixes::fix;
use crate::diagnosis::{CallKind, text};

pub(super) const RULE: Rule = Rule {
    cause: Cause::AddressUnusable,
    applies,
    explain,
};

/// What keeps the address from being used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Obstacle<'a> {
    /// Duplicate address detection goes on.
    Tentative(&'a OnInterface),
    /// It has found another host with the address.
    Duplicate(&'a OnInterface),
    /// A link-local address of another interface than the one that the call named.
    WrongZone(&'a OnInterface),
    /// IPv6 is switched off.
    Off,
    /// There is no address that a connection could come from.
    NoSource,
}

fn obstacle<'a>(facts: &Facts<'a>) -> Option<Obstacle<'a>> {
    let IpAddr::V6(requested) = facts.call().requested.addr? else {
        return None;
    };
    let state = facts.call().ipv6.as_deref()?;
    if facts.errno != Errno::AddrNotAvail || requested.to_ipv4_mapped().is_some() {
        return None;
    }
    match facts.failure.kind {
        CallKind::Listen => None,
        CallKind::Bind => of_bind(requested, state),
        // Bound before, it had its source.
        CallKind::Connect if facts.port != 0 => None,
        CallKind::Connect if state.is_off => Some(Obstacle::Off),
        CallKind::Connect => (state.sources == 0).then_some(Obstacle::NoSource),
    }
}

fn of_bind(requested: Ipv6Addr, state: &Ipv6State) -> Option<Obstacle<'_>> {
    let mut on = state.requested_on.iter();
    let duplicate = state.requested_on.iter().find(|on| on.is_duplicate);
    duplicate
        .map(Obstacle::Duplicate)
        .or_else(|| on.find(|on| on.is_tentative).map(Obstacle::Tentative))
        .or_else(|| {
            let on = state.requested_on.first()?;
            requested
                .is_unicast_link_local()
                .then_some(Obstacle::WrongZone(on))
        })
        .or(state.is_off.then_some(Obstacle::Off))
}

/// Whether this is why, and not another reason for the same error.
pub(super) fn is_unusable(facts: &Facts<'_>) -> bool {
    obstacle(facts).is_some()
}

fn applies(facts: &Facts<'_>) -> Verdict {
    is_unusable(facts).into()
}

fn explain(facts: &Facts<'_>) -> CauseText {
    let who = text::process(&facts.call().process);
    let addr = facts.call().requested.addr;
    let name = addr.map_or_else(String::new, |addr| addr.to_string());
    let obstacle = obstacle(facts);
    let why = addr
        .zip(obstacle)
        .map(|(addr, obstacle)| why(addr, obstacle));
    let why = why.unwrap_or_default();
    let summary = match obstacle {
        Some(Obstacle::NoSource) => {
            format!(
                "{who} has no IPv6 address to connect to {name} from: {why}; no port is wanting."
            )
        }
        _ => format!("{why}, so {who} cannot use it; the port plays no part in this."),
    };
    let fixes = match obstacle {
        Some(Obstacle::Duplicate(_)) => of_duplicate(facts),
        Some(Obstacle::Tentative(_)) => of_tentative(facts),
        Some(Obstacle::WrongZone(on)) => of_wrong_zone(facts, on),
        Some(Obstacle::NoSource) => of_off(facts, false),
        Some(Obstacle::Off) | None => of_off(facts, true),
    };
    CauseText {
        summary,
        fixes,
        doubts: facts.doubts.clone(),
    }
}

/// What keeps `bind` from an address that it refused, as the beginning of a sentence; `None`:
/// nothing but that it is not there.
pub(in crate::diagnosis) fn why_unusable(addr: IpAddr, ipv6: Option<&Ipv6State>) -> Option<String> {
    let IpAddr::V6(requested) = addr else {
        return None;
    };
    Some(why(addr, of_bind(requested, ipv6?)?))
}

fn why(addr: IpAddr, obstacle: Obstacle<'_>) -> String {
    match obstacle {
        Obstacle::Duplicate(on) => format!(
            "The address {addr} is on {} but failed duplicate address detection (dadfailed): \
             another host on the link has it",
            text::safe(&on.interface)
        ),
        Obstacle::Tentative(on) => format!(
            "The address {addr} is on {} and tentative: duplicate address detection goes on",
            text::safe(&on.interface)
        ),
        Obstacle::WrongZone(on) => format!(
            "The link-local address {addr} is on {}, and was asked for on another interface (its \
             zone, sin6_scope_id)",
            text::safe(&on.interface)
        ),
        Obstacle::NoSource => {
            "no interface in its network namespace has one that can be used".to_owned()
        }
        Obstacle::Off => format!(
            "IPv6 is off in the network namespace: no interface has an IPv6 address, {addr} \
             neither"
        ),
    }
}

fn show(facts: &Facts<'_>, text: &str) -> Fix {
    fix("check_ipv6_address", Applies::Now, text).run(facts, &Command::list_ipv6_addresses())
}

fn of_duplicate(facts: &Facts<'_>) -> Vec<Fix> {
    vec![
        show(
            facts,
            "Give one of the two hosts another address, then remove this one and add it again; the flags show here",
        )
        .because("the kernel does not look for the other host again by itself"),
        fix(
            "nonlocal_bind",
            Applies::No,
            "Allow binding addresses that are not there (ip_nonlocal_bind)",
        )
        .because("bind succeeds then, and no client reaches the address: the other host answers for it"),
    ]
}

fn of_tentative(facts: &Facts<'_>) -> Vec<Fix> {
    vec![
        show(
            facts,
            "Bind a second or two later, when the address is no longer tentative; the flags show here",
        )
        .because("on a link without carrier (NO-CARRIER) it stays tentative until there is one"),
        fix(
            "add_nodad",
            Applies::NextTime,
            "Add the address without that check (nodad), where nobody else can have it",
        ),
        fix(
            "freebind",
            Applies::NextTime,
            "Or set IPV6_FREEBIND before bind, as systemd's FreeBind= does",
        ),
    ]
}

fn of_wrong_zone(facts: &Facts<'_>, on: &OnInterface) -> Vec<Fix> {
    vec![
        show(
            facts,
            &format!(
                "Name the interface that has it, as in fe80::…%{}; all are listed here",
                text::safe(&on.interface)
            ),
        )
        .because("a link-local address is another one on each interface"),
    ]
}

fn of_off(facts: &Facts<'_>, is_off: bool) -> Vec<Fix> {
    let mut fixes = Vec::new();
    if is_off {
        fixes.push(
            fix(
                "enable_ipv6",
                Applies::Now,
                "Switch IPv6 on in this namespace",
            )
            .run(facts, &Command::set(&Setting::EnableIpv6))
            .because("interfaces get their addresses again by router advertisement or by hand"),
        );
    } else {
        fixes.push(show(
            facts,
            "Give an interface an IPv6 address, or set it up (lo as well)",
        ));
    }
    fixes.push(fix(
        "use_ipv4",
        Applies::Now,
        "Or use IPv4: an address of the other family, or a name that resolves to one first",
    ));
    fixes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnosis::test_support::Fixture;
    use crate::event::Certainty;

    fn on(is_tentative: bool, is_duplicate: bool) -> Ipv6State {
        Ipv6State {
            is_off: false,
            sources: 1,
            requested_on: vec![OnInterface {
                interface: "eth0".to_owned(),
                is_tentative,
                is_duplicate,
            }],
        }
    }

    fn with(mut fixture: Fixture, state: Ipv6State) -> Fixture {
        fixture.call.ipv6 = Some(Box::new(state));
        fixture
    }

    fn bind() -> Fixture {
        Fixture::bind("2001:db8::1", 8080).fails(99, "EADDRNOTAVAIL")
    }

    #[test]
    fn an_address_that_is_there_is_not_said_to_be_on_no_interface() {
        let tentative = with(bind(), on(true, false)).diagnose();
        let duplicate = with(bind(), on(true, true)).diagnose();
        let usable = with(bind(), on(false, false)).diagnose();

        assert_eq!(tentative.cause, Cause::AddressUnusable);
        assert!(
            tentative.summary.contains("on eth0 and tentative"),
            "{}",
            tentative.summary
        );
        assert_eq!(duplicate.cause, Cause::AddressUnusable);
        assert!(
            duplicate.summary.contains("dadfailed"),
            "{}",
            duplicate.summary
        );
        assert_eq!(duplicate.certainty, Certainty::Proven);
        let nonlocal = duplicate
            .fixes
            .iter()
            .find(|fix| &*fix.id == "nonlocal_bind");
        assert_eq!(nonlocal.map(|fix| fix.applies), Some(Applies::No));
        assert_eq!(usable.cause, Cause::AddressNotLocal);
        let elsewhere = with(
            Fixture::bind("fe80::1", 8080).fails(99, "EADDRNOTAVAIL"),
            on(false, false),
        );
        let elsewhere = elsewhere.diagnose();
        assert_eq!(elsewhere.cause, Cause::AddressUnusable);
        assert!(
            elsewhere.summary.contains("is on eth0, and"),
            "{}",
            elsewhere.summary
        );
    }

    #[test]
    fn a_connection_without_a_source_has_not_run_out_of_ports() {
        let off = Ipv6State {
            is_off: true,
            sources: 0,
            requested_on: Vec::new(),
        };
        let connect = |state: Ipv6State| {
            with(Fixture::connect(("::", 0), ("2001:db8::9", 443)), state).diagnose()
        };

        let without = connect(Ipv6State {
            is_off: false,
            ..off.clone()
        });
        // The loopback address would have been taken, as measured, so it is something else.
        let with_source = connect(Ipv6State {
            is_off: false,
            sources: 1,
            ..off.clone()
        });

        assert_eq!(connect(off).cause, Cause::AddressUnusable);
        assert_eq!(without.cause, Cause::AddressUnusable);
        assert!(
            without.summary.contains("no IPv6 address to connect"),
            "{}",
            without.summary
        );
        assert_eq!(with_source.cause, Cause::EphemeralExhausted);
    }
}
