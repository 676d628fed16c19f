//! `dual_stack`: an IPv6 socket without `IPV6_V6ONLY` and an IPv4 one want the
//! same port.

use crate::event::{Applies, Cause, Family, Overlap, YesNo};

use super::listeners::{self, Listener};
use super::{CauseText, Rule, Verdict};
use crate::diagnosis::command::{Command, Setting};
use crate::diagnosis::facts::Facts;
use crate::diagnosis::fixes::{self, fix};
use crate::diagnosis::language::{Language, SocketOption};
use crate::diagnosis::roles::{Blocker, HolderRole};
use crate::diagnosis::stop;
use crate::diagnosis::{roles, would_work};

pub(super) const RULE: Rule = Rule {
    cause: Cause::DualStack,
    applies,
    explain,
};

fn applies(facts: &Facts<'_>) -> Verdict {
    (listeners::leading(facts) == Some(Listener::DualStack) || only_bound_ones_are_dual(facts))
        .into()
}

/// Whether all sockets in the way are merely bound, and to the other family.
pub(super) fn only_bound_ones_are_dual(facts: &Facts<'_>) -> bool {
    facts.leads(HolderRole::Bound)
        && facts
            .leaders()
            .iter()
            .all(|blocker| blocker.overlap == Overlap::DualStack)
}

fn explain(facts: &Facts<'_>) -> CauseText {
    let blockers: Vec<&Blocker<'_>> = if facts.leads(HolderRole::Bound) {
        facts.leaders()
    } else {
        listeners::of_kind(facts, Listener::DualStack)
    };
    let call = facts.call();
    let who = roles::names_or_owner(&blockers);
    let has = match (
        facts.leads(HolderRole::Bound),
        roles::are_several(&blockers),
    ) {
        (true, false) => "is bound",
        (true, true) => "are bound",
        (false, false) => "listens",
        (false, true) => "listen",
    };
    let endpoints = listeners::endpoints(&blockers);
    let port = facts.port;
    let is_ipv6 = facts
        .binder
        .is_some_and(|binder| binder.family == Family::Ipv6);
    // The IPv6 socket is the one that has to change.
    let holder = blockers
        .iter()
        .find_map(|blocker| blocker.processes().first().copied());
    let ipv6_process = holder.filter(|_| !is_ipv6).unwrap_or(&call.process);
    let language = Language::of(ipv6_process);

    let (summary, set_v6only) = if is_ipv6 {
        let applies = match would_work::evaluate(facts).v6only {
            YesNo::Yes => Applies::Now,
            YesNo::No | YesNo::Unknown => Applies::NextTime,
        };
        let works = if applies == Applies::Now {
            format!("; with IPV6_V6ONLY, {}", facts.would_have_worked())
        } else {
            String::new()
        };
        (
            format!(
                "The new IPv6 socket would take port {port} for IPv4 too, because it does not set \
                 IPV6_V6ONLY, and there {who} {has} {endpoints}{works}."
            ),
            fix(
                "set_v6only",
                applies,
                "Set IPV6_V6ONLY on the new socket before bind, so that it takes IPv6 only",
            )
            .line(language, SocketOption::V6Only),
        )
    } else {
        (
            format!(
                "Port {port} is taken for IPv4 too: {who} {has} {endpoints} without IPV6_V6ONLY, and \
                 such an IPv6 socket takes IPv4 as well."
            ),
            fix(
                "set_v6only",
                Applies::NextTime,
                "Set IPV6_V6ONLY on the IPv6 socket before its bind",
            )
            .line(language, SocketOption::V6Only)
            .because("the socket that holds the port has to set it, not the new one"),
        )
    };

    CauseText {
        summary,
        fixes: [
            set_v6only,
            fix(
                "one_socket",
                Applies::NextTime,
                "Or open only the IPv6 socket on [::] without IPV6_V6ONLY: it serves IPv4 as well",
            ),
        ]
        .into_iter()
        .chain(stop::stop_holder(facts, &blockers))
        .chain([
            fix(
                "bindv6only",
                Applies::NextTime,
                "Or make IPV6_V6ONLY the default of this namespace",
            )
            .run(facts, &Command::set(&Setting::BindV6Only))
            .because("it changes every program that opens IPv6 sockets from then on"),
            fixes::set_reuseaddr(facts),
        ])
        .collect(),
        doubts: facts.all_doubts(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnosis::Origin;
    use crate::diagnosis::test_support::{Fixture, PLAIN, holder, owned};
    use crate::event::State;

    #[test]
    fn an_ipv6_listener_takes_ipv4_too() {
        let diagnosis = Fixture::bind("0.0.0.0", 3000)
            .with(
                holder(State::Listen, "::", 3000, PLAIN),
                owned(12, "node", Origin::Listener),
            )
            .diagnose();

        assert_eq!(diagnosis.cause, Cause::DualStack);
        assert_eq!(
            diagnosis.summary,
            "Port 3000 is taken for IPv4 too: node[12] listens on [::]:3000 without IPV6_V6ONLY, and such an IPv6 socket takes IPv4 as well."
        );
        assert_eq!(diagnosis.holders[0].overlap, Overlap::DualStack);
        assert_eq!(diagnosis.would_work.v6only, YesNo::No);
    }

    #[test]
    fn an_ipv6_socket_wants_ipv4_too() {
        let diagnosis = Fixture::bind("::", 3000)
            .with(
                holder(State::Listen, "0.0.0.0", 3000, PLAIN),
                owned(12, "nginx", Origin::Listener),
            )
            .diagnose();

        assert_eq!(diagnosis.cause, Cause::DualStack);
        assert_eq!(
            diagnosis.summary,
            "The new IPv6 socket would take port 3000 for IPv4 too, because it does not set IPV6_V6ONLY, and there nginx[12] listens on 0.0.0.0:3000; with IPV6_V6ONLY, the bind would have worked."
        );
        assert_eq!(diagnosis.would_work.v6only, YesNo::Yes);
        assert_eq!(diagnosis.fixes[0].applies, Applies::Now);
    }
}
