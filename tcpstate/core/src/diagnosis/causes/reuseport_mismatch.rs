//! `reuseport_mismatch`: the listener shares its port with `SO_REUSEPORT`, and
//! the new socket does not ask for that or belongs to another user.

use std::fmt::Write as _;

use crate::event::{Applies, Cause, YesNo};

use super::listeners::{self, Listener};
use super::{CauseText, Rule, Verdict};
use crate::diagnosis::facts::Facts;
use crate::diagnosis::fixes::{self, fix};
use crate::diagnosis::language::{Language, SocketOption};
use crate::diagnosis::{roles, stop, would_work};

pub(super) const RULE: Rule = Rule {
    cause: Cause::ReuseportMismatch,
    applies,
    explain,
};

fn applies(facts: &Facts<'_>) -> Verdict {
    (listeners::leading(facts) == Some(Listener::ReuseportMismatch)).into()
}

fn explain(facts: &Facts<'_>) -> CauseText {
    let call = facts.call();
    let listeners = listeners::of_kind(facts, Listener::ReuseportMismatch);
    let who = roles::names_or_owner(&listeners);
    let listen = if roles::are_several(&listeners) {
        "listen"
    } else {
        "listens"
    };
    // Whoever opened the socket, which need not be the caller.
    let own_user = facts
        .binder
        .and_then(|binder| binder.uid)
        .unwrap_or(call.process.uid);
    let other_user = listeners
        .iter()
        .filter_map(|listener| listener.seen.uid)
        .find(|&uid| uid != own_user);
    let would_help = would_work::evaluate(facts).reuseport;

    let mut summary = format!(
        "Port {} is shared with SO_REUSEPORT by {who}, which {listen} {}, but the new socket ",
        facts.port,
        listeners::endpoints(&listeners),
    );
    let mut fixes = Vec::new();
    if !call.reuse.reuseport {
        summary.push_str("does not set SO_REUSEPORT");
        if would_help == YesNo::Yes {
            summary.push_str("; with it, ");
            summary.push_str(facts.would_have_worked());
        }
        let applies = match would_help {
            YesNo::Yes => Applies::Now,
            YesNo::No | YesNo::Unknown => Applies::NextTime,
        };
        let set = fix(
            "set_reuseport",
            applies,
            "Set SO_REUSEPORT on the new socket before bind, if the two are meant to share",
        );
        let language = Language::of(&call.process);
        fixes.push(
            set.line(language, SocketOption::ReusePort)
                .because("the kernel then spreads new connections over all of them"),
        );
    }
    if let Some(uid) = other_user {
        let joint = if call.reuse.reuseport {
            ""
        } else {
            ", and it "
        };
        let _ = write!(
            summary,
            "{joint}belongs to user {own_user} and not to user {uid} as the listener does",
        );
        fixes.push(
            fix(
                "same_user",
                Applies::Now,
                format!(
                    "Run both as the same user, if the two are meant to share (now {own_user} and {uid})",
                ),
            )
            .because("only sockets of one user may share a port through SO_REUSEPORT"),
        );
    }
    summary.push('.');
    fixes.extend(stop::stop_holder(facts, &listeners));
    fixes.push(fixes::set_reuseaddr(facts));

    CauseText {
        summary,
        fixes,
        doubts: facts.all_doubts(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnosis::Origin;
    use crate::diagnosis::test_support::{Fixture, PLAIN, holder, owned};
    use crate::event::{Reuse, SeenHolder, State};

    const REUSEPORT: Reuse = Reuse {
        reuseport: true,
        ..PLAIN
    };

    fn listener() -> SeenHolder {
        holder(State::Listen, "0.0.0.0", 8080, REUSEPORT)
    }

    #[test]
    fn a_socket_that_does_not_ask_to_share_is_told_to() {
        let diagnosis = Fixture::bind("0.0.0.0", 8080)
            .with(listener(), owned(12, "envoy", Origin::Listener))
            .diagnose();

        assert_eq!(diagnosis.cause, Cause::ReuseportMismatch);
        assert_eq!(
            diagnosis.summary,
            "Port 8080 is shared with SO_REUSEPORT by envoy[12], which listens on 0.0.0.0:8080, but the new socket does not set SO_REUSEPORT; with it, the bind would have worked."
        );
        assert_eq!(diagnosis.would_work.reuseport, YesNo::Yes);
        assert_eq!(diagnosis.would_work.reuseaddr, YesNo::No);
        assert_eq!(diagnosis.fixes[0].applies, Applies::Now);
    }

    #[test]
    fn another_user_may_not_share() {
        let mut listener = listener();
        listener.uid = Some(1000);
        let diagnosis = Fixture::bind("0.0.0.0", 8080)
            .reuse(REUSEPORT)
            .with(listener, owned(12, "envoy", Origin::Listener))
            .diagnose();

        assert_eq!(diagnosis.cause, Cause::ReuseportMismatch);
        assert_eq!(
            diagnosis.summary,
            "Port 8080 is shared with SO_REUSEPORT by envoy[12], which listens on 0.0.0.0:8080, but the new socket belongs to user 0 and not to user 1000 as the listener does."
        );
        assert_eq!(diagnosis.would_work.reuseport, YesNo::No);
        assert_eq!(&*diagnosis.fixes[0].id, "same_user");
    }
}
